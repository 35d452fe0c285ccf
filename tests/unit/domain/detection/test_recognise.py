"""How a detector's answer is recognised: by the definition, else by names, shapes and values."""

import json

import numpy as np
import onnxruntime
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

import detectors
from detectors_finished import (
    answering_network,
    cntk_answer,
    detr_answer,
    finished_answer,
    keras_answer,
    run_once,
    some_objects,
    tensorflow_answer,
    torchvision_answer,
)
from geodl_core.domain.detection.decode import DECODERS, decode_answer
from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.detection.recognise import FITS, choose_decoder
from geodl_core.domain.emd.definition import read_emd
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.errors import ModelError
from geodl_core.io.network.graph import read_graph_file

SIZE = (96, 128)
OBJECTS = some_objects(SIZE)
ULTRAFACE = {"min_sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]], "strides": [8, 16, 32, 64]}


def emd_of(classes=3, first=1, name=None, config=None, **keys):
    """A definition that says nothing of the answer but its classes, unless a name or Config is given."""
    if config is not None:
        keys["ModelConfiguration"] = {"Name": name or "", "Config": config}
    elif name is not None:
        keys["ModelConfiguration"] = name
    said = {"ModelType": "ObjectDetection", "ModelFile": "net.onnx", "ModelName": "net", **keys}
    said["Classes"] = [{"Value": value, "Name": f"c{value}"} for value in range(first, first + classes)]
    return read_emd(json.dumps(said), "net.emd").emd


def recognise(path, emd, is_probed=True):
    return choose_decoder(emd, read_graph_file(path).graph, run_once(path) if is_probed else None)


def found_by(path, decoder, size):
    answer = run_once(path)
    (checked,) = decode_answer(tuple(answer[name] for name in decoder.tensors), decoder, size, 0.25)
    return checked.found


FINISHED = {
    "tensorflow": (tensorflow_answer(OBJECTS, SIZE), "normalised", {}),
    "tensorflow by position": (tensorflow_answer(OBJECTS, SIZE, rows=5, prefix="a_"), "normalised", {}),
    "torchvision": (torchvision_answer(OBJECTS), "pixels", {}),
    "torchvision with masks": (torchvision_answer(OBJECTS, has_masks=True), "pixels", {}),
    "detr": (detr_answer(OBJECTS, SIZE), "normalised", {"is_activated": False, "classes": 3}),
    "detr by sigmoid": (detr_answer(OBJECTS, SIZE, activation="sigmoid"), "normalised", {"is_activated": False}),
    "finished": (finished_answer(OBJECTS), "pixels", {}),
    "finished, class first": (finished_answer(OBJECTS, order="class score xyxy", name="out"), "pixels", {}),
    "finished with class before score": (finished_answer(OBJECTS, order="xyxy class score"), "pixels", {}),
    "finished with image": (finished_answer(OBJECTS, order="image xyxy class score", rows=5), "pixels", {}),
    "cntk faster-rcnn": (cntk_answer(OBJECTS), "pixels", {"classes": 3}),
    "keras mask-rcnn": (keras_answer(OBJECTS, SIZE), "normalised", {}),
}


@pytest.mark.parametrize("case", FINISHED)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_finished_answers(case, layout, tmp_path):
    """Networks that give boxes are told by names, shapes and values; what was put in comes out."""
    answer, coordinates, fields = FINISHED[case]
    if case == "tensorflow by position":
        answer = dict(zip(("Identity:0", "Identity_1:0", "Identity_2:0"), answer.values(), strict=False))
    path = answering_network(tmp_path / "net.onnx", answer, SIZE, layout)
    decoder = recognise(path, emd_of(ModelFormat=layout))
    assert decoder.form == next(form for form in FITS if case.startswith(form))
    assert decoder.coordinates == coordinates
    assert {key: getattr(decoder, key) for key in fields} == fields
    assert decoder.is_suppressed == (decoder.form != "cntk faster-rcnn")
    assert decoder.why.endswith(".")
    assert decoder.tensors[0] in decoder.why
    found = found_by(path, decoder, SIZE)
    np.testing.assert_allclose(found.boxes, OBJECTS.boxes, atol=1e-3)
    assert (found.labels - decoder.first_label).tolist() == OBJECTS.kinds.tolist()


KNOWN = detectors.known_boxes(5, 6)
DENSE = {
    "yolo": (detectors.yolo_network, {}, {"has_objectness": True, "coordinates": "pixels"}),
    "yolo, normalised": (
        detectors.yolo_network,
        {"coordinates": "normalised"},
        {"has_objectness": True, "coordinates": "normalised"},
    ),
    "yolo, no objectness": (detectors.yolo_network, {"has_objectness": False}, {"has_objectness": False}),
    "yolo, logits": (detectors.yolo_network, {"is_activated": False}, {"is_activated": False}),
    "yolo transposed": (detectors.yolo_transposed_network, {}, {"coordinates": "pixels", "is_activated": True}),
    "yolo transposed, normalised": (
        detectors.yolo_transposed_network,
        {"coordinates": "normalised"},
        {"coordinates": "normalised"},
    ),
    "yolo oriented": (detectors.yolo_oriented_network, {}, {"coordinates": "pixels"}),
    "yolo masks": (detectors.yolo_masks_network, {}, {"has_objectness": False}),
    "yolo masks, objectness": (detectors.yolo_masks_network, {"has_objectness": True}, {"has_objectness": True}),
    "yolox": (detectors.yolox_network, {}, {"has_objectness": True, "coordinates": "pixels"}),
    "ssd": (detectors.ssd_network, {}, {"coordinates": "normalised", "first_label": 1}),
    "ssd, pixels": (detectors.ssd_network, {"coordinates": "pixels"}, {"coordinates": "pixels"}),
    "ssd, last": (detectors.ssd_network, {"background": "last"}, {"first_label": 0}),
    "ssd, none": (detectors.ssd_network, {"background": "none"}, {"first_label": 0}),
    "retinanet raw": (detectors.retinanet_network, {}, {"is_activated": False}),
}


@pytest.mark.parametrize("case", DENSE)
def test_dense_answers(case, tmp_path):
    """Networks that say something of every place are told by the number of classes and by values."""
    build, how, fields = DENSE[case]
    path = build(tmp_path / "net.onnx", KNOWN, **how)
    decoder = recognise(path, emd_of(KNOWN.classes))
    assert decoder.form == case.split(",")[0]
    assert decoder.classes == KNOWN.classes
    assert {key: getattr(decoder, key) for key in fields} == fields
    assert not decoder.is_suppressed
    found = found_by(path, decoder, KNOWN.size)
    order = np.argsort(-found.scores)
    np.testing.assert_allclose(found.scores[order], KNOWN.scores, atol=1e-4)
    assert (found.labels[order] - decoder.first_label).tolist() == KNOWN.labels.tolist()
    if found.corners is None:
        np.testing.assert_allclose(found.boxes[order], KNOWN.boxes, atol=0.02)


def test_offsets_of_anchors_need_the_definition(tmp_path):
    """Nothing in the answer says which anchors an SSD shifts: refused with the keys that do; with them it runs."""
    path = detectors.ssd_raw_network(tmp_path / "net.onnx", KNOWN)
    with pytest.raises(ModelError, match="offsets of anchors") as caught:
        recognise(path, emd_of(KNOWN.classes))
    assert "min_sizes" in caught.value.hint
    for name in (None, "SSD", "SingleShotDetector"):
        if name == "SingleShotDetector":
            continue
        decoder = recognise(path, emd_of(KNOWN.classes, name=name, config=ULTRAFACE))
        assert decoder.form == "ssd raw"
        np.testing.assert_allclose(found_by(path, decoder, KNOWN.size).scores.max(), KNOWN.scores[0], atol=1e-4)
    with pytest.raises(ModelError, match="expected a box for each"):
        recognise(path, emd_of(KNOWN.classes, config={**ULTRAFACE, "strides": [4, 8, 16, 32]}))


def test_undecoded_maps_need_the_definition(tmp_path):
    """Maps without anchors are refused with the keys that give them; with them they are decoded."""
    path = detectors.yolo_heads_network(tmp_path / "net.onnx", KNOWN)
    with pytest.raises(ModelError, match="Nothing says the anchors and version") as caught:
        recognise(path, emd_of(KNOWN.classes))
    assert "anchors" in caught.value.hint
    anchors = {"anchors": [[list(pair) for pair in scale] for scale in detectors.ANCHORS]}
    decoder = recognise(path, emd_of(KNOWN.classes, name="YOLOv5", config=anchors))
    assert (decoder.form, decoder.settings["version"], decoder.is_activated) == ("yolo heads", "v5", False)


def test_levels_of_retinanet(tmp_path):
    """RetinaNet's maps, one of class values and one of offsets a level, are sorted by level."""
    path = detectors.retinanet_network(tmp_path / "net.onnx", KNOWN, is_per_level=True)
    decoder = recognise(path, emd_of(KNOWN.classes))
    assert decoder.form == "retinanet raw"
    assert len(decoder.tensors) == 10
    assert len(found_by(path, decoder, KNOWN.size).scores) == len(KNOWN.scores)


NAMES = {
    "ObjectDetectionAPI": "tensorflow",
    "TensorFlow": "tensorflow",
    "FasterRCNN": "torchvision",
    "Mask-RCNN": "torchvision with masks",
    "mask rcnn": "torchvision with masks",
    "TorchVision": "torchvision",
    "MMDetection": "torchvision",
    "DETReg": "detr by sigmoid",
    "DETR": "detr",
    "RT-DETR": "detr by sigmoid",
    "YOLOv10": "finished",
    "yolov10n": "finished",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_architectures(name, tmp_path):
    """Names that definitions use, in any spelling, lead to the form in which these networks answer."""
    answer, coordinates, _ = FINISHED[NAMES[name]]
    path = answering_network(tmp_path / "net.onnx", answer, SIZE)
    decoder = recognise(path, emd_of(name=name))
    assert NAMES[name].startswith(decoder.form)
    assert decoder.coordinates == coordinates
    assert "ModelConfiguration is" not in decoder.why
    np.testing.assert_allclose(found_by(path, decoder, SIZE).boxes, OBJECTS.boxes, atol=1e-3)


@pytest.mark.parametrize(
    ("framework", "name", "form"),
    [("CNTK", "FasterRCNN", "cntk faster-rcnn"), ("keras", "MaskRCNN", "keras mask-rcnn")],
)
def test_frameworks_tell_architectures_of_one_name(framework, name, form, tmp_path):
    """FasterRCNN of CNTK and MaskRCNN of Keras are others than those of PyTorch."""
    answer, _, _ = FINISHED[form]
    path = answering_network(tmp_path / "net.onnx", answer, SIZE)
    assert recognise(path, emd_of(name=name, Framework=framework)).form == form


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("YOLOv3", detectors.yolo_network),
        ("yolov5s", detectors.yolo_network),
        ("YOLOv8", detectors.yolo_transposed_network),
        ("YOLO11n", detectors.yolo_transposed_network),
        ("YOLO-OBB", detectors.yolo_oriented_network),
        ("YOLOv8-OBB", detectors.yolo_oriented_network),
        ("YOLO-Seg", detectors.yolo_masks_network),
        ("YOLOX", detectors.yolox_network),
        ("RetinaNet", detectors.retinanet_network),
        ("SSD", detectors.ssd_network),
    ],
)
@pytest.mark.parametrize("is_probed", [True, False])
def test_names_of_dense_architectures(name, build, is_probed, tmp_path):
    """Names lead to a form without a run of the network too; what stays open is taken as usual, and said."""
    path = build(tmp_path / "net.onnx", KNOWN)
    decoder = recognise(path, emd_of(KNOWN.classes, name=name), is_probed)
    assert decoder.form == next(case for case, (made, _, _) in DENSE.items() if made is build)
    assert ("no run of the network told" in decoder.why) == (not is_probed)


