"""Exports, and imports of them: by the commands, between catalog files."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import pytest
from stac_geoparquet.arrow import stac_table_to_items

from geodl_core.catalog.exchange.destination import MARK, check_destination
from geodl_core.catalog.exchange.export import export_catalog
from geodl_core.catalog.exchange.source import Source
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.cli.catalog_export import export_catalog as export_command
from geodl_core.cli.catalog_import import import_catalog as import_command
from geodl_core.cli.main import guarded
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import InputError
from schemas import require_valid
from stac_documents import make_collection, make_item, rectangle

FORMATS = ("stac-geoparquet", "static", "ndjson")
ITEMS = [
    make_item("plain", (5, 50, 6, 51), gsd=10, created="2024-05-01T10:00:00.123Z"),
    make_item("a b+ü", (178, -1, -178, 1), datetime="2024-06-01T00:00:00.930000Z", gsd=0.5)
    | {"geometry": {"type": "MultiPolygon", "coordinates": [
        rectangle(178, -1, 180, 1)["coordinates"], rectangle(-180, -1, -178, 1)["coordinates"]]}},
    make_item("../up/and/away", empty=[], none=None, nested={"a": {"b": []}, "c": [{"d": 1}, {"e": "x"}]}),
    make_item("high") | {"bbox": [5, 50, 0, 6, 51, 9.5], "geometry": {"type": "Point", "coordinates": [5, 50, 3]}},
    {
        key: value
        for key, value in make_item(
            "nowhere", datetime=None, start_datetime="2024-01-01T00:00:00Z", end_datetime="2024-12-31T00:00:00Z"
        ).items()
        if key != "bbox"
    }
    | {"geometry": None},
    make_item("linked") | {"links": [
        {"rel": "via", "href": "https://example.com/b"},
        {"rel": "derived_from", "href": "https://example.com/a", "title": "a"},
        {"rel": "about", "href": "https://example.com/c", "type": "text/html"},
    ]},
    make_item("mixed", gsd="ten", nested=5, **{"proj:geometry": rectangle(0, 0, 9, 9)}) | {"assets": {}},
]  # fmt: skip


def fill(path, items, collections=("s",)):
    with SqliteCatalog(path) as catalog:
        for name in collections:
            catalog.put_collection(make_collection(name, title=f"Bäume {name}"))
        catalog.put_items([{**item, "collection": name} for name in collections for item in items])


def content(path):
    """All Items of a catalog file by their ids, and its Collections."""
    with SqliteCatalog(path, create=False) as catalog:
        items = {(one["collection"], one["id"]): one for one in catalog.search(ItemQuery(limit=10_000)).items}
        return items, catalog.collections()


def command(which, *arguments):
    """Run a command in this process as `geodl` would; return its exit code."""
    return guarded(lambda: which.main([str(one) for one in arguments], standalone_mode=False))


def origins(item):
    rels = ("self", "canonical")
    return {link["href"] for link in item["links"] if link["rel"] in rels and "://" in link["href"]}


def without_structure(item):
    rels = ("self", "root", "parent", "collection", "canonical")
    return {**item, "links": [link for link in item["links"] if link["rel"] not in rels]}


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ignore(_):
    pass


@pytest.mark.parametrize("form", FORMATS)
def test_a_round_trip_changes_nothing(tmp_path, form):
    """Export, import into an empty catalog and export again: the same Items, Collections and bytes."""
    fill(tmp_path / "a.db", ITEMS, ("s", "t/u"))
    assert command(export_command, tmp_path / "one", "--format", form, "--catalog", tmp_path / "a.db") == 0
    assert command(import_command, tmp_path / "one", "--catalog", tmp_path / "b.db") == 0
    assert content(tmp_path / "b.db") == content(tmp_path / "a.db")
    assert command(export_command, tmp_path / "two", "--format", form, "--catalog", tmp_path / "b.db") == 0
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.shared
@pytest.mark.parametrize("form", FORMATS)
def test_real_items_survive_a_round_trip(tmp_path, shared, form):
    """Items of Earth Search, Planetary Computer and stactools come back, in their static form without their catalog's
    own links."""
    found = [json.loads(path.read_text()) for path in sorted((shared / "fixtures" / "stac").glob("*.json"))]
    items = [{**one, "id": f"i{n}"} for n, one in enumerate(found) if one.get("type") == "Feature"]
    assert len(items) > 8
    fill(tmp_path / "a.db", items)
    assert command(export_command, tmp_path / "one", "--format", form, "--catalog", tmp_path / "a.db") == 0
    assert command(import_command, tmp_path / "one", "--catalog", tmp_path / "b.db") == 0
    before, after = content(tmp_path / "a.db")[0], content(tmp_path / "b.db")[0]
    assert before.keys() == after.keys()
    for key, item in before.items():
        other = after[key]
        assert origins(other) <= origins(item)
        assert bool(origins(other)) == bool(origins(item))
        if form == "static":
            item, other = without_structure(item), without_structure(other)  # noqa: PLW2901
        assert item == other


@pytest.mark.parametrize("form", FORMATS)
def test_the_order_of_publishing_does_not_matter(tmp_path, form):
    """The same Items give the same bytes, in whatever order they were published, their members in any order."""
    fill(tmp_path / "a.db", ITEMS)
    fill(tmp_path / "b.db", [dict(reversed(item.items())) for item in reversed(ITEMS)])
    for name in "ab":
        assert command(export_command, tmp_path / name, "--format", form, "--catalog", tmp_path / f"{name}.db") == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_the_library_reads_our_tables(tmp_path):
    """The library stac-geoparquet reads an export: all values of all Items, the Collection in the file's metadata."""
    items = [make_item(f"i{n}", (n, 1, n + 1, 2), gsd=n / 2, created="2024-05-01T00:00:00Z") for n in range(5)]
    fill(tmp_path / "a.db", items)
    assert command(export_command, tmp_path / "out", "--catalog", tmp_path / "a.db") == 0
    table = pq.read_table(tmp_path / "out" / "s.parquet")
    found = list(stac_table_to_items(table))
    for item, other in zip(items, found, strict=True):
        assert other["properties"].pop("geodl:exact") is None
        assert other["properties"].pop("datetime") == "2024-05-01T00:00:00.000000Z"
        assert other["properties"].pop("created") == "2024-05-01T00:00:00.000000Z"
        assert other["geometry"] == item["geometry"]
        assert (other["id"], other["bbox"], other["assets"]) == (item["id"], item["bbox"], item["assets"])
        assert other["properties"] == {"gsd": item["properties"]["gsd"]}
    told = json.loads(table.schema.metadata[b"stac-geoparquet"])
    assert told["collections"]["s"]["title"] == "Bäume s"
    assert json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]["encoding"] == "WKB"


