"""What the tests of the LLM retrievers share; without transformers they are left out."""

from __future__ import annotations

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