def test_another_form_than_the_name_suggests(tmp_path):
    """A name whose usual forms do not fit gives way to what the answer shows, and that is said."""
    path = answering_network(tmp_path / "net.onnx", FINISHED["torchvision"][0], SIZE)
    decoder = recognise(path, emd_of(name="YOLOv8"))
    assert decoder.form == "torchvision"
    assert decoder.why.startswith("ModelConfiguration is YOLOv8, but ")


def test_what_is_said_stands_above_what_is_seen(tmp_path):
    """Config's keys override what the values suggest."""
    path = detectors.yolo_network(tmp_path / "net.onnx", KNOWN)
    said = {"coordinates": "Normalised", "activation": "sigmoid", "suppressed": True, "first_label": 1}
    decoder = recognise(path, emd_of(KNOWN.classes, config={**said, "Score_Scale": 100}))
    assert (decoder.coordinates, decoder.is_activated) == ("normalised", False)
    assert (decoder.is_suppressed, decoder.first_label) == (True, 1)
    assert decoder.settings["score_scale"] == 100
    without = recognise(path, emd_of(KNOWN.classes + 1, config={"objectness": False}))
    assert (without.form, without.classes, without.has_objectness) == ("yolo", KNOWN.classes + 1, False)


def test_outputs_may_be_named(tmp_path):
    """Of several outputs Config names those that carry the objects, in the order of the form."""
    answer = torchvision_answer(OBJECTS)
    strange = dict(zip(("a", "b", "c"), answer.values(), strict=True)) | {"d": np.zeros((1, 300, 6), "float32")}
    path = answering_network(tmp_path / "net.onnx", strange, SIZE)
    decoder = recognise(path, emd_of(config={"outputs": ["a", "b", "c"]}))
    assert (decoder.form, decoder.tensors) == ("torchvision", ("a", "b", "c"))
    with pytest.raises(ModelError, match="outputs: expected some of a, b, c, d, found e"):
        recognise(path, emd_of(config={"outputs": ["a", "e"]}))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"form": "yolo transpose"}, "form: expected one of tensorflow, .* found 'yolo transpose'"),
        ({"coordinates": "metres"}, "coordinates: expected one of pixels, normalised"),
        ({"objectness": "yes"}, "objectness: expected true or false"),
        ({"score_scale": 255}, "score_scale: expected 1 or 100"),
        ({"first_label": 2}, "first_label: expected 0 or 1"),
        ({"outputs": "a"}, "outputs: expected a list"),
        ({"activaton": "sigmoid"}, "the key activaton is not known"),
        ({"form": "keras mask-rcnn"}, "form is keras mask-rcnn, but the outputs are not so"),
    ],
)
def test_what_cannot_be_said_is_refused(config, message, tmp_path):
    """Words that a key does not take, slips of the pen and forms that do not fit are refused."""
    path = detectors.yolo_network(tmp_path / "net.onnx", KNOWN)
    with pytest.raises(ModelError, match=message):
        recognise(path, emd_of(KNOWN.classes, config=config))


