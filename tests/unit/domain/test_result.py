"""Results: names, shares, the command to run again, and Items that catalogs take."""

import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pystac
import pytest

from geodl_core.domain.classes import ClassEntry, Storage
from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.grid import Grid
from geodl_core.domain.model.model import make_model
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.pixels.product import class_product
from geodl_core.domain.plan.job import Arguments, arguments_json
from geodl_core.domain.result.collection import build_collection, current_results_query, supersede
from geodl_core.domain.result.item import build_item
from geodl_core.domain.result.result import (
    COG_NAME,
    EMD_NAME,
    PREVIEW_NAME,
    TABLE_NAME,
    ClassifiedScene,
    Provenance,
    StoredFile,
    class_rows,
    rerun_command,
    source_key,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EMD = {
    "ModelFile": "x.onnx",
    "ModelType": "ImageClassification",
    "ExtractBands": [0],
    "Classes": [{"Value": 1, "Name": "tree"}, {"Value": 2, "Name": "Wasser & Eis"}],
}
GRAPH = Graph(
    inputs=(Tensor("x", "float32", (None, 1, None, None)),),
    outputs=(Tensor("y", "float32", (None, 2, None, None)),),
    activations=(None,),
    opset=17,
    digest="ab",
)
FILES = {name: StoredFile(f"./{name}", 3, "1220ab") for name in (COG_NAME, TABLE_NAME, PREVIEW_NAME, EMD_NAME)}


def scene_of(**fields: object) -> ClassifiedScene:
    provenance = Provenance(
        source={"id": "S2A", "collection": "s2", "properties": {"datetime": "2020-08-31T00:00:00Z", "gsd": 10}},
        source_href="/data/S2A.json",
        model=make_model(parse_emd(json.dumps(EMD), "m.emd"), GRAPH, "land cover"),
        model_href="/models/m.emd",
        model_item_href=None,
        job_id="0123456789abcdef",
        grid=Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 10, 20),
        files=FILES,
        arguments={"pad": "reflect", "bands": {"0": "my band"}, "tile_size": 256, "source_range": [0, 10]},
        radiometry={"kind": "raw"},
        bands={"0": "red:1"},
        collection="geodl-land-cover",
        software={"geodl": "0.1.0"},
    )
    counts = fields.pop("counts", {1: 30, 2: 90, 255: 80})
    storage = Storage("uint8", 255)
    return ClassifiedScene(replace(provenance, **fields), storage, (class_product(storage),), counts)  # type: ignore[arg-type]


def test_sources_are_named() -> None:
    """A source is named by its Collection and its id."""
    assert source_key({"id": "a", "collection": "c"}) == "c/a"
    assert source_key({"id": "a", "collection": None}) == "a"


def test_shares_are_of_the_valid_pixels() -> None:
    """Percentages are of the pixels that have a class; without any they are 0."""
    assert [(row["count"], row["percentage"]) for row in class_rows(scene_of())] == [(30, 25.0), (90, 75.0)]
    assert [row["percentage"] for row in class_rows(scene_of(counts={255: 200}))] == [0.0, 0.0]


def test_rerun_command_survives_a_shell() -> None:
    """The command splits into the words that were meant, spaces within them included."""
    words = shlex.split(rerun_command(scene_of(source_href="/my data/S2A.json").provenance))
    assert words[:5] == ["geodl", "run", "/my data/S2A.json", "--model", "/models/m.emd"]
    assert ("--band", "0=my band") in pairwise(words)
    assert ("--arg", "tile_size=256") in pairwise(words)
    assert ("--source-range", "0,10") in pairwise(words)


def test_rerun_command_without_the_models_augmentation() -> None:
    """What the model wishes and the user declined is declined again, else another job would run."""
    found = scene_of(arguments=arguments_json(Arguments(test_time_augmentation=False))).provenance
    words = shlex.split(rerun_command(replace(found, model=replace(found.model, is_augmented=True))).lower())
    assert ("--arg", "test_time_augmentation=false") in pairwise(words)


