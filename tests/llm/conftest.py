"""What the tests of the LLM retrievers share; without transformers they are left out."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

pytest.importorskip("transformers")

from tests.llm.tiny import make_triples, tiny_backbone

from csrkit.llm import Backbone, Triple


@pytest.fixture
def backbone() -> Backbone:
    return tiny_backbone()


@pytest.fixture(scope="session")
def triples() -> list[Triple]:
    return make_triples()


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files of 10 kB at most, which ends a write as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