def test_keys_of_others_are_let_be(tmp_path):
    """What others keep in Config for their training, and a path as Config, changes nothing."""
    path = detectors.yolo_network(tmp_path / "net.onnx", KNOWN)
    plain = recognise(path, emd_of(KNOWN.classes))
    others = recognise(path, emd_of(KNOWN.classes, config={"learning_rate": 0.1}))
    path_said = recognise(path, emd_of(KNOWN.classes, config=".\\mrcnn\\spacenet"))
    assert plain.form == others.form == path_said.form
    assert plain.why == path_said.why


def graph(*outputs, image=(1, 3, 256, 320), activation=None):
    return Graph(
        (Tensor("image", "float32", image),),
        tuple(Tensor(*output) for output in outputs),
        (activation,) * len(outputs),
        17,
        "0",
    )


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            ("y", "float32", (1, 5, 256, 320)),
            r"is declared ObjectDetection, but its output y is a raster of class",
        ),
        (("y", "float32", (1, 1, 256, 320)), r"output y is a raster of scores"),
        (("y", "int64", (1, 256, 320)), r"output y is a raster of class numbers"),
        (("y", "float32", (1, 256, 320)), r"output y is a raster of scores"),
    ],
)
def test_rasters_are_no_objects(output, message):
    """A network that answers pixel by pixel is refused, with the ModelType that runs it."""
    with pytest.raises(ModelError, match=message) as caught:
        choose_decoder(emd_of(), graph(output), None)
    assert "ImageClassification" in caught.value.hint


