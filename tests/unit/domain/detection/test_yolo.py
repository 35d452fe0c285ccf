"""YOLO's heads: known objects come back from each layout, real ones as networks decode them themselves."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from scipy import ndimage, special

import detectors
from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.detection.dense import choose_every, sigmoid, softmax
from geodl_core.domain.detection.yolo import (
    decode_yolo,
    decode_yolo_heads,
    decode_yolo_masks,
    decode_yolo_oriented,
    decode_yolo_transposed,
)
from geodl_core.errors import ModelError

SIZE = (64, 96)
KNOWN = detectors.known_boxes(1, 12)
EMPTY = detectors.known_boxes(1, 0)
HEADS = {"anchors": detectors.ANCHORS, "version": "v5"}
seeds = st.integers(0, 1 << 30)


def decoder_of(form: str = "yolo", tensors: tuple[str, ...] = ("output0",), **more) -> Decoder:
    values = {"coordinates": "pixels", "classes": KNOWN.classes, **more}
    return Decoder(form, tensors, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("known", [KNOWN, EMPTY], ids=["objects", "none"])
@pytest.mark.parametrize("is_activated", [True, False])
@pytest.mark.parametrize("has_objectness", [True, False])
@pytest.mark.parametrize("coordinates", ["pixels", "normalised"])
def test_rows(tmp_path, coordinates, has_objectness, is_activated, known):
    """Known objects come back from rows of boxes, with and without objectness, as scores and as logits."""
    how = {"coordinates": coordinates, "has_objectness": has_objectness, "is_activated": is_activated}
    tensors = detectors.answer(detectors.yolo_network(tmp_path / "net.onnx", known, **how))
    (found,) = decode_yolo(tensors, decoder_of(first_label=3, **how), known.size, 0.4)
    detectors.assert_known(found, known, first_label=3)
    assert found.corners is None
    assert found.masks is None


@pytest.mark.parametrize("is_activated", [True, False])
@pytest.mark.parametrize("coordinates", ["pixels", "normalised"])
def test_transposed(tmp_path, coordinates, is_activated):
    """Known objects come back from columns of boxes, whatever the decoder says of objectness."""
    how = {"coordinates": coordinates, "is_activated": is_activated}
    tensors = detectors.answer(detectors.yolo_transposed_network(tmp_path / "net.onnx", KNOWN, **how))
    (found,) = decode_yolo_transposed(tensors, decoder_of("yolo transposed", **how), KNOWN.size, 0.4)
    detectors.assert_known(found, KNOWN)


@pytest.mark.parametrize("coordinates", ["pixels", "normalised"])
def test_oriented(tmp_path, coordinates):
    """Oriented boxes are what shapely turns, in pixels of an image that is not square; their boxes are the bounds."""
    tensors = detectors.answer(detectors.yolo_oriented_network(tmp_path / "net.onnx", KNOWN, coordinates))
    decoder = decoder_of("yolo oriented", coordinates=coordinates)
    (found,) = decode_yolo_oriented(tensors, decoder, KNOWN.size, 0.4)
    assert len(found.scores) == len(KNOWN.scores)
    for place, number in enumerate(np.argsort(-found.scores)):
        box = shapely.box(*KNOWN.boxes[place])
        # With y down an angle from x to y is shapely's counter-clockwise one.
        turned = shapely.affinity.rotate(box, KNOWN.angles[place], origin="center", use_radians=True)
        outline = shapely.Polygon(found.corners[number])
        assert outline.is_valid
        assert shapely.hausdorff_distance(outline, turned) < 0.01
        np.testing.assert_allclose(found.boxes[number], turned.bounds, atol=0.01)
        x0, y0, x1, _ = KNOWN.boxes[place]
        first = shapely.affinity.rotate(
            shapely.LineString([(x0, y0), (x1, y0)]), KNOWN.angles[place], box.centroid, True
        )
        np.testing.assert_allclose(found.corners[number][:2], first.coords, atol=0.01)


@pytest.mark.parametrize("has_objectness", [False, True], ids=["v8", "v5"])
def test_masks(tmp_path, has_objectness):
    """Masks drawn out over their boxes are the known ellipses to within a prototype cell, and in area nearly so."""
    tensors = detectors.answer(detectors.yolo_masks_network(tmp_path / "net.onnx", KNOWN, has_objectness))
    decoder = decoder_of("yolo masks", ("output0", "output1"), has_objectness=has_objectness)
    (found,) = decode_yolo_masks(tensors, decoder, KNOWN.size, 0.4)
    detectors.assert_known(found, KNOWN)
    order = np.argsort(-found.scores)
    for number, (cx, cy, w, h, _, _) in zip(order, KNOWN, strict=True):
        mask, (x0, y0, x1, y1) = found.masks[number], found.boxes[number]
        assert mask.dtype == np.float32
        assert mask.shape == (np.ceil((y1 - y0) / 4), np.ceil((x1 - x0) / 4))
        fine = 400
        rows = (np.arange(fine) + 0.5) / fine * mask.shape[0] - 0.5
        cols = (np.arange(fine) + 0.5) / fine * mask.shape[1] - 0.5
        drawn = ndimage.map_coordinates(mask, np.meshgrid(rows, cols, indexing="ij"), order=1, mode="nearest") > 0.5
        x = x0 + (np.arange(fine) + 0.5) / fine * (x1 - x0)
        y = y0 + (np.arange(fine) + 0.5)[:, None] / fine * (y1 - y0)
        ellipse = ((x - cx) / (w / 2)) ** 2 + ((y - cy) / (h / 2)) ** 2
        # An ellipse is wrong by d pixels at most where its axes are by d too long or too short.
        outer = ((x - cx) / (w / 2 + 4)) ** 2 + ((y - cy) / (h / 2 + 4)) ** 2 < 1
        inner = ((x - cx) / max(w / 2 - 4, 1e-3)) ** 2 + ((y - cy) / max(h / 2 - 4, 1e-3)) ** 2 < 1
        assert not (drawn & ~outer).any()
        assert not (inner & ~drawn).any()
        if min(w, h) > 40:
            assert abs(drawn.sum() / (ellipse < 1).sum() - 1) < 0.05


def test_masks_are_what_whole_prototypes_give():
    """A mask is the sigmoid of the whole combination, read bilinearly amid its parts, also beyond the edge."""
    rng = np.random.default_rng(5)
    prototypes = rng.standard_normal((1, 6, 16, 24)).astype(np.float32)
    boxes = np.zeros((1, 4 + 2 + 6, 5), np.float32)
    boxes[0, :4] = np.array([[5, 40, 90, 50, 48], [5, 30, 60, 33, 32], [30, 21, 40, 0.5, 300], [20, 17, 30, 0.25, 300]])
    boxes[0, 4] = 0.9 - np.arange(5) / 100
    boxes[0, 6:] = rng.standard_normal((6, 5))
    decoder = decoder_of("yolo masks", ("a", "b"), classes=2, has_objectness=False)
    (found,) = decode_yolo_masks((boxes, prototypes), decoder, SIZE, 0.5)
    whole = np.einsum("mb,mhw->bhw", boxes[0, 6:], prototypes[0])
    for mask, logits, (x0, y0, x1, y1) in zip(found.masks, whole, found.boxes, strict=True):
        height, width = mask.shape
        assert (height, width) == (min(np.ceil((y1 - y0) / 4), 16), min(np.ceil((x1 - x0) / 4), 24))
        rows = y0 + (np.arange(height) + 0.5) * (y1 - y0) / height
        cols = x0 + (np.arange(width) + 0.5) * (x1 - x0) / width
        places = np.meshgrid(rows / 4 - 0.5, cols / 4 - 0.5, indexing="ij")
        expected = special.expit(ndimage.map_coordinates(logits, places, order=1, mode="nearest"))
        np.testing.assert_allclose(mask, expected, atol=1e-5)


@pytest.mark.parametrize("is_flat", [True, False])
@pytest.mark.parametrize("version", ["v3", "v4", "v5", "v7"])
def test_heads(tmp_path, version, is_flat):
    """Known objects come back from undecoded maps of each version, in both layouts."""
    path = detectors.yolo_heads_network(tmp_path / "net.onnx", KNOWN, version, is_flat, scale_xy=1.1)
    decoder = decoder_of(
        "yolo heads",
        ("p3", "p4", "p5"),
        is_activated=False,
        settings={"anchors": detectors.ANCHORS, "version": version, "scale_xy": 1.1},
    )
    (found,) = decode_yolo_heads(detectors.answer(path), decoder, KNOWN.size, 0.4)
    detectors.assert_known(found, KNOWN)


@pytest.mark.parametrize("version", ["v3", "v5"])
def test_heads_with_sigmoids_inside(tmp_path, version):
    """Where the graph has applied the sigmoids, maps give the same objects."""
    path = detectors.yolo_heads_network(tmp_path / "net.onnx", KNOWN, version, is_flat=False)
    tensors = detectors.answer(path)
    activated = tuple(special.expit(tensor) for tensor in tensors)
    if version == "v3":
        for done, raw in zip(activated, tensors, strict=True):
            done[..., 2:4] = raw[..., 2:4]
    rows = tuple(np.ravel(each) for each in detectors.ANCHORS)
    decoder = decoder_of("yolo heads", ("p3", "p4", "p5"), settings={"anchors": rows, "version": version})
    (found,) = decode_yolo_heads(activated, decoder, KNOWN.size, 0.4)
    detectors.assert_known(found, KNOWN)


@given(seeds, st.booleans(), st.booleans())
@settings(max_examples=60)
def test_rows_one_by_one(seed, has_objectness, is_normalised):
    """Objects are those that a loop over rows finds: the first best class, strictly above the threshold."""
    rng = np.random.default_rng(seed)
    width = 4 + has_objectness + 3
    boxes = np.concatenate([rng.random((2, 30, 4)), rng.integers(0, 5, (2, 30, width - 4)) / 4], axis=2)
    boxes = boxes.astype(np.float32)
    coordinates = "normalised" if is_normalised else "pixels"
    decoder = decoder_of(classes=3, has_objectness=has_objectness, coordinates=coordinates)
    for image, found in zip(boxes, decode_yolo((boxes,), decoder, SIZE, 0.5), strict=True):
        expected = []
        for cx, cy, w, h, *rest in image.tolist():
            objectness, scores = (rest[0], rest[1:]) if has_objectness else (1, rest)
            if objectness * max(scores) > 0.5:
                x, y = (SIZE[1], SIZE[0]) if is_normalised else (1, 1)
                corners = ((cx - w / 2) * x, (cy - h / 2) * y, (cx + w / 2) * x, (cy + h / 2) * y)
                expected.append((*corners, objectness * max(scores), scores.index(max(scores))))
        np.testing.assert_allclose(
            np.column_stack([found.boxes, found.scores, found.labels]), np.reshape(expected, (-1, 6)), atol=1e-4
        )


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_activations(numbers):
    """The sigmoid is scipy's over all of float32, the softmax too, without a warning."""
    logits = np.array(numbers, np.float32)
    np.testing.assert_allclose(sigmoid(logits), special.expit(logits), rtol=1e-5, atol=1e-37)
    moderate = np.clip(logits, -1e30, 1e30)
    np.testing.assert_allclose(softmax(moderate), special.softmax(moderate.astype(np.float64)), rtol=1e-5, atol=1e-30)
    assert sigmoid(logits).dtype == softmax(moderate).dtype == np.float32


