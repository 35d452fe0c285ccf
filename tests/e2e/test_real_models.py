"""Real models on real imagery, against whole-image inference and the figures recorded with the data."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from commands import geodl, run_json
from geodl_core.engine.load_model import load_model
from geodl_core.io.package.package import load_package
from items import write_item
from networks import run_whole

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.shared

PACKAGE = "esri_cntk_landclass.dlpk"
NAIP_COUNTS = [955, 496322, 22098, 146290, 107, 9510]
YARDSTICK_PX = 2048
YARDSTICK_BORDER_PX = 512
"""Above and left of the crop; the scene's nodata lies there."""


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def iou(found, truth):
    return (found & truth).sum() / (found | truth).sum()


@pytest.fixture(scope="module")
def dynamic_world(tmp_path_factory, shared):
    """The model, the Spanish chip's Item, and a run with tiles of 256 over its 512 × 512 pixels."""
    folder = tmp_path_factory.mktemp("dw")
    script = [sys.executable, ROOT / "scripts" / "dynamicworld_emd.py"]
    subprocess.run([*script, shared / "data" / "dynamicworld", folder], check=True, capture_output=True)
    chip = shared / "data" / "sen1floods11_spain" / "Spain_7370579_S2Hand.tif"
    item = write_item(folder, {"stack": {"href": chip}}, "spain")
    return folder, chip, run_json(item, "--model", folder / "dynamicworld.emd", "--out", folder / "out")


def test_dynamic_world_has_no_seams(dynamic_world, shared):
    """Tiles of 256 agree with the same network over the whole chip on 99.99 % of the pixels or more."""
    folder, chip, result = dynamic_world
    with rasterio.open(chip) as dataset:
        pixels = dataset.read([2, 3, 4, 5, 6, 7, 8, 12, 13])
    facts = json.loads((shared / "data" / "dynamicworld" / "preprocessing.json").read_text())
    low, width = np.array(facts["norm_percentiles"], "float32").T[:, :, None, None]
    x = np.exp(5 * (np.log(pixels * np.float32(0.005) + 1) - low) / width - 1)
    whole = run_whole(folder / "dynamicworld.onnx", x / (x + 1))
    agreement = (read(result["assets"]["classification"]) == whole).mean()
    assert agreement >= 0.9999, agreement


def test_dynamic_world_agrees_with_tensorflow(dynamic_world, shared):
    """At least 99.85 % of the pixels have the class that the original TensorFlow model gave."""
    _, _, result = dynamic_world
    reference = read(shared / "data" / "sen1floods11_spain" / "dw_tf_reference_argmax.tif")
    assert (read(result["assets"]["classification"]) == reference).mean() >= 0.9985


def test_dynamic_world_finds_the_flood(dynamic_world, shared):
    """Water has an IoU of 0.63 or more with the hand label."""
    _, _, result = dynamic_world
    label = read(shared / "data" / "sen1floods11_spain" / "Spain_7370579_LabelHand.tif")
    water = read(result["assets"]["classification"]) == 0
    assert iou(water[label >= 0], (label == 1)[label >= 0]) >= 0.63


def test_esri_pair(tmp_path, shared):
    """The real Esri pair gives the recorded class counts within 700 pixels and finds lakes."""
    folder = shared / "data" / "esri_cntk_landclass"
    scene = folder / "m_4709963_se_14_1_20200831.tif"
    item = write_item(tmp_path, {"image": {"href": scene}}, "naip")
    result = run_json(item, "--model", folder / "trained.emd", "--out", tmp_path / "out")
    found = read(result["assets"]["classification"])
    counts = np.bincount(found.ravel(), minlength=6)[:6]
    assert np.abs(counts - NAIP_COUNTS).max() <= 700
    with rasterio.open(scene) as dataset:
        _, green, _, nir = dataset.read().astype("float64")
    assert iou(found == 3, (green - nir) / (green + nir) > 0.15) >= 0.83