def test_scores_of_the_whole_image_are_no_objects():
    """A network that gives one row of scores is refused, with the ModelType that runs it."""
    with pytest.raises(ModelError, match="one row of scores") as caught:
        choose_decoder(emd_of(), graph(("y", "float32", (1, 10))), None)
    assert "ObjectClassification" in caught.value.hint


def test_what_nothing_tells_is_refused():
    """An answer like none that is known is refused with its outputs and the keys that would tell."""
    with pytest.raises(ModelError, match=r"y float32 \[3, 4, 5, 6, 7\]") as caught:
        choose_decoder(emd_of(), graph(("y", "float32", (3, 4, 5, 6, 7))), None)
    assert "form, one of tensorflow" in caught.value.hint


@pytest.mark.parametrize(
    ("shape", "classes", "form", "objectness"),
    [
        ((1, 25200, 85), 80, "yolo", True),
        ((1, 25200, 84), 80, "yolo", False),
        ((1, 25200, 6), 1, "yolo", True),
        ((1, 25200, 6), 2, "yolo", False),
        ((1, 84, 8400), 80, "yolo transposed", False),
        ((1, 5, 8400), 1, "yolo transposed", False),
        ((1, 20, 21504), 15, "yolo oriented", False),
        ((1, 6, 21504), 1, "yolo oriented", False),
        ((1, 300, 6), 80, "finished", True),
        ((None, 6), 80, "finished", True),
        ((None, 7), 80, "finished", True),
        ((1, 3549, 85), 80, "yolox", True),
    ],
)
def test_shapes_alone(shape, classes, form, objectness):
    """Without a run the number of classes and the shape tell; what they do not tell is said."""
    decoder = choose_decoder(emd_of(classes), graph(("y", "float32", shape), image=(1, 3, 416, 416)), None)
    assert (decoder.form, decoder.has_objectness) == (form, objectness)
    assert "no run of the network told" in decoder.why


