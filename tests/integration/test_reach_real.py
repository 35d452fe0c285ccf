"""How far real networks reach: their graphs against their answers, and tiles against whole images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from geodl_core.domain.network.outputs import describe_outputs
from geodl_core.domain.network.reach import Reach, halo_for, join_reaches
from geodl_core.engine.probe_model import ProbeSpec, probe_reach
from geodl_core.errors import ModelError
from geodl_core.io.network.cost import graph_cost
from geodl_core.io.network.graph import load_graph
from geodl_core.io.network.reach import walk_reach

MODELS = Path(__file__).parents[2] / "scripts" / "models"
SIDE = 384
BUDGET_S = 30.0
"""More than any of them takes, so that nothing depends on the machine's speed."""


def walk(path, layout="NCHW"):
    proto = onnx.load(path)
    weights = {tensor.name for tensor in proto.graph.initializer}
    image = next(value.name for value in proto.graph.input if value.name not in weights)
    return walk_reach(proto, image, layout)


def probe(path, channels, layout="NCHW", most=1.0, budget_s=BUDGET_S):
    return probe_reach(path.read_bytes(), ProbeSpec(layout, (0.0,) * channels, (most,) * channels, 7, None, budget_s))


def run(session, pixels):
    return session.run(None, {session.get_inputs()[0].name: pixels[None]})[0][0]


def run_tiles(session, pixels, halo, core=96):
    """Run tile by tile: cores of whole strides, read windows cut off at the image's border."""
    _, height, width = pixels.shape
    result = None
    for row in range(0, height, core):
        for col in range(0, width, core):
            top, left = max(row - halo, 0), max(col - halo, 0)
            answer = run(session, pixels[:, top : row + core + halo, left : col + core + halo])
            if result is None:
                result = np.zeros((len(answer), height, width), answer.dtype)
            kept = answer[:, row - top :, col - left :][:, : min(core, height - row), : min(core, width - col)]
            result[:, row : row + core, col : col + core] = kept
    return result


def assert_tiles_are_seamless(path, channels, reach):
    """Tiles with the halo equal the whole image; with a halo of one stride less somewhere they do not."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(3).uniform(0, 1, (channels, SIDE, SIDE)).astype("float32")
    whole = run(session, pixels)
    halo = halo_for(reach)
    tolerance = 1e-5 * np.abs(whole).max()
    assert np.abs(run_tiles(session, pixels, halo) - whole).max() <= tolerance
    step = max(reach.stride_px, reach.radius_px // 2 // reach.stride_px * reach.stride_px)
    assert np.abs(run_tiles(session, pixels, halo - step) - whole).max() > tolerance


@pytest.mark.parametrize(
    ("name", "channels", "expected"), [("landcover", 6, (32, 8)), ("water", 2, (4, 1))], ids=["landcover", "water"]
)
def test_demo_models(name, channels, expected):
    """The graph and the probe agree on the demo models, and tiles with the halo that follows have no seams."""
    path = MODELS / name / f"{name}.onnx"
    walked, probed = walk(path), probe(path, channels, most=0.5)
    assert (walked.radius_px, walked.stride_px, walked.is_global) == (*expected, False)
    assert (probed.radius_px, probed.stride_px, probed.is_global) == (*expected, False)
    assert join_reaches(walked, probed) == Reach(*expected, False, "graph and probe", ())
    assert_tiles_are_seamless(path, channels, walked)


@pytest.mark.shared
def test_yardstick(shared):
    """The yardstick network: stride 8, 51 pixels by graph and probe, no seams, the arithmetic it is known for."""
    path = shared / "bench" / "unet_small.onnx"
    walked, probed = walk(path), probe(path, 4)
    assert (walked.radius_px, walked.stride_px) == (probed.radius_px, probed.stride_px) == (51, 8)
    assert_tiles_are_seamless(path, 4, walked)
    cost = graph_cost(onnx.load(path), (256, 256), "NCHW")
    assert cost.flops_per_mpx * 256 * 256 / 1e6 == pytest.approx(1.36e9, rel=0.02)
    assert cost.parameters == 122_221
    assert not cost.uncounted


@pytest.mark.shared
@pytest.mark.parametrize(("name", "layout"), [("forward", "NHWC"), ("forward_nchw", "NCHW")])
def test_dynamic_world(shared, name, layout):
    """Dynamic World computes the sizes of its Resize; graph and probe agree all the same, in both layouts."""
    path = shared / "data" / "dynamicworld" / f"dynamicworld_{name}.onnx"
    walked, probed = walk(path, layout), probe(path, 9, layout)
    assert (walked.radius_px, walked.stride_px) == (probed.radius_px, probed.stride_px) == (22, 2)
    assert not walked.is_global
    assert not probed.is_global
    # 231,209 in the original: its batch normalisations are folded into the convolutions here.
    assert graph_cost(onnx.load(path), (256, 256), layout).parameters == 219_818


@pytest.mark.shared
def test_esri_land_cover_sees_its_tile(shared):
    """Esri's network subtracts each colour's mean over the tile (not the infrared's): global, and stride 8 apart."""
    path = shared / "data" / "esri_cntk_landclass" / "trained.onnx"
    walked, probed = walk(path), probe(path, 4)
    assert (walked.is_global, walked.radius_px, walked.stride_px) == (True, None, 8)
    assert sum(note.startswith("ReduceMean") for note in walked.notes) == 3
    assert any("reaches 62 pixels" in note for note in walked.notes)
    assert (probed.is_global, probed.stride_px) == (True, 8)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).uniform(0, 0.5, (4, 256, 256)).astype("float32")
    answer = run(session, pixels)
    brighter = [run(session, pixels + np.eye(4, dtype="float32")[band][:, None, None] / 10) for band in range(4)]
    changes = [np.abs(other - answer)[:, 16:-16, 16:-16].max() / answer.max() for other in brighter]
    assert max(changes[:3]) < 0.05 < changes[3]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "radius"),
    [
        ("different_output_size_512_to_484", 14),
        ("dummy_model", 0),
        ("one_output_softmax_bsx2x512x512", 0),
        ("two_outputs_sigmoid_bsx1x512x512", 0),
    ],
)
def test_third_party_fixtures(shared, name, radius):
    """Networks of fixed size, one cropping and one with two outputs, are walked and probed alike."""
    path = shared / "data" / "deepness_fixtures" / f"{name}.onnx"
    walked, probed = walk(path), probe(path, 3)
    assert (walked.radius_px, walked.stride_px) == (probed.radius_px, probed.stride_px) == (radius, 1)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("path", "layout", "stride"),
    [
        ("dior_yolov5n/yolov5n-diorall-nhwc.onnx", "NHWC", 32),
        ("dior_yolov5n/yolov5n-diorall-nchw.onnx", "NCHW", 32),
        ("ultraface_ssd/version-RFB-320.onnx", "NCHW", 64),
        ("ultraface_ssd/version-slim-320_without_postprocessing.onnx", "NCHW", 64),
        ("yolox_nano/yolox_nano.onnx", "NCHW", 32),
    ],
)
def test_detectors(shared, path, layout, stride):
    """Detectors are followed through flattening and decoding to lists, and told from their shapes."""
    path = shared / "data" / path
    walked = walk(path, layout)
    assert walked.stride_px == stride
    assert any("list" in note for note in walked.notes)
    assert describe_outputs(load_graph(path.read_bytes(), path.name).graph).kind == "detections"
    assert graph_cost(onnx.load(path), (256, 256), layout).uncounted == ()


