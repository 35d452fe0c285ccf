"""Following the image through ONNX graphs, against what changed pixels change."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from geodl_core.domain.network.reach import Reach
from geodl_core.io.network.reach import walk_reach

OPSET = 18
FLOAT = TensorProto.FLOAT


class Net:
    """A graph under construction: each method adds a node and returns its output's name."""

    def __init__(self, shape=(1, 1, "h", "w"), opset=OPSET):
        self.shape, self.opset = shape, opset
        self.nodes, self.weights = [], []

    def constant(self, value, dtype="int64"):
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, operator, *inputs, outputs=1, **attributes):
        names = [f"t{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, f"n{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, source, kernel=3, channels=(1, 1), operator="Conv", **attributes):
        sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        weights = np.random.default_rng(len(self.nodes)).uniform(0.5, 1, (*channels, *sizes)) / np.prod(sizes)
        return self.node(operator, source, self.constant(weights, "float32"), **attributes)

    def upsample(self, source, factor=2, mode="nearest", place="asymmetric", **attributes):
        scales = self.constant([1, 1, factor, factor], "float32")
        return self.node("Resize", source, "", scales, mode=mode, coordinate_transformation_mode=place, **attributes)

    def build(self, *outputs):
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", FLOAT, list(self.shape))],
            [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def runner(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"x": image})[0][0, 0]


def brute_radius(run, side=96, stride=16):
    """The farthest pixel that one changed pixel changes, over all phases; assumes an answer of the image's step."""
    before_image = np.random.default_rng(0).uniform(1, 2, (1, 1, side, side)).astype("float32")
    before = run(before_image)
    crop = (side - before.shape[0]) // 2
    farthest = 0
    for phase in range(stride):
        at = side // 2 - stride // 2 + phase
        image = before_image.copy()
        image[..., at, at] += 1e4
        touched = np.argwhere(run(image) != before) + crop
        if len(touched):
            assert touched.min() > crop
            assert touched.max() < crop + before.shape[0] - 1
            farthest = max(farthest, int(np.abs(touched - at).max()))
    return farthest


def brute_stride(run, margin, side=96):
    """The smallest shift of the image that shifts the answer, away from the border."""
    image = np.random.default_rng(1).uniform(1, 2, (1, 1, side, side)).astype("float32")
    before = run(image)
    crop = (side - before.shape[0]) // 2
    for shift in range(1, 17):
        after = run(np.roll(image, (shift, shift), (2, 3)))
        low, high = margin + shift - crop, side - margin - 2 * shift - crop
        assert high - low > 4
        one, other = before[low:high, low:high], after[low + shift : high + shift, low + shift : high + shift]
        if np.allclose(one, other, rtol=1e-4, atol=0):
            return shift
    return None


def walk(model, layout="NCHW"):
    reasons = []
    found = walk_reach(model, "x", layout, reasons)
    assert (found is None) == bool(reasons)
    return found if found is not None else reasons[0]


LAYERS = st.one_of(
    st.tuples(
        st.just("conv"),
        st.integers(1, 5),
        st.integers(1, 2),
        st.integers(1, 2),
        st.tuples(st.integers(0, 2), st.integers(0, 2)),
    ),
    st.tuples(st.sampled_from(["MaxPool", "AveragePool"]), st.integers(1, 3), st.integers(1, 2)),
    st.tuples(st.just("transpose"), st.integers(2, 4)),
    st.tuples(
        st.just("up"),
        st.sampled_from(["nearest", "linear", "cubic"]),
        st.sampled_from(["asymmetric", "half_pixel"]),
    ),
)


def add_window(net, name, layer, is_same):
    """Add a convolution or pooling; where all sizes are to stay, with paddings that make it so."""
    kind, kernel, stride = layer[:3]
    dilation, pads = layer[3:] if kind == "conv" else (1, (0, 0))
    if is_same:
        total = max((kernel - 1) * dilation + 1 - stride, 0)
        before = min(pads[0], total) if kind == "conv" else total // 2
        pads = (before, total - before)
    attributes = {"strides": [stride] * 2, "pads": [pads[0]] * 2 + [pads[1]] * 2}
    if kind == "conv":
        return net.conv(name, kernel, dilations=[dilation] * 2, **attributes)
    return net.node(kind, name, kernel_shape=[kernel] * 2, **attributes)


def add_layer(net, name, layer, scale, is_same):
    """Add a layer; return its name and its pixels an element."""
    kind = layer[0]
    if kind not in ("transpose", "up"):
        layer = (*layer[:2], 1 if scale == 4 else layer[2], *layer[3:])
        return add_window(net, name, layer, is_same), scale * layer[2]
    if scale == 1:
        return name, scale
    if kind == "transpose":
        crop = (layer[1] - 2) // 2
        pads = [crop, crop, layer[1] - 2 - crop, layer[1] - 2 - crop]
        return net.conv(name, layer[1], operator="ConvTranspose", strides=[2, 2], pads=pads), scale // 2
    return net.upsample(name, 2, layer[1], layer[2]), scale // 2


@settings(max_examples=int(os.environ.get("GEODL_EXAMPLES", "100")), deadline=None, derandomize=True)
@given(st.lists(LAYERS, min_size=1, max_size=5), st.booleans())
def test_random_stacks(layers, is_skipping):
    """Of any stack of windows with positive weights the walk finds the very radius, and a multiple of the period."""
    net = Net()
    name, scale = net.conv("x", 1), 1
    for layer in layers:
        name, scale = add_layer(net, name, layer, scale, is_skipping)
    while scale > 1:
        name, scale = net.upsample(name), scale // 2
    if is_skipping:
        joined = net.node("Concat", name, net.conv("x", pads=[1] * 4), axis=1)
        name = net.conv(joined, 1, (1, 2))
    model = net.build(name)
    found = walk(model)
    assert isinstance(found, Reach), found
    assert not found.is_global
    run = runner(model)
    radius = brute_radius(run)
    assert found.radius_px >= radius
    if not any(layer[:2] == ("up", "cubic") for layer in layers):  # its negative weights may cancel
        assert found.radius_px == radius
    period = brute_stride(run, found.radius_px)
    assert period is not None
    assert found.stride_px % period == 0


def test_skip_joins_both_paths():
    """A skip beside a path down and up has the reach of the longer and the stride of the deeper."""
    net = Net()
    deep = net.upsample(net.conv(net.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2]), pads=[1] * 4))
    joined = net.node("Concat", deep, net.conv("x", pads=[1] * 4), axis=1)
    model = net.build(net.conv(joined, 1, (1, 2)))
    found = walk(model)
    assert (found.radius_px, found.stride_px) == (brute_radius(runner(model)), 2)


