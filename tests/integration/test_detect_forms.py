"""Every form of a detector's answer from the network to the map: what was laid down comes out, where it lies."""

import geopandas as gpd
import numpy as np
import onnxruntime
import pytest
import shapely
from affine import Affine
from onnx import TensorProto, helper, numpy_helper
from rasterio.features import rasterize

import detectors
from detectors_finished import (
    answering_network,
    cntk_answer,
    detr_answer,
    finished_answer,
    keras_answer,
    some_objects,
    tensorflow_answer,
    torchvision_answer,
)
from geodl_core.domain.detection.choice import DetectionChoice
from geodl_core.engine.open_worker import Means
from items import write_item
from networks import save, write_emd
from perfect import write_detector, write_objects
from runs import data_files, run_item
from scenes import ORIGIN, write_raster

CELL = 0.5
"""Metres a pixel."""
SIZE = (96, 128)
OBJECTS = some_objects(SIZE)
KNOWN = detectors.known_boxes(5, 6)
TURNED = detectors.known_boxes(9, 5, (256, 256))
SIDES = [f"box_px_{side}" for side in ("xmin", "ymin", "xmax", "ymax")]
ULTRAFACE = {"min_sizes": [list(sizes) for sizes in detectors.MIN_SIZES], "strides": [8, 16, 32, 64]}
HEADS = {"anchors": [list(map(list, level)) for level in detectors.ANCHORS], "version": "v5"}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path_factory.getbasetemp() / "forms-cache"))


def write_picture(folder, shape):
    """Write a scene of noise with three bands; return its Item."""
    values = np.random.default_rng(2).integers(0, 255, (3, *shape), "uint8")
    return write_item(folder, {"image": {"href": write_raster(folder / "scene.tif", values, cell=CELL)}})


def write_model(folder, size, classes, config=None, **keys):
    """Write the definition of `net.onnx`."""
    said = {"ModelType": "ObjectDetection", "ImageHeight": size[0], "ImageWidth": size[1], "ExtractBands": [0, 1, 2]}
    if config is not None:
        said["ModelConfiguration"] = {"Name": "", "Config": config}
    names = [{"Value": 20 + index, "Name": f"c{index}"} for index in range(classes)]
    write_emd(folder, **{**said, "Padding": 0, "Threshold": 0.25, "Classes": names, **keys})


def run_form(folder, size, **more):
    """Run `net.onnx` over a scene of one tile; return the table by falling score, in the CRS of the scene."""
    item = write_picture(folder, size)
    detection = DetectionChoice(**{"nms_overlap": 1.0, "crs": "scene", **more})
    table = gpd.read_parquet(run_item(folder, item, detection=detection).folder / "detections.parquet")
    assert table.crs == "EPSG:32633"
    return table.sort_values("score", ascending=False, ignore_index=True)


def to_map(points):
    """Return (…, 2) pixels as map coordinates."""
    return np.asarray(points, float) * (CELL, -CELL) + ORIGIN


def assert_found(table, boxes, scores, kinds, px=0.03):
    """Check classes, scores, and boxes in pixels."""
    order = np.argsort(-np.asarray(scores))
    np.testing.assert_allclose(table["score"], np.asarray(scores)[order], atol=1e-4)
    assert (table["class_id"] - 20).tolist() == np.asarray(kinds)[order].tolist()
    assert table["class_name"].astype(str).tolist() == [f"c{kind}" for kind in np.asarray(kinds)[order]]
    np.testing.assert_allclose(table[SIDES], np.asarray(boxes)[order], atol=px)


def assert_rectangles(table, boxes, scores, px=0.03):
    """Check that the geometries are the boxes, on the map."""
    corners = to_map(np.asarray(boxes)[np.argsort(-np.asarray(scores))].reshape(-1, 2, 2))
    for shape, ((x0, y0), (x1, y1)) in zip(table.geometry, corners, strict=True):
        wanted = shapely.box(x0, y1, x1, y0)
        assert shape.hausdorff_distance(wanted) < px * CELL * 2
        assert shape.exterior.is_ccw


FINISHED = {
    "tensorflow": (tensorflow_answer(OBJECTS, SIZE), None),
    "torchvision": (torchvision_answer(OBJECTS), None),
    "detr by softmax": (detr_answer(OBJECTS, SIZE), None),
    "detr by sigmoid": (detr_answer(OBJECTS, SIZE, activation="sigmoid"), None),
    "finished": (finished_answer(OBJECTS), None),
    "finished, class first": (finished_answer(OBJECTS, order="class score xyxy"), {"order": "class score xyxy"}),
    "finished with image": (finished_answer(OBJECTS, order="image xyxy class score", rows=5), None),
    "cntk faster-rcnn": (cntk_answer(OBJECTS), None),
}


