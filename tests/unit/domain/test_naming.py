"""Names that go into ids, folders and files."""

from pathlib import PurePath

from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.naming import (
    MOST_NAME_BYTES,
    output_collection_id,
    output_item_id,
    safe_name,
    slug,
    source_name,
)


def test_names_of_results() -> None:
    """Item and Collection of a result are named by their parts."""
    assert output_item_id("S2A", "lc", "0123456789") == "S2A_lc_01234567"
    assert output_collection_id("lc") == "geodl-lc"
    assert (source_name("S2A", is_mosaic=False), source_name("S2A", is_mosaic=True)) == ("S2A", "S2A_mosaic")


@given(st.text())
def test_slugs_are_fit_for_ids(name: str) -> None:
    """A slug is never empty, holds only harmless characters and is its own slug."""
    made = slug(name)
    assert made
    assert slug(made) == made
    assert not set(made) & set("/\\ :?#%")
    assert made not in (".", "..")


@given(st.text(min_size=1))
def test_file_names_stay_where_they_are_put(identifier: str) -> None:
    """Whatever an id is, its file name is one part of a path, not too long, and its own file name."""
    made = safe_name(identifier)
    assert PurePath(made).parts == (made,)
    assert made not in (".", "..")
    assert "\\" not in made
    assert len(made.encode()) <= MOST_NAME_BYTES
    assert safe_name(made) == made


def test_file_names_of_different_ids_differ() -> None:
    """Ids that differ only in what a file name cannot hold have different file names; plain ones stay as they are."""
    assert len({safe_name(each) for each in ("a/b", "a:b", "a\\b", "a-b", "A" * 300, "A" * 301)}) == 6
    assert safe_name("S2A_MSIL2A 2020.v1") == "S2A_MSIL2A 2020.v1"
