"""Test-time augmentation of detectors: a network that does not mind turned tiles finds what it finds plainly."""

import geopandas as gpd
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from geodl_core.domain.detection.choice import DetectionChoice
from geodl_core.engine.open_worker import Means
from items import write_item
from networks import save, write_emd
from runs import data_files, run_item
from scenes import write_raster

SIDE = 24
SIDES = [f"box_px_{side}" for side in ("xmin", "ymin", "xmax", "ymax")]
SHAPE = (300, 420)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path_factory.getbasetemp() / "augmented-cache"))


def write_peaks(folder, sizes=("n", 128, 128), tile=(128, 128), **keys):
    """Write a network that finds the brightest places: a box of 24 pixels around each, scored by its mean.

    Means are taken around every second pixel's corner, and only what is no darker than all beside it scores. Turned
    and mirrored the network is itself.
    """
    arrays = {
        "kernel": np.full((1, 1, SIDE, SIDE), 1 / (SIDE**2 * 250), np.float32),
        "zero": np.float32(0),
        "one": np.float32(1),
        "two": np.float32(2),
        "side": np.float32(SIDE),
        "down": np.int64(2),
        "right": np.int64(3),
        "flat": np.array([0, 5, -1]),
    }
    pads = [SIDE // 2 - 1] * 4
    steps = [
        ("Conv", ["image", "kernel"], "means", {"pads": pads, "strides": [2, 2]}),
        ("MaxPool", ["means"], "most", {"kernel_shape": [9, 9], "pads": [4] * 4}),
        ("Equal", ["means", "most"], "is_peak", {}),
        ("Where", ["is_peak", "means", "zero"], "scores", {}),
        ("Mul", ["means", "zero"], "none", {}),
        ("Add", ["none", "one"], "ones", {}),
        ("CumSum", ["ones", "right"], "cols", {}),
        ("CumSum", ["ones", "down"], "rows", {}),
        ("Mul", ["cols", "two"], "cols2", {}),
        ("Sub", ["cols2", "one"], "cx", {}),
        ("Mul", ["rows", "two"], "rows2", {}),
        ("Sub", ["rows2", "one"], "cy", {}),
        ("Add", ["none", "side"], "w", {}),
        ("Concat", ["cx", "cy", "w", "w", "scores"], "maps", {"axis": 1}),
        ("Reshape", ["maps", "flat"], "boxes", {}),
    ]
    nodes = [helper.make_node(kind, inputs, [out], **attributes) for kind, inputs, out, attributes in steps]
    count, height, width = sizes
    graph = helper.make_graph(
        nodes,
        "peaks",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [count, 1, height, width])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [count, 5, None])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    save(graph, folder / "net.onnx")
    emd = {
        "ModelType": "ObjectDetection",
        "ModelConfiguration": {"Name": "", "Config": {"form": "yolo transposed", "coordinates": "pixels"}},
        "ImageHeight": tile[0],
        "ImageWidth": tile[1],
        "ExtractBands": [0],
        "Classes": [{"Value": 1, "Name": "peak"}],
        "Threshold": 0.2,
        "Padding": 32,
    }
    write_emd(folder, **{**emd, **keys})