def test_every_form_has_its_place():
    """Every form that a decoder may have is decoded and recognised."""
    assert set(FITS) == set(DECODERS)
    assert {Decoder("yolo", (), "pixels", None).form} <= set(FITS)


def test_grids_of_arcgis(tmp_path):
    """Grids, Zooms and Ratios of a definition written by training in ArcGIS are the anchors of its SSD."""
    answer = {"scores": np.full((1, 32, 4), -3, "float32"), "boxes": np.full((1, 32, 4), -0.5, "float32")}
    path = answering_network(tmp_path / "net.onnx", answer, SIZE)
    emd = emd_of(name="SingleShotDetector", Grids=[4], Zooms=[1.0], Ratios=[[1.0, 1.0], [1.0, 0.5]])
    decoder = recognise(path, emd)
    assert (decoder.form, decoder.classes) == ("ssd raw", 3)
    assert decoder.settings["grids"] == [4]
    assert decoder.settings["encoding"] == "tanh"
    with pytest.raises(ModelError, match="expected a box for each of 16 anchors, found 32"):
        recognise(path, emd_of(name="SingleShotDetector", Grids=[4]))


def run_real(path, pixels):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: pixels[None]}), strict=True))


@pytest.fixture(scope="module")
def car_park(shared):
    with rasterio.open(shared / "data" / "oam_manila_cars" / "5b90f92da0d7280005fab355_4310.tif") as dataset:
        return dataset.read()[:3, :800, 1248:2048].astype("float32")