def test_item() -> None:
    """The Item is read by pystac, says where it is from, and its outline agrees with its box."""
    document = build_item(scene_of(), NOW)
    assert json.loads(json.dumps(document)) == document
    item = pystac.Item.from_dict(document)
    assert item.id == "S2A_land-cover_01234567"
    assert item.properties["geodl:valid_percentage"] == 60
    assert item.properties["proj:code"] == "EPSG:32632"
    assert item.properties["created"] == "2026-01-02T03:04:05Z"
    lons, lats = zip(*document["geometry"]["coordinates"][0], strict=True)
    assert document["bbox"] == [min(lons), min(lats), max(lons), max(lats)]
    classes = document["assets"]["classification"]["classification:classes"]
    assert [entry["name"] for entry in classes] == ["tree", "wasser-eis"]
    assert [entry["count"] for entry in classes] == [30, 90]


def test_the_model_of_an_item() -> None:
    """The Item links the model's own Item where there is one, else the definition that lies beside it."""
    for href, expected, kind in (
        (None, "./model.emd", "application/json"),
        ("/models/m.json", "/models/m.json", "application/geo+json"),
    ):
        links = build_item(scene_of(model_item_href=href), NOW)["links"]
        (link,) = [link for link in links if link.get("mlm:name") == "land-cover"]
        assert (link["rel"], link["href"], link["type"]) == ("derived_from", expected, kind)


def test_item_of_a_crs_without_a_code() -> None:
    """A CRS without a code is written as WKT beside a null code."""
    wkt = 'GEOGCS["x",DATUM["d",SPHEROID["s",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925]]'
    grid = Grid(wkt, (0.01, 0.0, 10.0, 0.0, -0.01, 50.0), 5, 5)
    properties = build_item(scene_of(grid=grid), NOW)["properties"]
    assert properties["proj:code"] is None
    assert properties["proj:wkt2"] == wkt


@pytest.mark.parametrize("name", ["森林", "&&&", ""])
def test_class_names_without_latin_letters(name: str) -> None:
    """Every class gets a name that the classification extension takes, its own as title."""
    model = scene_of().provenance.model
    classes = (ClassEntry(1, name, (0, 0, 0)), model.classes[1])
    document = build_item(scene_of(model=replace(model, classes=classes)), NOW)
    first = document["assets"]["classification"]["classification:classes"][0]
    assert (first["name"], first["title"]) == ("class-1", name)


def test_collection_grows_with_its_items() -> None:
    """A Collection's extent holds all its Items; what somebody wrote into it stays."""
    first = build_item(scene_of(), NOW)
    made = build_collection(scene_of(), first, None)
    assert pystac.Collection.from_dict(made).id == "geodl-land-cover"
    far = scene_of(grid=Grid("EPSG:32633", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 10, 20))
    second = build_item(far, NOW)
    grown = build_collection(far, second, {**made, "title": "Mine", "license": "CC0-1.0", "keywords": ["x"]})
    box = grown["extent"]["spatial"]["bbox"][0]
    for item in (first, second):
        assert box[0] <= item["bbox"][0]
        assert box[2] >= item["bbox"][2]
    assert (grown["title"], grown["license"], grown["keywords"]) == ("Mine", "CC0-1.0", ["x"])


def test_newer_results_replace_older_ones() -> None:
    """The newer Item links its predecessor, which is deprecated and links its successor, once."""
    old = build_item(scene_of(job_id="f" * 16), NOW)
    new, (replaced,) = supersede(build_item(scene_of(), NOW), [old], NOW)
    _, (again,) = supersede(new, [replaced], NOW)
    assert replaced["properties"]["deprecated"] is True
    assert old["properties"]["deprecated"] is False
    assert sum(link["rel"] == "predecessor-version" for link in new["links"]) == 1
    assert sum(link["rel"] == "successor-version" for link in again["links"]) == 1
    assert current_results_query(scene_of()).collections == ("geodl-land-cover",)
