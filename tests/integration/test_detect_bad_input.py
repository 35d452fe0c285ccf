"""Detectors and scenes that are not as they should be: refused in a line that says why, or taken as they are meant."""

import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from onnx import TensorProto, helper, numpy_helper

from commands import geodl, geodl_here
from detectors_finished import answering_network, detr_answer, finished_answer, some_objects, torchvision_answer
from items import write_item
from networks import conv_network, save, write_emd
from perfect import write_detector, write_objects
from runs import data_files, run_item
from scenes import ORIGIN, smooth, write_raster
from servers import FileServer

SIZE = (96, 128)
OBJECTS = some_objects(SIZE)
CLASSES = [{"Value": value, "Name": f"c{value}"} for value in (1, 2, 3)]
DETECTOR = {
    "ModelType": "ObjectDetection",
    "ImageHeight": SIZE[0],
    "ImageWidth": SIZE[1],
    "ExtractBands": [0, 1, 2],
    "Padding": 0,
    "Classes": CLASSES,
    "Threshold": 0.25,
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path_factory.getbasetemp() / "bad-input-cache"))
    for name in ("GEODL_OUT", "GEODL_CATALOG"):
        monkeypatch.delenv(name, raising=False)


def write_picture(folder, shape=SIZE, **more):
    """Write a scene of three bands, a metre a pixel; return its Item."""
    values = np.stack([smooth(shape, seed) % 250 for seed in (1, 2, 3)]).astype("uint8")
    return write_item(folder, {"image": {"href": write_raster(folder / "scene.tif", values, cell=1.0, **more)}})


def write_answer(folder, outputs, config=None, **keys):
    """Write a detector that answers these arrays, and its definition."""
    answering_network(folder / "net.onnx", outputs, SIZE)
    said = {} if config is None else {"ModelConfiguration": {"Name": "", "Config": config}}
    return write_emd(folder, **{**DETECTOR, **said, **keys})


def run(folder, *words):
    return geodl_here("run", folder / "scene.json", "-m", folder / "net.emd", "-o", folder / "out", *words)


def read_found(folder):
    (path,) = folder.rglob("detections.parquet")
    table = gpd.read_parquet(path)
    boxes = table[[f"box_px_{side}" for side in ("xmin", "ymin", "xmax", "ymax")]].to_numpy(float)
    return boxes, table["score"].to_numpy(float), table["class_id"].to_numpy()


def assert_objects(folder, objects=OBJECTS, first=1):
    """Check that just these objects were found, where they are."""
    boxes, scores, classes = read_found(folder)
    order, order_too = np.argsort(-scores), np.argsort(-objects.scores)
    np.testing.assert_allclose(boxes[order], objects.boxes[order_too], atol=0.02)
    np.testing.assert_allclose(scores[order], objects.scores[order_too], atol=1e-5)
    assert classes[order].tolist() == (objects.kinds[order_too] + first).tolist()


def assert_refused(done, code, *words):
    """Check exit code and message, and that nothing but a plan's folder is left."""
    assert done.returncode == code, (done.stdout, done.stderr)
    (line, *_) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "unexpected" not in line
    for word in words:
        assert word in done.stderr


def left_over(out: Path):
    """Return what a failed run left beside whole parts, folders, locks and an empty catalog."""
    return [path.name for path in out.rglob("*") if path.is_file() and path.suffix not in (".part", ".lock", ".db")]


def rows_of(boxes, scores=OBJECTS.scores, kinds=OBJECTS.kinds):
    """Return an answer of rows of box, score and class."""
    objects = some_objects(SIZE)
    return finished_answer(type(objects)(np.asarray(boxes, np.float32), np.asarray(scores), np.asarray(kinds)), rows=5)


def torchvision(**changes):
    return {**torchvision_answer(OBJECTS), **changes}


