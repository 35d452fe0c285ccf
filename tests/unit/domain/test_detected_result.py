"""Results of detectors: Items and Collections that catalogs take, and the command to run again."""

import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pystac
import pytest
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.table import TableExtension

from geodl_core.domain.detection.detector import MARGIN_PX
from geodl_core.domain.detection.table import Column
from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.grid import Grid
from geodl_core.domain.model.model import make_model
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.result.collection import build_collection, current_results_query, supersede
from geodl_core.domain.result.detected_item import halo_warning
from geodl_core.domain.result.item import build_item
from geodl_core.domain.result.result import (
    EMD_NAME,
    OBJECTS_FGB_NAME,
    OBJECTS_GEOJSON_NAME,
    OBJECTS_GPKG_NAME,
    OBJECTS_NAME,
    PREVIEW_NAME,
    DetectedScene,
    Provenance,
    StoredFile,
    class_rows,
    main_asset,
    rerun_command,
)
from schemas import require_valid

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EMD = {
    "ModelFile": "x.onnx",
    "ModelType": "ImageClassification",
    "ExtractBands": [0],
    "Classes": [{"Value": 1, "Name": "car"}, {"Value": 5, "Name": "Bus & coach"}],
}
GRAPH = Graph(
    inputs=(Tensor("x", "float32", (None, 1, None, None)),),
    outputs=(Tensor("y", "float32", (None, 2, None, None)),),
    activations=(None,),
    opset=17,
    digest="ab",
)
FORMATS = (OBJECTS_GPKG_NAME, OBJECTS_GEOJSON_NAME, OBJECTS_FGB_NAME)
FILES = {name: StoredFile(f"./{name}", 3, "1220" + "ab" * 32) for name in (OBJECTS_NAME, PREVIEW_NAME, EMD_NAME)}
ALL_FILES = {**FILES, **{name: StoredFile(f"./{name}", 3, "1220" + "ab" * 32) for name in FORMATS}}
PROVENANCE = Provenance(
    source={"id": "S2A", "collection": "s2", "properties": {"datetime": "2020-08-31T00:00:00Z", "gsd": 10}},
    source_href="/data/S2A.json",
    model=make_model(parse_emd(json.dumps(EMD), "m.emd"), GRAPH, "cars"),
    model_href="/models/m.emd",
    model_item_href=None,
    job_id="0123456789abcdef",
    grid=Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 10, 20),
    files=FILES,
    arguments={},
    radiometry={"kind": "raw"},
    bands={"0": "red:1"},
    collection="geodl-cars",
    software={"geodl": "0.1.0"},
)
WKT = 'GEOGCS["x",DATUM["d",SPHEROID["s",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925]]'


def scene_of(**fields: Any) -> DetectedScene:
    own = {
        "counts": {1: 30, 5: 10},
        "columns": (Column("geometry", "binary", ""), Column("score", "float", "of the network, 0 to 1")),
        "geometry_types": ("MultiPolygon", "Polygon"),
        "crs": "OGC:CRS84",
        "largest_px": 48.12345,
        "halo_px": 64,
    }
    for name in {*own, "cut", "primary_geometry"} & set(fields):
        own[name] = fields.pop(name)
    return DetectedScene(replace(PROVENANCE, **fields), **own)  # type: ignore[arg-type]


@pytest.mark.shared
@pytest.mark.parametrize("files", [FILES, ALL_FILES], ids=["parquet", "all formats"])
@pytest.mark.parametrize("counts", [{1: 30, 5: 10}, {}], ids=["some", "none"])
@pytest.mark.parametrize("crs", ["OGC:CRS84", "EPSG:32632", WKT], ids=["CRS84", "UTM", "WKT"])
def test_documents_are_valid(shared: Path, files: Any, counts: Any, crs: str) -> None:
    """Item and Collection are valid STAC 1.1, with every extension that they name, tables and vectors among them."""
    types = ("Polygon",) if counts else ()
    scene = scene_of(files=files, counts=counts, crs=crs, geometry_types=types, warnings=("dark",))
    item = build_item(scene, NOW)
    applied = require_valid(item, shared)
    assert set(item["stac_extensions"]) <= set(applied)
    named = {url.split("/")[-3] for url in item["stac_extensions"]}
    assert named == {"classification", "file", "processing", "projection", "table", "vector", "version"}
    collection = build_collection(scene, item, None)
    assert set(collection["stac_extensions"]) <= set(require_valid(collection, shared))
    grown = build_collection(scene, item, {**collection, "title": "Mine"})
    require_valid(grown, shared)
    assert grown["title"] == "Mine"