def test_pad_before_valid_convolution():
    """An explicit Pad before a convolution without padding, as tf2onnx writes it, shifts nothing."""
    net = Net((1, "h", "w", 1))
    padded = net.node("Pad", "x", net.constant([0, 2, 2, 0, 0, 2, 2, 0]))
    first = net.node("Transpose", padded, perm=[0, 3, 1, 2])
    model = net.build(net.node("Transpose", net.conv(first, 5), perm=[0, 2, 3, 1]))
    assert walk(model, "NHWC") == Reach(2, 1, False, "graph", ())


@pytest.mark.parametrize("opset", [7, 9])
def test_old_slices_and_upsampling(opset):
    """Slices by attributes and Upsample of old opsets are followed."""
    net = Net((1, 1, 64, 64), opset)
    half = net.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])
    if opset == 7:
        full = net.node("Upsample", half, scales=[1.0, 1.0, 2.0, 2.0])
    else:
        full = net.node("Upsample", half, net.constant([1, 1, 2, 2], "float32"))
    model = net.build(net.node("Slice", full, axes=[2, 3], starts=[8, 8], ends=[-8, 56]))
    assert walk(model) == Reach(1, 2, False, "graph", ())


def test_focus_and_pixel_shuffle():
    """Pixels moved to channels by strided slices and back by DepthToSpace see their block."""
    net = Net()
    parts = [
        net.node(
            "Slice",
            "x",
            net.constant([row, col]),
            net.constant([2**40] * 2),
            net.constant([2, 3]),
            net.constant([2, 2]),
        )
        for row in (0, 1)
        for col in (0, 1)
    ]
    mixed = net.conv(net.node("Concat", *parts, axis=1), 1, (4, 4))
    assert walk(net.build(net.node("DepthToSpace", mixed, blocksize=2))) == Reach(1, 2, False, "graph", ())
    shaped = net.node("Reshape", mixed, net.constant([0, 1, 2, 2, 64, 64]))
    turned = net.node("Transpose", shaped, perm=[0, 1, 4, 2, 5, 3])
    net.shape = (1, 1, 128, 128)
    model = net.build(net.node("Reshape", turned, net.constant([0, 1, 128, 128])))
    assert walk(model) == Reach(1, 2, False, "graph", ())