def test_pystac_browses_our_static_catalogs(tmp_path):
    """pystac finds each Collection and Item of a static export, moved elsewhere, by links that are all relative."""
    fill(tmp_path / "a.db", ITEMS, ("s", "t"))
    assert command(export_command, tmp_path / "out", "--format", "static", "--catalog", tmp_path / "a.db") == 0
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    root = pystac.Catalog.from_file(moved / "catalog.json")
    assert [one.id for one in root.get_children()] == ["s", "t"]
    found = list(root.get_items(recursive=True))
    assert sorted(one.id for one in found) == sorted(item["id"] for item in ITEMS * 2)
    assert {one.get_collection().id for one in found} == {"s", "t"}
    assert all(one.get_root() is root and one.get_parent().id == one.collection_id for one in found)
    structure = ("root", "parent", "child", "item", "collection", "self")
    for path in moved.rglob("*.json"):
        if path.name != MARK:
            hrefs = [link["href"] for link in json.loads(path.read_text())["links"] if link["rel"] in structure]
            assert all(href.startswith(("./", "../")) and (path.parent / href).is_file() for href in hrefs)


@pytest.mark.shared
def test_static_catalogs_are_valid(tmp_path, shared):
    """Each document of a static export is valid by the schemas of STAC 1.1."""
    fill(tmp_path / "a.db", ITEMS)
    assert command(export_command, tmp_path / "out", "--format", "static", "--catalog", tmp_path / "a.db") == 0
    documents = [path for path in (tmp_path / "out").rglob("*.json") if path.name != MARK]
    assert len(documents) == len(ITEMS) + 2
    for path in documents:
        document = json.loads(path.read_text())
        if document["id"] != "mixed":  # its gsd is a word
            require_valid(document, shared)