def test_item() -> None:
    """pystac reads the Item: its table with columns and rows, classes with counts, the grid and the objects' CRS."""
    document = build_item(scene_of(), NOW)
    assert json.loads(json.dumps(document)) == document
    item = pystac.Item.from_dict(document)
    assert item.id == "S2A_cars_01234567"
    asset = item.assets["detections"]
    assert asset.media_type == pystac.MediaType.VND_APACHE_PARQUET
    assert asset.roles == ["data", "detections"]
    table = TableExtension.ext(asset)
    assert [(column.name, column.col_type) for column in table.columns] == [("geometry", "binary"), ("score", "float")]
    assert (table.row_count, table.primary_geometry) == (40, "geometry")
    assert ProjectionExtension.ext(asset).code == "OGC:CRS84"
    assert ProjectionExtension.ext(item).code == "EPSG:32632"
    assert ProjectionExtension.ext(item).shape == [10, 20]
    classes = asset.extra_fields["classification:classes"]
    assert [(entry["value"], entry["name"], entry["count"], entry["percentage"]) for entry in classes] == [
        (1, "car", 30, 75.0),
        (5, "bus-coach", 10, 25.0),
    ]
    assert asset.extra_fields["vector:geometry_types"] == ["MultiPolygon", "Polygon"]
    properties = item.properties
    assert (properties["geodl:detections"], properties["geodl:largest_object_px"]) == (40, 48.12)
    assert properties["geodl:halo_px"] == 64
    assert properties["processing:lineage"] == "Object detection in Item S2A by model cars."
    assert "geodl:valid_percentage" not in properties
    assert set(item.assets) == {"detections", "preview", "model"}


def test_further_formats() -> None:
    """Every further file is an asset with its media type; GeoJSON is in its own CRS, the others in the table's."""
    assets = build_item(scene_of(files=ALL_FILES, crs="EPSG:3857"), NOW)["assets"]
    found = {key: (asset["href"], asset["type"], asset["proj:code"]) for key, asset in assets.items() if "_" in key}
    assert found == {
        "detections_gpkg": ("./detections.gpkg", pystac.MediaType.GEOPACKAGE, "EPSG:3857"),
        "detections_geojson": ("./detections.geojson", pystac.MediaType.GEOJSON, "OGC:CRS84"),
        "detections_fgb": ("./detections.fgb", pystac.MediaType.FLATGEOBUF, "EPSG:3857"),
    }
    assert {assets[key]["table:row_count"] for key in found} == {40}


def test_no_objects() -> None:
    """A scene without objects has an Item all the same: no rows, no geometry types, every class with none."""
    document = build_item(scene_of(counts={}, geometry_types=(), largest_px=0, halo_px=None), NOW)
    asset = main_asset(document)
    assert (asset["table:row_count"], asset["vector:geometry_types"]) == (0, [])
    assert [entry["count"] for entry in asset["classification:classes"]] == [0, 0]
    assert "geodl:halo_px" not in document["properties"]
    assert [row["percentage"] for row in class_rows(scene_of(counts={}))] == [0, 0]


def test_a_crs_without_a_code() -> None:
    """Objects in a CRS without a code are described by WKT beside a null code."""
    asset = main_asset(build_item(scene_of(crs=WKT), NOW))
    assert asset["proj:code"] is None
    assert asset["proj:wkt2"] == WKT


def test_rerun_command() -> None:
    """Arguments of the model are given by --arg, formats one by one, the others as options."""
    given = {
        "max_object": "30m",
        "format": ["parquet", "gpkg"],
        "crs": "EPSG:3857",
        "nms_overlap": 0.3,
        "tta_scales": "0.5,1",
        "exclude_pad_detections": False,
        "threshold": 0.4,
        "area": True,
    }
    words = shlex.split(rerun_command(scene_of(arguments=given).provenance))
    pairs = list(pairwise(words))
    assert words[:5] == ["geodl", "run", "/data/S2A.json", "--model", "/models/m.emd"]
    assert {value for option, value in pairs if option == "--arg"} == {
        "nms_overlap=0.3",
        "tta_scales=0.5,1",
        "exclude_pad_detections=False",
        "threshold=0.4",
        "area=True",
    }
    assert [value for option, value in pairs if option == "--format"] == ["parquet", "gpkg"]
    assert ("--max-object", "30m") in pairs
    assert ("--crs", "EPSG:3857") in pairs
    assert "--collection" not in words


def test_collection_and_successors() -> None:
    """The Collection names what its Items hold without counts; a newer result replaces the older one."""
    scene = scene_of()
    item = build_item(scene, NOW)
    collection = build_collection(scene, item, None)
    assert pystac.Collection.from_dict(collection).title == "Objects found by cars"
    (template,) = collection["item_assets"].values()
    assert list(collection["item_assets"]) == ["detections"]
    assert all("count" not in entry for entry in template["classification:classes"])
    older = build_item(scene_of(job_id="f" * 16), NOW)
    newer, (replaced,) = supersede(item, [older], NOW)
    assert replaced["properties"]["deprecated"] is True
    assert any(link["rel"] == "predecessor-version" for link in newer["links"])
    assert current_results_query(scene).collections == ("geodl-cars",)


@pytest.mark.parametrize(
    ("fields", "is_warned"),
    [
        ({"largest_px": 2 * (64 - MARGIN_PX)}, False),
        ({"largest_px": 2 * (64 - MARGIN_PX) + 0.5}, True),
        ({"largest_px": 500, "cut": 3}, True),
        ({"largest_px": 500, "cut": 0}, False),
        ({"largest_px": 500, "halo_px": None}, False),
        ({"largest_px": 500, "arguments": {"merge_cut": True}}, False),
        ({"largest_px": 20, "halo_px": 0}, True),
        ({"largest_px": 0, "halo_px": 0, "counts": {}}, False),
    ],
)
def test_halo_warning(fields: dict[str, Any], is_warned: bool) -> None:
    """One is warned where an object is longer than the halo is sure of, unless none was cut, or all were united."""
    warning = halo_warning(build_item(scene_of(**fields), NOW)["properties"])
    assert (warning is not None) is is_warned
    if warning:
        assert "--max-object" in warning