FINISHED = {"form": "finished", "coordinates": "pixels"}
LOGITS = np.log(OBJECTS.scores / (1 - OBJECTS.scores)) * 8
REFUSED = {
    "scores that are NaN": (torchvision(scores=np.full(5, np.nan, "float32")), None, ("NaN",)),
    "boxes that are infinite": (
        rows_of(np.where(np.arange(4) == 2, np.inf, OBJECTS.boxes)),
        FINISHED,
        ("boxes that are NaN or infinite", "5 of 5"),
    ),
    "boxes that are as good as infinite": (
        rows_of(np.where(np.arange(4) == 2, 3e38, OBJECTS.boxes)),
        FINISHED,
        ("boxes that are NaN or infinite", "5 of 5"),
    ),
    "a box that is NaN": (
        rows_of(np.where(np.arange(20).reshape(5, 4) == 7, np.nan, OBJECTS.boxes)),
        FINISHED,
        ("boxes that are NaN or infinite", "1 of 5"),
    ),
    "a score that is infinite": (
        rows_of(OBJECTS.boxes, np.array([np.inf, 0.9, 0.8, 0.7, 0.6], "float32")),
        FINISHED,
        ("finite", "1 of 5"),
    ),
    "scores above 1": (rows_of(OBJECTS.boxes, OBJECTS.scores * 3), FINISHED, ("scores up to 2.85", "activation")),
    "percent": (rows_of(OBJECTS.boxes, OBJECTS.scores * 100), FINISHED, ("up to 95", "score_scale 100")),
    "boxes inside out": (rows_of(OBJECTS.boxes[:, [2, 3, 0, 1]]), FINISHED, ("5 of 5 boxes are inside out", "order")),
    "a class that there is not": (
        torchvision(labels=np.array([1, 2, 3, 9, 1])),
        None,
        ("the label 9, which is no class", "labels 1, 2, 3"),
    ),
    "shares that are declared pixels": (
        rows_of(OBJECTS.boxes / (128, 96, 128, 96)),
        FINISHED,
        ("coordinates normalised",),
    ),
    "pixels that are declared shares": (
        rows_of(OBJECTS.boxes),
        {**FINISHED, "coordinates": "normalised"},
        ("far outside the image of 128 × 96", "coordinates pixels"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_answers_that_cannot_be(tmp_path, name):
    """What a network cannot mean ends the run with code 2 and what to say in the definition; nothing is left."""
    outputs, config, words = REFUSED[name]
    write_picture(tmp_path)
    write_answer(tmp_path, outputs, config)
    assert_refused(run(tmp_path), 2, *words)
    assert left_over(tmp_path / "out") == []


def test_percent_that_is_said(tmp_path):
    """Scores of 0 to 100 are taken as such where the definition says so, the threshold being a share still."""
    write_picture(tmp_path)
    write_answer(tmp_path, rows_of(OBJECTS.boxes, OBJECTS.scores * 100), {**FINISHED, "score_scale": 100})
    assert run(tmp_path).returncode == 0
    assert_objects(tmp_path, first=1)


def test_a_box_without_an_area(tmp_path):
    """Single boxes without an area are left out, and a note says how many."""
    write_picture(tmp_path)
    boxes = OBJECTS.boxes.copy()
    boxes[1, 2] = boxes[1, 0]
    boxes[3] = boxes[3, [2, 1, 0, 3]]
    write_answer(tmp_path, rows_of(boxes), FINISHED)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 boxes without an area" in done.stderr
    assert len(read_found(tmp_path)[0]) == 3


def test_boxes_beyond_the_scene(tmp_path):
    """A box ends where the scene does, whatever the network guesses of what lies beyond."""
    write_picture(tmp_path)
    boxes = OBJECTS.boxes.copy()
    boxes[1] = (-1e6, -1e6, 1e6 + 90, 1e6 + 60)
    boxes[2, :2] = -5
    write_answer(tmp_path, rows_of(boxes), FINISHED)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    found = read_found(tmp_path)[0]
    np.testing.assert_allclose(sorted(found.tolist()), sorted(np.clip(boxes, 0, (128, 96) * 2).tolist()), atol=0.01)
    (path,) = (tmp_path / "out").rglob("scene_*.json")
    assert json.loads(path.read_text())["properties"]["geodl:largest_object_px"] == 128


def test_a_classifier_that_is_called_a_detector(tmp_path):
    """A network that classifies pixels is told by its answer, whatever the definition calls it."""
    write_picture(tmp_path)
    conv_network(tmp_path / "net.onnx", channels=3)
    write_emd(tmp_path, **{**DETECTOR, "ImageHeight": 64, "ImageWidth": 64})
    assert_refused(run(tmp_path), 2, "raster", "ModelType ImageClassification")


def test_a_detector_that_is_called_a_classifier(tmp_path):
    """A detector that is called a pixel classifier is refused, with no result."""
    write_picture(tmp_path)
    write_answer(tmp_path, finished_answer(OBJECTS), ModelType="ImageClassification")
    done = run(tmp_path)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "unexpected" not in done.stderr
    assert left_over(tmp_path / "out") == []


def image_network(path, image, outputs, opset=17, more=()):
    """Write a network that answers constants to an image of any type and shape, and to further inputs."""
    name = image.name
    nodes = [
        helper.make_node("Cast", [name], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "none"], ["zero"]),
    ]
    weights = [numpy_helper.from_array(np.float32(0), "none")]
    for number, tensor in enumerate(more):
        nodes += [
            helper.make_node("Cast", [tensor.name], [f"cast{number}"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [f"cast{number}"], [f"mean{number}"], keepdims=0),
        ]
    infos = []
    for output, given in outputs.items():
        array = np.asarray(given, np.float32)
        weights.append(numpy_helper.from_array(array, f"{output}_is"))
        nodes.append(helper.make_node("Add", [f"{output}_is", "zero"], [output]))
        infos.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, array.shape))
    graph = helper.make_graph(nodes, "detector", [image, *more], infos, weights)
    return save(graph, path, opset)


def an_image(shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info("image", kind, list(shape))


def test_an_input_that_nothing_is_known_of(tmp_path):
    """A second input that is none of those that tell an image's size is refused by name."""
    write_picture(tmp_path)
    more = helper.make_tensor_value_info("temperature", TensorProto.FLOAT, [1, 7])
    image_network(tmp_path / "net.onnx", an_image((1, 3, *SIZE)), finished_answer(OBJECTS), more=[more])
    write_emd(tmp_path, **DETECTOR)
    assert_refused(run(tmp_path), 2, "temperature", "image as its only input")


def one_image(answer):
    return {name: array[0] for name, array in answer.items()}


def four_images(answer):
    return {name: np.repeat(array, 4, axis=0) for name, array in answer.items()}


IMAGES = {
    "batch of four": (an_image((4, 3, *SIZE)), four_images(finished_answer(OBJECTS)), {}),
    "no batch": (an_image((3, *SIZE)), one_image(finished_answer(OBJECTS)), {}),
    "no batch, channels last": (an_image((*SIZE, 3)), one_image(finished_answer(OBJECTS)), {}),
    "channels last": (an_image((1, *SIZE, 3)), finished_answer(OBJECTS), {}),
    "channels last as the definition says": (
        an_image(("n", "h", "w", "c")),
        finished_answer(OBJECTS),
        {"ModelFormat": "NHWC"},
    ),
    "whole numbers": (an_image((1, 3, *SIZE), TensorProto.UINT8), finished_answer(OBJECTS), {}),
    "whole numbers, channels last, no batch": (
        an_image((*SIZE, 3), TensorProto.UINT8),
        one_image(finished_answer(OBJECTS)),
        {},
    ),
    "half precision": (an_image((1, 3, *SIZE), TensorProto.FLOAT16), finished_answer(OBJECTS), {}),
    "any size": (an_image((1, 3, "h", "w")), finished_answer(OBJECTS), {"ImageHeight": 128, "ImageWidth": 128}),
    "any size and batch": (
        an_image(("n", 3, "h", "w")),
        finished_answer(OBJECTS),
        {"ImageHeight": 128, "ImageWidth": 128},
    ),
}


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", IMAGES)
def test_images_of_any_layout(tmp_path, name, opset):
    """Networks take the image as they take it: batches, channels last, bytes, sizes left open."""
    image, outputs, keys = IMAGES[name]
    write_picture(tmp_path)
    image_network(tmp_path / "net.onnx", image, outputs, opset)
    write_emd(tmp_path, **{**DETECTOR, **keys})
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert_objects(tmp_path)


SIZE_INPUTS = {
    "orig_target_sizes": (TensorProto.INT64, [1, 2]),
    "pixel_mask": (TensorProto.INT64, [1, *SIZE]),
    "scale_factor": (TensorProto.FLOAT, [1, 2]),
    "im_shape": (TensorProto.FLOAT, [1, 2]),
    "image_dims": (TensorProto.FLOAT, [6]),
}


@pytest.mark.parametrize("name", SIZE_INPUTS)
def test_inputs_that_tell_the_size(tmp_path, name):
    """Inputs that tell the size of the image are fed by geodl."""
    write_picture(tmp_path)
    more = [helper.make_tensor_value_info(name, *SIZE_INPUTS[name])]
    image_network(tmp_path / "net.onnx", an_image(("n", 3, *SIZE)), finished_answer(OBJECTS), more=more)
    write_emd(tmp_path, **DETECTOR)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert_objects(tmp_path)


def test_looks_of_a_network_that_is_told_the_size(tmp_path):
    """A network of any size that is told the image's size is always shown that size, turned and scaled down too."""
    write_picture(tmp_path)
    answer = detr_answer(OBJECTS, SIZE)
    names = {"image": ("n", 3, "h", "w"), "pixel_mask": ("n", "h", "w")}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in names.items()]
    nodes = [
        helper.make_node("Unsqueeze", ["pixel_mask", "axes"], ["mask"]),
        helper.make_node("Mul", ["image", "mask"], ["seen"]),
        helper.make_node("ReduceMean", ["seen"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "none"], ["zero"]),
        *(helper.make_node("Add", [f"{name}_is", "zero"], [name]) for name in answer),
    ]
    arrays = {"axes": np.array([1]), "none": np.float32(0), **{f"{name}_is": answer[name] for name in answer}}
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in answer.items()]
    save(helper.make_graph(nodes, "detr", inputs, infos, weights), tmp_path / "net.onnx")
    write_emd(tmp_path, **{**DETECTOR, "Threshold": 0.01})
    done = run(tmp_path, "--arg", "test_time_augmentation=true;tta_scales=0.5,1")
    assert done.returncode == 0, done.stderr
    assert len(read_found(tmp_path)[0]) >= len(OBJECTS.boxes)