@pytest.mark.parametrize("case", FINISHED)
def test_finished_boxes_on_the_map(case, tmp_path):
    """Boxes that networks give themselves lie on the map where they lie in the image."""
    outputs, config = FINISHED[case]
    answering_network(tmp_path / "net.onnx", outputs, SIZE)
    write_model(tmp_path, SIZE, 3, config)
    table = run_form(tmp_path, SIZE)
    assert_found(table, OBJECTS.boxes, OBJECTS.scores, OBJECTS.kinds)
    assert_rectangles(table, OBJECTS.boxes, OBJECTS.scores)


DENSE = {
    "yolo": (detectors.yolo_network, {}, None),
    "yolo, normalised": (detectors.yolo_network, {"coordinates": "normalised"}, None),
    "yolo, no objectness": (detectors.yolo_network, {"has_objectness": False}, None),
    "yolo, logits": (detectors.yolo_network, {"is_activated": False}, None),
    "yolo transposed": (detectors.yolo_transposed_network, {}, None),
    "yolo heads": (detectors.yolo_heads_network, {}, HEADS),
    "yolo heads, five axes": (detectors.yolo_heads_network, {"is_flat": False}, HEADS),
    "yolo heads of v3": (detectors.yolo_heads_network, {"version": "v3"}, {**HEADS, "version": "v3"}),
    "yolox": (detectors.yolox_network, {}, None),
    "ssd": (detectors.ssd_network, {}, None),
    "ssd, pixels": (detectors.ssd_network, {"coordinates": "pixels"}, None),
    "ssd raw": (detectors.ssd_raw_network, {}, ULTRAFACE),
    "retinanet raw": (detectors.retinanet_network, {}, None),
    "retinanet raw, levels": (detectors.retinanet_network, {"is_per_level": True}, None),
}


@pytest.mark.parametrize("case", DENSE)
def test_dense_boxes_on_the_map(case, tmp_path):
    """Boxes that are decoded lie on the map where they lie in the image."""
    build, how, config = DENSE[case]
    build(tmp_path / "net.onnx", KNOWN, **how)
    write_model(tmp_path, KNOWN.size, KNOWN.classes, config)
    table = run_form(tmp_path, KNOWN.size)
    assert_found(table, KNOWN.boxes, KNOWN.scores, KNOWN.labels)
    assert_rectangles(table, KNOWN.boxes, KNOWN.scores)


def corners_of(known):
    """Return (n, 4, 2) corners of boxes that are turned clockwise as seen, by another formula than the decoder's."""
    found = []
    for (cx, cy, w, h, *_), angle in zip(known, known.angles, strict=True):
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        found.append(np.array([(-w, -h), (w, -h), (w, h), (-w, h)]) / 2 @ turn + (cx, cy))
    return np.array(found)


@pytest.mark.parametrize("coordinates", ["pixels", "normalised"])
def test_oriented_boxes_on_the_map(coordinates, tmp_path):
    """Oriented boxes are polygons of four corners; with return_bboxes their bounds."""
    detectors.yolo_oriented_network(tmp_path / "net.onnx", TURNED, coordinates)
    config = {"form": "yolo oriented", "coordinates": coordinates}
    write_model(tmp_path, TURNED.size, TURNED.classes, config)
    corners = corners_of(TURNED)
    bounds = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    table = run_form(tmp_path, TURNED.size)
    assert_found(table, bounds, TURNED.scores, TURNED.labels)
    for shape, wanted in zip(table.geometry, to_map(corners), strict=True):
        assert len(shape.exterior.coords) == 5
        assert shape.normalize().equals_exact(shapely.Polygon(wanted).normalize(), tolerance=0.03)
    # What a tile cannot see of a box is cut off, of an oriented one it is not.
    inside = np.clip(bounds, 0, 256)
    (tmp_path / "boxes").mkdir()
    for name in ("net.onnx", "net.emd"):
        (tmp_path / "boxes" / name).write_bytes((tmp_path / name).read_bytes())
    boxes = run_form(tmp_path / "boxes", TURNED.size, return_bboxes=True)
    assert_found(boxes, inside, TURNED.scores, TURNED.labels)
    assert_rectangles(boxes, inside, TURNED.scores)


def pixels_of(shape, size):
    """Return which pixels' centres lie within a shape on the map."""
    transform = Affine(CELL, 0, ORIGIN[0], 0, -CELL, ORIGIN[1])
    return rasterize([(shape, 1)], out_shape=size, transform=transform).astype(bool)


def overlap(mask, other):
    return (mask & other).sum() / (mask | other).sum()


