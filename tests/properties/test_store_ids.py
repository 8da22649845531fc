from __future__ import annotations

from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from csrkit.stores._ids import (
    _NAMESPACE,
    checked_ids,
    hit_id,
    hit_payload,
    point_id,
    stored_id,
    uuid_of,
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
    assert checked_ids(ids, unique=True) == ids
    assert len(set(map(point_id, ids))) == len(ids)
    assert len(set(map(uuid_of, ids))) == len(ids)


def test_uuids_of_ids_never_change() -> None:
    # golden: another UUID would orphan what was stored before
    assert uuid_of(1) == "cf08eb88-e326-545c-bc62-ea0f30c06828"
    assert uuid_of("1") == "471f0525-72f4-56eb-9004-372262b8a08a"
    assert uuid_of("naïve ☃") == "c52e9023-64b7-5086-bd67-370dd99617b4"
    assert uuid_of("0b0e9f38-6f0c-4e5f-9b5e-3f0f4f1c2d3e").startswith("0b0e9f38-6f0c")
