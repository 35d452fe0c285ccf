"""The embedded catalog stores, finds and orders Items, and says plainly when it cannot."""

import json
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from geodl_core.catalog.open import open_catalog
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.catalog.sqlite_search import keys_sql
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import CatalogError, ItemError, QueryError


def make_item(item_id, collection="c", geometry="default", bbox=None, **properties):
    if geometry == "default":
        geometry = {"type": "Point", "coordinates": [5, 50]}
    properties = {"datetime": "2024-05-01T00:00:00Z"} | properties
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": item_id,
        "collection": collection,
        "geometry": geometry,
        "properties": properties,
        "assets": {},
        "links": [],
    }
    return item | ({"bbox": bbox} if bbox else {})


def rectangle(west, south, east, north):
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def ids(catalog, **query):
    """The ids of all pages, in order."""
    found, token = [], None
    while True:
        page = catalog.search(ItemQuery(**query, token=token))
        found += [item["id"] for item in page.items]
        token = page.next_token
        if token is None:
            return found


@pytest.fixture
def catalog(tmp_path):
    clock = iter(datetime(2024, 1, 1, 0, 0, second, tzinfo=UTC) for second in range(60))
    with SqliteCatalog(tmp_path / "catalog.db", clock=lambda: next(clock)) as opened:
        opened.put_collection({"id": "c", "type": "Collection"})
        opened.put_collection({"id": "d", "type": "Collection"})
        yield opened


def test_what_is_put_is_got(catalog):
    """An Item and a Collection come back as they were given, key order and all."""
    item = make_item("ä/1", title="x\u2028y", nested={"b": [1, 2.5, None]})
    catalog.put_item(item)
    assert json.dumps(catalog.get_item("c", "ä/1")) == json.dumps(item)
    assert catalog.get_collection("c") == {"id": "c", "type": "Collection"}
    assert [one["id"] for one in catalog.collections()] == ["c", "d"]
    assert catalog.get_item("c", "none") is None
    assert catalog.get_item("d", "ä/1") is None
    assert catalog.get_collection("none") is None


def test_replace_leaves_no_trace(catalog):
    """A replaced Item is found where it is now and nowhere else."""
    catalog.put_item(make_item("a", geometry=rectangle(170, -1, 190, 1)))
    catalog.put_item(make_item("a", geometry=rectangle(10, 10, 11, 11), datetime="2020-01-01T00:00:00Z"))
    assert ids(catalog, bbox=(175, -1, 185, 1)) == []
    assert ids(catalog, bbox=(10, 10, 11, 11)) == ["a"]
    assert ids(catalog, datetime="2024") == []
    assert catalog.count(ItemQuery()) == 1


def test_delete(catalog):
    """A deleted Item is gone from reads and from space; deleting it again says so."""
    catalog.put_item(make_item("a"))
    assert catalog.delete_item("c", "a") is True
    assert catalog.delete_item("c", "a") is False
    assert catalog.get_item("c", "a") is None
    assert ids(catalog, bbox=(-180, -90, 180, 90)) == []