def test_every_class_above_the_threshold():
    """A box of two classes above the threshold is two objects, one at the threshold none."""
    chosen = choose_every(np.array([[0.5, 0.6, 0.7], [0.5, 0.1, 0.2]], np.float32), 0.5)
    assert chosen.rows.tolist() == [0, 0]
    assert chosen.classes.tolist() == [1, 2]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats(tmp_path, dtype):
    """Half and double precision give float32 objects."""
    (rows,) = detectors.answer(detectors.yolo_network(tmp_path / "net.onnx", KNOWN))
    (found,) = decode_yolo((rows.astype(dtype),), decoder_of(), KNOWN.size, 0.4)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    np.testing.assert_allclose(np.sort(found.scores)[::-1], KNOWN.scores, atol=2e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(4, "objectness"), (7, "class score")], ids=lambda place: place[1])
def test_scores_that_are_no_numbers(place, value):
    """One NaN or infinite score, which no threshold lets pass, stops the run rather than vanish."""
    rows = np.full((1, 9, 9), 0.1, np.float32)
    rows[0, 5, place[0]] = value
    head = np.full((1, 3, 2, 2, 9), -5, np.float32)
    head[0, 1, 1, 0, place[0]] = value
    one_scale = {"anchors": detectors.ANCHORS[:1], "version": "v3"}
    calls = [
        (decode_yolo, (rows,), decoder_of()),
        (decode_yolo, (rows,), decoder_of(has_objectness=False, classes=5)),
        (decode_yolo_transposed, (rows.transpose(0, 2, 1),), decoder_of(classes=5)),
        (decode_yolo_oriented, (rows.transpose(0, 2, 1),), decoder_of(classes=4)),
        (decode_yolo_masks, (rows, np.zeros((1, 1, 4, 4))), decoder_of(tensors=("output0", "p"), classes=3)),
        (decode_yolo_heads, (head,), decoder_of(is_activated=False, settings=one_scale)),
    ]
    for decode, tensors, decoder in calls:
        with pytest.raises(ModelError, match=r"'output0': the network gives NaN.* found 1 of"):
            decode(tensors, decoder, SIZE, 0.5)