@pytest.mark.shared
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_yolov5_of_dior(shared, car_park, layout):
    """A YOLOv5 exported to TensorFlow Lite is told in both layouts: objectness, shares of the image, scores."""
    path = shared / "data" / "dior_yolov5n" / f"yolov5n-diorall-{layout}.onnx"
    pixels = car_park / 255
    probe = run_real(path, pixels if layout == "nchw" else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    for name in (None, "YOLOv5"):
        emd = emd_of(20, name=name, ExtractBands=[0, 1, 2])
        decoder = choose_decoder(emd, read_graph_file(path).graph, probe)
        assert (decoder.form, decoder.coordinates, decoder.has_objectness) == ("yolo", "normalised", True)
        assert (decoder.classes, decoder.is_activated, decoder.is_suppressed) == (20, True, False)
    (checked,) = decode_answer(tuple(probe.values()), decoder, (800, 800), 0.25)
    assert len(checked.found.scores) > 100
    names = json.loads((path.parent / "classes.json").read_text())
    assert {names[label] for label in checked.found.labels.tolist()} == {"vehicle"}


@pytest.mark.shared
def test_yolox_nano(shared):
    """YOLOX is told from YOLOv5 by its grids and its logarithms."""
    path = shared / "data" / "yolox_nano" / "yolox_nano.onnx"
    pixels = np.full((3, 416, 416), 114, "float32")
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path.with_name("dog.jpg")) as dataset:
        pixels[:, :312] = dataset.read(out_shape=(3, 312, 416))[::-1]
    probe = run_real(path, pixels)
    for name in (None, "YOLOX"):
        decoder = choose_decoder(emd_of(80, name=name), read_graph_file(path).graph, probe)
        assert (decoder.form, decoder.classes, decoder.is_activated) == ("yolox", 80, True)
    (checked,) = decode_answer(tuple(probe.values()), decoder, (416, 416), 0.6)
    assert {1, 2, 16} == set(checked.found.labels.tolist())  # bicycle, car, dog


@pytest.mark.shared
def test_ultraface(shared, car_park):
    """UltraFace's decoded boxes are told by their corners; its offsets need the anchors, with which they agree."""
    folder = shared / "data" / "ultraface_ssd"
    pixels = (car_park[:, :240, :320] - 127) / 128
    decoded, raw = folder / "version-RFB-320.onnx", folder / "version-slim-320_without_postprocessing.onnx"
    for name in (None, "SSD"):
        decoder = choose_decoder(emd_of(1, name=name), read_graph_file(decoded).graph, run_real(decoded, pixels))
        assert (decoder.form, decoder.coordinates, decoder.classes) == ("ssd", "normalised", 1)
        assert (decoder.settings["background"], decoder.is_activated) == ("first", True)
        assert decoder.tensors == ("boxes", "scores")
    probe, outside = run_real(raw, pixels), read_graph_file(raw).graph
    with pytest.raises(ModelError, match="offsets of anchors"):
        choose_decoder(emd_of(1), outside, probe)
    for name in (None, "SSD"):
        decoder = choose_decoder(emd_of(1, name=name, config=ULTRAFACE), outside, probe)
        assert (decoder.form, decoder.classes, decoder.first_label) == ("ssd raw", 1, 1)


def probed(*outputs, size=(256, 256)):
    """A graph without a file, and its answer."""
    answer = {name: np.asarray(array) for name, array in outputs}
    shapes = [(name, str(array.dtype), array.shape) for name, array in answer.items()]
    return graph(*shapes, image=(1, 3, *size)), answer


def rows_of(count, *filled):
    rows = np.zeros((1, count, len(filled[0])), "float32")
    rows[0, 5 : 5 + len(filled)] = filled
    return rows


NEAR, FAR = [60, 70, 20, 30, 0.9, 0.95, 0.01, 0.02], [120, 170, 30, 30, 0.9, 0.01, 0.01, 0.92]
SHARES = [0.2, 0.3, 0.1, 0.1, 0.9, 0.95, 0.01, 0.02]
CORNERS = [[60, 70, 80, 90, 0.9, 0], [20, 10, 70, 90, 0.8, 2]]