def test_outbox_tells_every_write_once_in_order(catalog):
    """Each write has one outbox row with its kind, its etag and the time of the clock."""
    catalog.put_item(make_item("a"))
    catalog.put_items([make_item("a", x=1), make_item("b")])
    catalog.delete_item("c", "a")
    first, second, *rows = catalog.outbox(after=0, limit=10)
    assert [(row.op, row.collection_id, row.item_id) for row in (first, second)] == [
        ("create", "c", None),
        ("create", "d", None),
    ]
    assert [(row.op, row.item_id) for row in rows] == [
        ("create", "a"),
        ("replace", "a"),
        ("create", "b"),
        ("delete", "a"),
    ]
    assert rows[1].etag == rows[3].etag != rows[0].etag
    assert rows[0].at == datetime(2024, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert [row.seq for row in catalog.outbox(after=rows[1].seq, limit=1)] == [rows[2].seq]


def test_a_bad_item_stores_nothing(catalog):
    """One Item that does not serve keeps all of its batch, and its outbox rows, out."""
    for bad in (make_item("b", collection="missing"), make_item("b", datetime="yesterday")):
        with pytest.raises((CatalogError, ItemError)):
            catalog.put_items([make_item("a"), bad])
    assert catalog.count(ItemQuery()) == 0
    assert [row.item_id for row in catalog.outbox(0, 10)] == [None, None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": None}, "expected an id"),
        ({"collection": None}, "id of its collection"),
        ({"properties": {"datetime": None}}, "start_datetime and end_datetime"),
        ({"properties": {"datetime": "gestern"}}, "RFC 3339"),
        ({"properties": {"datetime": "2024-01-01T00:00:00Z", "x": float("nan")}}, "JSON"),
        ({"properties": {"datetime": "2024-01-01T00:00:00Z", "x": "\ud800"}}, "JSON"),
        ({"geometry": {"type": "Polygon", "coordinates": []}}, "geometry"),
        ({"geometry": {"type": "Blob"}}, "geometry"),
        ({"geometry": {"type": "Point", "coordinates": ["a", "b"]}}, "geometry"),
        ({"geometry": 5}, "geometry"),
    ],
)
def test_unusable_items_are_refused_in_one_line(catalog, change, words):
    """What a catalog cannot store is named in one line, and is no accident of Python."""
    with pytest.raises(ItemError) as caught:
        catalog.put_item(make_item("a") | change)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_missing_collection_is_named(catalog):
    """An Item without its Collection is refused, and the Collection is named."""
    with pytest.raises(CatalogError, match="no collection 'missing'"):
        catalog.put_item(make_item("a", collection="missing"))


