"""ONNX graphs: fused with the arithmetic around them they answer as numpy does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.special import expit

from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.model.model import Model, make_model
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.errors import ModelError
from geodl_core.io.network.fuse import ANSWER, CORE, PIXELS, Feed, Yield, fuse
from geodl_core.io.network.graph import GraphFile, load_graph

WEIGHTS = np.array([[1, -1], [-1, 1], [0.5, 0.4]], np.float32)
"""Three classes from two bands."""
RADIOMETRY = Radiometry("raw", (0.01, 0.02), (-0.3, 0.2), None)
PLAIN = Radiometry("raw", (1.0, 1.0), (0.0, 0.0), None)
KINDS = {"scores": 3, "mask": 1, "class map": 3}


def build(output: str, layout: str = "NCHW", opset: int = 17, size: int | None = None, kind: int = 1) -> bytes:
    """A network that weighs two bands pixel by pixel."""
    channels = KINDS[output]
    shape = {"NCHW": [None, 2, size, size], "NHWC": [None, size, size, 2]}[layout]
    result = {"NCHW": [None, channels, size, size], "NHWC": [None, size, size, channels]}[layout]
    start, end = ("x", "y") if layout == "NCHW" else ("x_first", "y_first")
    weights = WEIGHTS[:channels].reshape(channels, 2, 1, 1).astype(helper.tensor_dtype_to_np_dtype(kind))
    nodes = [helper.make_node("Conv", [start, "w"], [end])]
    if layout == "NHWC":
        nodes.insert(0, helper.make_node("Transpose", ["x"], [start], perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("Transpose", [end], ["y"], perm=[0, 2, 3, 1]))
    result_kind = kind
    if output == "class map":
        axis = 1 if layout == "NCHW" else 3
        nodes.append(helper.make_node("ArgMax", ["y"], ["z"], axis=axis, keepdims=0))
        result, result_kind = [None, size, size], TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("z" if output == "class map" else "y", result_kind, result)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 4 if opset < 17 else 8
    content: bytes = model.SerializeToString()
    return content


def model_of(file: GraphFile, output: str, **fields: object) -> Model:
    classes = [{"Value": value, "Name": str(value)} for value in range(2 if output == "mask" else 3)]
    document = {
        "ModelFile": "x.onnx",
        "ModelType": "ImageClassification",
        "ExtractBands": [0, 1],
        "Classes": classes,
        "Padding": 0,
    }
    return make_model(parse_emd(json.dumps({**document, **fields}), "m"), file.graph, "m")


def run(content: bytes, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    feed = {PIXELS: pixels}
    if any(entry.name == CORE for entry in session.get_inputs()):
        feed[CORE] = np.array([0, 0, *pixels.shape[-2:]], np.int64)
    (classes,) = session.run([ANSWER], feed)
    return classes.squeeze(1) if classes.ndim == 4 and classes.shape[1] == 1 else classes


def expected_of(pixels: np.ndarray, radiometry: Radiometry, output: str, threshold: float = 0.5) -> np.ndarray:
    values = pixels.astype(np.float32)
    values = values * np.float32(radiometry.scale).reshape(1, 2, 1, 1) + np.float32(radiometry.offset).reshape(
        1, 2, 1, 1
    )
    scores = np.einsum("kc,nchw->nkhw", WEIGHTS[: KINDS[output]], values)
    return expit(scores[:, 0]) > threshold if output == "mask" else scores.argmax(1)


def pixels_of(dtype: str, size: int = 12) -> np.ndarray:
    low, high = {"uint8": (0, 255), "uint16": (0, 500), "int16": (-300, 300), "float32": (-300, 300)}[dtype]
    rng = np.random.default_rng(3)
    return rng.integers(low, high, (2, 2, size, size + 4 if size == 12 else size)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("output", list(KINDS))
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("opset", [9, 17])
def test_fused_graphs_against_numpy(dtype: str, output: str, layout: str, opset: int) -> None:
    """Stored values go in and class indices come out, as numpy computes them."""
    file = load_graph(build(output, layout, opset), "x.onnx")
    model = model_of(file, output)
    assert (model.layout, model.output) == (layout, output)
    pixels = pixels_of(dtype)
    for radiometry in (RADIOMETRY, PLAIN):
        classes = run(fuse(file, model, Feed(radiometry, dtype)), pixels)
        assert classes.dtype == (np.int32 if output == "class map" else np.uint8)
        np.testing.assert_array_equal(classes, expected_of(pixels, radiometry, output))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_graphs_of_a_fixed_size(layout: str) -> None:
    """A graph of a fixed size is fused too, and keeps its size."""
    file = load_graph(build("scores", layout, size=16), "x.onnx")
    model = model_of(file, "scores")
    assert (model.is_size_fixed, model.chip_px) == (True, (16, 16))
    pixels = pixels_of("uint8", 16)
    classes = run(fuse(file, model, Feed(RADIOMETRY, "uint8")), pixels)
    np.testing.assert_array_equal(classes, expected_of(pixels, RADIOMETRY, "scores"))


@pytest.mark.parametrize("threshold", [0.0, 0.25, 1.0])
def test_thresholds(threshold: float) -> None:
    """The class of a mask that holds probabilities is 1 above the threshold, not at it."""
    file = load_graph(build("mask"), "x.onnx")
    model = replace(model_of(file, "mask", Threshold=threshold), is_activated=True)
    pixels = np.zeros((1, 2, 1, 3), np.float32)
    pixels[0, 0, 0] = np.nextafter(np.float32(threshold), np.float32([-9, threshold, 9]))
    classes = run(fuse(file, model, Feed(PLAIN, "float32")), pixels)
    assert classes.ravel().tolist() == [0, 0, 1]


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_masks_of_logits(threshold: float) -> None:
    """A mask without an activation is one of logits: a sigmoid comes before the threshold, and a note says so."""
    file = load_graph(build("mask"), "x.onnx")
    model = model_of(file, "mask", Threshold=threshold)
    assert not model.is_activated
    assert any("logits" in note for note in model.notes)
    pixels = np.zeros((1, 2, 1, 3), np.float32)
    pixels[0, 0, 0] = np.log(threshold / (1 - threshold)) + np.float32([-0.01, 0, 0.01])
    classes = run(fuse(file, model, Feed(PLAIN, "float32")), pixels).ravel()
    assert (classes[0], classes[2]) == (0, 1)
    if threshold == 0.5:
        assert classes[1] == 0


def activated(operator: str | None, tail: tuple[str, ...] = ()) -> bytes:
    """The mask or score network with an activation, and operators after it."""
    proto = onnx.load_model_from_string(build("mask" if operator == "Sigmoid" else "scores"))
    current = "y"
    for number, name in enumerate(filter(None, (operator, *tail))):
        attributes = {"axis": 1} if name == "Softmax" else {"to": TensorProto.FLOAT} if name == "Cast" else {}
        proto.graph.node.append(helper.make_node(name, [current], [f"t{number}"], **attributes))
        current = f"t{number}"
    proto.graph.output[0].name = current
    content: bytes = proto.SerializeToString()
    return content


@pytest.mark.parametrize("tail", [(), ("Identity",), ("Cast", "Identity"), ("Neg",)])
@pytest.mark.parametrize("operator", ["Sigmoid", "Softmax", None])
def test_activations_are_recognised(operator: str | None, tail: tuple[str, ...]) -> None:
    """An activation is seen at the end of the graph and behind what only reshapes, not behind arithmetic."""
    graph = load_graph(activated(operator, tail), "x.onnx").graph
    assert graph.activations == (None if "Neg" in tail else operator,)


SOFTMAX_OF_ALL = "before opset 13 Softmax flattens all axes from `axis` on: scores are shares of the whole tile"


@pytest.mark.parametrize("opset", [pytest.param(12), 13, 17])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_scores_to_be_blended(layout: str, opset: int) -> None:
    """With `gives_scores` a pixel's scores come out as (N, C, h, w), made to sum to 1, whatever the layout."""
    file = load_graph(build("scores", layout, opset), "x.onnx")
    pixels = pixels_of("uint8")
    scores = run(fuse(file, model_of(file, "scores"), Feed(RADIOMETRY, "uint8"), Yield(scores=True)), pixels)
    assert (scores.dtype, scores.shape) == (np.float32, (2, 3, 12, 16))
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(scores.argmax(1), expected_of(pixels, RADIOMETRY, "scores"))