@pytest.mark.parametrize(
    ("outputs", "form", "fields"),
    [
        ([("o", rows_of(4032, NEAR, FAR))], "yolo", {"coordinates": "pixels", "has_objectness": True}),
        ([("o", rows_of(4032, SHARES))], "yolo", {"coordinates": "normalised"}),
        ([("o", rows_of(1344, NEAR, FAR))], "yolo", {"coordinates": "pixels"}),
        ([("o", rows_of(1344, [0.3, 0.4, 1.4, -0.3, *NEAR[4:]]))], "yolox", {}),
        ([("o", rows_of(1344, [0.3, 0.4, 1.4, 2.3, *NEAR[4:]]))], "yolox", {}),
        ([("o", np.array([CORNERS], "float32"))], "finished", {"coordinates": "pixels", "settings": {}}),
        ([("o", np.zeros((1, 100, 6), "float32"))], "finished", {"coordinates": "pixels"}),
        ([("o", rows_of(40, [0.2, 0.3, 0.4, 0.5, 0.9, 0]))], "finished", {"coordinates": "normalised"}),
        ([("o", rows_of(40, [60, 70, 80, 90, 87, 0], [60, 70, 80, 90, 61, 1]))], "finished", {"settings": {}}),
        (
            [("o", np.array([[0, 60, 70, 80, 90, 2, 0.9]], "float32"))],
            "finished",
            {"settings": {"order": "xyxy class score"}},
        ),
        (
            [("o", np.array([[[[0, 1, 0.9, 0.1, 0.1, 0.3, 0.4], [-1, 0, 0, 0, 0, 0, 0]]]], "float32"))],
            "finished",
            {"coordinates": "normalised", "settings": {"order": "class score xyxy"}},
        ),
        (
            [("dets", np.array([[[60, 70, 80, 90, 0.9], [0] * 5]], "float32")), ("labels", np.array([[2, -1]]))],
            "torchvision",
            {"first_label": 0, "coordinates": "pixels"},
        ),
        (
            [
                ("num_dets", np.array([[1]], "int32")),
                ("det_boxes", np.array([[[60, 70, 80, 90], [0] * 4]], "float32")),
                ("det_scores", np.array([[0.9, 0]], "float32")),
                ("det_classes", np.array([[2, -1]], "int32")),
            ],
            "torchvision",
            {"first_label": 0, "coordinates": "pixels"},
        ),
        (
            [
                ("boxes", np.array([[60, 70, 80, 90]], "float32")),
                ("labels", np.array([2], "float32")),
                ("scores", np.array([0.9], "float32")),
            ],
            "torchvision",
            {"tensors": ("boxes", "labels", "scores"), "first_label": 1},
        ),
        (
            [
                ("a", np.array([[[0.1, 0.2, 0.3, 0.5], [0] * 4]], "float32")),
                ("a:1", np.array([[1, 0]], "float32")),
                ("a:2", np.array([[0.9, 0.1]], "float32")),
                ("a:3", np.array([2], "float32")),
            ],
            "tensorflow",
            {"tensors": ("a", "a:2", "a:1", "a:3"), "first_label": 0, "coordinates": "normalised"},
        ),
    ],
)
def test_answers_with_little_in_them(outputs, form, fields):
    """Few objects among rows of zeros tell enough: layouts of exporters, coordinates, columns, first labels."""
    decoder = choose_decoder(emd_of(3), *probed(*outputs))
    assert decoder.form == form
    assert {key: getattr(decoder, key) for key in fields} == fields


def test_anchors_of_fastai():
    """Esri's FastaiSSD has its anchors in its code: 3 grids of 9, scores of sigmoids, the background last."""
    outside, answer = probed(
        ("scores", np.full((1, 189, 4), -4.0, "float32")), ("boxes", np.zeros((1, 189, 4), "float32"))
    )
    answer["scores"][0, 7, 1] = 3
    decoder = choose_decoder(emd_of(3, name="FastaiSSD"), outside, answer)
    assert (decoder.form, decoder.classes, decoder.is_activated) == ("ssd raw", 3, False)
    (checked,) = decode_answer(tuple(answer[name] for name in decoder.tensors), decoder, (256, 256), 0.5)
    # The eighth anchor: the first of 16 cells, zoom 1.3, half as wide as high.
    np.testing.assert_allclose(checked.found.boxes, [[11.2, -9.6, 52.8, 73.6]], atol=1e-4)
    assert checked.found.labels.tolist() == [1]


def test_an_answer_that_is_not_finite_is_refused_when_it_is_decoded():
    """One answer with NaN does not hinder the choice of a decoder, whose work it then stops."""
    rows = rows_of(4032, NEAR, FAR)
    rows[0, 9, 5] = np.nan
    decoder = choose_decoder(emd_of(3), *probed(("o", rows)))
    assert decoder.form == "yolo"
    with pytest.raises(ModelError, match="NaN"):
        decode_answer((rows,), decoder, (256, 256), 0.5)