@pytest.mark.shared
def test_scene_classifier(shared):
    """A network that ends in a dense layer sees its whole tile and answers once a scene."""
    path = shared / "data" / "cntk_mnist" / "mnist.onnx"
    assert walk(path).is_global
    assert describe_outputs(load_graph(path.read_bytes(), path.name).graph).kind == "scene"
    assert probe(path, 1).notes == ("the answer is no raster, so it cannot be probed",)


def test_probe_says_when_it_stops_early():
    """With next to no time the probe tells less, and says that it stopped."""
    probed = probe(MODELS / "landcover" / "landcover.onnx", 6, budget_s=0.05)
    assert any(note.startswith("stopped after") for note in probed.notes)


def test_probe_is_repeatable():
    """The same seed gives the same reach."""
    path = MODELS / "water" / "water.onnx"
    assert probe(path, 2) == probe(path, 2)


def test_probe_refuses_other_channels():
    """Values for another number of channels are refused before anything runs."""
    with pytest.raises(ModelError, match="takes 2 channels"):
        probe(MODELS / "water" / "water.onnx", 3)


def small(nodes, shape=(1, 1, "h", "w"), **weights):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


SPEC = ProbeSpec("NCHW", (0.0,), (1.0,), 1)
KERNEL = np.random.default_rng(0).uniform(0.5, 1, (1, 1, 5, 5)).astype("float32")


@pytest.mark.parametrize("sides", [("h", "w"), (64, 64), (64, 96)])
def test_answers_of_lower_resolution(sides):
    """An answer of one element per 4 × 4 pixels is told from a cropped one, at free and at fixed size."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], pads=[2, 2, 2, 2]),
        helper.make_node("AveragePool", ["a"], ["y"], kernel_shape=[4, 4], strides=[4, 4]),
    ]
    content = small(nodes, (1, 1, *sides), k=KERNEL)
    probed = probe_reach(content, SPEC)
    assert (probed.radius_px, probed.stride_px, probed.is_global) == (2, 4, False)
    walked = walk_reach(onnx.load_model_from_string(content), "x", "NCHW")
    assert (walked.radius_px, walked.stride_px) == (2, 4)


def test_cropped_to_half():
    """An answer that lacks a quarter of the tile on each side is not taken for one of half the resolution."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], pads=[2, 2, 2, 2]),
        helper.make_node("Slice", ["a", "start", "end", "axes"], ["y"]),
    ]
    weights = {"start": np.array([32, 32]), "end": np.array([96, 96]), "axes": np.array([2, 3])}
    probed = probe_reach(small(nodes, (1, 1, 128, 128), k=KERNEL, **weights), SPEC)
    assert (probed.radius_px, probed.stride_px, probed.is_global) == (2, 1, False)


def test_wide_networks_need_a_larger_tile():
    """A network that sees beyond the first tile is probed in a larger one."""
    nodes = [helper.make_node("Conv", ["x", "k"], ["y"], dilations=[70, 70], pads=[140, 140, 140, 140])]
    probed = probe_reach(small(nodes, k=KERNEL), SPEC)
    assert (probed.radius_px, probed.stride_px, probed.is_global) == (140, 1, False)


def test_place_in_the_tile_counts_as_global():
    """A network whose answer depends on the place in the tile is told by its want of any stride."""
    ramp = np.linspace(0, 1, 256, dtype="float32").reshape(1, 1, 1, 256) ** 2
    nodes = [helper.make_node("Mul", ["x", "ramp"], ["y"])]
    probed = probe_reach(small(nodes, (1, 1, 256, 256), ramp=ramp), SPEC)
    assert probed.is_global