def test_probabilities_are_not_activated_twice() -> None:
    """Scores that are probabilities in the graph come out as they are."""
    file = load_graph(activated("Softmax"), "x.onnx")
    model = model_of(file, "scores")
    assert model.is_activated
    pixels = pixels_of("uint8")
    scores = run(fuse(file, model, Feed(RADIOMETRY, "uint8"), Yield(scores=True)), pixels)
    logits = load_graph(build("scores"), "x.onnx")
    by_geodl = run(fuse(logits, model_of(logits, "scores"), Feed(RADIOMETRY, "uint8"), Yield(scores=True)), pixels)
    np.testing.assert_allclose(scores, by_geodl, atol=1e-6)


def coarse(output: str, factor: int, opset: int = 17) -> tuple[GraphFile, Model]:
    """The network with its image of 16 pixels averaged over cells of `factor` before it."""
    proto = onnx.load_model_from_string(build(output, opset=opset, size=16))
    side = {"kernel_shape": [factor] * 2, "strides": [factor] * 2}
    proto.graph.node.insert(0, helper.make_node("AveragePool", ["x"], ["small"], **side))
    proto.graph.node[1].input[0] = "small"
    for size in proto.graph.output[0].type.tensor_type.shape.dim[-2:]:
        size.dim_value = 16 // factor
    file = load_graph(proto.SerializeToString(), "x.onnx")
    return file, model_of(file, output)