def test_sizes_computed_in_the_graph():
    """A Resize to half and back, by sizes that the graph computes from its input, is a constant ratio."""
    net = Net()
    sizes = net.node("Cast", net.node("Shape", "x"), to=TensorProto.FLOAT)
    halves = net.node("Floor", net.node("Mul", sizes, net.constant([1, 1, 0.5, 0.5], "float32")))
    half = net.node("Resize", "x", "", "", net.node("Cast", halves, to=TensorProto.INT64), mode="linear", antialias=1)
    model = net.build(net.node("Resize", half, "", "", net.node("Shape", "x"), mode="linear"))
    found = walk(model)
    assert (found.radius_px, found.stride_px) == (brute_radius(runner(model)), 2)


def test_branch_of_known_condition():
    """A branch that a computed condition chooses is followed, one that pixels choose is not."""
    net = Net()
    rank = net.node("Equal", net.node("Size", net.node("Shape", "x")), net.constant(4))
    inner = [
        helper.make_graph(
            [helper.make_node(operator, ["x"], [name])], name, [], [helper.make_empty_tensor_value_info(name)]
        )
        for operator, name in (("Relu", "yes"), ("NonZero", "no"))
    ]
    model = net.build(net.node("If", rank, then_branch=inner[0], else_branch=inner[1]))
    assert walk(model) == Reach(0, 1, False, "graph", ())
    condition = net.node("Cast", "x", to=TensorProto.BOOL)
    unknown = net.build(net.node("If", condition, then_branch=inner[0], else_branch=inner[1]))
    assert "branch or a loop" in walk(unknown)


def test_local_functions_are_inlined():
    """A function defined in the model is followed like its body."""
    body = [helper.make_node("AveragePool", ["a"], ["b"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])]
    net = Net()
    net.nodes.append(helper.make_node("Smooth", ["x"], ["y"], domain="own"))
    model = net.build("y")
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(helper.make_function("own", "Smooth", ["a"], ["b"], body, [helper.make_opsetid("", OPSET)]))
    assert walk(model) == Reach(1, 1, False, "graph", ())


def global_nets():
    net = Net()
    yield "pooling", net.build(net.node("Mul", "x", net.node("GlobalAveragePool", "x")))
    net = Net()
    yield "mean", net.build(net.node("Sub", "x", net.node("ReduceMean", "x", net.constant([2, 3]))))
    net = Net()
    one = net.constant([1.0], "float32")
    yield "instance norm", net.build(net.node("InstanceNormalization", "x", one, one))
    net = Net()
    grouped = net.node("Reshape", "x", net.constant([0, 1, -1]))
    one = net.constant([1.0], "float32")
    normal = net.node("InstanceNormalization", grouped, one, one)
    yield "group norm", net.build(net.conv(net.node("Reshape", normal, net.node("Shape", "x")), pads=[1] * 4))
    net = Net()
    yield "softmax", net.build(net.node("Softmax", "x", axis=3))
    net = Net(opset=11)
    yield "old softmax", net.build(net.node("Softmax", "x", axis=1))
    net = Net()
    flat = net.node("Transpose", net.node("Reshape", "x", net.constant([0, 0, -1])), perm=[0, 2, 1])
    product = net.node("MatMul", flat, net.node("Transpose", flat, perm=[0, 2, 1]))
    yield "attention", net.build(product)
    net = Net((1, 1, 8, 8))
    yield "dense", net.build(net.node("Gemm", net.node("Flatten", "x"), net.constant(np.ones((64, 3)), "float32")))
    net = Net()
    yield "fixed size", net.build(net.node("Resize", "x", "", "", net.constant([1, 1, 64, 64]), mode="linear"))
    net = Net()
    yield "corners", net.build(net.upsample("x", 2, "linear", "align_corners"))
    net = Net((1, 1, 16, 16))
    yield "grid", net.build(net.node("Add", "x", net.constant(np.arange(16).reshape(1, 1, 1, 16), "float32")))


