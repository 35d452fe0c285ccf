"""Networks of every kind that classifies pixels, run whole and compared with plain arithmetic."""

import json
from datetime import UTC, datetime

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
from onnx import TensorProto, helper, numpy_helper

from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.plan.job import Arguments
from geodl_core.engine.load_model import load_model
from geodl_core.engine.run_scene import RunRequest, run_scene
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from items import write_item
from networks import conv_network, run_whole, save, write_emd
from scenes import smooth, write_raster

SHAPE = (256, 320)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def scene(tmp_path):
    """A folder with a two-band scene without nodata, and its pixels."""
    pixels = np.stack([smooth(SHAPE, 1), smooth(SHAPE, 2)])
    item = write_item(tmp_path, {"image": {"href": write_raster(tmp_path / "scene.tif", pixels)}})
    return tmp_path, item, pixels


def classify(folder, item, out="out", shards=None, **more):
    package = load_package(str(folder / more.pop("emd", "net.emd")))
    model = load_model(package)
    request = RunRequest(read_item(str(item)), package, model, Arguments(**more), folder / out, shards=shards)
    with SqliteCatalog(folder / f"{out}.db") as catalog:
        result = run_scene(request, catalog, lambda: NOW, lambda event: None)
    path = result.folder / "classification.tif"
    with rasterio.open(path) as dataset:
        return dataset.read(1), model, path


def network(folder, nodes, outputs, weights=(), name="net.onnx", channels=2, opset=17, inputs=("n", "h", "w")):
    """Save a network with the input `x` and the output `y` of the given type and shape."""
    count, height, width = inputs
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [count, channels, height, width])],
        [helper.make_tensor_value_info("y", *outputs)],
        [numpy_helper.from_array(np.asarray(array), key) for key, array in weights],
    )
    return save(graph, folder / name, opset)


PICK_FIRST = np.array([[1.0], [0.0]], "float32").T.reshape(1, 2, 1, 1)


def test_mask_of_logits(scene):
    """A one-channel output without a sigmoid is taken as logits; the threshold holds for probabilities."""
    folder, item, pixels = scene
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"])]
    weights = [("w", PICK_FIRST / 500), ("b", np.array([-4.0], "float32"))]
    network(folder, nodes, (TensorProto.FLOAT, ["n", 1, "h", "w"]), weights)
    write_emd(folder, Classes=[{"Value": 1, "Name": "Bright"}], Threshold=0.7)
    found, model, _ = classify(folder, item)
    probability = 1 / (1 + np.exp(-(pixels[0] / 500 - 4.0)))
    assert np.array_equal(found, (probability > 0.7).astype("uint8"))
    assert any("logits" in note for note in model.notes)


def test_class_map(scene):
    """A network that writes class values itself stores them; a value that Classes lacks is an error."""
    folder, item, pixels = scene
    nodes = [
        helper.make_node("Slice", ["x", "zero", "one", "axis"], ["a"]),
        helper.make_node("Greater", ["a", "level"], ["b"]),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.INT64),
        helper.make_node("Mul", ["c", "five"], ["d"]),
        helper.make_node("Add", ["d", "two"], ["y"]),
    ]
    weights = [
        ("zero", np.array([0])), ("one", np.array([1])), ("axis", np.array([1])),
        ("level", np.float32(2000)), ("five", np.int64(5)), ("two", np.int64(2)),
    ]  # fmt: skip
    network(folder, nodes, (TensorProto.INT64, ["n", 1, "h", "w"]), weights)
    write_emd(folder, Classes=[{"Value": 2, "Name": "low"}, {"Value": 7, "Name": "high"}])
    found, _, _ = classify(folder, item)
    assert np.array_equal(found, np.where(pixels[0] > 2000, 7, 2))


def test_channels_last(scene):
    """An NHWC network gives what its NCHW twin gives."""
    folder, item, pixels = scene
    conv_network(folder / "first.onnx")
    inner = onnx.load(folder / "first.onnx").graph
    nodes = [
        helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]),
        *inner.node,
        helper.make_node("Transpose", ["y"], ["z"], perm=[0, 2, 3, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "last",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", "h", "w", 2])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", "h", "w", 3])],
        list(inner.initializer),
    )
    save(graph, folder / "net.onnx")
    write_emd(folder)
    found, model, _ = classify(folder, item)
    assert model.layout == "NHWC"
    assert np.array_equal(found, np.array([1, 2, 7])[run_whole(folder / "first.onnx", pixels)])


def test_coarse_scores(scene):
    """Scores at a quarter of the resolution are interpolated to the image's pixels, alike for any tile size."""
    folder, item, pixels = scene
    rng = np.random.default_rng(3)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], strides=[4, 4])]
    weights = [("w", (rng.standard_normal((3, 2, 4, 4)) / 1000).astype("float32"))]
    network(folder, nodes, (TensorProto.FLOAT, [1, 3, 32, 32]), weights, inputs=(1, 128, 128))
    write_emd(folder, ImageHeight=128, ImageWidth=128, Padding=16)
    found, model, _ = classify(folder, item)
    assert model.halo.coarsening == 4
    mirrored = np.pad(pixels, ((0, 0), (16, 16), (16, 16)), mode="reflect").astype("float32")
    coarse = onnxruntime.InferenceSession(_free(folder, weights)).run(None, {"x": mirrored[None]})[0][0]
    expected = _bilinear(coarse, 4).argmax(0)[16:-16, 16:-16]
    assert (found == np.array([1, 2, 7])[expected]).mean() >= 0.9999


def _free(folder, weights):
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], strides=[4, 4])]
    return str(network(folder, nodes, (TensorProto.FLOAT, ["n", 3, "p", "q"]), weights, name="free.onnx"))


