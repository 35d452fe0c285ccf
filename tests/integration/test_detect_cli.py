"""Detectors from the command line: every option, the stages apart, killed and gone on, repeated from the Item."""

import json
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely

from commands import geodl, geodl_here
from detectors_finished import answering_network, some_objects, torchvision_answer
from items import write_item
from networks import write_emd
from perfect import NAMES, write_detector, write_objects
from runs import data_files
from scenes import write_raster
from schemas import require_valid

SHAPE = (300, 420)
TILE = 128
TRUTH = [
    *(
        (6 + 52 * col, 8 + 48 * row, 30 + 52 * col, 36 + 48 * row, (row + col) % 3)
        for row in range(6)
        for col in range(8)
    ),
    (118, 286, 160, 299, 1),
]
"""Boxes and classes; some across the borders and corners of tiles."""
SIDES = [f"box_px_{side}" for side in ("xmin", "ymin", "xmax", "ymax")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a scene, a perfect detector, and a detector that gives masks."""
    folder = tmp_path_factory.mktemp("detector")
    write_objects(folder, TRUTH, SHAPE)
    write_detector(folder, TILE, Padding=32)
    masked = folder / "masked"
    masked.mkdir()
    objects = some_objects((96, 128))
    answering_network(masked / "net.onnx", torchvision_answer(objects, has_masks=True), (96, 128))
    classes = [{"Value": value, "Name": f"c{value}"} for value in (1, 2, 3)]
    keys = {"ImageHeight": 96, "ImageWidth": 128, "ExtractBands": [0, 1, 2], "Padding": 0, "Classes": classes}
    write_emd(masked, **keys, ModelType="InstanceDetection")
    values = np.random.default_rng(3).integers(0, 255, (3, 96, 128), "uint8")
    write_item(masked, {"image": {"href": write_raster(masked / "scene.tif", values, cell=0.5)}})
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path_factory.getbasetemp() / "detect-cli-cache"))
    for name in ("GEODL_OUT", "GEODL_CATALOG"):
        monkeypatch.delenv(name, raising=False)


def run(folder, out, *words):
    """Run the perfect detector; return what --json prints."""
    done = geodl_here("run", folder / "scene.json", "-m", folder / "net.emd", "-o", out, "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def table_of(document):
    return gpd.read_parquet(Path(document["folder"]) / "detections.parquet")


def rows_of(table):
    boxes = np.rint(table[SIDES].to_numpy())
    return sorted(map(tuple, np.column_stack([boxes, table["class_id"] - 10]).astype(int).tolist()))


EXPECTED = sorted(map(tuple, TRUTH))


@pytest.fixture(scope="module")
def result(folder, tmp_path_factory):
    """An undisturbed run: where it lies, and what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEODL_CACHE", str(tmp_path_factory.mktemp("first-cache")))
        return run(folder, folder / "whole", "--format", "gpkg")


def test_what_is_printed(folder, result, tmp_path):
    """--json says where the result is and how many objects there are; people are told the classes; search finds it."""
    assert result["status"] == "computed"
    assert result["detections"] == len(TRUTH)
    assert {"detections", "preview", "model"} <= set(result["assets"])
    assert all(Path(result["folder"], Path(href).name).is_file() for href in result["assets"].values())
    assert [entry["name"] for entry in result["classes"]] == [name.lower() for name in NAMES]
    assert rows_of(table_of(result)) == EXPECTED
    done = geodl_here("run", folder / "scene.json", "-m", folder / "net.emd", "-o", tmp_path)
    assert done.returncode == 0
    for place, name in enumerate(NAMES):
        count = sum(box[4] == place for box in TRUTH)
        (line,) = [line for line in done.stdout.splitlines() if name in line]
        assert str(count) in line.split()
    found = geodl_here("search", "--catalog", folder / "whole" / "catalog.db", "--json")
    assert found.returncode == 0, found.stderr
    assert result["id"] in found.stdout


def test_the_item_is_valid(result, shared):
    """The Item that is registered satisfies the schemas of STAC and of its extensions, and tells the objects."""
    item = json.loads(Path(result["item"]).read_text())
    require_valid(item, shared)
    assert item["properties"]["geodl:detections"] == len(TRUTH)
    assert item["properties"]["geodl:cut_objects"] == 0
    assert item["properties"]["geodl:largest_object_px"] == 42


FORMATS = ("parquet", "gpkg", "geojson", "fgb")


def test_all_formats(folder, tmp_path):
    """Every format holds the same objects, in the same places."""
    document = run(folder, tmp_path, *(word for each in FORMATS for word in ("--format", each)))
    tables = [
        gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)
        for path in (Path(document["folder"]) / f"detections.{each}" for each in FORMATS)
    ]
    shapes = [sorted(shapely.to_wkb(shapely.normalize(table.geometry.values), hex=True)) for table in tables]
    assert len(shapes[0]) == len(TRUTH)
    for table in tables:
        assert table.crs.equals("OGC:CRS84") or table.crs.equals("EPSG:4326")
        assert sorted(table["class_name"].astype(str)) == sorted(NAMES[box[4]] for box in TRUTH)
    for table in tables[1:]:
        centres, others = (
            np.sort(shapely.get_coordinates(shapely.centroid(each.geometry.values)), axis=0)
            for each in (tables[0], table)
        )
        np.testing.assert_allclose(centres, others, atol=1e-7)
    for key in ("detections", "detections_gpkg", "detections_geojson", "detections_fgb"):
        assert Path(document["folder"], Path(document["assets"][key]).name).is_file()