def test_the_package_is_the_same_model(shared):
    """The real .dlpk is the model that the real .emd is, so that its jobs and their results are the same."""
    folder = shared / "data" / "esri_cntk_landclass"
    pair, package = (load_model(load_package(str(folder / name))) for name in ("trained.emd", PACKAGE))
    assert replace(package, name=pair.name) == pair


def test_zero_padding_is_esris(tmp_path, shared):
    """With --pad constant the .dlpk's counts are those of a host that fills with 0, within 1 %."""
    folder = shared / "data" / "esri_cntk_landclass"
    item = write_item(tmp_path, {"image": {"href": folder / "m_4709963_se_14_1_20200831.tif"}}, "naip")
    result = run_json(item, "--model", folder / PACKAGE, "--out", tmp_path / "out", "--pad", "constant")
    found = read(result["assets"]["classification"])
    expected = np.array([524, 455855, 50285, 150234, 68, 18316])
    assert np.abs(np.bincount(found.ravel(), minlength=6)[:6] - expected).max() <= 0.01 * expected.sum()


@pytest.fixture(scope="module")
def yardstick(tmp_path_factory, shared):
    """A 2048 × 2048 crop of the yardstick scene, its Item, the network's EMD, and the exact class map."""
    folder = tmp_path_factory.mktemp("yardstick")
    bench = shared / "bench"

    def call(script, *arguments):
        command = [sys.executable, "-W", "ignore", bench / script, *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True)

    call("gen_scene.py", folder / "scene.tif", YARDSTICK_BORDER_PX + YARDSTICK_PX)
    call("mkcrop.py", YARDSTICK_PX, YARDSTICK_BORDER_PX, folder / "crop.tif", folder / "scene.tif")
    (folder / "scene.tif").unlink()
    call("agreement.py", "ref", folder / "crop.tif", bench / "unet_small.onnx", folder / "ref.npy")
    bands = [{"name": name, "raster:scale": 0.0001, "raster:offset": 0} for name in ("B02", "B03", "B04", "B08")]
    item = write_item(folder, {"image": {"href": folder / "crop.tif", "bands": bands}}, "crop")
    emd = {
        "ModelType": "ImageClassification",
        "ModelFile": str(bench / "unet_small.onnx"),
        "ModelName": "yardstick",
        "ImageHeight": 1152,
        "ImageWidth": 1152,
        "DataRange": [0, 1],
        "ExtractBands": [0, 1, 2, 3],
        "Padding": 48,
        "Classes": [{"Value": value, "Name": f"class {value}"} for value in range(5)],
    }
    (folder / "yardstick.emd").write_text(json.dumps(emd))
    return folder, item


def test_yardstick_is_exact(yardstick):
    """On 2048 × 2048 pixels of the yardstick, four tiles, 99.999 % or more have the class of exact inference."""
    folder, item = yardstick
    result = run_json(item, "--model", folder / "yardstick.emd", "--out", folder / "out")
    found = read(result["assets"]["classification"])
    agreement = (found == np.load(folder / "ref.npy")).mean()
    assert agreement >= 0.99999, agreement


def test_emd_given_as_text(tmp_path, shared):
    """An EMD given as JSON text with an absolute ModelFile runs like the file."""
    folder = shared / "data" / "esri_cntk_landclass"
    emd = json.loads((folder / "trained.emd").read_text())
    emd["ModelFile"] = str(folder / "trained.onnx")
    with rasterio.open(folder / "m_4709963_se_14_1_20200831.tif") as dataset:
        window = rasterio.windows.Window(300, 200, 200, 150)
        profile = {**dataset.profile, "width": 200, "height": 150, "transform": dataset.window_transform(window)}
        pixels = dataset.read(window=window)
    with rasterio.open(tmp_path / "crop.tif", "w", **profile) as dataset:
        dataset.write(pixels)
    item = write_item(tmp_path, {"image": {"href": Path(tmp_path / "crop.tif")}}, "crop")
    result = geodl("run", item, "--model", json.dumps(emd), "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "Open Water" in result.stdout