def blocks(seed, shape, count):
    """Return boxes (xmin, ymin, xmax, ymax, class) on a raster of places, which touch neither each other nor seams."""
    random = np.random.default_rng(seed)
    places = random.choice((shape[0] // 64) * (shape[1] // 64), count, replace=False)
    corners = np.stack(np.divmod(places, shape[1] // 64)[::-1], axis=1) * 64 + random.integers(4, 16, (count, 2))
    sides = random.integers(12, 44, (count, 2))
    return np.column_stack([corners, corners + sides, random.integers(0, 3, count)]).tolist()


def found_blocks(folder):
    boxes, _, classes = read_found(folder)
    return sorted(map(tuple, np.column_stack([np.rint(boxes), classes - 10]).astype(int).tolist()))


SHAPE = (320, 512)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A folder with a perfect detector and a scene of 25 objects, and these."""
    folder = tmp_path_factory.mktemp("crowd")
    truth = blocks(1, SHAPE, 25)
    write_objects(folder, truth, SHAPE)
    write_detector(folder, 128, Padding=32)
    return folder, truth


def copy_of(crowd, folder):
    """Copy model and scene to where they may be spoiled."""
    for name in ("net.onnx", "net.emd", "scene.tif"):
        shutil.copy2(crowd[0] / name, folder)
    return write_item(folder, {"image": {"href": folder / "scene.tif"}})


def test_objects_on_nodata(crowd, tmp_path):
    """Of objects whose centre lies on nodata none is found; the others are, cut or not."""
    copy_of(crowd, tmp_path)
    with rasterio.open(tmp_path / "scene.tif", "r+") as dataset:
        dataset.nodata = 60000
        values = dataset.read()
        values[:, :, :192] = 60000
        dataset.write(values)
    assert run(tmp_path).returncode == 0
    kept = [box for box in crowd[1] if box[0] >= 192]
    assert 5 < len(kept) < 25
    assert found_blocks(tmp_path) == sorted(map(tuple, kept))


def test_a_scene_of_nodata(crowd, tmp_path):
    """A scene without a valid pixel gives a valid, empty result, whose network never ran."""
    copy_of(crowd, tmp_path)
    with rasterio.open(tmp_path / "scene.tif", "r+") as dataset:
        dataset.nodata = 0
        dataset.write(np.zeros((5, *SHAPE), "uint16"))
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(read_found(tmp_path)[0]) == 0
    (path,) = (tmp_path / "out").rglob("scene_*.json")
    assert json.loads(path.read_text())["properties"]["geodl:detections"] == 0


def test_a_truncated_scene(crowd, tmp_path):
    """A file that ends too early is damaged data: code 3, nothing half-written; mended the same command completes."""
    copy_of(crowd, tmp_path)
    scene = tmp_path / "scene.tif"
    good = scene.read_bytes()
    scene.write_bytes(good[: len(good) * 6 // 10])
    done = geodl("run", tmp_path / "scene.json", "-m", tmp_path / "net.emd", "-o", tmp_path / "out", "--shards", "3")
    assert_refused(done, 3, "asset image")
    assert left_over(tmp_path / "out") == []
    scene.write_bytes(good)
    assert run(tmp_path, "--shards", "3").returncode == 0
    assert found_blocks(tmp_path) == sorted(map(tuple, crowd[1]))
    (table,) = (tmp_path / "out").rglob("detections.parquet")
    assert not (table.parent / "parts").exists()


def test_masks(crowd, tmp_path):
    """Objects whose centre lies under a mask are left out, the others are whole."""
    copy_of(crowd, tmp_path)
    classes = np.full((1, *SHAPE), 4, "uint8")
    classes[:, 150:, :] = 9
    clouds = write_raster(tmp_path / "scl.tif", classes, cell=1.0)
    write_item(tmp_path, {"image": {"href": tmp_path / "scene.tif"}, "scl": {"href": clouds}})
    bands = [word for band in range(5) for word in ("--band", f"{band}=image:{band + 1}")]
    done = run(tmp_path, "--mask", "scl=9", *bands)
    assert done.returncode == 0, done.stderr
    clear = [box for box in crowd[1] if (box[1] + box[3]) / 2 < 150]
    assert 5 < len(clear) < 25
    assert found_blocks(tmp_path) == sorted(map(tuple, clear))


def test_areas_of_interest(crowd, tmp_path):
    """With --aoi only objects are found whose centre lies in it."""
    item = copy_of(crowd, tmp_path)
    west, south, east, north = json.loads(item.read_text())["bbox"]
    done = run(tmp_path, "--aoi", f"{(west + east) / 2},{south},{east},{north}")
    assert done.returncode == 0, done.stderr
    found = set(found_blocks(tmp_path))
    middles = {tuple(box): (box[0] + box[2]) / 2 for box in crowd[1]}
    assert {box for box, middle in middles.items() if middle > 256 + 20} <= found
    assert not {box for box, middle in middles.items() if middle < 256 - 20} & found
    assert found <= set(middles)


def test_an_area_elsewhere(crowd, tmp_path):
    """An area of interest that the scene does not meet is refused with code 2."""
    copy_of(crowd, tmp_path)
    assert_refused(run(tmp_path, "--aoi", "-10,-10,-9,-9"), 2, "area")


def test_mosaics(crowd, tmp_path):
    """An object across the border of two scenes of a mosaic is one, and whole; its row names both."""
    folder, truth = crowd
    shutil.copy2(folder / "net.onnx", tmp_path)
    shutil.copy2(folder / "net.emd", tmp_path)
    with rasterio.open(folder / "scene.tif") as dataset:
        values = dataset.read()
    edge = truth[0][0] + 6
    x, y = ORIGIN
    for name, part, left in (("west", values[..., :edge], 0), ("east", values[..., edge:], edge)):
        transform = rasterio.Affine(1, 0, x + left, 0, -1, y)
        raster = write_raster(tmp_path / f"{name}.tif", part, transform=transform)
        write_item(tmp_path, {"image": {"href": raster}}, name)
    words = ("-m", tmp_path / "net.emd", "-o", tmp_path / "out", "--mosaic", "first")
    done = geodl_here("run", tmp_path / "west.json", tmp_path / "east.json", *words)
    assert done.returncode == 0, done.stderr
    assert found_blocks(tmp_path) == sorted(map(tuple, truth))
    table = gpd.read_parquet(next((tmp_path / "out").rglob("detections.parquet")))
    assert set(table["source_id"]) == {"west east"}


def test_mosaics_heed_the_options_of_detectors(crowd, tmp_path):
    """--max-object decides how far tiles of a mosaic overlap, as of one scene."""
    folder, _ = crowd
    words = ("-m", folder / "net.emd", "-o", tmp_path, "--mosaic", "first", "--max-object", "80")
    item = json.loads((folder / "scene.json").read_text())
    (tmp_path / "again.json").write_text(json.dumps({**item, "id": "again"}))
    more = ("--arg", "tile_size=256", "--dry-run")
    done = geodl_here("plan", folder / "scene.json", tmp_path / "again.json", *words, *more)
    assert done.returncode == 0, done.stderr
    assert "halo 48" in done.stdout
    assert "border: constant" in done.stdout


def test_warped_sources(tmp_path):
    """Of a scene in another CRS than the grid objects are found, and lie where they are on Earth."""
    x, y = ORIGIN
    truth = np.array([[40, 50, 70, 90], [160, 60, 210, 85], [100, 180, 130, 200], [222, 150, 250, 220]])
    values = np.full((3, 256, 300), 20, "uint8")
    for x0, y0, x1, y1 in truth:
        values[:, y0:y1, x0:x1] = 220
    write_item(tmp_path, {"image": {"href": write_raster(tmp_path / "scene.tif", values, cell=2.0)}})
    bright_network(tmp_path)
    result = run_item(tmp_path, tmp_path / "scene.json", crs="EPSG:3857", cell_size="4")
    assert result.item["properties"]["proj:code"] == "EPSG:3857"
    found = gpd.read_parquet(result.folder / "detections.parquet").to_crs("EPSG:32633").geometry.centroid
    places = {(round((point.x - x) / 2), round((y - point.y) / 2)) for point in found}
    for x0, y0, x1, y1 in truth:
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        assert min(np.abs(np.array(place) - middle).max() for place in places) < 12
    for place in places:
        inside = [(x0 - 4 <= place[0] <= x1 + 4) and (y0 - 4 <= place[1] <= y1 + 4) for x0, y0, x1, y1 in truth]
        assert any(inside)


def bright_network(folder):
    """Write a network that gives a box of 16 pixels around every eighth pixel, scored by how bright it is there."""
    places = np.stack(np.meshgrid(np.arange(4, 128, 8), np.arange(4, 128, 8)), axis=0).reshape(1, 2, -1)
    boxes = np.concatenate([places, np.full_like(places, 16)], axis=1).astype("float32")
    arrays = {"boxes": boxes, "most": np.float32(255), "starts": [0, 0, 4, 4], "ends": [1, 1, 128, 128]}
    arrays |= {"steps": [1, 1, 8, 8], "axes": [0, 1, 2, 3], "shape": [1, 1, 256]}
    nodes = [
        helper.make_node("Slice", ["image", "starts", "ends", "axes", "steps"], ["seen"]),
        helper.make_node("Div", ["seen", "most"], ["shares"]),
        helper.make_node("Reshape", ["shares", "shape"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["rows"], axis=1),
    ]
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    info = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [1, 5, 256])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 128, 128])
    save(helper.make_graph(nodes, "bright", [image], [info], weights), folder / "net.onnx")
    keys = {"ImageHeight": 128, "ImageWidth": 128, "Padding": 32, "Classes": CLASSES[:1], "Threshold": 0.5}
    config = {"Name": "YOLOv8", "Config": {"form": "yolo transposed", "coordinates": "pixels"}}
    write_emd(folder, **{**DETECTOR, **keys, "ModelConfiguration": config})


def test_a_remote_item(crowd, tmp_path):
    """A scene and its Item behind HTTP give the bytes of local ones."""
    folder, truth = crowd
    shutil.copytree(folder, tmp_path / "served", ignore=shutil.ignore_patterns("*.json", "out*"))
    item = json.loads((folder / "scene.json").read_text())
    item["assets"]["image"]["href"] = "./scene.tif"
    (tmp_path / "served" / "scene.json").write_text(json.dumps(item))
    with FileServer(tmp_path / "served") as server:
        words = ("-m", tmp_path / "served" / "net.emd", "-o", tmp_path / "out", "--shards", "4")
        done = geodl_here("run", server.url("scene.json"), *words)
        assert done.returncode == 0, done.stderr
        assert found_blocks(tmp_path / "out") == sorted(map(tuple, truth))
        server.fail("/scene.tif", 404)
        assert_refused(geodl_here("run", server.url("scene.json"), *words, "--arg", "threshold=0.31"), 2)
    copy_of(crowd, tmp_path)
    local = run_item(tmp_path, tmp_path / "scene.json", out="local")
    (remote,) = (tmp_path / "out").rglob("detections.parquet")
    here, there = (gpd.read_parquet(path) for path in (local.folder / "detections.parquet", remote))
    assert here.drop(columns="job_id").equals(there.drop(columns="job_id"))


def test_detector_options_of_a_classifier(tmp_path):
    """Options of detectors are refused for a model that classifies pixels."""
    write_picture(tmp_path)
    conv_network(tmp_path / "net.onnx", channels=3)
    write_emd(tmp_path, ExtractBands=[0, 1, 2])
    assert_refused(run(tmp_path, "--max-object", "30"), 2, "--max-object")
    assert_refused(run(tmp_path, "--format", "gpkg"), 2, "--format")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--arg", "nms_overlap=2"), 2, "nms_overlap"),
        (("--arg", "padding=64"), 2, "leaves no core"),
        (("--arg", "return_probability_raster=true"), 2, "no such argument"),
        (("--arg", "tta_scales=1,2", "--arg", "test_time_augmentation=true"), 2, "tta_scales: 2 is larger"),
        (("--arg", "tta_scales=0"), 2, "tta_scales"),
        (("--max-object", "-4"), 2, "max_object"),
        (("--max-object", "200"), 2, "leaves no core"),
        (("--crs", "EPSG:1"), 2, "EPSG:1"),
        (("--precision", "fp16"), 2, "fp16"),
        (("--pad", "network"), 2, "pad network"),
    ],
)
def test_options_that_cannot_be(crowd, tmp_path, words, code, text):
    """Options outside their domain are refused before anything is computed, by `run` and by `plan`."""
    folder, _ = crowd
    for command in ("run", "plan"):
        done = geodl_here(command, folder / "scene.json", "-m", folder / "net.emd", "-o", tmp_path / "out", *words)
        assert_refused(done, code, text)
    assert left_over(tmp_path / "out") == []


def test_data_files_hold_no_paths(crowd, tmp_path):
    """The same job in two places gives the same bytes."""
    copy_of(crowd, tmp_path)
    results = []
    for name in ("here", "there"):
        place = tmp_path / name
        place.mkdir()
        for file in ("net.onnx", "net.emd", "scene.tif"):
            shutil.copy2(tmp_path / file, place)
        item = write_item(place, {"image": {"href": place / "scene.tif"}})
        results.append(data_files(run_item(place, item).folder))
    assert results[0] == results[1]
