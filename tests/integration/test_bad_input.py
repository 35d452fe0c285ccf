"""Bad input at the command line: one plain line that names the thing, the right exit code, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio

from commands import geodl
from forks import Forked
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.query import ItemQuery
from items import write_item
from networks import conv_network, write_emd
from scenes import write_raster, write_scene

GONE = "https://user:hunter2@127.0.0.1:9/scene.tif?sig=hunter2"


@pytest.fixture
def folder(tmp_path):
    write_scene(tmp_path, (100, 120))
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    return tmp_path


def results_in(folder):
    """Return every file of a result or unfinished work, but the catalog."""
    return [path for path in (folder / "out").rglob("*") if path.is_file() and not path.name.startswith("catalog.db")]


def registered(folder):
    if not (folder / "out" / "catalog.db").exists():
        return ()
    with SqliteCatalog(folder / "out" / "catalog.db") as catalog:
        return catalog.search(ItemQuery()).items


def refused(folder, code, *words, item="scene.json", model="net.emd", extra=()):
    """Run geodl; it must fail with the code, one error line holding the words, and leave nothing."""
    model = model if model.startswith("{") else folder / model
    result = geodl("run", folder / item, "--model", model, "--out", folder / "out", *extra, cwd=folder)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == code, result.stderr
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in lines[0], lines[0]
    assert results_in(folder) == []
    assert registered(folder) == ()
    return lines[0]


def test_missing_band(folder):
    """A band that the Item lacks is named, with those that are there."""
    write_emd(folder, ExtractBands=["Red", "NearInfrared"])
    refused(folder, 2, "no band Red", "image")


def test_band_number_beyond_the_raster(folder):
    """A band number beyond the raster's bands is refused with how many there are."""
    write_emd(folder, ExtractBands=[0, 7])
    refused(folder, 2, "image", "band 8", "2 bands")


def test_asset_is_no_raster(folder):
    """An asset that is text names itself and its place."""
    (folder / "scene.tif").write_text("no pixels here")
    refused(folder, 2, "image", "scene.tif")


def test_asset_is_missing(folder):
    """An asset whose file is not there names itself and its place."""
    (folder / "scene.tif").unlink()
    refused(folder, 2, "image", "scene.tif")


def test_no_crs(folder):
    """A raster without CRS is refused."""
    with rasterio.open(folder / "scene.tif") as dataset:
        pixels = dataset.read()
    write_raster(folder / "scene.tif", pixels, crs=None)
    refused(folder, 2, "image", "no CRS")


def test_item_is_missing(folder):
    """A path that leads nowhere is named."""
    refused(folder, 2, "nowhere.json", item="nowhere.json")


@pytest.mark.parametrize("text", ["not json", "[1, 2]", '{"type": "Collection", "id": "x"}', '{"type": "Feature"}'])
def test_item_is_something_else(folder, text):
    """What is no STAC Item is refused."""
    (folder / "other.json").write_text(text)
    refused(folder, 2, "STAC Item", item="other.json")


def test_emd_is_not_json(folder):
    """An EMD with a missing colon says line and column."""
    (folder / "net.emd").write_text('{\n  "ModelType": "ImageClassification"\n  "ModelFile" "net.onnx"\n}')
    refused(folder, 2, "net.emd", "line 3")


def test_emd_lacks_keys(folder):
    """Missing keys are named all at once."""
    write_emd(folder, ModelType=None, ModelFile=None)
    refused(folder, 2, "ModelType", "ModelFile")


def test_other_channels(folder):
    """An EMD whose ONNX takes other channels names both counts."""
    conv_network(folder / "net.onnx", channels=5)
    refused(folder, 2, "2 bands", "5 channels")


def test_unknown_model_type(folder):
    """An unknown ModelType is named."""
    write_emd(folder, ModelType="SoundClassification")
    refused(folder, 2, "ModelType", "SoundClassification")


def test_model_file_is_missing(folder):
    """A ModelFile that is not there is named."""
    (folder / "net.onnx").unlink()
    refused(folder, 2, "net.onnx")


def test_model_file_is_no_onnx(folder):
    """A ModelFile that is something else is named."""
    (folder / "net.onnx").write_bytes(b"\x80\x04pickle")
    refused(folder, 2, "net.onnx", "ONNX")


def test_classes_do_not_fit(folder):
    """A network that tells other classes apart than Classes names is refused with both counts."""
    write_emd(
        folder, Classes=[{"Value": 1, "Name": "one"}, {"Value": 5, "Name": "five"}, {"Value": 9, "Name": "nine"}] * 2
    )
    refused(folder, 2, "Value")
    write_emd(folder, Classes=[{"Value": value, "Name": str(value)} for value in (4, 5, 6, 7, 8)])
    refused(folder, 2, "3 classes", "5")


def test_unknown_value_range(folder):
    """A DataRange over uint16 values of unknown range is refused with the way out; --source-range gives it."""
    write_emd(folder, DataRange=[0, 1])
    refused(folder, 2, "DataRange", "uint16")
    result = geodl(
        "run", folder / "scene.json", "-m", folder / "net.emd", "--out", folder / "out", "--source-range", "0,10000"
    )
    assert result.returncode == 0, result.stderr