@pytest.mark.parametrize("has_objectness", [False, True])
def test_masks_of_prototypes_on_the_map(has_objectness, tmp_path):
    """Masks that are composed of prototypes are outlines of what they show: ellipses."""
    known = detectors.known_boxes(12, 4, (256, 256))
    detectors.yolo_masks_network(tmp_path / "net.onnx", known, has_objectness)
    write_model(tmp_path, known.size, known.classes)
    table = run_form(tmp_path, known.size)
    assert_found(table, known.boxes, known.scores, known.labels)
    rows, cols = np.indices(known.size) + 0.5
    for shape, (cx, cy, w, h, _, _) in zip(table.geometry, known, strict=True):
        ellipse = ((cols - cx) / w * 2) ** 2 + ((rows - cy) / h * 2) ** 2 < 1
        if min(w, h) > 20:
            assert overlap(pixels_of(shape, known.size), ellipse) > 0.85


def ring_masks(objects):
    """Return the objects' masks with a hole in the middle of the first."""
    masks = objects.masks.copy()
    x0, y0, x1, y1 = objects.boxes[0].astype(int)
    third = ((x1 - x0) // 3, (y1 - y0) // 3)
    masks[0, y0:y1, x0:x1] = 0.9
    masks[0, y0 + third[1] : y1 - third[1], x0 + third[0] : x1 - third[0]] = 0.1
    return masks


@pytest.mark.parametrize("simplify", [0.0, 0.5, 4.0])
def test_masks_of_the_image_on_the_map(simplify, tmp_path):
    """Masks are outlines with their holes, right to a pixel and to what simplify allows."""
    masks = ring_masks(OBJECTS)
    answer = {**torchvision_answer(OBJECTS, has_masks=True), "masks": masks[:, None]}
    answering_network(tmp_path / "net.onnx", answer, SIZE)
    write_model(tmp_path, SIZE, 3)
    table = run_form(tmp_path, SIZE, simplify_px=simplify)
    assert_found(table, OBJECTS.boxes, OBJECTS.scores, OBJECTS.kinds)
    assert table.geometry.is_valid.all()
    assert len(table.geometry[0].interiors) == 1
    assert all(shape.exterior.is_ccw for shape in table.geometry)
    least = 0.9 if simplify < 1 else 0.6
    for shape, mask in zip(table.geometry, masks, strict=True):
        assert overlap(pixels_of(shape, SIZE), mask > 0.5) > least
    points = sum(len(shapely.get_coordinates(shape)) for shape in table.geometry)
    assert points < {0.0: 1000, 0.5: 120, 4.0: 45}[simplify]


def test_boxes_of_masks(tmp_path):
    """With return_bboxes masks are not drawn, and boxes come out."""
    answering_network(tmp_path / "net.onnx", torchvision_answer(OBJECTS, has_masks=True), SIZE)
    write_model(tmp_path, SIZE, 3)
    table = run_form(tmp_path, SIZE, return_bboxes=True)
    assert_rectangles(table, OBJECTS.boxes, OBJECTS.scores)


def test_masks_that_show_nothing(tmp_path):
    """An object whose mask is nowhere above one half is none."""
    masks = OBJECTS.masks.copy()
    masks[2] = 0.3
    answer = {**torchvision_answer(OBJECTS, has_masks=True), "masks": masks[:, None]}
    answering_network(tmp_path / "net.onnx", answer, SIZE)
    write_model(tmp_path, SIZE, 3)
    table = run_form(tmp_path, SIZE)
    rows = [0, 1, 3, 4]
    assert_found(table, OBJECTS.boxes[rows], OBJECTS.scores[rows], OBJECTS.kinds[rows])


def test_masks_of_keras(tmp_path):
    """Mask R-CNN's small masks are those of the object's own class, here its upper half."""
    answering_network(tmp_path / "net.onnx", keras_answer(OBJECTS, SIZE), SIZE)
    write_model(tmp_path, SIZE, 3, {"form": "keras mask-rcnn"})
    table = run_form(tmp_path, SIZE, simplify_px=0.0)
    assert_found(table, OBJECTS.boxes, OBJECTS.scores, OBJECTS.kinds)
    for shape, (x0, y0, x1, y1) in zip(table.geometry, OBJECTS.boxes, strict=True):
        upper = to_map([(x0, y0), (x1, (y0 + y1) / 2)])
        assert shape.hausdorff_distance(shapely.box(*upper.min(0), *upper.max(0))) < 1.0


def test_points(tmp_path):
    """As points, objects lie in the middle of their boxes."""
    answering_network(tmp_path / "net.onnx", finished_answer(OBJECTS), SIZE)
    write_model(tmp_path, SIZE, 3)
    table = run_form(tmp_path, SIZE, geometry="point")
    middles = to_map((OBJECTS.boxes[:, :2] + OBJECTS.boxes[:, 2:]) / 2)
    np.testing.assert_allclose(shapely.get_coordinates(table.geometry.values), middles, atol=0.02)


def blob_network(folder, tile, form):
    """Write a network that finds bright squares by how bright the image is, as oriented boxes or with masks.

    Every fourth pixel is a proposal of a box of 24 pixels, scored by the mean brightness around it, which is greatest
    in the middle of a bright square of 24 pixels; oriented ones are turned by 30°, and masks are the box's middle row.
    """
    places = np.arange(2, tile, 4, dtype=np.float32)
    count = len(places) ** 2
    grid = np.stack(np.meshgrid(places, places)).reshape(1, 2, count)
    fixed = np.concatenate([grid, np.full_like(grid, 24)], axis=1)
    arrays = {
        "kernel": np.full((1, 3, 25, 25), 1 / (3 * 25 * 25 * 255), np.float32),
        "fixed": fixed,
        "shape": np.array([1, 1, count]),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["means"], pads=[10, 10, 12, 12], strides=[4, 4]),
        helper.make_node("Reshape", ["means", "shape"], ["scores"]),
    ]
    infos = []
    if form == "yolo oriented":
        arrays["rest"] = np.full((1, 1, count), np.pi / 6, np.float32)
    else:
        arrays["rest"] = np.concatenate([np.full((1, 1, count), 4), np.zeros((1, 3, count))], axis=1).astype("float32")
        cells = tile // 4
        basis = np.zeros((1, 4, cells, cells), np.float32)
        basis[:, 0] = 1
        arrays |= {"basis": basis, "none": np.float32(0)}
        nodes += [
            helper.make_node("ReduceMax", ["image"], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "none"], ["zero"]),
            helper.make_node("Add", ["basis", "zero"], ["output1"]),
        ]
        infos = [helper.make_tensor_value_info("output1", TensorProto.FLOAT, basis.shape)]
    nodes.append(helper.make_node("Concat", ["fixed", "scores", "rest"], ["output0"], axis=1))
    columns = 5 + arrays["rest"].shape[1]
    first = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, columns, count])
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, tile, tile])
    save(helper.make_graph(nodes, "blobs", [image], [first, *infos], weights), folder / "net.onnx")
    config = {"form": form, "coordinates": "pixels"}
    write_model(folder, (tile, tile), 1, config, Padding=32, Threshold=0.7)


