from __future__ import annotations

from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from csrkit.stores._ids import (
    _NAMESPACE,
    hit_id,
    hit_payload,
    known_ids,
    point_id,
    stored_id,
    with_id,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
IDS = st.integers(0, 2**64 - 1) | TEXT | st.uuids().map(str)
PAYLOADS = st.dictionaries(TEXT.filter(lambda key: key != "csrkit_id"), st.integers())


@given(IDS, PAYLOADS)
def test_an_id_survives_the_engine(one: int | str, payload: dict[str, int]) -> None:
    stored, kept = point_id(one), with_id(one, payload)
    assert isinstance(stored, int) or str(UUID(stored)) == stored
    as_given_back = stored if isinstance(stored, int) else UUID(stored)
    assert stored_id(as_given_back) == stored
    assert hit_id(as_given_back, kept) == one
    assert hit_payload(kept) == (payload or None)


@given(TEXT)
def test_strings_that_are_no_uuids_become_the_standard_ones(text: str) -> None:
    assert point_id(text) == str(uuid5(_NAMESPACE, text))


@given(st.uuids())
def test_only_the_canonical_spelling_is_a_uuid(uuid: UUID) -> None:
    assert point_id(str(uuid)) == str(uuid)
    for other in (uuid.hex, uuid.urn, f"{{{uuid}}}", f"{uuid}\n", f"{uuid} "):
        assert point_id(other) == str(uuid5(_NAMESPACE, other))


@given(st.lists(IDS, unique_by=lambda one: (type(one), one)))
def test_different_ids_stay_different(ids: list[int | str]) -> None:
    assert known_ids(ids, unique=True) == ids
    assert len(set(map(point_id, ids))) == len(ids)