def test_default_order_is_newest_first(catalog):
    """Without an order the newest come first, ties the later written first."""
    for name, year in (("a", 2020), ("b", 2022), ("c", 2021), ("d", 2022)):
        catalog.put_item(make_item(name, datetime=f"{year}-01-01T00:00:00Z"))
    assert ids(catalog) == ["d", "b", "c", "a"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    "sortby",
    [
        (),
        (("eo:cloud_cover", True),),
        (("eo:cloud_cover", False),),
        (("plain", True), ("datetime", False)),
        (("plain", False), ("eo:cloud_cover", True), ("id", True)),
        (("id", False),),
        (('we"ird', True),),
    ],
)
def test_pages_hold_each_item_once_in_one_order(catalog, sortby, limit):
    """Whatever the order, its ties and its gaps, pages join to the unpaged answer; gaps come last."""
    clouds = [3, None, 1.5, 3, None, 0, 100, 3]
    for number, cloud in enumerate(clouds):
        extra = {} if cloud is None else {"eo:cloud_cover": cloud, "plain": cloud // 2, 'we"ird': -cloud}
        catalog.put_item(make_item(f"i{number}", datetime=f"20{10 + number % 3}-01-01T00:00:00Z", **extra))
    whole = ids(catalog, sortby=sortby, limit=1000)
    assert ids(catalog, sortby=sortby, limit=limit) == whole
    assert sorted(whole) == [f"i{number}" for number in range(8)]
    if sortby and sortby[0][0] not in ("id",):
        assert set(whole[-2:]) == {"i1", "i4"}
    if sortby == (("eo:cloud_cover", False),):
        assert whole[0] == "i6"


def test_paging_while_items_arrive(catalog):
    """Items inserted between two pages neither repeat nor displace those that were there."""
    first = [f"old{number}" for number in range(10)]
    for number, name in enumerate(first):
        catalog.put_item(make_item(name, datetime=f"2024-05-{number // 2 + 1:02}T00:00:00Z"))
    seen, token = [], None
    for step in range(20):
        page = catalog.search(ItemQuery(limit=3, token=token))
        seen += [item["id"] for item in page.items]
        catalog.put_item(make_item(f"new{step}", datetime=f"2024-05-{step % 8 + 1:02}T00:00:00Z"))
        token = page.next_token
        if token is None:
            break
    assert sorted(name for name in seen if name.startswith("old")) == sorted(first)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("token", ["x", "", "e30=", "WzEsMiwzXQ==", "ß"])
def test_foreign_tokens_are_refused(catalog, token):
    """A token that no search gave is an error in one line."""
    with pytest.raises(QueryError, match="token"):
        catalog.search(ItemQuery(token=token))


def test_token_of_another_order_is_refused(catalog):
    """A token continues the order it came from only."""
    catalog.put_items([make_item("a"), make_item("b")])
    token = catalog.search(ItemQuery(limit=1)).next_token
    with pytest.raises(QueryError, match="same order"):
        catalog.search(ItemQuery(limit=1, token=token, sortby=(("id", True),)))


FIJI = {
    "type": "MultiPolygon",
    "coordinates": [rectangle(177, -19, 180, -16)["coordinates"], rectangle(-180, -19, -178, -16)["coordinates"]],
}


@pytest.mark.parametrize(
    ("geometry", "bbox"),
    [
        (FIJI, None),
        (rectangle(177, -19, 182, -16), None),
        (rectangle(-183, -19, -178, -16), None),
        (rectangle(-178, -19, 177, -16), [177, -19, -178, -16]),
    ],
)
def test_antimeridian_items_are_where_they_are(catalog, geometry, bbox):
    """An Item across the antimeridian, however it is written, is found on both sides and not between."""
    catalog.put_item(make_item("fiji", geometry=geometry, bbox=bbox))
    catalog.put_item(make_item("paris", geometry=rectangle(2, 48, 3, 49)))
    for box in ((176, -18, 178, -17), (-179, -18, -170, -17), (179, -20, -179, 0), (179, -20, 181, 0)):
        assert ids(catalog, bbox=box) == ["fiji"], box
    for box in ((-100, -20, 100, 0), (170, -20, 176, 0), (-177, -20, -170, 0), (178, 0, -178, 10)):
        assert ids(catalog, bbox=box) == [], box
    assert ids(catalog, bbox=(170, -90, 10, 90)) == ["paris", "fiji"]
    assert ids(catalog, intersects=rectangle(179, -18, 181, -17)) == ["fiji"]


def test_space_is_exact(catalog):
    """A triangle is not found by the empty corner of its box; a shared border is found."""
    triangle = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [0, 10], [0, 0]]]}
    catalog.put_item(make_item("a", geometry=triangle))
    assert ids(catalog, bbox=(8, 8, 9, 9)) == []
    assert ids(catalog, bbox=(-5, -5, 0, 0)) == ["a"]
    assert ids(catalog, bbox=(1, 1, 1, 1)) == ["a"]
    assert ids(catalog, bbox=(1, 1, 1, 20)) == ["a"]
    assert ids(catalog, bbox=(-180, -90, 180, 90)) == ["a"]


def test_null_geometry_is_found_by_all_but_space(catalog):
    """An Item without a geometry is stored and found by id, time and property."""
    catalog.put_item(make_item("a", geometry=None, x=1))
    assert ids(catalog) == ids(catalog, filter="x = 1") == ids(catalog, filter="geometry is null") == ["a"]
    assert ids(catalog, bbox=(-180, -90, 180, 90)) == []
    assert ids(catalog, filter="not s_intersects(geometry, BBOX(0,0,1,1))") == []


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2024-02", ["long"]),
        ("2024-05-01T00:00:00Z", ["moment", "long"]),
        ("2024-05-01T02:00:00+02:00", ["moment", "long"]),
        ("2024-05", ["moment", "long"]),
        ("2025/..", []),
        ("../2023-12-31", []),
        ("../2024-01-01", ["long"]),
        ("2024-07-01/2024-08-01", []),
        ("2024-06-30/", ["long"]),
    ],
)
def test_datetime_finds_moments_and_ranges(catalog, when, expected):
    """A time finds Items at it and Items that were going on; ends are inclusive, months whole."""
    catalog.put_item(make_item("moment"))
    span = {"start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-06-30T23:59:59Z"}
    catalog.put_item(make_item("long", datetime=None, **span))
    assert ids(catalog, datetime=when) == expected
    assert catalog.count(ItemQuery(datetime=when)) == len(expected)