def test_boxes_that_are_no_numbers():
    """A NaN in the box of an object reaches what is found; where it shapes a mask it stops the run."""
    rows = np.full((1, 3, 9), 0.9, np.float32)
    rows[0, 1, 0] = np.nan
    (found,) = decode_yolo((rows,), decoder_of(), SIZE, 0.5)
    np.testing.assert_array_equal(np.isfinite(found.boxes).all(1), [True, False, True])
    (found,) = decode_yolo_oriented((rows.transpose(0, 2, 1),), decoder_of(), SIZE, 0.5)
    np.testing.assert_array_equal(np.isfinite(found.corners).all((1, 2)), [True, False, True])
    with pytest.raises(ModelError, match="NaN: expected each box finite"):
        decode_yolo_masks((rows, np.zeros((1, 1, 4, 4))), decoder_of(tensors=("a", "b"), classes=3), SIZE, 0.5)


ROWS = np.zeros((1, 20, 9))
COLUMNS = np.zeros((1, 9, 20))
PROTOTYPES = np.zeros((1, 5, 16, 24))
HEAD = np.zeros((1, 27, 8, 12))


@pytest.mark.parametrize(
    ("decode", "tensors", "more", "message"),
    [
        (decode_yolo, (ROWS[0],), {}, r"'a': expected the shape \(N, B, 9\), found \(20, 9\)"),
        (decode_yolo, (ROWS,), {"classes": 5}, r"'a': expected the shape \(N, B, 10\), found \(1, 20, 9\)"),
        (decode_yolo, (ROWS[..., :5],), {"classes": None}, "at least 6 numbers a box, found 5"),
        (decode_yolo, (ROWS,), {"is_activated": False, "settings": {"activation": "softmax"}}, "are sigmoids, found"),
        (decode_yolo_heads, (HEAD,), {"is_activated": False, "settings": {"activation": "softmax"}}, "are sigmoids"),
        (decode_yolo, (ROWS, ROWS), {}, "takes 1 tensors, found 2"),
        (decode_yolo_transposed, (ROWS,), {"classes": 5}, r"\(N, 9, B\), found \(1, 20, 9\)"),
        (decode_yolo_transposed, (COLUMNS[:, :4],), {"classes": None}, "at least 5 numbers a box, found 4"),
        (decode_yolo_oriented, (COLUMNS,), {"classes": 5}, r"\(N, 10, B\)"),
        (decode_yolo_oriented, (COLUMNS[:, :5],), {"classes": None}, "at least 5 numbers a box, found 4"),
        (decode_yolo_masks, (COLUMNS, PROTOTYPES), {"has_objectness": False}, r"\(N, 13, B\), found \(1, 9, 20\)"),
        (decode_yolo_masks, (ROWS, PROTOTYPES[0]), {}, r"'b': expected the shape \(1, M, h, w\), found \(5, 16, 24\)"),
        (decode_yolo_masks, (ROWS, PROTOTYPES), {"classes": None}, "at least 6 numbers a box, found 4"),
        (decode_yolo_heads, (HEAD,), {"classes": 5}, r"'a': expected the shape \(N, 30, h0, w0\)"),
        (decode_yolo_heads, (HEAD[:, :26],), {"classes": None}, "3 anchors times 5 \\+ K channels, found 26"),
        (decode_yolo_heads, (HEAD[0],), {}, r"'a': expected the shape \(N, 3, h0, w0, 9\)"),
        (
            decode_yolo_heads,
            (HEAD,),
            {"settings": {"anchors": detectors.ANCHORS, "version": "v3"}},
            "each of 1 outputs",
        ),
        (decode_yolo_heads, (HEAD,), {"settings": {"anchors": [[1, 2, 3]], "version": "v3"}}, "anchors as pairs"),
        (decode_yolo_heads, (HEAD,), {"settings": {"anchors": "COCO", "version": "v3"}}, "anchors is 'COCO'"),
        (decode_yolo_heads, (HEAD,), {"settings": {"version": "v3"}}, "anchors is None, expected lists of numbers"),
        (
            decode_yolo_heads,
            (HEAD,),
            {"settings": {"anchors": detectors.ANCHORS[:1]}},
            "version is None, expected one of",
        ),
        (decode_yolo_heads, (HEAD,), {"settings": {**HEADS, "version": "v4", "anchors": [[3, 4]]}}, "scale_xy is None"),
    ],
)
def test_what_does_not_fit(decode, tensors, more, message):
    """Another number of tensors, another rank, other channels and missing settings are refused by name."""
    settings = {"anchors": detectors.ANCHORS[:1], "version": "v3"}
    decoder = decoder_of(
        tensors=("a", "b")[: max(1, 2 * (decode is decode_yolo_masks))], **{"settings": settings, **more}
    )
    with pytest.raises(ModelError, match=message):
        decode(tensors, decoder, SIZE, 0.5)