def _bilinear(coarse, ratio):
    """Interpolate (C, h, w) between pixel centres, the border repeated."""
    for axis in (1, 2):
        place = (np.arange(coarse.shape[axis] * ratio) + 0.5) / ratio - 0.5
        low = np.floor(place).astype(int)
        weight = (place - low).astype("float32").reshape([-1 if a == axis else 1 for a in range(3)])
        last = coarse.shape[axis] - 1
        below, above = (coarse.take(np.clip(low + step, 0, last), axis) for step in (0, 1))
        coarse = below * (1 - weight) + above * weight
    return coarse


def test_preprocessing_graph(scene):
    """An ONNX beside the EMD is run before the network; both may have other opsets."""
    folder, item, pixels = scene
    conv_network(folder / "net.onnx")
    nodes = [helper.make_node("Sqrt", ["x"], ["s"]), helper.make_node("Mul", ["s", "m"], ["y"])]
    network(folder, nodes, (TensorProto.FLOAT, ["n", 2, "h", "w"]), [("m", np.float32(40))], "root.onnx", opset=13)
    write_emd(folder, PreprocessingModel="root.onnx")
    found, _, _ = classify(folder, item)
    scaled = np.sqrt(pixels.astype("float32")) * 40
    agreement = (found == np.array([1, 2, 7])[run_whole(folder / "net.onnx", scaled)]).mean()
    assert agreement >= 0.9999
    conv_network(folder / "plain.onnx")
    write_emd(folder, "plain.onnx", "plain.emd")
    assert (classify(folder, item, out="plain", emd="plain.emd")[0] != found).any()


def test_bands_counted_from_one(scene):
    """ExtractBands [1, 2] over a raster of two bands counts from 1, and the run says so."""
    folder, item, _ = scene
    conv_network(folder / "net.onnx")
    write_emd(folder)
    write_emd(folder, name="one.emd", ExtractBands=[1, 2])
    plain, _, _ = classify(folder, item)
    counted, _, _ = classify(folder, item, out="one", emd="one.emd")
    assert np.array_equal(plain, counted)


@pytest.fixture
def global_scene(scene):
    """A network that compares each pixel with the mean of its tile."""
    folder, item, pixels = scene
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    weights = [("w", np.array([[0.01, 0], [0, 0.01], [-0.01, 0]], "float32").reshape(3, 2, 1, 1))]
    network(folder, nodes, (TensorProto.FLOAT, ["n", 3, "h", "w"]), weights)
    write_emd(folder, Padding=None)
    return folder, item, pixels


def test_global_context_is_blended(global_scene):
    """A network that sees its whole tile is recognised and blended: the same bytes for any number of shards."""
    folder, item, _ = global_scene
    found, model, path = classify(folder, item, shards=1)
    assert model.halo.is_global
    assert set(np.unique(found)) == {1, 2, 7}
    for shards in (3, 1000):
        _, _, other = classify(folder, item, out=f"out{shards}", shards=shards)
        assert other.read_bytes() == path.read_bytes()


def test_blending_is_a_weighted_mean(global_scene):
    """Blended scores are the mean of the overlapping tiles' scores, weighted by a raised cosine."""
    folder, item, pixels = global_scene
    found, model, _ = classify(folder, item)
    halo, core = 16, 32
    total = np.zeros((3, *SHAPE))
    for top in range(0, SHAPE[0], core):
        for left in range(0, SHAPE[1], core):
            rows = slice(max(top - halo, 0), min(top + core + halo, SHAPE[0]))
            cols = slice(max(left - halo, 0), min(left + core + halo, SHAPE[1]))
            tile = pixels[:, rows, cols].astype("float64")
            x = tile - tile.mean((1, 2), keepdims=True)
            scores = np.exp(0.01 * np.stack([x[0], x[1], -x[0]]))
            scores /= scores.sum(0)
            total[:, rows, cols] += scores * np.outer(_ramp(rows, top, core, halo), _ramp(cols, left, core, halo))
    assert model.halo.px == halo
    assert (found == np.array([1, 2, 7])[total.argmax(0)]).mean() >= 0.9999


def _ramp(span, start, length, margin):
    centres = np.arange(span.start, span.stop) + 0.5
    rise, fall = ((centres - start) / margin, (start + length - centres) / margin)
    return np.prod([0.5 * (1 + np.sin(np.pi / 2 * np.clip(t, -1, 1))) for t in (rise, fall)], axis=0)


def test_halo_comes_from_the_graph(scene):
    """Without padding in the definition the halo is what the graph reaches, and the result has no seams."""
    folder, item, pixels = scene
    conv_network(folder / "net.onnx")
    write_emd(folder, Padding=None)
    found, model, _ = classify(folder, item, tile_size_px=48)
    assert model.halo.px == 4
    assert "reaches 4 pixels" in model.halo.origin
    assert np.array_equal(found, np.array([1, 2, 7])[run_whole(folder / "net.onnx", pixels)])


def test_padding_that_is_too_small_is_said(scene):
    """A Padding below what an answer reaches is kept, and said."""
    folder, _, _ = scene
    conv_network(folder / "net.onnx")
    write_emd(folder, Padding=2)
    model = load_model(load_package(str(folder / "net.emd")))
    assert any("Padding is 2" in note and "4 pixels" in note for note in model.notes)


def test_emd_stays_verbatim(scene):
    """The definition that lies beside the result is the one that came, byte for byte."""
    folder, item, _ = scene
    conv_network(folder / "net.onnx")
    text = json.dumps({**json.loads(write_emd(folder).read_text()), "Mine": {"b": 1, "a": [1.50]}}, indent=7)
    (folder / "net.emd").write_text(text)
    _, _, path = classify(folder, item)
    assert (path.parent / "model.emd").read_text() == text