@pytest.mark.parametrize("when", ["", "..", "../..", "/", "soon", "2024-13", "2024/2023", "2024/2025/2026"])
def test_unreadable_datetimes_are_refused(catalog, when):
    """A time that cannot be read is an error with an example."""
    with pytest.raises(QueryError, match="datetime") as caught:
        catalog.search(ItemQuery(datetime=when))
    assert "2024-05" in (caught.value.hint or "")


def test_ids_and_collections_narrow(catalog):
    """Lists of ids and of Collections are alternatives within, conditions between."""
    catalog.put_items([make_item("a"), make_item("b"), make_item("a", collection="d")])
    assert sorted(ids(catalog, ids=("a",))) == ["a", "a"]
    assert ids(catalog, ids=("a", "zz"), collections=("d",)) == ["a"]
    assert ids(catalog, collections=("zz",)) == []


@pytest.mark.parametrize(
    "build",
    [
        lambda folder: folder,
        lambda folder: (folder / "text.db", (folder / "text.db").write_text("no database " * 200))[0],
        lambda folder: (folder / "file", (folder / "file").write_text("x"))[0] / "catalog.db",
        lambda folder: Path("/proc/geodl/catalog.db"),
    ],
)
def test_unusable_paths_are_one_line(tmp_path, build):
    """A folder, another file, a file in place of a folder, a place without leave: each is one plain line."""
    with pytest.raises(CatalogError, match="expected") as caught:
        SqliteCatalog(build(tmp_path))
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is not None or "folder" in caught.value.message


def test_another_sqlite_file_is_left_alone(tmp_path):
    """A SQLite database of some other program is refused and not changed."""
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(CatalogError, match="another kind of SQLite database"):
        SqliteCatalog(path)
    assert path.read_bytes() == before


def test_newer_catalog_is_refused(tmp_path):
    """A file of a newer geodl asks for an upgrade."""
    path = tmp_path / "catalog.db"
    SqliteCatalog(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CatalogError, match="found 99") as caught:
        SqliteCatalog(path)
    assert "upgrade" in (caught.value.hint or "")


def test_missing_file_is_not_made_by_a_reader(tmp_path):
    """Reading where there is no catalog says how one comes to be, and makes no file."""
    path = tmp_path / "sub" / "catalog.db"
    with pytest.raises(CatalogError, match="found none") as caught:
        open_catalog(str(path), create=False)
    assert "registered" in (caught.value.hint or "")
    assert not path.parent.exists()
    with open_catalog(str(path)) as made:
        assert made.collections() == []


def test_closed_catalog_says_so(tmp_path):
    """A closed catalog refuses in its own words."""
    catalog = SqliteCatalog(tmp_path / "catalog.db")
    catalog.close()
    catalog.close()
    with pytest.raises(CatalogError, match="closed"):
        catalog.get_item("c", "a")


def test_threads_share_a_catalog(catalog):
    """Threads write and read one catalog at the same time."""
    errors = []

    def write(thread):
        try:
            for number in range(20):
                catalog.put_item(make_item(f"{thread}-{number}"))
        except CatalogError as err:
            errors.append(err)

    catalog._clock = lambda: datetime(2024, 1, 1, tzinfo=UTC)
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert catalog.count(ItemQuery()) == 80


def test_indexed_properties_use_their_index(catalog):
    """A filter and a sort on a queryable read its index, not every Item."""
    for query in (
        ItemQuery(filter="\"grid:code\" = 'x'"),
        ItemQuery(sortby=(("eo:cloud_cover", True),)),
        ItemQuery(sortby=(("eo:cloud_cover", False),)),
    ):
        select = keys_sql(query)
        plan = catalog._rows(f"EXPLAIN QUERY PLAN {select.text}", select.params)
        assert "items_queryable" in " ".join(row[3] for row in plan)