@pytest.fixture(scope="module")
def ships(shared):
    """What the YOLOv5n of DIOR gives for a tile with a car park: its decoded rows, and the maps within its graph."""
    folder = shared / "data" / "dior_yolov5n"
    model = onnx.load(folder / "yolov5n-diorall-nchw.onnx")
    maps = [node.output[0] for node in model.graph.node if node.op_type == "Conv" and _channels(model, node) == 75]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in maps)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with rasterio.open(shared / "data" / "oam_manila_cars" / "5b90f92da0d7280005fab355_4310.tif") as scene:
        tile = scene.read(window=((200, 1000), (1248, 2048)))
    rows, *heads = session.run(None, {session.get_inputs()[0].name: tile[None].astype(np.float32) / 255})
    return rows, sorted(heads, key=lambda head: -head.shape[2]), json.loads((folder / "classes.json").read_text())


def _channels(model: onnx.ModelProto, node: onnx.NodeProto) -> int:
    return next(each.dims[0] for each in model.graph.initializer if each.name == node.input[1])


@pytest.mark.shared
def test_maps_of_a_real_network(ships):
    """The maps of a real YOLOv5 decode to the rows that its own graph decodes them to, row by row."""
    rows, heads, _ = ships
    assert [head.shape for head in heads] == [(1, 75, size, size) for size in (100, 50, 25)]
    own = decoder_of(classes=20, coordinates="normalised")
    of_maps = decoder_of(tensors=("a", "b", "c"), classes=20, is_activated=False, settings=HEADS)
    (expected,) = decode_yolo((rows,), own, (800, 800), -1)
    (found,) = decode_yolo_heads(tuple(heads), of_maps, (800, 800), -1)
    # The graph goes cell by cell, our maps go anchor by anchor.
    order, start = [], 0
    for cells in (100 * 100, 50 * 50, 25 * 25):
        order.append(start + np.arange(cells * 3).reshape(cells, 3).T.ravel())
        start += cells * 3
    own_order = np.concatenate(order)
    assert len(found.scores) == len(expected.scores) == start
    np.testing.assert_allclose(found.scores, expected.scores[own_order], atol=1e-5)
    sure = found.scores > 0.01
    assert sure.sum() > 500
    np.testing.assert_array_equal(found.labels[sure], expected.labels[own_order][sure])
    exact = expected.boxes[own_order] / (800 * float(np.float16(1 / 800)))  # the graph divides in half precision
    np.testing.assert_allclose(found.boxes, exact, atol=0.01)


