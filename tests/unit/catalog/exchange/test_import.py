"""Imports of files as others write them, and of files that were made to break an import."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stac_geoparquet.arrow import parse_stac_items_to_parquet

from geodl_core.catalog.exchange.import_items import ImportOptions, import_items
from geodl_core.catalog.exchange.read_items import read_items
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.cli.catalog_import import import_catalog as import_command
from geodl_core.cli.main import guarded
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import GeodlError
from stac_documents import make_collection, make_item


def item(item_id, box=(5, 50, 6, 51), **properties):
    return make_item(item_id, box, **properties) | {"collection": "s"}


def write(path, *documents):
    """Write JSON: one document as it is, several as lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(one) for one in documents))
    return path


def imported(source, path, **options):
    """Import into a catalog file; return what was done, and the Items of the catalog."""
    with SqliteCatalog(path) as catalog:
        done = import_items(read_items(source), catalog, ImportOptions(**options))
        return done, {one["id"]: one for one in catalog.search(ItemQuery(limit=10_000)).items}


def complaint(source, path):
    """The error of an import that stops at the first problem."""
    with SqliteCatalog(path) as catalog, pytest.raises(GeodlError) as caught:
        import_items(read_items(source), catalog, ImportOptions())
    return caught.value.message


def test_the_library_s_tables_are_read(tmp_path):
    """A file that the library stac-geoparquet wrote gives the Items that it was made of."""
    items = [item(f"i{n}", gsd=n, created="2024-05-01T00:00:00Z", tags=[str(n)]) for n in range(4)]
    parse_stac_items_to_parquet(items, output_path=tmp_path / "a.parquet", collections={"s": make_collection("s")})
    done, found = imported(tmp_path / "a.parquet", tmp_path / "a.db")
    assert found == {one["id"]: one for one in items}
    assert (done.items, done.collections, dict(done.made)) == (4, ["s"], {})


@pytest.mark.parametrize("name", ["a.ndjson", "a.jsonl", "a.ndjson.gz", "a.json", "a.geojson", "list.json"])
def test_files_of_json_are_read(tmp_path, name):
    """Lines, gzipped too, a FeatureCollection and a list give the same Items."""
    items = [item("a"), item("b")]
    path = tmp_path / name
    if "json" in name.split(".")[1:] or name.endswith(".geojson"):
        path.write_text(json.dumps(items if name == "list.json" else {"type": "FeatureCollection", "features": items}))
    else:
        text = "\n\n".join(json.dumps(one) for one in items)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    done, found = imported(path, tmp_path / "a.db")
    assert found == {one["id"]: one for one in items}
    assert done.items == 2