def write_squares(folder, shape=(300, 420)):
    """Write a dark scene with bright squares of 24 pixels, some across the tiles' borders; return Item and centres."""
    values = np.full((3, *shape), 3, "uint8")
    centres = [(64, 64), (128, 60), (192, 128), (62, 190), (256, 192), (320, 20), (40, 280), (388, 254), (130, 130)]
    for x, y in centres:
        values[:, max(y - 12, 0) : y + 12, max(x - 12, 0) : x + 12] = 250
    return write_item(folder, {"image": {"href": write_raster(folder / "scene.tif", values, cell=CELL)}}), centres


@pytest.mark.parametrize("form", ["yolo oriented", "yolo masks"])
def test_outlines_across_tiles(form, tmp_path):
    """Outlines of objects over the borders and corners of tiles are whole and there once, the same for any shards."""
    blob_network(tmp_path, 128, form)
    item, centres = write_squares(tmp_path)
    choice = DetectionChoice(crs="scene", simplify_px=0.0, nms_overlap=0.3)
    one = run_item(tmp_path, item, out="one", shards=1, detection=choice)
    many = run_item(tmp_path, item, out="many", shards=20, detection=choice)
    assert data_files(one.folder) == data_files(many.folder)
    table = gpd.read_parquet(one.folder / "detections.parquet")
    assert len(table) == len(centres)
    assert one.item["properties"]["geodl:cut_objects"] == 0
    angle = np.pi / 6
    sides = np.array([(-12, -12), (12, -12), (12, 12), (-12, 12)])
    if form == "yolo oriented":
        sides = sides @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for x, y in centres:
        wanted = shapely.Polygon(to_map(sides + np.array([x, y])))
        nearest = min(table.geometry, key=lambda shape, wanted=wanted: shape.centroid.distance(wanted.centroid))
        # Proposals stand on every fourth pixel.
        assert nearest.hausdorff_distance(wanted) < 4.5 * CELL


def test_forms_in_batches(tmp_path):
    """A network of open batch gives the same whatever number of tiles it is given at a time."""
    truth = [(10, 10, 30, 40, 0), (90, 20, 140, 60, 1), (200, 100, 230, 130, 2), (120, 100, 160, 150, 0)]
    item = write_objects(tmp_path, truth, (160, 260))
    write_detector(tmp_path, 96, Padding=32)
    runs = [run_item(tmp_path, item, out=f"of{size}", means=Means(batch_size=size)) for size in (1, 2, 7)]
    assert len({tuple(sorted(data_files(run.folder).items())) for run in runs}) == 1
    session = onnxruntime.InferenceSession((tmp_path / "net.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    assert isinstance(session.get_inputs()[0].shape[0], str)