@pytest.mark.shared
def test_cars_of_a_real_network(ships, shared):
    """A real YOLOv5 finds most of the cars that were drawn by hand, and in the drawn part little else."""
    rows, _, classes = ships
    (found,) = decode_yolo((rows,), decoder_of(classes=20, coordinates="normalised"), (800, 800), 0.25)
    vehicles = found.boxes[found.labels == classes.index("vehicle")] + np.array([1248, 200, 1248, 200])
    table = np.genfromtxt(
        shared / "data" / "oam_manila_cars" / "cars.csv", delimiter=",", names=True, dtype=None, encoding="utf8"
    )
    cars = np.column_stack([table[name] for name in ("xmin", "ymin", "xmax", "ymax")])
    cars = cars[(cars[:, 0] > 1248) & (cars[:, 3] < 1000)]
    overlaps = _iou(cars, vehicles)
    assert len(cars) > 60
    assert (overlaps.max(1) >= 0.5).mean() > 0.75
    centres = (vehicles[:, :2] + vehicles[:, 2:]) / 2
    is_drawn = ((centres > (1440, 290)) & (centres < (2048, 955))).all(1)
    assert (overlaps.max(0)[is_drawn] >= 0.3).mean() > 0.8


def _iou(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    a, b = shapely.box(*some.T)[:, None], shapely.box(*others.T.astype(np.float64))[None]
    return shapely.area(shapely.intersection(a, b)) / shapely.area(shapely.union(a, b))
