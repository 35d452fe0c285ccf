"""Real detectors on real pictures: as good as they are, the same whatever the tiles, shards and layouts."""

import csv
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import onnxruntime
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

from commands import run_json
from geodl_core.domain.detection.accuracy import Rules, judge_objects
from geodl_core.domain.detection.matching import Objects
from geodl_core.engine.open_worker import Means
from items import write_item
from networks import softmax, write_emd
from runs import data_files, run_item

pytestmark = pytest.mark.shared
PADDING = 160
WINDOW = (1440, 290, 2048, 955)
"""xmin, ymin, xmax, ymax in pixels, within which all cars are labelled."""
SIDES = ("xmin", "ymin", "xmax", "ymax")
ANCHORS = {"min_sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]], "strides": [8, 16, 32, 64]}


class Rows:
    """Boxes (N, 4) in pixels of the grid, scores and names of a result."""

    def __init__(self, folder: Path) -> None:
        table = gpd.read_parquet(folder / "detections.parquet")
        self.boxes = table[[f"box_px_{side}" for side in SIDES]].to_numpy(float, copy=True)
        self.scores = table["score"].to_numpy(float)
        self.names = table["class_name"].astype(str).to_numpy()
        self.geometry = table.geometry


def ious(boxes, others):
    """Return the (N, M) overlaps of boxes."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas, areas_too = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, others))
    return shared / (areas[:, None] + areas_too - shared)


def is_in(boxes, window):
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centres >= window[:2]) & (centres < window[2:])).all(1)


def write_dior(folder, shared, layout):
    """Write the EMD of the DIOR network in one of its layouts."""
    source = shared / "data" / "dior_yolov5n"
    names = json.loads((source / "classes.json").read_text())
    keys = {
        "ModelType": "ObjectDetection",
        "ModelName": "dior",
        "ImageHeight": 800,
        "ImageWidth": 800,
        "ExtractBands": [0, 1, 2],
        "DataRange": [0, 1],
        "Threshold": 0.25,
        "Padding": PADDING,
        "Classes": [{"Value": value, "Name": name} for value, name in enumerate(names)],
    }
    return write_emd(folder, str(source / f"yolov5n-diorall-{layout}.onnx"), f"{layout}.emd", **keys)


def car_park(shared):
    (path,) = (shared / "data" / "oam_manila_cars").glob("*.tif")
    return path


@pytest.fixture(scope="module")
def cars(tmp_path_factory, shared):
    """A folder with the definitions and the Item of the car park, and its objects as found in one shard."""
    folder = tmp_path_factory.mktemp("cars")
    for layout in ("nchw", "nhwc"):
        write_dior(folder, shared, layout)
    item = write_item(folder, {"image": {"href": car_park(shared)}})
    return folder, item, run_item(folder, item, out="one", emd="nchw.emd", shards=1, means=Means(threads=2)).folder


@pytest.fixture(scope="module")
def truth(shared):
    """The cars that were labelled by hand."""
    with (shared / "data" / "oam_manila_cars" / "cars.csv").open() as file:
        boxes = np.array([[float(row[side]) for side in SIDES] for row in csv.DictReader(file)])
    assert len(boxes) == 70
    assert is_in(boxes, WINDOW).all()
    return boxes


def test_cars_are_found(cars, truth):
    """Of the labelled cars at least 80 % are found at IoU 0.5, and at least 80 % of what is found there are cars."""
    found = Rows(cars[2])
    chosen = (found.names == "vehicle") & is_in(found.boxes, WINDOW)
    boxes, scores = found.boxes[chosen], found.scores[chosen]
    overlap = ious(boxes, truth)
    free, hits = np.ones(len(truth), bool), 0
    for row in np.argsort(-scores, kind="stable"):
        best = int(np.argmax(np.where(free, overlap[row], 0)))
        if free[best] and overlap[row, best] >= 0.5:
            free[best] = False
            hits += 1
    assert hits / len(boxes) >= 0.8
    assert hits / len(truth) >= 0.8
    judged = judge_objects(
        Objects(boxes, np.zeros(len(boxes), np.int64)),
        scores,
        Objects(truth, np.zeros(len(truth), np.int64)),
        ("vehicle",),
        Rules(),
    )
    assert judged.overall.counts.true_positives == hits
    assert judged.overall.counts.false_positives == len(boxes) - hits


def test_nothing_is_found_twice(cars):
    """Nowhere in the scene do two objects of one class overlap by more than half."""
    found = Rows(cars[2])
    overlap = ious(found.boxes, found.boxes) * (found.names[:, None] == found.names)
    np.fill_diagonal(overlap, 0)
    assert len(found.boxes) > 70
    assert overlap.max() <= 0.5


def test_twelve_shards(cars):
    """Twelve shards, on another number of threads, give the bytes of one."""
    folder, item, one = cars
    twelve = run_item(folder, item, out="twelve", emd="nchw.emd", shards=12, means=Means(threads=1))
    assert data_files(twelve.folder) == data_files(one)


def test_channels_last(cars):
    """The network whose channels come last gives the same objects."""
    folder, item, one = cars
    first, last = Rows(one), Rows(run_item(folder, item, out="last", emd="nhwc.emd").folder)
    np.testing.assert_allclose(last.boxes, first.boxes, atol=1e-2)
    np.testing.assert_allclose(last.scores, first.scores, atol=1e-4)
    assert last.names.tolist() == first.names.tolist()


def shift(folder, source, px):
    """Write the picture without its first rows and columns; return its Item."""
    with rasterio.open(source) as dataset:
        values, crs = dataset.read()[:, px:, px:], dataset.crs
        transform = dataset.transform * rasterio.Affine.translation(px, px)
    path = folder / f"shifted{px}.tif"
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": "uint8"}
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **shape, **tiles) as dataset:
        dataset.write(values)
    return write_item(folder, {"image": {"href": path}}, f"shifted{px}")


def test_shifted_by_64_pixels(cars, shared):
    """Where the picture begins does not matter: 95 % of clear objects are found again, in the same place on Earth."""
    folder, _, one = cars
    px = 64
    moved = run_item(folder, shift(folder, car_park(shared), px), out="moved", emd="nchw.emd")
    there, here = Rows(moved.folder), Rows(one)
    there.boxes += px
    for left, right in ((here, there), (there, here)):
        # Of what began beyond the cut another part is seen.
        clear = (left.scores >= 0.4) & (left.boxes[:, :2] > px + 8).all(1)
        overlap = ious(left.boxes[clear], right.boxes) * (left.names[clear, None] == right.names)
        assert clear.sum() > 50
        assert (overlap.max(1) >= 0.8).mean() >= 0.95
    # What both found in one place of the pixels lies in one place of the map.
    pairs = np.argwhere((ious(here.boxes, there.boxes) > 0.8) & (here.names[:, None] == there.names))
    for row, other in pairs[:20]:
        assert here.geometry[row].intersection(there.geometry[other]).area > 0.75 * here.geometry[row].area


def read_photo(shared, shape=None):
    """Return the (3, H, W) photo of a dog, a bicycle and a car, at another size if one is given."""
    path = shared / "data" / "yolox_nano" / "dog.jpg"
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path) as dataset:
        return dataset.read(out_shape=shape and (3, *shape), resampling=Resampling.bilinear)


def write_photo(folder, pixels):
    """Write a picture as if it lay on the ground, a metre a pixel; return its Item."""
    path, (count, height, width) = folder / "photo.tif", pixels.shape
    shape = {"count": count, "height": height, "width": width, "dtype": "uint8", "crs": "EPSG:3857"}
    with rasterio.open(path, "w", driver="GTiff", transform=from_origin(1e6, 6e6, 1, 1), **shape) as dataset:
        dataset.write(pixels)
    return write_item(folder, {"image": {"href": path}}, "photo")


def answer_of(path, image):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image[None].astype("float32")})


def suppress(boxes, scores, least):
    """Return rows that greedy suppression leaves, best first."""
    kept = []
    for row in np.argsort(-scores, kind="stable"):
        if not kept or ious(boxes[row : row + 1], boxes[kept]).max() <= least:
            kept.append(int(row))
    return kept


def yolox_by_hand(path, photo, side=416):
    """Return class → boxes and scores of a photo that fills the upper part of the network's square input."""
    image = np.full((3, side, side), 114.0)
    image[:, : photo.shape[1], : photo.shape[2]] = photo[::-1]
    (rows,) = answer_of(path, image)[0]
    places = [(x * s, y * s, s) for s in (8, 16, 32) for y in range(side // s) for x in range(side // s)]
    x, y, step = np.array(places).T
    centres = rows[:, :2] * step[:, None] + np.stack([x, y], axis=1)
    halves = np.exp(rows[:, 2:4]) * step[:, None] / 2
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    scores = rows[:, 4:5] * rows[:, 5:]
    found = {}
    for kind in range(80):
        likely = (scores[:, kind] > 0.3) & (scores.argmax(1) == kind)
        kept = suppress(boxes[likely], scores[likely, kind], 0.45)
        found[kind] = (boxes[likely][kept], scores[likely, kind][kept])
    return found


@pytest.fixture(scope="module")
def photo(tmp_path_factory, shared):
    """A folder with the photo as a scene, and YOLOX's definition: blue, green and red as stored."""
    folder = tmp_path_factory.mktemp("photo")
    write_photo(folder, read_photo(shared))
    names = {1: "bicycle", 2: "car", 16: "dog"}
    keys = {
        "ModelType": "ObjectDetection",
        "ModelName": "yolox",
        "ModelConfiguration": "YOLOX",
        "ImageHeight": 416,
        "ImageWidth": 416,
        "ExtractBands": [2, 1, 0],
        "Padding": None,
        "Threshold": 0.3,
        "Classes": [{"Value": value, "Name": names.get(value, f"c{value}")} for value in range(80)],
    }
    write_emd(folder, str(shared / "data" / "yolox_nano" / "yolox_nano.onnx"), "yolox.emd", **keys)
    return folder


def run_photo(photo, out, *words):
    job = (photo / "photo.json", "-m", photo / "yolox.emd", "--out", photo / out, "--arg", "tile_size=768")
    return Path(run_json(*job, *words, GEODL_CACHE=str(photo / "cache"))["folder"])


def test_a_dog_a_car_and_a_bicycle(photo, shared):
    """A tile of 768 pixels, shown to a network of 416, gives what the whole photo by hand does, in the right places."""
    oracle = yolox_by_hand(shared / "data" / "yolox_nano" / "yolox_nano.onnx", read_photo(shared, (312, 416)))
    found = Rows(run_photo(photo, "whole", "--arg", "padding=0"))
    for kind, name in ((1, "bicycle"), (2, "car"), (16, "dog")):
        boxes, scores = (values[0] for values in oracle[kind])
        (row,) = np.flatnonzero((found.names == name) & (found.scores > 0.5))
        assert ious(boxes[None] * 768 / 416, found.boxes[row][None])[0, 0] >= 0.8
        assert abs(scores - found.scores[row]) < 0.1
        x, y = (found.boxes[row, :2] + found.boxes[row, 2:]) / 2
        assert found.geometry[row].centroid.within(found.geometry.union_all().envelope)
        # The dog in front on the left, the car behind on the right, the bicycle between them.
        assert {"dog": x < 330 and y > 330, "car": x > 500 and y < 200, "bicycle": 250 < x < 450}[name]


def test_resized_tiles_in_shards(photo):
    """Tiles that are resized give the same bytes in any shards."""
    one = run_photo(photo, "one", "--arg", "padding=150", "--shards", "1", "--threads", "1")
    many = run_photo(photo, "many", "--arg", "padding=150", "--shards", "4", "--threads", "2")
    assert data_files(many) == data_files(one)
    assert "dog" in Rows(one).names


FACES = {
    "decoded": ("version-RFB-320.onnx", "SSD", 0.1),
    "raw": ("version-slim-320_without_postprocessing.onnx", {"Name": "SSD", "Config": ANCHORS}, 0.12),
}
"""Network, ModelConfiguration, and a score below which faces are seen in a picture that has none."""


def faces_by_hand(path, image, is_raw, least):
    """Return boxes and scores of UltraFace; the raw head gives offsets of anchors, cut to the picture."""
    first, second = answer_of(path, image)
    boxes, values = (first[0], second[0]) if first.shape[-1] == 4 else (second[0], first[0])
    if is_raw:
        anchors = [
            ((x + 0.5) * stride / 320, (y + 0.5) * stride / 240, width / 320, width / 240)
            for stride, widths in zip(ANCHORS["strides"], ANCHORS["min_sizes"], strict=True)
            for y in range(-(-240 // stride))
            for x in range(-(-320 // stride))
            for width in widths
        ]
        anchors = np.clip(anchors, 0, 1)
        centres = boxes[:, :2] * 0.1 * anchors[:, 2:] + anchors[:, :2]
        halves = np.exp(boxes[:, 2:] * 0.2) * anchors[:, 2:] / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        if (values < 0).any():
            values = softmax(values.T).T
    likely = values[:, 1] > least
    boxes, scores = boxes[likely] * (320, 240, 320, 240), values[likely, 1]
    kept = suppress(boxes, scores, 0.45)
    return boxes[kept], scores[kept]


@pytest.mark.parametrize("head", FACES)
def test_faces(tmp_path, shared, head):
    """Both heads of UltraFace, of which one needs the anchors of its definition, give what the same does by hand."""
    name, configuration, least = FACES[head]
    path = shared / "data" / "ultraface_ssd" / name
    pixels = read_photo(shared, (240, 320))
    item = write_photo(tmp_path, pixels)
    keys = {
        "ModelType": "ObjectDetection",
        "ModelConfiguration": configuration,
        "ModelParameters": {"mean": [127] * 3, "std": [128] * 3},
        "ImageHeight": 240,
        "ImageWidth": 320,
        "ExtractBands": [0, 1, 2],
        "Padding": 0,
        "Threshold": least,
        "Classes": [{"Value": 1, "Name": "face"}],
    }
    write_emd(tmp_path, str(path), **keys)
    found = Rows(run_item(tmp_path, item).folder)
    boxes, scores = faces_by_hand(path, (pixels - 127.0) / 128, head == "raw", least)
    assert 5 < len(boxes) < 20
    order, order_too = np.argsort(-found.scores), np.argsort(-scores)
    np.testing.assert_allclose(found.scores[order], scores[order_too], atol=1e-4)
    # What reaches beyond the picture ends with it.
    np.testing.assert_allclose(found.boxes[order], np.clip(boxes[order_too], 0, (320, 240) * 2), atol=0.05)