def test_only_what_matches_is_exported(tmp_path, capsys):
    """Collections, a bounding box, a time and a filter choose Items as they do in a search."""
    fill(tmp_path / "a.db", ITEMS, ("s", "t"))
    asked = ["-c", "s", "--bbox", "179,-1,-179,1", "--datetime", "2024-06", "--filter", "gsd < 1"]
    arguments = ["--format", "ndjson", "--catalog", tmp_path / "a.db", *asked]
    assert command(export_command, tmp_path / "out", *arguments) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MARK, "s.json", "s.ndjson"]
    lines = (tmp_path / "out" / "s.ndjson").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a b+ü"]
    assert "1  s" in capsys.readouterr().out
    assert command(export_command, tmp_path / "no", "-c", "none", "--catalog", tmp_path / "a.db") == 2
    assert "'none': there is none" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_foreign_folders_are_left_alone(tmp_path, capsys):
    """A folder with other files is replaced only where --force says so; an earlier export without; a file never."""
    fill(tmp_path / "a.db", ITEMS)
    target = tmp_path / "out"
    target.mkdir()
    arguments = [target, "--format", "ndjson", "--catalog", tmp_path / "a.db"]
    assert command(export_command, *arguments) == 0  # it was empty
    assert command(export_command, *arguments) == 0  # it is ours
    (target / "thesis.txt").write_text("work of years")
    assert command(export_command, *arguments) == 2
    assert "--force" in capsys.readouterr().err
    assert (target / "thesis.txt").exists()
    assert command(export_command, *arguments, "--force") == 0
    assert not (target / "thesis.txt").exists()
    (tmp_path / "file").write_text("x")
    assert command(export_command, tmp_path / "file", "--force", "--catalog", tmp_path / "a.db") == 2
    assert command(export_command, tmp_path / "x.parquet", "--catalog", tmp_path / "a.db") == 2
    assert sorted(path.name for path in tmp_path.glob("*")) == ["a.db", "a.db-shm", "a.db-wal", "file", "out"] or not [
        path for path in tmp_path.iterdir() if path.name.startswith(".")
    ]


def test_folders_on_which_more_depends_are_never_replaced(tmp_path, monkeypatch):
    """The working folder, one above it and the home folder are refused even by force."""
    (tmp_path / "in").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in (Path(), tmp_path, tmp_path / "home", Path("/")):
        with pytest.raises(InputError, match="more depends on"):
            check_destination(folder, is_forced=True)