@pytest.mark.parametrize("crs", ["EPSG:32633", "scene", "EPSG:3857"])
def test_geometries_in_any_crs(folder, result, tmp_path, crs):
    """--crs says in which CRS the geometries are; what is found, and the pixels, stay as they are."""
    table = table_of(run(folder, tmp_path, "--crs", crs))
    wanted = "EPSG:32633" if crs == "scene" else crs
    assert table.crs == pyproj.CRS(wanted)
    assert rows_of(table) == EXPECTED
    plain = table_of(result).to_crs(wanted).sort_values(SIDES, ignore_index=True)
    table = table.sort_values(SIDES, ignore_index=True)
    assert table.geometry.hausdorff_distance(plain.geometry).max() < 0.01
    if wanted == "EPSG:32633":
        x0, y1, x1, y0 = table[SIDES].to_numpy().T
        corners = np.stack([300000 + x0, 5300040 - y0, 300000 + x1, 5300040 - y1], axis=1)
        np.testing.assert_allclose(table.bounds.to_numpy(), corners, atol=1e-3)


def test_max_object(folder, tmp_path):
    """--max-object, in pixels or metres, decides how far tiles overlap; without it the definition does."""
    for number, size in enumerate(("47", "47px", "47m")):
        # Half of it and a margin of 8 pixels.
        document = run(folder, tmp_path / str(number), "--max-object", size)
        properties = json.loads(Path(document["item"]).read_text())["properties"]
        assert properties["geodl:halo_px"] == 32
        assert properties["geodl:arguments"]["max_object"] == size
        assert rows_of(table_of(document)) == EXPECTED


def same_objects(table, document):
    assert rows_of(table) == EXPECTED


def only_certain(table, document):
    assert (table["score"] > 0.89).all()
    assert len(table)


def points_alone(table, document):
    assert set(table.geom_type) == {"Point"}
    x, y = shapely.get_coordinates(table.to_crs("EPSG:32633").geometry.values).T
    np.testing.assert_allclose(x - 300000, table[SIDES[::2]].mean(axis=1), atol=1e-3)
    np.testing.assert_allclose(5300040 - y, table[SIDES[1::2]].mean(axis=1), atol=1e-3)


def with_areas(table, document):
    boxes = table[SIDES].to_numpy().T
    plane = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
    # UTM's scale on the ground is 0.9996 to 1.0002 here.
    np.testing.assert_allclose(table["area_m2"], plane, rtol=2e-3)


def in_arcgis_names(table, document):
    other = gpd.read_file(Path(document["folder"]) / "detections.gpkg")
    assert {"Class", "Classvalue", "Confidence"} <= set(other.columns)
    assert other["Confidence"].between(50, 100).all()
    assert {"class_name", "class_id", "score"} <= set(table.columns)


def nothing_at_all(table, document):
    assert len(table) == 0


ARGUMENTS = {
    "threshold=0.5": same_objects,
    "threshold=0.99": nothing_at_all,
    "score_threshold=0.89": only_certain,
    "padding=32": same_objects,
    "padding=40": same_objects,
    "tile_size=128": same_objects,
    "batch_size=3": same_objects,
    "nms_overlap=0.2": same_objects,
    "nms_overlap=0.95": same_objects,
    "exclude_pad_detections=false": same_objects,
    "merge_cut=true": same_objects,
    "seam_measure=ios": same_objects,
    "run_nms=true;max_overlap_ratio=0.3": same_objects,
    "run_nms=true": same_objects,
    "geometry=point": points_alone,
    "area=true": with_areas,
    "arcgis_fields=true": in_arcgis_names,
    "test_time_augmentation=false": same_objects,
    "tta_scales=0.5,1": same_objects,
}


