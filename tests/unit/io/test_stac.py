"""STAC documents: read from files, migrated, and refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.errors import ItemError
from geodl_core.io.remote.http import hide_secrets
from geodl_core.io.stac import item_href, parse_item, read_item

ITEM: dict[str, Any] = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "stac_extensions": ["https://stac-extensions.github.io/projection/v1.1.0/schema.json"],
    "id": "scene",
    "collection": "c",
    "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
    "bbox": [0, 0, 1, 1],
    "properties": {"datetime": "2020-08-31T00:00:00Z", "proj:epsg": 32632},
    "links": [{"rel": "self", "href": "https://x.test/scene.json"}],
    "assets": {"red": {"href": "./B04.tif", "type": "image/tiff", "eo:bands": [{"name": "B04"}]}},
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def write(folder: Path, document: object) -> Path:
    path = folder / "scene.json"
    path.write_text(json.dumps(document))
    return path


def test_an_item_of_stac_1_0(tmp_path: Path) -> None:
    """An Item of STAC 1.0 is read as 1.1, its relative hrefs start from its own place."""
    item = read_item(str(write(tmp_path, ITEM)))
    assert item["stac_version"].startswith("1.1")
    assert item["properties"]["proj:code"] == "EPSG:32632"
    assert Path(item["assets"]["red"]["href"]) == tmp_path / "B04.tif"
    assert item["id"] == "scene"


def test_relative_paths_and_byte_order_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is relative to the working folder, and a byte-order mark is accepted."""
    (tmp_path / "scene.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(ITEM).encode())
    monkeypatch.chdir(tmp_path)
    assert Path(read_item("scene.json")["assets"]["red"]["href"]) == tmp_path / "B04.tif"


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("./B04.tif", "https://x.test/items/B04.tif"),
        ("../B04.tif", "https://x.test/B04.tif"),
        ("https://y.test/B04.tif?sig=1", "https://y.test/B04.tif?sig=1"),
        ("s3://bucket/B04.tif", "s3://bucket/B04.tif"),
        ("/vsicurl/https://y.test/B04.tif", "/vsicurl/https://y.test/B04.tif"),
    ],
)
def test_hrefs_of_remote_items(href: str, expected: str) -> None:
    """Relative hrefs of an Item from a URL start from the URL, absolute ones stay."""
    document = {**ITEM, "assets": {"red": {**ITEM["assets"]["red"], "href": href}}}
    assert parse_item(document, "https://x.test/items/scene.json")["assets"]["red"]["href"] == expected


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff\xfe", b"{", b"[" * 100_000, b"1" * 5000 + b"x"])
def test_files_that_are_not_json(tmp_path: Path, content: bytes) -> None:
    """A file that holds no JSON is an ItemError that names it."""
    path = tmp_path / "scene.json"
    path.write_bytes(content)
    with pytest.raises(ItemError, match=r"scene\.json"):
        read_item(str(path))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """A path without a file is an ItemError with a hint."""
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ItemError) as caught:
            read_item(str(path))
        assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({**ITEM, "type": "Collection"}, "Collection"),
        ([], "list"),
        (None, "NoneType"),
        ({}, "JSON without a type"),
        ("x", "str"),
    ],
)
def test_documents_that_are_no_items(tmp_path: Path, document: object, found: str) -> None:
    """A Collection or other JSON is an ItemError that says what was found."""
    with pytest.raises(ItemError, match=f"found {found}"):
        read_item(str(write(tmp_path, document)))


@given(st.dictionaries(st.sampled_from(list(ITEM)), json_values, min_size=1, max_size=2))
def test_spoilt_items_are_read_or_refused(changes: dict[str, object]) -> None:
    """Whatever stands in an Item's fields, it is read or an ItemError."""
    try:
        parse_item({**ITEM, **changes, "type": "Feature"}, "/data/scene.json")
    except ItemError as error:
        assert "scene.json" in error.message


@pytest.mark.parametrize(
    ("href", "shown"),
    [
        ("https://user:secret@x.test:8080/a.tif?sig=secret#secret", "https://x.test:8080/a.tif"),
        ("https://x.test/a.tif", "https://x.test/a.tif"),
        ("s3://bucket/a.tif?secret", "s3://bucket/a.tif"),
        ("/data/a?b.tif", "/data/a?b.tif"),
        ("C:\\data\\a.tif", "C:\\data\\a.tif"),
    ],
)
def test_secrets_are_hidden(href: str, shown: str) -> None:
    """Query, fragment, user and password are left out of URLs; paths stay as they are."""
    assert hide_secrets(href) == shown


def test_secrets_of_vsicurl_are_hidden() -> None:
    """A URL behind GDAL's prefix hides its secrets too."""
    assert "secret" not in hide_secrets("/vsicurl/https://user:secret@x.test/a.tif?sig=secret")


def test_urls_that_are_none() -> None:
    """A URL that cannot be parsed is an ItemError."""
    with pytest.raises(ItemError):
        read_item("https://[x/scene.json")


def test_item_href() -> None:
    """An Item's own place is shown without secrets, and None where it does not say."""
    assert item_href({"links": [{"rel": "self", "href": "https://u:p@x.test/a.json?s=1"}]}) == "https://x.test/a.json"
    assert item_href({"links": [{"rel": "root", "href": "x"}, {"rel": "self", "href": ""}]}) is None
    assert item_href({}) is None
