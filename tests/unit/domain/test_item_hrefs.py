"""Hrefs of Items: alternates, notes for who opens them, and what may not be named."""

from typing import Any

import pytest

from geodl_core.domain.place.access import Access
from geodl_core.domain.place.href import hide_secrets, scrub, split_notes
from geodl_core.domain.scene.item import read_scene
from geodl_core.domain.scene.item_hrefs import reachable_item
from geodl_core.errors import ItemError

BLOB = "https://account.blob.core.windows.net/container/scene.tif"
PC = "https://planetarycomputer.microsoft.com/api/stac/v1"


def item(
    href: str, links: tuple[str, ...] = (), properties: dict[str, Any] | None = None, **asset: Any
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": "one",
        "properties": properties or {},
        "links": [{"rel": "self", "href": link} for link in links],
        "assets": {"B04": {"href": href, "type": "image/tiff", **asset}, "preview": {"href": "/x.png"}},
    }


def href_of(prepared: dict[str, Any]) -> str:
    return str(prepared["assets"]["B04"]["href"])


@pytest.mark.parametrize(
    "href",
    [
        *("/etc/hostname", "file:///etc/hostname", "/vsicurl/http://169.254.169.254/x.tif", "vrt://x.tif", "../x.tif"),
        *(
            "/vsizip//vsicurl/https://x/y.zip/z.tif",
            "zip+https://x/y.zip!z.tif",
            "NETCDF:/etc/hostname:a",
            "WMS:https://x",
        ),
        *(
            "<VRTDataset rasterXSize='1'><x>/etc/passwd</x></VRTDataset>",
            "GTIFF_DIR:1:/x.tif",
            "C:\\x.tif",
            "ftp://x/y.tif",
        ),
        *("s3:///x.tif", "s3://@evil/x.tif", "s3://bucket", "https://x/a.tif\n", " https://x/a.tif", "HTTPS+zip://x"),
        "/vsicurl?url=http://169.254.169.254/",
    ],
)
def test_items_from_elsewhere_name_public_urls_alone(href: str) -> None:
    """A path, a virtual path, a description or name of a GDAL driver is refused, in service mode in local Items too."""
    for access, is_local in ((Access(), False), (Access(is_service=True), True), (Access(is_service=True), False)):
        with pytest.raises(ItemError, match="asset B04: expected the URL of a public file"):
            reachable_item(item(href), access, is_local=is_local)
    assert href_of(reachable_item(item(href), Access(), is_local=True)) == href


@pytest.mark.parametrize("href", ["https://x.org/a.tif?b=c", "s3://bucket/a b.tif", "gs://b-1/x.tif", "az://c/x.tif"])
def test_public_urls_pass(href: str) -> None:
    """Web servers and buckets may be named; assets that are no rasters are not opened and not judged."""
    assert href_of(reachable_item(item(href), Access(is_service=True), is_local=False)) == href


def test_the_first_scheme_there_is_wins() -> None:
    """Alternates are chosen by scheme, in the user's order; without one the asset's own href is read."""
    alternate = {"s3": {"href": "s3://bucket/x.tif", "storage:region": "us-west-2"}, "odd": "text", "none": {}}
    source = item("https://x.org/x.tif", alternate=alternate)
    assert href_of(reachable_item(source, Access(), is_local=False)) == "https://x.org/x.tif"
    chosen = href_of(reachable_item(source, Access(schemes=("gs", "s3", "https")), is_local=False))
    assert split_notes(chosen) == ("s3://bucket/x.tif", {"region": "us-west-2"})
    assert href_of(reachable_item(source, Access(schemes=("gs",)), is_local=False)) == "https://x.org/x.tif"


@pytest.mark.parametrize(
    ("properties", "asset"),
    [
        ({"storage:region": "eu-1"}, {}),
        ({}, {"storage:region": "eu-1"}),
        ({"storage:schemes": {"aws": {"region": "eu-1"}}}, {"storage:refs": ["aws"]}),
    ],
)
def test_the_region_is_noted(properties: dict[str, Any], asset: dict[str, Any]) -> None:
    """Both versions of the storage extension tell a bucket's region."""
    prepared = reachable_item(item("s3://bucket/x.tif", (), properties, **asset), Access(), is_local=False)
    assert split_notes(href_of(prepared))[1] == {"region": "eu-1"}


def test_the_planetary_computers_files_are_noted_for_signing() -> None:
    """Its blobs are to be signed, also where an old signature came along; others' blobs and hosts are not."""
    for source in (item(BLOB + "?se=1&sig=SECRET", (f"{PC}/x",)), item(BLOB, (), {"providers": [{"url": PC}]})):
        prepared = href_of(reachable_item(source, Access(), is_local=False))
        assert split_notes(prepared)[0] == BLOB
        assert split_notes(prepared)[1]["sign"]
    assert href_of(reachable_item(item(BLOB), Access(), is_local=False)) == BLOB
    assert (
        href_of(reachable_item(item("https://x.org/a.tif", (PC,)), Access(), is_local=False)) == "https://x.org/a.tif"
    )
    evil = "https://evil.org/planetarycomputer.microsoft.com/"
    assert href_of(reachable_item(item(BLOB, (evil,)), Access(), is_local=False)) == BLOB


def test_notes_are_not_shown_and_not_in_the_way() -> None:
    """An href with notes is shown without; an asset without a type is still a raster by its name."""
    source = item(BLOB, (PC,))
    del source["assets"]["B04"]["type"]
    prepared = reachable_item(source, Access(), is_local=False)
    assert hide_secrets(href_of(prepared)) == BLOB
    assert [band.asset for band in read_scene(prepared).bands] == ["B04"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET https://x.org/a.tif?sig=S%2B/3=&se=1: 403", "GET https://x.org/a.tif 403"),
        ("'/vsicurl/https://u:pw@x.org/a.tif?sig=S' not found", "'/vsicurl/https://x.org/a.tif' not found"),
        ("/a.tif?sig=S HTTP/1.1", "/a.tif HTTP/1.1"),
        ("is it there? a=b", "is it there? a=b"),
    ],
)
def test_others_texts_lose_their_secrets(text: str, clean: str) -> None:
    """Queries and credentials of URLs are taken out of a text."""
    assert scrub(text) == clean