@pytest.mark.parametrize("text", ARGUMENTS)
def test_every_argument(folder, tmp_path, text):
    """Every argument does what it says, and the Item tells of it."""
    document = run(folder, tmp_path, "--arg", text, "--format", "gpkg")
    ARGUMENTS[text](table_of(document), document)
    told = json.loads(Path(document["item"]).read_text())["properties"]["geodl:arguments"]
    for pair in text.split(";"):
        name, value = pair.split("=")
        usual = {"exclude_pad_detections": "true", "tta_scales": "1", "score_threshold": "", "batch_size": ""}
        if usual.get(name) not in (value, ""):
            assert str(told[name]).lower() == value


def test_the_arguments_are_listed(folder):
    """--help-model names every argument that was tried here, and those of outlines where there are such."""
    listed = geodl_here("run", "--help-model", folder / "net.emd").stdout
    names = {pair.split("=")[0] for text in ARGUMENTS for pair in text.split(";")}
    assert {line.split()[0] for line in listed.splitlines()[1:]} == names
    masked = geodl_here("run", "--help-model", folder / "masked" / "net.emd").stdout
    there = {line.split()[0] for line in masked.splitlines()[1:]}
    # One image at a time is all that its answer can tell apart.
    assert there == names - {"batch_size"} | {"return_bboxes", "simplify"}


RERUN = {
    "plain": (),
    "options": ("--max-object", "44m", "--crs", "EPSG:3857", "--format", "fgb", "--format", "geojson"),
    "arguments": (
        "--arg",
        "threshold=0.6;nms_overlap=0.3;merge_cut=true;seam_measure=ios;exclude_pad_detections=false",
    ),
    "written": ("--arg", "geometry=point;area=true;arcgis_fields=true;run_nms=true;max_overlap_ratio=0.25"),
    "others": ("--aoi", "12.333,47.81,12.338,47.83", "--arg", "padding=20;tile_size=120;batch_size=2", "--pad", "edge"),
    "score threshold": ("--arg", "score_threshold=0.7", "--crs", "scene", "--collection", "a collection's name"),
    "augmented": ("--arg", "test_time_augmentation=true;tta_scales=0.5,1", "--compress", "lzw"),
}


def missing(words, command):
    """Return what a command line lacks of the options and arguments of another."""
    found = shlex.split(command)
    pieces = [piece for word in words for piece in word.split(";")]
    said = {piece.lower() for word in found for piece in word.split(";")}
    # One is another name, one is no part of the result, and an area is told as GeoJSON.
    kept = [piece for piece in pieces if not piece.startswith(("score_threshold", "batch_size", "12."))]
    return [piece for piece in kept if piece.lower() not in said]


@pytest.mark.parametrize("name", RERUN)
def test_repeated_from_the_item(folder, tmp_path, name):
    """The command in the Item has every option and argument, and gives the same bytes from another folder."""
    words = RERUN[name]
    document = run(folder, tmp_path / "out", *words)
    item = json.loads(Path(document["item"]).read_text())
    assert missing(words, item["properties"]["geodl:rerun"]) == []
    done = geodl_here("rerun", document["item"])
    assert done.returncode == 0, (done.stdout, done.stderr, item["properties"]["geodl:rerun"])
    lines = done.stdout.splitlines()
    assert lines[0] == "job      the same"
    assert lines[1:] == [f"equal    {key}" for key in item["assets"]]


@pytest.mark.parametrize("text", ["return_bboxes=true", "simplify=3", "simplify=0"])
def test_outlines_repeated_from_the_item(folder, tmp_path, text):
    """So it is with the arguments of outlines."""
    words = ("-m", folder / "masked" / "net.emd", "-o", tmp_path, "--arg", text, "--json")
    done = geodl_here("run", folder / "masked" / "scene.json", *words)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    item = json.loads(Path(document["item"]).read_text())
    name, value = text.split("=")
    assert f"{name}={value}" in item["properties"]["geodl:rerun"].lower()
    assert geodl_here("rerun", document["item"]).returncode == 0
    shapes = table_of(document).geometry
    assert len(shapes) == 3
    assert all(len(shape.exterior.coords) == 5 for shape in shapes) == (text == "return_bboxes=true")