def test_an_export_is_whole_or_not_there(tmp_path):
    """An export that fails in the middle leaves the earlier one as it was, and nothing of itself."""
    fill(tmp_path / "a.db", [make_item(f"i{n}") for n in range(30)])
    with SqliteCatalog(tmp_path / "a.db") as catalog:
        for form in FORMATS:
            source = Source(catalog, ItemQuery())
            export_catalog(source, tmp_path / "out", form, False, ignore)
            before = tree(tmp_path / "out")

            class Failing:
                collections, count = catalog.collections, catalog.count

                def search(self, query):
                    page = catalog.search(replace(query, limit=10))
                    if query.token:
                        raise KeyboardInterrupt
                    return page

            with pytest.raises(KeyboardInterrupt):
                export_catalog(replace(source, catalog=Failing()), tmp_path / "out", form, False, ignore)
            assert tree(tmp_path / "out") == before
            assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_items_are_read_page_by_page(tmp_path):
    """An export asks for no more than a page at a time, and no Item twice."""
    fill(tmp_path / "a.db", [make_item(f"i{n:04}") for n in range(2_500)])
    with SqliteCatalog(tmp_path / "a.db") as catalog:
        asked = []

        class Counting:
            collections, count = catalog.collections, catalog.count

            def search(self, query):
                asked.append(query.limit)
                return catalog.search(query)

        told = []
        export_catalog(Source(Counting(), ItemQuery()), tmp_path / "out", "ndjson", False, told.append)
    assert asked == [1_000] * 3
    assert sum(told) == 2_500
    lines = (tmp_path / "out" / "s.ndjson").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"i{n:04}" for n in range(2_500)]


def test_row_groups_are_small(tmp_path):
    """A table has many row groups, so that neither its writer nor its readers need it whole in memory."""
    fill(tmp_path / "a.db", [make_item(f"i{n:04}", notes="x" * 20_000) for n in range(1_800)])
    with SqliteCatalog(tmp_path / "a.db") as catalog:
        export_catalog(Source(catalog, ItemQuery()), tmp_path / "out", "stac-geoparquet", False, ignore)
    assert pq.ParquetFile(tmp_path / "out" / "s.parquet").num_row_groups == 3


def test_a_collection_without_items_is_kept(tmp_path):
    """A Collection that has no Items comes through each format."""
    fill(tmp_path / "a.db", [], ("empty",))
    for form in FORMATS:
        assert command(export_command, tmp_path / form, "--format", form, "--catalog", tmp_path / "a.db") == 0
        assert command(import_command, tmp_path / form, "--catalog", tmp_path / f"{form}.db") == 0
        assert content(tmp_path / f"{form}.db") == content(tmp_path / "a.db")


def test_the_commands_are_light():
    """The help of both commands needs none of the heavy packages."""
    code = (
        "import sys\n"
        "from geodl_core.cli.catalog_export import export_catalog\n"
        "from geodl_core.cli.catalog_import import import_catalog\n"
        "heavy = ('numpy', 'pyarrow', 'pydantic', 'shapely', 'requests', 'rich', 'sqlite3')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_tables_of_plain_arrow_are_read(tmp_path):
    """A table with a bounding box as a list, large strings, dictionaries and time stamps of milliseconds is read."""
    rows = {
        "id": pa.array(["a"], pa.large_string()),
        "collection": pa.array(["s"]).dictionary_encode(),
        "geometry": pa.array([bytes.fromhex("0101000000000000000000144000000000000049c0")]),
        "bbox": pa.array([[5.0, -50.0, 5.0, -50.0]]),
        "datetime": pa.array([1714557600123], pa.timestamp("ms")),
        "assets": pa.array([{"x": {"href": "https://example.com/x", "roles": ["data"]}}]),
        "links": pa.array([[{"rel": "self", "href": "https://example.com/a", "type": None}]]),
        "type": pa.array(["Feature"]),
        "stac_version": pa.array(["1.0.0"]),
    }
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    assert command(import_command, tmp_path / "a.parquet", "--catalog", tmp_path / "a.db") == 0
    items, collections = content(tmp_path / "a.db")
    assert items[("s", "a")] == {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "a",
        "collection": "s",
        "geometry": {"type": "Point", "coordinates": [5, -50]},
        "bbox": [5, -50, 5, -50],
        "properties": {"datetime": "2024-05-01T10:00:00.123Z"},
        "links": [{"rel": "self", "href": "https://example.com/a"}],
        "assets": {"x": {"href": "https://example.com/x", "roles": ["data"]}},
    }
    assert collections[0]["extent"]["spatial"]["bbox"] == [[5, -50, 5, -50]]