def test_missing_collections_are_made_as_wide_as_their_items(tmp_path):
    """A Collection that nobody told of spans the boxes and times of all its Items, whatever batch they came in."""
    items = [
        item(f"i{n:04}", (n / 100, 1, n / 100 + 1, 2), datetime=f"20{10 + n // 100}-01-01T00:00:00Z")
        for n in range(1_200)
    ]
    done, _ = imported(write(tmp_path / "a.ndjson", *items), tmp_path / "a.db")
    assert list(done.made) == ["s"]
    with SqliteCatalog(tmp_path / "a.db") as catalog:
        extent = catalog.get_collection("s")["extent"]
    assert extent["spatial"]["bbox"] == [[0, 1, 12.99, 2]]
    assert extent["temporal"]["interval"] == [["2010-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]]


def test_existing_items_are_replaced_or_left(tmp_path):
    """What is there is replaced, or with --skip-existing left as it is, Collections too."""
    with SqliteCatalog(tmp_path / "a.db") as catalog:
        catalog.put_collection(make_collection("s", title="old"))
        catalog.put_items([item("a", text="old")])
    source = write(tmp_path / "a.ndjson", make_collection("s", title="new"), item("a", text="new"), item("b"))
    done, found = imported(source, tmp_path / "a.db", skips_existing=True)
    assert (done.items, done.skipped, done.collections) == (1, 1, [])
    assert found["a"]["properties"]["text"] == "old"
    done, found = imported(source, tmp_path / "a.db")
    assert (done.items, done.skipped, done.collections) == (2, 0, ["s"])
    assert found["a"]["properties"]["text"] == "new"
    with SqliteCatalog(tmp_path / "a.db") as catalog:
        assert catalog.get_collection("s")["title"] == "new"


def test_items_without_collection_get_the_one_named(tmp_path):
    """An Item that names no Collection is refused, or put into the one that is asked for."""
    source = write(tmp_path / "a.json", make_item("a"))
    assert "expected the id of its collection" in complaint(source, tmp_path / "a.db")
    _, found = imported(source, tmp_path / "a.db", collection_id="field")
    assert found["a"]["collection"] == "field"


def test_relative_hrefs_of_items_lead_to_their_files(tmp_path):
    """Assets beside an Item's file are found after the import; those that lie elsewhere lead to the web, if it told."""
    assets = {"here": {"href": "./x.tif"}, "gone": {"href": "../y.tif"}, "web": {"href": "https://example.com/z.tif"}}
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "x.tif").write_bytes(b"")
    origin = {"rel": "self", "href": "https://example.com/stac/items/a.json"}
    source = write(tmp_path / "items" / "a.json", item("a") | {"assets": assets, "links": [origin]})
    _, found = imported(source, tmp_path / "a.db")
    hrefs = {key: asset["href"] for key, asset in found["a"]["assets"].items()}
    assert hrefs == {
        "here": str(tmp_path / "items" / "x.tif"),
        "gone": "https://example.com/stac/y.tif",
        "web": "https://example.com/z.tif",
    }


def catalog(*links, kind="Catalog", **more):
    return {"type": kind, "stac_version": "1.1.0", "id": "root", "description": "x", "links": [
        {"rel": rel, "href": href} for rel, href in links]} | more  # fmt: skip


def test_static_catalogs_are_followed_once(tmp_path):
    """Documents that hold one another, or are linked twice, are read once; links in any direction but down are not."""
    write(
        tmp_path / "c" / "catalog.json", catalog(("child", "./s/collection.json"), ("item", "./a.json"), ("root", "x"))
    )
    below = [
        ("child", "../catalog.json"),
        ("child", "./collection.json"),
        ("item", "./b b.json"),
        ("item", "../a.json"),
    ]
    write(tmp_path / "c" / "s" / "collection.json", make_collection("s") | {"links": catalog(*below)["links"]})
    write(tmp_path / "c" / "s" / "b b.json", item("b"))
    write(tmp_path / "c" / "a.json", item("a"))
    for source in (tmp_path / "c", tmp_path / "c" / "catalog.json"):
        done, found = imported(source, tmp_path / "a.db")
        assert (done.items, sorted(found), done.collections) == (2, ["a", "b"], ["s"])


def test_absolute_links_of_a_published_catalog_are_read_from_its_copy(tmp_path):
    """A catalog that was downloaded whole is read from its files, though its links lead to the web."""
    base = "https://example.com/stac"
    links = [("self", f"{base}/catalog.json"), ("item", f"{base}/deep/a%20b.json")]
    write(tmp_path / "c" / "catalog.json", catalog(*links))
    write(tmp_path / "c" / "deep" / "a b.json", item("a"))
    done, _ = imported(tmp_path / "c", tmp_path / "a.db")
    assert done.items == 1


@pytest.mark.parametrize(
    ("href", "word"),
    [
        ("../secret.json", "inside"),
        ("/etc/passwd", "inside"),
        ("./linked/secret.json", "inside"),
        ("https://example.com/a.json", "the network"),
        ("http://169.254.169.254/latest/meta-data", "the network"),
        ("file:///etc/passwd", "the network"),
        ("./a\0b", "expected an href"),
        ("./gone.json", "No such file"),
        ("./folder", "directory"),
        ("./" + "a" * 3_000, "too long"),
    ],
)
def test_links_that_lead_out_are_not_followed(tmp_path, href, word):
    """No link of a static catalog leads out of its folder, by symbolic links neither, nor to the network."""
    write(tmp_path / "secret.json", item("secret"))
    (tmp_path / "c" / "folder").mkdir(parents=True)
    (tmp_path / "c" / "linked").symlink_to(tmp_path)
    write(tmp_path / "c" / "a.json", item("a"))
    write(tmp_path / "c" / "catalog.json", catalog(("item", href), ("item", "./a.json")))
    assert word in complaint(tmp_path / "c", tmp_path / "a.db")
    done, found = imported(tmp_path / "c", tmp_path / "a.db", keeps_going=True)
    assert (list(found), done.failed) == (["a"], 1)
    assert "catalog.json" in done.problems[0] or "c/" in done.problems[0]


def test_catalogs_without_end_come_to_one(tmp_path):
    """Catalogs nested more deeply than any real one are left at the fiftieth level."""
    for level in range(60):
        links = [("child", f"./{level + 1}.json"), ("item", f"./i{level}.json")]
        write(tmp_path / "c" / f"{level}.json", catalog(*links))
        write(tmp_path / "c" / f"i{level}.json", item(f"i{level}"))
    (tmp_path / "c" / "0.json").rename(tmp_path / "c" / "catalog.json")
    done, found = imported(tmp_path / "c", tmp_path / "a.db", keeps_going=True)
    assert (len(found), done.failed) == (50, 1)
    assert "50 levels" in done.problems[0]


LINES = {
    "no JSON": ("{", "expected JSON"),
    "a number": ("5", "expected a STAC Item"),
    "not a number": ('{"type": "Feature", "x": NaN}', "expected JSON"),
    "too deep": ('{"type": "Feature", "x": ' + "[" * 150 + "]" * 150 + "}", "100 levels"),
    "endless depth": ("[" * 100_000, "expected JSON"),
    "no text": (b"\xff\xfe", "expected UTF-8"),
    "10 MB": (json.dumps(item("x", text="x" * 10_000_000)), "4,194,304 bytes at most"),
    "wrong types": (json.dumps(item("x") | {"assets": 5}), "assets"),
    "no geometry": (json.dumps(item("x") | {"geometry": {"type": "Point", "coordinates": ["a"]}}), "positions"),
    "no time": (json.dumps(item("x", datetime=None)), "expected datetime"),
    "no id": (json.dumps(item("x") | {"id": 5}), "id"),
    "another kind": (json.dumps({"type": "Catalog"}), "expected a STAC Item"),
    "wrong collection": (json.dumps({"type": "Collection", "id": "x"}), "description"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_bad_line_is_named(tmp_path, name):
    """What is wrong in a file of lines is told with file and line; with --keep-going all else is imported."""
    bad, word = LINES[name]
    lines = [
        json.dumps(item("a")).encode(),
        bad if isinstance(bad, bytes) else bad.encode(),
        json.dumps(item("b")).encode(),
    ]
    source = tmp_path / "a.ndjson"
    source.write_bytes(b"\n".join(lines))
    said = complaint(source, tmp_path / "a.db")
    assert said.startswith(f"{source}: line 2: ")
    assert word in said
    assert len(said) < len(str(source)) + 300
    done, found = imported(source, tmp_path / "b.db", keeps_going=True)
    assert (sorted(found), done.items, done.failed) == (["a", "b"], 2, 1)
    assert done.problems == [said]


def test_a_bad_feature_is_named(tmp_path):
    """What is wrong in a FeatureCollection is told with the number of the feature."""
    features = [item("a"), item("b") | {"geometry": 5}, item("c", text="x" * 5_000_000)]
    source = write(tmp_path / "a.json", {"type": "FeatureCollection", "features": features})
    done, found = imported(source, tmp_path / "a.db", keeps_going=True)
    assert list(found) == ["a"]
    assert [
        problem.startswith(f"{source}: feature {n}: ")
        for n, problem in zip((3, 2), sorted(done.problems, reverse=True), strict=True)
    ] == [True] * 2


def test_bad_tables_are_named(tmp_path):
    """Damaged files, tables of something else and rows with what no Item holds are told with file and row."""
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")
    assert complaint(path, tmp_path / "a.db").startswith(f"{path}: expected a Parquet file")
    pq.write_table(pa.table({"x": [1]}), path)
    assert "without id, geometry, datetime" in complaint(path, tmp_path / "a.db")
    geometry = pa.array([None, b"no", None], pa.binary())
    times = pa.array([0, 0, 0], pa.timestamp("us", tz="UTC"))
    rows = {"id": ["a", "b", "c"], "collection": ["s"] * 3, "geometry": geometry, "datetime": times}
    pq.write_table(pa.table(rows), path)
    assert complaint(path, tmp_path / "a.db").startswith(f"{path}: row 2: geometry: expected WKB")
    done, found = imported(path, tmp_path / "a.db", keeps_going=True)
    assert (sorted(found), done.failed) == (["a", "c"], 1)
    pq.write_table(pa.table({"id": ["a"], "geometry": geometry[:1], "datetime": ["2024"], "links": [5]}), path)
    assert "row 1" in complaint(path, tmp_path / "a.db")


def test_truncated_files_are_told(tmp_path):
    """The Items before the end of a file that is cut off are imported; that it is cut off is told."""
    text = "\n".join(json.dumps(item(f"i{n}", text=f"{n}" * 3_000)) for n in range(200)).encode()
    source = tmp_path / "a.ndjson.gz"
    source.write_bytes(gzip.compress(text)[:-2_000])
    done, found = imported(source, tmp_path / "a.db", keeps_going=True)
    assert 0 < len(found) < 200
    assert done.failed == 1
    assert str(source) in done.problems[0]


def test_folders_with_bad_files_are_imported_around_them(tmp_path):
    """One bad file of a folder does not keep the others from being imported."""
    write(tmp_path / "f" / "a.json", item("a"))
    (tmp_path / "f" / "b.parquet").write_bytes(b"no")
    (tmp_path / "f" / "c.txt").write_bytes(b"notes")
    write(tmp_path / "f" / "d.ndjson", item("d"))
    done, found = imported(tmp_path / "f", tmp_path / "a.db", keeps_going=True)
    assert (sorted(found), done.failed) == (["a", "d"], 1)
    (tmp_path / "empty").mkdir()
    assert "found none" in complaint(tmp_path / "empty", tmp_path / "a.db")


def test_the_command_reports_and_fails(tmp_path, capsys):
    """The command lists what was bad and what was made up; its exit code tells whether all was imported."""
    source = write(tmp_path / "a.ndjson", item("a"), item("b") | {"geometry": 5}, item("c"))
    arguments = [str(source), "--catalog", str(tmp_path / "a.db")]
    assert guarded(lambda: import_command.main([*arguments], standalone_mode=False)) == 2
    assert f"{source}: line 2" in capsys.readouterr().err
    assert guarded(lambda: import_command.main([*arguments, "--keep-going"], standalone_mode=False)) == 2
    told = capsys.readouterr()
    assert f"bad      {source}: line 2" in told.err
    assert "imported 2 items, 0 collections" in told.out
    assert guarded(lambda: import_command.main([str(tmp_path / "no"), *arguments[1:]], standalone_mode=False)) == 2
    assert (
        guarded(lambda: import_command.main(["x", "--catalog", str(tmp_path / "new.db")], standalone_mode=False)) == 2
    )
    assert not (tmp_path / "new.db").exists()