NO_WHOLE_NUMBERS = "onnxruntime resizes no int64, in which networks give class maps: a Cast must come before"
NO_RESIZE = (
    "before opset 13 Resize cannot go without its input roi, before 11 it has none, before 10 it is called Upsample"
)


@pytest.mark.parametrize(
    ("output", "opset"),
    [
        ("scores", 17),
        ("mask", 17),
        ("scores", 13),
        ("class map", 17),
        ("scores", 12),
    ],
)
@pytest.mark.parametrize("factor", [2, 4])
def test_coarse_results(output: str, opset: int, factor: int) -> None:
    """A coarser result is brought to the input's pixels: scores between centres, class maps by the nearest."""
    file, model = coarse(output, factor, opset)
    assert model.halo.coarsening == factor
    columns = np.random.default_rng(factor).integers(0, 255, 16).astype(np.uint8)
    pixels = np.stack([np.tile(columns, (16, 1)), np.full((16, 16), 100, np.uint8)])[None]
    classes = run(fuse(file, model, Feed(PLAIN, "uint8")), pixels)
    cells = np.stack([columns.reshape(-1, factor).mean(1), np.full(16 // factor, 100)])
    scores = WEIGHTS[: KINDS[output]] @ cells
    centres = (np.arange(16 // factor) + 0.5) * factor - 0.5
    between = np.stack([np.interp(np.arange(16), centres, row) for row in scores])
    expected = {"scores": between.argmax(0), "mask": between[0] > 0, "class map": scores.argmax(0).repeat(factor)}
    np.testing.assert_array_equal(classes, np.tile(expected[output], (1, 16, 1)))


@pytest.mark.parametrize("opset", [9, 10])
def test_coarse_results_of_early_opsets(opset: int) -> None:
    """Before opset 11 nothing says where pixels have their centres: a ModelError that names both opsets."""
    file, model = coarse("scores", 2, opset)
    with pytest.raises(ModelError, match=f"opset 11 or later, found {opset}"):
        fuse(file, model, Feed(PLAIN, "uint8"))


def preprocessing(opset: int = 17, with_weights_as_inputs: bool = False) -> GraphFile:
    """x ↦ x · x, times a weight of 0.01; its names are those of the network's."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2, None, None])]
    if with_weights_as_inputs:
        inputs.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1]))
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["squared"]), helper.make_node("Mul", ["squared", "w"], ["y"])],
        "g",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2, None, None])],
        [numpy_helper.from_array(np.float32([0.01]), "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return load_graph(proto.SerializeToString(), "before.onnx")


@pytest.mark.parametrize("opset", [9, 13, 17])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_preprocessing_graphs(opset: int, layout: str, kind: int) -> None:
    """A preprocessing graph runs after scale and offset and before the network, whatever its opset and names."""
    file = load_graph(build("scores", layout, kind=kind), "x.onnx")
    before = preprocessing(opset, with_weights_as_inputs=opset == 9)
    pixels = pixels_of("uint8") // 4
    kept = before.proto.SerializeToString()
    classes = run(fuse(file, model_of(file, "scores"), Feed(RADIOMETRY, "uint8", before)), pixels)
    values = pixels * np.float32(RADIOMETRY.scale).reshape(1, 2, 1, 1)
    values = (values + np.float32(RADIOMETRY.offset).reshape(1, 2, 1, 1)) ** 2 * np.float32(0.01)
    scores = np.sort(np.einsum("kc,nchw->nkhw", WEIGHTS, values), axis=1)
    is_clear = scores[:, 2] - scores[:, 1] > (1e-5 if kind == TensorProto.FLOAT else 1e-3)
    assert is_clear.mean() > 0.5
    np.testing.assert_array_equal(classes[is_clear], np.einsum("kc,nchw->nkhw", WEIGHTS, values).argmax(1)[is_clear])
    assert before.proto.SerializeToString() == kept


def test_preprocessing_graphs_of_another_kind() -> None:
    """A preprocessing graph with two outputs is a ModelError."""
    file = load_graph(build("scores"), "x.onnx")
    before = preprocessing()
    two = replace(before, graph=replace(before.graph, outputs=before.graph.outputs * 2))
    with pytest.raises(ModelError, match="expected one input and one output"):
        fuse(file, model_of(file, "scores"), Feed(PLAIN, "uint8", two))


def test_networks_of_half_precision() -> None:
    """A network of half precision takes and gives half precision within the fused graph."""
    file = load_graph(build("scores", kind=TensorProto.FLOAT16), "x.onnx")
    model = model_of(file, "scores")
    assert model.source.dtype == "float16"
    pixels = np.array([[[[30, 1, 200]], [[1, 30, 200]]]], np.uint8)
    np.testing.assert_array_equal(run(fuse(file, model, Feed(PLAIN, "uint8")), pixels), [[[0, 1, 2]]])


def test_the_original_stays() -> None:
    """Fusing leaves the loaded graph as it is, and gives the same bytes twice."""
    content = build("scores")
    file = load_graph(content, "x.onnx")
    before = file.proto.SerializeToString()
    model = model_of(file, "scores")
    first = fuse(file, model, Feed(RADIOMETRY, "uint8"))
    assert fuse(file, model, Feed(RADIOMETRY, "uint8")) == first
    assert file.proto.SerializeToString() == before


def test_what_is_known_of_a_graph() -> None:
    """Inputs without weights, outputs, open sizes, opset and digest are read."""
    graph = load_graph(build("scores", opset=9), "x.onnx").graph
    assert [str(tensor) for tensor in graph.inputs] == ["x float32 [?, 2, ?, ?]"]
    assert [str(tensor) for tensor in graph.outputs] == ["y float32 [?, 3, ?, ?]"]
    assert graph.opset == 9
    assert graph.digest != load_graph(build("scores"), "x.onnx").graph.digest
    proto = onnx.load_model_from_string(build("scores"))
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2, 1, 1]))
    assert len(load_graph(proto.SerializeToString(), "x.onnx").graph.inputs) == 1


@pytest.mark.parametrize("content", [b"", b"not onnx", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", bytes(100), b"\x08\x08"])
def test_files_that_are_not_onnx(content: bytes) -> None:
    """Bytes that are no ONNX model are a ModelError that names the file."""
    with pytest.raises(ModelError, match=r"x\.onnx"):
        load_graph(content, "x.onnx")


def test_old_graphs() -> None:
    """A graph of an opset that cannot be fused is refused with both numbers."""
    with pytest.raises(ModelError, match="expected ONNX opset 7 or later, found 6"):
        load_graph(build("scores", opset=6), "x.onnx")


def test_outputs_without_a_type() -> None:
    """A graph whose output has no type that numpy knows is a ModelError."""
    proto = onnx.load_model_from_string(build("scores"))
    proto.graph.output[0].type.tensor_type.elem_type = 99
    with pytest.raises(ModelError):
        load_graph(proto.SerializeToString(), "x.onnx")


def test_outputs_that_are_no_tensors() -> None:
    """A graph whose output is a sequence is a ModelError."""
    proto = onnx.load_model_from_string(build("scores"))
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [1]))
    with pytest.raises(ModelError):
        load_graph(proto.SerializeToString(), "x.onnx")


def test_damaged_files() -> None:
    """A truncated or damaged file is a ModelError or is read, never another exception."""
    content = build("scores")
    variants = [content[:length] for length in range(0, len(content), 5)]
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        variants.append(bytes(damaged))
    odd = set()
    for variant in variants:
        try:
            load_graph(variant, "x.onnx")
        except ModelError:
            pass
        except Exception as error:  # noqa: BLE001  # every other exception is what is looked for
            odd.add(f"{type(error).__name__}: {error}")
    assert odd == set()


def external(folder: Path, location: str) -> bytes:
    """The network with its weights in a file of their own."""
    proto = onnx.load_model_from_string(build("scores"))
    weight = proto.graph.initializer[0]
    raw = numpy_helper.to_array(weight).tobytes()
    (folder / location).write_bytes(raw)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(raw)))):
        weight.external_data.add(key=key, value=value)
    content: bytes = proto.SerializeToString()
    return content


def test_weights_beside_the_graph(tmp_path: Path) -> None:
    """Weights in a file within the folder are loaded, and are in the digest."""
    content = external(tmp_path, "w.bin")
    file = load_graph(content, "x.onnx", tmp_path)
    pixels = pixels_of("uint8")
    classes = run(fuse(file, model_of(file, "scores"), Feed(RADIOMETRY, "uint8")), pixels)
    np.testing.assert_array_equal(classes, expected_of(pixels, RADIOMETRY, "scores"))
    raw = bytearray((tmp_path / "w.bin").read_bytes())
    raw[0] ^= 1
    (tmp_path / "w.bin").write_bytes(raw)
    assert load_graph(content, "x.onnx", tmp_path).graph.digest != file.graph.digest


def test_weights_elsewhere(tmp_path: Path) -> None:
    """Weights outside the folder, behind a link, missing or beside a package are refused."""
    inner = tmp_path / "inner"
    inner.mkdir()
    content = external(inner, "../w.bin")
    with pytest.raises(ModelError, match=r"x\.onnx"):
        load_graph(content, "x.onnx", inner)
    with pytest.raises(ModelError, match="keeps weights outside itself"):
        load_graph(content, "x.onnx", None)
    linked = external(inner, "w.bin")
    (inner / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"x\.onnx"):
        load_graph(linked, "x.onnx", inner)
    (inner / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ModelError, match=r"x\.onnx"):
        load_graph(linked, "x.onnx", inner)


CROPS = [(0, 0, 12, 16), (3, 5, 9, 14), (0, 0, 1, 1), (11, 15, 12, 16), (4, 0, 8, 16)]


def run_cropped(content: bytes, pixels: np.ndarray, crop: tuple[int, ...]) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run([ANSWER], {PIXELS: pixels, CORE: np.array(crop, np.int64)})[0]
    return answer


def cut(answer: np.ndarray, crop: tuple[int, ...]) -> np.ndarray:
    top, left, bottom, right = crop
    return answer[..., top:bottom, left:right]


@pytest.mark.parametrize(
    ("output", "scores"),
    [("scores", False), ("scores", True), ("mask", False), ("mask", True), ("class map", False)],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("opset", [10, 12, 13, 17])
def test_a_crop_equals_cutting_afterwards(output: str, layout: str, opset: int, scores: bool) -> None:
    """What is asked for of the answer is, to the last bit, what cutting it out of the whole answer gives."""
    file = load_graph(build(output, layout, opset), "x.onnx")
    content = fuse(file, model_of(file, output), Feed(RADIOMETRY, "uint8"), Yield(scores=scores))
    pixels = pixels_of("uint8")
    whole = run_cropped(content, pixels, (0, 0, 12, 16))
    channels = KINDS[output] if scores else 1
    assert whole.size == 2 * channels * 12 * 16
    for crop in CROPS:
        np.testing.assert_array_equal(run_cropped(content, pixels, crop), cut(whole, crop))


@pytest.mark.parametrize(("output", "scores"), [("scores", False), ("scores", True), ("mask", False), ("mask", True)])
@pytest.mark.parametrize("factor", [2, 4])
def test_a_crop_of_coarse_results(output: str, scores: bool, factor: int) -> None:
    """A coarse result is brought to the input's pixels before it is cut, so that neighbours beyond the cut count."""
    file, model = coarse(output, factor)
    content = fuse(file, model, Feed(PLAIN, "uint8"), Yield(scores=scores))
    pixels = pixels_of("uint8", 16)
    whole = run_cropped(content, pixels, (0, 0, 16, 16))
    for crop in ((3, 5, 9, 14), (1, 1, 2, 2), (0, 7, 16, 9)):
        np.testing.assert_array_equal(run_cropped(content, pixels, crop), cut(whole, crop))


@pytest.mark.parametrize("factor", [2, 4])
def test_a_crop_of_coarse_class_maps(factor: int) -> None:
    """So is a coarse class map, by the nearest."""
    file, model = coarse("class map", factor)
    content = fuse(file, model, Feed(PLAIN, "uint8"))
    pixels = pixels_of("uint8", 16)
    whole = run_cropped(content, pixels, (0, 0, 16, 16))
    for crop in ((3, 5, 9, 14), (1, 1, 2, 2), (0, 7, 16, 9)):
        np.testing.assert_array_equal(run_cropped(content, pixels, crop), cut(whole, crop))


@pytest.mark.parametrize("opset", [7, 9, 10, 17])
def test_early_opsets_take_no_crop(opset: int) -> None:
    """Before opset 10 what a Slice keeps is fixed: such a graph has no crop as input, and answers everything."""
    file = load_graph(build("scores", opset=opset), "x.onnx")
    content = fuse(file, model_of(file, "scores"), Feed(RADIOMETRY, "uint8"))
    inputs = [entry.name for entry in onnx.load_model_from_string(content).graph.input]
    assert inputs == ([PIXELS] if opset < 10 else [PIXELS, CORE])
    assert run(content, pixels_of("uint8")).shape == (2, 12, 16)


@pytest.mark.parametrize("left_out", [0, 1, 2])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("opset", [9, 17])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_a_class_that_is_left_out(left_out: int, layout: str, opset: int, kind: int) -> None:
    """It is never chosen, though its score be the best; all else is as it would be."""
    file = load_graph(build("scores", layout, opset, kind=kind), "x.onnx")
    content = fuse(file, model_of(file, "scores"), Feed(PLAIN, "uint8"), Yield(left_out=left_out))
    pixels = pixels_of("uint8") // 8 * 8
    scores = np.einsum("kc,nchw->nkhw", WEIGHTS, pixels.astype(np.float32))
    if kind == TensorProto.FLOAT16:
        weights = WEIGHTS.astype(np.float16).astype(np.float32)
        scores = np.einsum("kc,nchw->nkhw", weights, pixels.astype(np.float32)).astype(np.float16).astype(np.float32)
    assert (scores.argmax(1) == left_out).any()
    scores[:, left_out] = -np.inf
    expected = scores.argmax(1)
    classes = run(content, pixels)
    assert not (classes == left_out).any()
    others = np.sort(scores, axis=1)
    is_clear = others[:, 2] - others[:, 1] > (1e-4 if kind == TensorProto.FLOAT else 0.5)
    assert is_clear.mean() > 0.9
    np.testing.assert_array_equal(classes[is_clear], expected[is_clear])


def decoder(opset: int) -> bytes:
    """A small U-Net: one step down, enlarged again, concatenated with what it came from, and convolved."""
    rng = np.random.default_rng(2)
    sizes = {"a": (8, 2), "b": (16, 8), "c": (8, 24), "d": (3, 8)}
    weights = {name: rng.standard_normal((*shape, 3, 3)).astype("float32") / 9 for name, shape in sizes.items()}
    pads = [1] * 4
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["f"], pads=pads),
        helper.make_node("Relu", ["f"], ["g"]),
        helper.make_node("MaxPool", ["g"], ["h"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["h", "b"], ["i"], pads=pads),
        helper.make_node("Relu", ["i"], ["j"]),
        helper.make_node(
            "Resize",
            ["j", "", "twice"],
            ["k"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node("Concat", ["k", "g"], ["l"], axis=1),
        helper.make_node("Conv", ["l", "c"], ["m"], pads=pads),
        helper.make_node("Relu", ["m"], ["n"]),
        helper.make_node("Conv", ["n", "d"], ["y"], pads=pads),
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    tensors.append(numpy_helper.from_array(np.float32([1, 1, 2, 2]), "twice"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2, None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3, None, None])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("opset", [13, 17])
def test_a_graph_for_the_cpu_answers_the_same(opset: int) -> None:
    """In forms that a CPU computes faster the operators are others, and the scores equal up to rounding."""
    file = load_graph(decoder(opset), "x.onnx")
    model = model_of(file, "scores")
    feed = Feed(RADIOMETRY, "uint8")
    pixels = pixels_of("uint8", 32)
    plain = fuse(file, model, feed, Yield(scores=True))
    for_cpu = fuse(file, model, feed, Yield(scores=True, is_for_cpu=True))
    operators = [[node.op_type for node in onnx.load_model_from_string(c).graph.node] for c in (plain, for_cpu)]
    assert "Concat" in operators[0]
    assert operators[0] != operators[1]
    for crop in ((0, 0, 32, 32), (5, 8, 30, 31)):
        found, expected = run_cropped(for_cpu, pixels, crop), run_cropped(plain, pixels, crop)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    classes = [run(fuse(file, model, feed, Yield(is_for_cpu=is_for_cpu)), pixels) for is_for_cpu in (True, False)]
    best = np.sort(run(plain, pixels), axis=1)
    is_clear = best[:, 2] - best[:, 1] > 1e-4
    np.testing.assert_array_equal(classes[0][is_clear], classes[1][is_clear])