def write_squares(folder):
    """Write a dark scene with bright squares of 24 pixels on odd centres; return Item, centres and brightness."""
    random = np.random.default_rng(8)
    values = np.zeros((1, *SHAPE), "uint8")
    centres, levels = [], []
    for row in range(5):
        for col in range(7):
            x, y = (2 * int(random.integers(lo // 2, lo // 2 + 8)) + 1 for lo in (col * 58 + 18, row * 56 + 18))
            level = int(random.integers(120, 250))
            values[0, y - 12 : y + 12, x - 12 : x + 12] = level
            centres.append((x, y))
            levels.append(level)
    path = write_raster(folder / "scene.tif", values, cell=1.0)
    return write_item(folder, {"image": {"href": path}}), np.array(centres), np.array(levels)


def read_found(result):
    """Return centres and scores, by centre."""
    table = gpd.read_parquet(result.folder / "detections.parquet")
    boxes = table[SIDES].to_numpy(float)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    order = np.lexsort(np.rint(centres).T)
    return centres[order], table["score"].to_numpy(float)[order]


def assert_squares(result, centres, levels, share=1.0):
    found, scores = read_found(result)
    order = np.lexsort(centres.T)
    np.testing.assert_allclose(found, centres[order], atol=1e-3)
    np.testing.assert_allclose(scores, levels[order] / 250 * share, atol=1e-4)


KINDS = {
    "square": (("n", 128, 128), (128, 128)),
    "one at a time": ((1, 128, 128), (128, 128)),
    "four at a time": ((4, 128, 128), (128, 128)),
    "oblong": ((1, 128, 192), (128, 192)),
    "any size": (("n", "h", "w"), (128, 128)),
    "any size, oblong": (("n", "h", "w"), (128, 192)),
    "any width": ((1, 128, "w"), (128, 192)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_looks_that_agree(tmp_path, kind):
    """Eight looks, of tiles that are not square four, find what one does, at the same places with the same scores."""
    sizes, tile = KINDS[kind]
    item, centres, levels = write_squares(tmp_path)
    write_peaks(tmp_path, sizes, tile)
    plain = run_item(tmp_path, item, out="plain")
    assert_squares(plain, centres, levels)
    looked = run_item(tmp_path, item, out="looked", test_time_augmentation=True)
    assert_squares(looked, centres, levels)
    assert looked.item["id"] != plain.item["id"]
    again = run_item(tmp_path, item, out="again", test_time_augmentation=True, shards=5, means=Means(threads=1))
    assert data_files(again.folder) == data_files(looked.folder)


def test_the_definition_may_ask_for_it(tmp_path):
    """A definition that asks for augmentation gets it, unless the user says otherwise."""
    item, centres, levels = write_squares(tmp_path)
    write_peaks(tmp_path, test_time_augmentation=True)
    asked = run_item(tmp_path, item, out="asked")
    assert_squares(asked, centres, levels)
    assert_squares(run_item(tmp_path, item, out="plain", test_time_augmentation=False), centres, levels)
    spelt = run_item(tmp_path, item, out="spelt", test_time_augmentation=True)
    assert spelt.item["id"] == asked.item["id"]


@pytest.mark.parametrize("kind", ["square", "any size", "oblong"])
def test_looks_at_half_the_size(tmp_path, kind):
    """Half as large no look sees a square as one: the mean over all looks is half, and nothing else is left."""
    sizes, tile = KINDS[kind]
    item, centres, levels = write_squares(tmp_path)
    write_peaks(tmp_path, sizes, tile)
    detection = DetectionChoice(tta_scales=(0.5, 1.0))
    result = run_item(tmp_path, item, test_time_augmentation=True, detection=detection)
    assert_squares(result, centres, levels, 0.5)
    # Without augmentation sizes mean nothing.
    assert_squares(run_item(tmp_path, item, out="plain", detection=detection), centres, levels)


def test_looks_at_a_size_alone(tmp_path):
    """At twice the size alone a network finds what is half as large, where it is."""
    item, centres, _ = write_squares(tmp_path)
    write_peaks(tmp_path, ("n", "h", "w"), Threshold=0.05)
    values = np.zeros((1, *SHAPE), "uint8")
    for x, y in centres:
        values[0, y - 6 : y + 6, x - 6 : x + 6] = 250
    write_raster(tmp_path / "scene.tif", values, cell=1.0)
    detection = DetectionChoice(tta_scales=(2.0,))
    found, scores = read_found(run_item(tmp_path, item, test_time_augmentation=True, detection=detection))
    np.testing.assert_allclose(found, centres[np.lexsort(centres.T)], atol=0.75)
    assert (scores > 0.85).all()
    assert (read_found(run_item(tmp_path, item, out="plain"))[1] < 0.3).all()


def test_resized_tiles_that_are_turned(tmp_path):
    """Tiles that are shown smaller to the network are turned too, and what is found comes back at their size."""
    item, centres, _ = write_squares(tmp_path)
    values = np.zeros((1, 2 * SHAPE[0], 2 * SHAPE[1]), "uint8")
    for x, y in centres:
        values[0, 2 * y - 24 : 2 * y + 24, 2 * x - 24 : 2 * x + 24] = 250
    write_raster(tmp_path / "scene.tif", values, cell=1.0)
    item = write_item(tmp_path, {"image": {"href": tmp_path / "scene.tif"}})
    write_peaks(tmp_path)
    result = run_item(tmp_path, item, test_time_augmentation=True, tile_size_px=256)
    found, scores = read_found(result)
    np.testing.assert_allclose(found, 2 * centres[np.lexsort(centres.T)], atol=2.0)
    assert (scores > 0.9).all()
    assert result.item["properties"]["geodl:halo_px"] == 64
