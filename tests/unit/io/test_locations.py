"""Locations: names joined to them, and local paths; object stores have tests/integration/test_objects.py."""

from pathlib import Path

import pytest

from geodl_core.errors import InputError, StoreError
from geodl_core.io.remote.objects import download, is_remote, join, list_names, read_object, upload, write_object


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "a\0b", "a\nb"])
def test_names_stay_inside_their_folder(name: str) -> None:
    """A name that would lead out of its folder is refused, local or remote."""
    for folder in ("somewhere", "s3://bucket/somewhere"):
        with pytest.raises(InputError, match="file's name"):
            join(folder, "parts", name)


def test_which_locations_are_remote() -> None:
    """URLs are remote, paths are not."""
    assert [is_remote(text) for text in ("s3://b/x", "file:///x", "/x", "x/y", "C:\\x")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_join() -> None:
    """A name becomes part of a path as it is, and of a URL percent-encoded."""
    assert join("s3://bucket/a b/", "größe 1", "50%.json") == "s3://bucket/a b/gr%C3%B6%C3%9Fe%201/50%25.json"
    assert Path(join("a b", "größe 1", "50%.json")) == Path("a b") / "größe 1" / "50%.json"


def test_local_files_are_whole_or_not_there(tmp_path: Path) -> None:
    """A file that is written or copied appears in one step, in folders made for it, and leaves no draft."""
    write_object(str(tmp_path / "new" / "plan.json"), b"plan")
    upload(tmp_path / "new" / "plan.json", str(tmp_path / "up" / "plan.json"))
    download(str(tmp_path / "up" / "plan.json"), tmp_path / "down" / "plan.json")
    for folder in ("new", "up", "down"):
        assert list_names(str(tmp_path / folder)) == ["plan.json"]
        assert read_object(str(tmp_path / folder / "plan.json"), 4) == b"plan"
    with pytest.raises(InputError, match="at most 3 bytes"):
        read_object(str(tmp_path / "new" / "plan.json"), 3)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """Where a file stands in the way of a folder nothing can be written: a StoreError that names the path."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be written"):
        write_object(str(tmp_path / "file" / "plan.json"), b"plan")