@pytest.mark.parametrize(
    ("name", "model"), list(global_nets()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_global_networks_are_recognised(name, model):
    """Pooling, normalisation, attention, dense layers and sizes of their own see the whole tile, and a note says so."""
    found = walk(model)
    assert isinstance(found, Reach), found
    assert found.is_global
    assert found.radius_px is None
    assert found.notes


def local_nets():
    net = Net((1, 4, "h", "w"))
    yield "channel softmax", net.build(net.node("Softmax", "x", axis=1))
    net = Net((1, 4, "h", "w"))
    yield "argmax", net.build(net.node("ArgMax", "x", axis=1, keepdims=0))
    net = Net((1, "h", "w", 4))
    yield "channel MatMul", net.build(net.node("MatMul", "x", net.constant(np.ones((4, 2)), "float32")))
    net = Net((1, 4, "h", "w"))
    shape = net.node("Shape", "x")
    flat = net.node("Transpose", net.node("Reshape", "x", net.constant([0, 0, -1])), perm=[0, 2, 1])
    back = net.node("Transpose", flat, perm=[0, 2, 1])
    yield "flattened and back", net.build(net.node("Reshape", back, shape))
    net = Net((1, 4, "h", "w"))
    parts = net.node("Split", "x", axis=1, num_outputs=2, outputs=2)
    yield "split", net.build(net.node("Add", *parts))
    net = Net((1, 4, "h", "w"))
    grouped = net.node("Reshape", "x", net.constant([0, 2, 2, 64, 64]))
    net.shape = (1, 4, 64, 64)
    turned = net.node("Transpose", grouped, perm=[0, 2, 1, 3, 4])
    yield "shuffled channels", net.build(net.node("Reshape", turned, net.constant([0, 4, 64, 64])))
    net = Net((1, 4, "h", "w"))
    yield "constant map", net.build(net.node("Add", "x", net.node("ConstantOfShape", net.node("Shape", "x"))))


@pytest.mark.parametrize(
    ("name", "model"), list(local_nets()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_stays_in_place(name, model):
    """Operations over channels, and layouts that come back, reach no neighbour."""
    layout = "NHWC" if name == "channel MatMul" else "NCHW"
    assert walk(model, layout) == Reach(0, 1, False, "graph", ())


def unknown_nets():
    net = Net()
    yield "custom", net.build(net.node("DeformConv", "x", "x"))
    net = Net()
    yield "side by side", net.build(net.node("Concat", "x", "x", axis=3))
    net = Net()
    yield "wrapped", net.build(net.node("Pad", "x", net.constant([0, 0, 1, 1, 0, 0, 1, 1]), mode="wrap"))
    net = Net()
    yield "scales", net.build(net.node("Add", "x", net.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])))
    net = Net()
    yield "no pixels", net.build(net.node("Shape", "x"))


@pytest.mark.parametrize(
    ("name", "model"), list(unknown_nets()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_is_not_known_is_not_guessed(name, model):
    """A graph that cannot be followed gives no reach but a reason."""
    assert isinstance(walk(model), str)


def test_detection_heads_are_lists():
    """Heads of two scales, flattened and joined, have the reach and stride of the coarser, and a note."""
    net = Net((1, 1, 64, 64))
    fine = net.conv("x", 3, (6, 1), strides=[2, 2], pads=[1] * 4)
    coarse = net.conv(fine, 3, (6, 6), strides=[2, 2], pads=[1] * 4)
    rows = [
        net.node("Transpose", net.node("Reshape", head, net.constant([1, 6, -1])), perm=[0, 2, 1])
        for head in (fine, coarse)
    ]
    found = walk(net.build(net.node("Concat", *rows, axis=1)))
    assert (found.stride_px, found.is_global) == (4, False)
    assert found.radius_px == 3
    assert "list" in found.notes[0]


def test_weights_prepared_in_the_graph():
    """Large weights that the graph reshapes, turns or dequantises keep their sizes."""
    net = Net((1, 1, 64, 64))
    whole = net.constant(np.ones((40, 40)), "int8")
    scaled = net.node("DequantizeLinear", whole, net.constant(0.1, "float32"))
    kernel = net.node("Reshape", net.node("Transpose", scaled, perm=[1, 0]), net.constant([-1, 1, 5, 5]))
    assert walk(net.build(net.node("Conv", "x", kernel))) == Reach(2, 1, False, "graph", ())


def test_only_chosen_outputs_count():
    """An auxiliary output that sees the whole tile does not count when another is asked for."""
    net = Net()
    first, second = net.conv("x", pads=[1] * 4), net.node("GlobalMaxPool", "x")
    model = net.build(first, second)
    assert walk_reach(model, "x", "NCHW").is_global
    assert walk_reach(model, "x", "NCHW", outputs=[first]).radius_px == 1