def test_a_result_that_is_there(folder, result, tmp_path):
    """A finished run repeated does nothing, --force computes it anew, a lost file has it computed."""
    out = tmp_path / "out"
    shutil.copytree(folder / "whole", out)
    again = run(folder, out, "--format", "gpkg")
    assert again["status"] == "present"
    place = Path(again["folder"])
    before = data_files(place)
    times = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    forced = run(folder, out, "--format", "gpkg", "--force")
    assert forced["status"] == "computed"
    assert data_files(place) == before
    assert any(path.stat().st_mtime_ns != times.get(path.name) for path in place.iterdir())
    (place / "detections.gpkg").unlink()
    assert run(folder, out, "--format", "gpkg")["status"] == "computed"
    assert data_files(place) == before
    # Another format is another result.
    assert run(folder, out)["id"] != again["id"]


def test_a_plan_in_numbers(folder, tmp_path):
    """`geodl plan --dry-run --json` tells tiles, work, and with --calibrate time; it writes nothing."""
    words = ("plan", folder / "scene.json", "-m", folder / "net.emd", "-o", tmp_path, "--dry-run", "--json")
    done = geodl_here(*words)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    core = TILE - 2 * 32
    assert plan["tiles"] == -(-SHAPE[0] // core) * -(-SHAPE[1] // core) == plan["live"]
    assert plan["pixels"] == SHAPE[0] * SHAPE[1]
    assert plan["overhead"] == pytest.approx((TILE / core) ** 2)
    assert plan["output_bytes"] is None
    assert 1 <= plan["shards"] <= plan["tiles"]
    assert plan["memory_bytes"] > 0
    assert plan["plan"] is None
    larger = json.loads(geodl_here(*words, "--arg", "tile_size=192").stdout)
    assert larger["tiles"] < plan["tiles"]
    # Whatever the tile, the network is shown no more than it takes.
    chips = 192 * 192 * (5 * 2 + 1) * larger["threads"]
    assert larger["memory_bytes"] < plan["memory_bytes"] + chips + SHAPE[1] * 128 * 8
    calibrated = json.loads(geodl_here(*words, "--calibrate", "--shards", "3").stdout)
    assert calibrated["pixels_per_s"] > 0
    assert calibrated["seconds"] == pytest.approx(plan["pixels"] / calibrated["pixels_per_s"])
    assert calibrated["shards"] == 3
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    lines = geodl_here(*words[:-1]).stdout
    assert "output" not in lines
    assert f"tiles    {plan['live']} of {plan['tiles']} live, 128 × 128 pixels read, halo 32" in lines


def test_the_stages_apart(folder, result, tmp_path):
    """Plan, shards in any order, merge and register give the bytes and the Item of a whole run."""
    words = ("-m", folder / "net.emd", "--format", "gpkg", "--shards", "4", "--to", tmp_path / "job")
    done = geodl_here("plan", folder / "scene.json", *words)
    assert done.returncode == 0, done.stderr
    plan = tmp_path / "job" / "plan.json"
    for n in (2, 0, 3):
        assert geodl_here("shard", plan, n, 4, "--quiet").returncode == 0
    early = geodl_here("merge", plan)
    assert early.returncode == 3
    assert "1 of 4 parts" in early.stderr
    assert geodl_here("shard", plan, 1, 4, "--quiet", "--batch-size", "3").returncode == 0
    present = geodl_here("shard", plan, 1, 4, "--quiet")
    assert present.stdout.startswith("present")
    merged = geodl_here("merge", plan)
    assert merged.returncode == 0, merged.stderr
    assert f"merged   {len(TRUTH)} objects" in merged.stdout
    registered = geodl_here("register", plan, "--catalog", tmp_path / "catalog.db", "--json")
    assert registered.returncode == 0, registered.stderr
    item, whole = json.loads(registered.stdout), json.loads(Path(result["item"]).read_text())
    assert data_files(tmp_path / "job") == data_files(Path(result["folder"]))
    volatile = ("created", "updated", "processing:datetime", "geodl:rerun")
    for name, value in whole["properties"].items():
        if name not in volatile:
            assert item["properties"][name] == value, name
    assert {key: asset["file:checksum"] for key, asset in item["assets"].items()} == {
        key: asset["file:checksum"] for key, asset in whole["assets"].items()
    }


def test_a_plan_keeps_every_choice(folder, tmp_path):
    """What was chosen for a run is chosen for the shards of its plan, which read nothing but the plan."""
    words = (
        *("--crs", "scene", "--format", "geojson", "--max-object", "44m", "--pad", "reflect", "--collection", "mine"),
        *("--arg", "test_time_augmentation=true;tta_scales=0.5,1;threshold=0.4;nms_overlap=0.3;tile_size=160"),
        *("--arg", "merge_cut=true;seam_measure=ios;run_nms=true;max_overlap_ratio=0.5;geometry=point;area=true"),
        *("--arg", "arcgis_fields=true;exclude_pad_detections=false"),
    )
    whole = run(folder, tmp_path / "whole", *words)
    job = (folder / "scene.json", "-m", folder / "net.emd", "--to", tmp_path / "job")
    assert geodl_here("plan", *job, *words, "--shards", "2").returncode == 0
    plan = tmp_path / "job" / "plan.json"
    for n in range(2):
        assert geodl_here("shard", plan, n, 2, "--quiet").returncode == 0
    assert geodl_here("merge", plan).returncode == 0
    assert data_files(tmp_path / "job") == data_files(Path(whole["folder"]))


def test_a_damaged_part(folder, tmp_path):
    """A part that was cut short is computed anew by its shard; merging refuses it."""
    words = ("-m", folder / "net.emd", "--shards", "2", "--to", tmp_path / "job")
    assert geodl_here("plan", folder / "scene.json", *words).returncode == 0
    plan = tmp_path / "job" / "plan.json"
    for n in range(2):
        assert geodl_here("shard", plan, n, 2, "--quiet").returncode == 0
    part = next((tmp_path / "job").rglob("00001-of-00002.part"))
    good = part.read_bytes()
    part.write_bytes(good[: len(good) // 2])
    refused = geodl_here("merge", plan)
    assert refused.returncode == 3
    assert "unexpected" not in refused.stderr
    assert not (tmp_path / "job" / "detections.parquet").exists()
    assert geodl_here("shard", plan, 1, 2, "--quiet").stdout.startswith("computed")
    assert part.read_bytes() == good
    assert geodl_here("merge", plan).returncode == 0


KILLED = """
import os, signal, sys
marker, count = sys.argv[1], int(sys.argv[2])
del sys.argv[1:3]
def kill(event, found):
    global count
    is_begun = event == "open" and marker in str(found[0]) and str(found[1])[:1] in "wax"
    if is_begun or (event == "os.rename" and marker in str(found[1])):
        count -= 1
        if not count:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
from geodl_core.cli.main import main
main()
"""
"""Kills itself with SIGKILL when for the n-th time a file is begun, or put in place, whose path holds a word."""


@pytest.mark.parametrize(("marker", "count"), [(".part", 3), ("detections.gpkg", 1), ("preview.png", 1)])
def test_killed_and_gone_on(folder, result, tmp_path, marker, count):
    """Killed in a shard, while writing, or before it registers, a run repeated ends with an undisturbed one's bytes."""
    words = [
        "run",
        folder / "scene.json",
        "-m",
        folder / "net.emd",
        "-o",
        tmp_path,
        "--format",
        "gpkg",
        "--shards",
        "5",
    ]
    command = [sys.executable, "-W", "ignore", "-c", KILLED, marker, count, *words]
    killed = subprocess.run(list(map(str, command)), capture_output=True, check=False, timeout=280)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = geodl_here(*words, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert data_files(Path(document["folder"])) == data_files(Path(result["folder"]))
    place = Path(document["folder"])
    assert not [path.name for path in place.rglob("*") if ".draft" in path.name or path.name == "parts"]
    with sqlite3.connect(tmp_path / "catalog.db") as catalog:
        assert catalog.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_an_earlier_run_left(folder, result, tmp_path):
    """A run that goes on says how much of it was done."""
    words = (
        "run",
        folder / "scene.json",
        "-m",
        folder / "net.emd",
        "-o",
        tmp_path,
        "--format",
        "gpkg",
        "--shards",
        "5",
    )
    assert geodl_here(*words, "--keep-parts").returncode == 0
    (table,) = tmp_path.rglob("detections.parquet")
    table.unlink()
    next(tmp_path.rglob("00003-of-00005.part")).unlink()
    done = geodl(*words)
    assert done.returncode == 0, done.stderr
    assert "found 28 tiles of an earlier run" in done.stderr
    assert data_files(table.parent) == data_files(Path(result["folder"]))


def test_an_object_by_its_place(result):
    """`geodl search --intersects` finds the result where the scene is, and not elsewhere."""
    catalog = Path(result["catalog"])
    west, south, east, north = json.loads(Path(result["item"]).read_text())["bbox"]
    near = geodl_here("search", "--catalog", catalog, "--bbox", f"{west},{south},{east},{north}", "--json")
    far = geodl_here("search", "--catalog", catalog, "--bbox", "0,0,1,1", "--json")
    assert near.returncode == far.returncode == 0
    assert result["id"] in near.stdout
    assert result["id"] not in far.stdout