def test_damaged_block(folder):
    """A raster that ends too early fails with code 3 and names the asset and the rows; nothing is registered."""
    content = (folder / "scene.tif").read_bytes()
    (folder / "scene.tif").write_bytes(content[: len(content) * 6 // 10])
    refused(folder, 3, "image", "rows")


def test_secrets_stay_secret(folder):
    """Credentials and signatures of an href do not appear in errors."""
    item = json.loads((folder / "scene.json").read_text())
    item["assets"]["image"]["href"] = GONE
    (folder / "scene.json").write_text(json.dumps(item))
    assert "hunter2" not in refused(folder, 75, "127.0.0.1")


def test_unwritable_output(folder):
    """A folder that cannot be made is named, with code 75."""
    (folder / "file").write_text("in the way")
    result = geodl(
        "run", folder / "scene.json", "-m", folder / "net.emd", "--out", folder / "file" / "out",
        "--catalog", folder / "catalog.db",
    )  # fmt: skip
    assert result.returncode == 75
    assert "file" in result.stderr.splitlines()[-2 if "hint" in result.stderr else -1]
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="limits file sizes as POSIX systems do")
@pytest.mark.parametrize("limit", [2_000, 12_000])
def test_full_disk(tmp_path, limit):
    """When no more can be written the run fails with code 75, leaves no half-written file and registers nothing."""
    write_scene(tmp_path, (400, 400))
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    # The catalog is made before, as it would be on a disk that fills up later.
    with SqliteCatalog(tmp_path / "catalog.db"):
        pass
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from geodl_core.cli.main import main
main()
"""
    arguments = ["run", tmp_path / "scene.json", "-m", tmp_path / "net.emd", "--out", tmp_path / "out", "--catalog"]
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments), str(tmp_path / "catalog.db")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 75, result.stderr
    assert "Traceback" not in result.stderr
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert all(name.endswith(".part") for name in left), left
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        assert catalog.search(ItemQuery()).items == ()
    finished = geodl(*arguments, tmp_path / "catalog.db")
    assert finished.returncode == 0, finished.stderr


def test_catalog_that_does_not_answer(folder):
    """A catalog that is not there fails with code 75 before anything is computed."""
    result = geodl(
        "run", folder / "scene.json", "-m", folder / "net.emd", "-o", folder / "out", "--catalog", "http://127.0.0.1:9/"
    )
    assert result.returncode == 75
    assert "Traceback" not in result.stderr


def finished_parts(folder):
    return [path for path in folder.rglob("*.part") if path.parent.name == "parts"]


def wait_for_parts(folder, count, process):
    """Wait until so many parts are written."""
    deadline = time.monotonic() + 60
    while len(finished_parts(folder)) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("after_parts", [1, 5])
def test_killed_run_goes_on(tmp_path, after_parts):
    """A run killed with SIGKILL and repeated keeps its whole parts, finishes, and gives the same bytes."""
    write_scene(tmp_path, (900, 900))
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    tiles = ["--arg", "tile_size=64", "--shards", "8", "--threads", "1"]
    common = ["run", tmp_path / "scene.json", "-m", tmp_path / "net.emd", *tiles, "--out"]
    whole = geodl(*common, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    with Forked([*common, tmp_path / "out"], [subprocess.DEVNULL] * 3) as process:
        wait_for_parts(tmp_path / "out", after_parts, process)
        process.send_signal(signal.SIGKILL)
    assert registered(tmp_path) == ()
    parts = {path: path.stat().st_mtime_ns for path in finished_parts(tmp_path / "out")}
    assert len(parts) >= after_parts
    resumed = geodl(*common, tmp_path / "out", "--keep-parts")
    assert resumed.returncode == 0, resumed.stderr
    assert "of an earlier run" in resumed.stderr
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    for name in ("classification.tif", "classification.tif.aux.xml", "preview.png"):
        (first,), (second,) = ((tmp_path / out).rglob(name) for out in ("whole", "out"))
        assert first.read_bytes() == second.read_bytes()
    assert len(registered(tmp_path)) == 1
    assert list((tmp_path / "out").rglob(".*")) == []


def test_damaged_part_is_computed_again(tmp_path):
    """A part that was cut short is not used."""
    write_scene(tmp_path, (200, 200))
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    common = ["run", tmp_path / "scene.json", "-m", tmp_path / "net.emd", "--shards", "2", "--keep-parts", "-o"]
    assert geodl(*common, tmp_path / "out").returncode == 0
    (cog,) = (tmp_path / "out").rglob("classification.tif")
    expected = cog.read_bytes()
    cog.unlink()
    part = sorted((tmp_path / "out").rglob("*.part"))[0]
    part.write_bytes(part.read_bytes()[:-40])
    assert geodl(*common, tmp_path / "out").returncode == 0
    assert cog.read_bytes() == expected


def test_two_at_once(tmp_path):
    """Of two runs of one job at once one computes, the other says so with code 75 or finds the result."""
    write_item(tmp_path, {"image": {"href": write_raster(tmp_path / "s.tif", np.ones((2, 900, 900), "uint16"))}})
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    words = ["run", tmp_path / "scene.json", "-m", tmp_path / "net.emd", "-o", tmp_path / "out"]
    runs = [Forked(words, (subprocess.DEVNULL, subprocess.DEVNULL, subprocess.PIPE)) for _ in range(2)]
    outcomes = [(run.communicate()[1], run.returncode) for run in runs]
    assert sorted(code for _, code in outcomes) in ([0, 0], [0, 75]), outcomes
    assert len(registered(tmp_path)) == 1
