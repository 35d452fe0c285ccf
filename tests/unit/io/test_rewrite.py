"""Networks rewritten for the CPU: the same answers as before, by onnxruntime, at the borders too."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from geodl_core.io.network.rewrite import rewrite

DOUBLE = np.array([1, 1, 2, 2], "float32")
BY_FLOOR = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
SIZES = ((2, 2), (1, 1), (7, 10), (16, 5), (13, 33))
"""Of the small tensor."""


class Net:
    """A graph in the making: inputs of float32 (N, C, any, any), weights at random."""

    def __init__(self, seed=0, opset=17):
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.nodes, self.inputs, self.weights = [], {}, []

    def input(self, name, channels):
        self.inputs[name] = channels
        return name

    def hold(self, array):
        self.weights.append(numpy_helper.from_array(np.asarray(array), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def add(self, operator, *sources, **attributes):
        self.nodes.append(helper.make_node(operator, sources, [f"t{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def conv(self, source, channels, count, kernel=3, bias=True, **attributes):
        scale = (2 / (channels * kernel * kernel)) ** 0.5
        weights = self.random.normal(0, scale, (count, channels, kernel, kernel)).astype("float32")
        biases = [self.hold(self.random.normal(0, 0.5, count).astype("float32"))] if bias else []
        attributes = {"pads": [kernel // 2] * 4, **attributes}
        return self.add("Conv", source, self.hold(weights), *biases, **attributes)

    def normalise(self, source, count):
        ranges = ((0.5, 2), (-1, 1), (-1, 1), (0.2, 2))
        numbers = [self.hold(self.random.uniform(*limits, count).astype("float32")) for limits in ranges]
        return self.add("BatchNormalization", source, *numbers, epsilon=1e-3)

    def enlarge(self, source, scales=DOUBLE, **attributes):
        return self.add("Resize", source, "", self.hold(scales), **(attributes or BY_FLOOR))

    def model(self, *outputs):
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, None, None])
            for name, channels in self.inputs.items()
        ]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", inputs, results, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def run(model, feed):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, feed)


def changed(model):
    """Rewrite a copy; what was done goes with it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy, rewrite(copy.graph, copy.opset_import[0].version)


def operators(model):
    return [node.op_type for node in model.graph.node]


def agree(model, after, doubles, seed=1):
    """Compare answers over sizes and batches; inputs named in `doubles` are twice as large as the others."""
    random = np.random.default_rng(seed)
    for batch, (height, width) in zip((1, 3, 1, 2, 1), SIZES, strict=True):
        feed = {}
        for value in model.graph.input:
            factor = 2 if value.name in doubles else 1
            channels = value.type.tensor_type.shape.dim[1].dim_value
            shape = (batch, channels, factor * height, factor * width)
            feed[value.name] = random.normal(0, 1, shape).astype("float32")
        for expected, found in zip(run(model, feed), run(after, feed), strict=True):
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
            if expected.shape[1] > 1:
                first, second = np.sort(expected, axis=1)[:, -1], np.sort(expected, axis=1)[:, -2]
                is_sure = first - second > 1e-4 * np.abs(expected).max()
                assert (found.argmax(1) == expected.argmax(1))[is_sure].all()


def decoder(seed, small=16, skips=(8,), count=8, **options):
    """A stage of a U-Net's decoder and the layer after it."""
    net = Net(seed, options.get("opset", 17))
    low = net.add("Relu", net.conv(net.input("low", 5), 5, small))
    wide = [net.enlarge(low)] if options.get("opset", 17) > 10 else [net.add("Upsample", low, net.hold(DOUBLE))]
    wide += [net.add("Relu", net.conv(net.input(f"skip{at}", 3), 3, size)) for at, size in enumerate(skips)]
    if options.get("is_last"):
        wide.reverse()
    joined = net.add("Concat", *wide, axis=1) if skips else wide[0]
    made = net.conv(joined, small + sum(skips), count, bias=options.get("bias", True))
    made = net.normalise(made, count) if options.get("normalised") else made
    made = net.add(options["activation"], made) if options.get("activation") else made
    return net.model(net.conv(made, count, 4))


@pytest.mark.parametrize(
    ("small", "skips", "count", "options"),
    [
        (16, (8,), 8, {"activation": "Relu"}),
        (32, (16,), 16, {"activation": "Relu", "normalised": True, "bias": False}),
        (24, (8, 16), 8, {"normalised": True, "is_last": True}),
        (24, (5,), 24, {"bias": False}),
        (19, (3, 1, 12), 16, {"activation": "Sigmoid"}),
        (8, (8,), 8, {"activation": "LeakyRelu"}),
        (64, (32,), 40, {"activation": "Tanh", "is_last": True}),
        (16, (8,), 8, {"activation": "Relu", "opset": 9}),
        (16, (8,), 8, {"activation": "Relu", "opset": 13}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_enlarged_and_joined(small, skips, count, options, seed):
    """What was enlarged and joined is convolved apart and small: no Concat of pixels, no Resize, the same scores."""
    model = decoder(seed, small, skips, count, **options)
    after, done = changed(model)
    assert len(done) == 1
    assert not {"Resize", "Upsample", "BatchNormalization"} & set(operators(after))
    agree(model, after, {f"skip{at}" for at in range(len(skips))})


@pytest.mark.parametrize("activation", [None, "Relu", "LeakyRelu", "Sigmoid", "Elu"])
@pytest.mark.parametrize("normalised", [False, True])
def test_enlarged_alone(activation, normalised):
    """Without anything joined the activation moves before the interleaving, or stays, with the same scores."""
    model = decoder(3, 32, (), 16, activation=activation, normalised=normalised)
    after, done = changed(model)
    assert len(done) == 1
    assert "Resize" not in operators(after)
    agree(model, after, ())


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("channels", "count"), [((8, 16), 24), ((16, 8, 8), 12)])
@pytest.mark.parametrize("geometry", [{}, {"strides": [2, 2]}, {"dilations": [2, 2]}])
def test_joined_alone(kernel, channels, count, geometry):
    """Any convolution of joined tensors is the sum of theirs."""
    net = Net(4)
    names = [net.input(f"x{at}", size) for at, size in enumerate(channels)]
    sources = [net.add("Relu", net.conv(name, size, size)) for name, size in zip(names, channels, strict=True)]
    joined = net.add("Concat", *sources, axis=1)
    geometry = {"pads": [kernel] * 4, **geometry}
    model = net.model(net.add("Relu", net.conv(joined, sum(channels), count, kernel, **geometry)))
    after, done = changed(model)
    assert len(done) == 1
    assert "Concat" not in operators(after)
    agree(model, after, ())


def test_two_enlarged():
    """Two tensors enlarged alike are joined before, small."""
    net = Net(5)
    sources = [net.enlarge(net.conv(net.input(name, 4), 4, 16)) for name in ("a", "b")]
    skip = net.conv(net.input("skip", 4), 4, 8)
    joined = net.add("Concat", sources[0], skip, sources[1], axis=1)
    model = net.model(net.conv(net.conv(joined, 40, 8), 8, 5))
    after, done = changed(model)
    assert len(done) == 1
    assert "Resize" not in operators(after)
    agree(model, after, {"skip"})


def test_whole_network():
    """Stages one after the other, from weights in Constant nodes, with automatic padding."""
    net = Net(6)
    levels, source, channels = [], net.input("x", 4), 4
    for count in (8, 16, 32):
        source, channels = net.add("Relu", net.conv(source, channels, count)), count
        levels.append((source, count))
        source = net.add("MaxPool", source, kernel_shape=[2, 2], strides=[2, 2])
    for skip, count in reversed(levels):
        joined = net.add("Concat", net.enlarge(source), skip, axis=-3)
        made = net.conv(joined, channels + count, count, pads=None, auto_pad="SAME_UPPER")
        source, channels = net.add("Relu", net.normalise(made, count)), count
    model = net.model(net.conv(source, 8, 5, 1))
    for tensor in model.graph.initializer:
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del model.graph.initializer[:]
    after, done = changed(model)
    assert len(done) == 3
    feed = {"x": np.random.default_rng(0).normal(0, 1, (2, 4, 40, 56)).astype("float32")}
    expected, found = run(model, feed)[0], run(after, feed)[0]
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


PLACES = [
    *(("asymmetric", rounding, rounding.endswith("floor")) for rounding in ("floor", "round_prefer_floor", "ceil")),
    ("asymmetric", "round_prefer_ceil", False),
    *(("half_pixel", rounding, "_" in rounding) for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor")),
    ("pytorch_half_pixel", "round_prefer_floor", True),
    ("tf_half_pixel_for_nn", "floor", True),
    ("align_corners", "floor", False),
]


@pytest.mark.parametrize(("place", "rounding", "is_double"), PLACES)
def test_ways_to_enlarge(place, rounding, is_double):
    """Only ways to enlarge that show each pixel twice are rewritten, and those as onnxruntime has them."""
    net = Net(7)
    attributes = {"coordinate_transformation_mode": place, "nearest_mode": rounding}
    wide = net.enlarge(net.conv(net.input("x", 4), 4, 16), mode="nearest", **attributes)
    model = net.model(net.conv(wide, 16, 8))
    after, done = changed(model)
    assert bool(done) == is_double
    agree(model, after, ())


def test_default_way_to_enlarge():
    """Resize without attributes shows each pixel twice."""
    net = Net(8)
    model = net.model(net.conv(net.add("Resize", net.input("x", 16), "", net.hold(DOUBLE)), 16, 8))
    after, done = changed(model)
    assert done
    agree(model, after, ())


def left_alone():
    """Yield networks that must stay as they are, each with the reason."""
    for reason, channels, count in (("few channels", 8, 16), ("odd number of results", 16, 12)):
        net = Net()
        yield pytest.param(net.model(net.conv(net.enlarge(net.input("x", channels)), channels, count)), id=reason)
    for reason, scales in (("threefold", [1, 1, 3, 3]), ("one axis", [1, 1, 2, 1]), ("channels", [1, 2, 2, 2])):
        net = Net()
        wide = net.enlarge(net.input("x", 16), np.array(scales, "float32"))
        yield pytest.param(net.model(net.conv(wide, 16 * scales[1], 8)), id=reason)
    net = Net()
    yield pytest.param(net.model(net.conv(net.enlarge(net.input("x", 16), mode="linear"), 16, 8)), id="interpolated")
    net = Net()
    sizes = net.add("Mul", net.add("Shape", net.input("x", 16)), net.hold(np.array([1, 1, 2, 2])))
    wide = net.add("Resize", "x", "", "", sizes, **BY_FLOOR)
    yield pytest.param(net.model(net.conv(wide, 16, 8)), id="sizes")
    for reason, geometry in (
        ("stride", {"strides": [2, 2]}),
        ("dilation", {"dilations": [2, 2]}),
        ("no border", {"pads": [0, 0, 0, 0]}),
        ("one-sided border", {"pads": [0, 0, 2, 2]}),
        ("valid", {"pads": None, "auto_pad": "VALID"}),
    ):
        net = Net()
        yield pytest.param(net.model(net.conv(net.enlarge(net.input("x", 16)), 16, 8, **geometry)), id=reason)
    net = Net()
    wide = net.enlarge(net.input("x", 16))
    yield pytest.param(net.model(net.conv(wide, 16, 8), wide), id="enlarged is an output")
    net = Net()
    wide = net.enlarge(net.input("x", 16))
    yield pytest.param(net.model(net.conv(wide, 16, 8), net.add("Relu", wide)), id="enlarged is used twice")
    net = Net()
    joined = net.add("Concat", net.conv(net.input("x", 4), 4, 16), net.conv("x", 4, 16), axis=1)
    yield pytest.param(net.model(net.conv(joined, 32, 8), net.add("Relu", joined)), id="joined is used twice")
    net = Net()
    joined = net.add("Concat", net.conv(net.input("x", 4), 4, 16), net.conv("x", 4, 16), axis=2)
    yield pytest.param(net.model(net.conv(joined, 16, 8)), id="joined in rows")
    net = Net()
    joined = net.add("Concat", net.input("x", 3), net.add("Relu", "x"), axis=1)
    yield pytest.param(net.model(net.conv(joined, 6, 4)), id="channels unknown")
    net = Net()
    joined = net.add("Concat", net.conv(net.input("x", 4), 4, 8), net.conv("x", 4, 8), axis=1)
    yield pytest.param(net.model(net.conv(joined, 1, 16, group=16)), id="groups")
    net = Net()
    joined = net.add("Concat", net.conv(net.input("x", 4), 4, 8), net.conv("x", 4, 8), axis=1)
    yield pytest.param(net.model(net.conv(joined, 16, 64)), id="sums cost more than the copy")
    net = Net()
    joined = net.add("Concat", net.conv(net.input("x", 4), 4, 5), net.conv("x", 4, 11), axis=1)
    yield pytest.param(net.model(net.conv(joined, 16, 8)), id="slow shares")
    net = Net()
    joined = net.add("Concat", net.conv(net.input("x", 4), 4, 8), net.conv("x", 4, 8), axis=1)
    yield pytest.param(net.model(net.add("LeakyRelu", net.conv(joined, 16, 8))), id="activation would come apart")
    net = Net()
    wide = net.enlarge(net.input("x", 16))
    weights = net.add("Add", net.hold(np.ones((8, 16, 3, 3), "float32")), net.hold(np.ones(1, "float32")))
    yield pytest.param(net.model(net.add("Conv", wide, weights, pads=[1] * 4)), id="weights computed")


@pytest.mark.parametrize("model", list(left_alone()))
def test_left_alone(model):
    """What is not certainly the same, or does not pay, stays as it is, to the byte."""
    after, done = changed(model)
    assert done == ()
    assert after.SerializeToString() == model.SerializeToString()
    run(after, {"x": np.ones((1, model.graph.input[0].type.tensor_type.shape.dim[1].dim_value, 6, 6), "float32")})


@pytest.mark.parametrize("sides", [(13, 12), (12, 13), (1, 1), (24, 6)])
def test_sizes_that_do_not_fit_are_refused(sides):
    """Tensors that could not be joined cannot be added either."""
    after, done = changed(decoder(12, 16, (8,), 8, activation="Relu"))
    assert done
    feed = {"low": np.ones((1, 5, 6, 6), "float32"), "skip0": np.ones((1, 3, *sides), "float32")}
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        run(after, feed)


def test_source_used_elsewhere():
    """What is joined may have other uses; those of the parts that are taken away go, those still used stay."""
    net = Net(9)
    low = net.conv(net.input("low", 4), 4, 16)
    skip = net.conv(net.input("skip", 4), 4, 8)
    joined = net.add("Concat", net.enlarge(low), skip, axis=1)
    made = net.conv(joined, 24, 8)
    model = net.model(net.conv(made, 8, 3), net.add("Relu", skip), net.add("Relu", low))
    after, done = changed(model)
    assert done
    agree(model, after, {"skip"})


def test_weights_without_use_go():
    """The weights that were taken apart do not stay in the file, those that others share do."""
    net = Net(10)
    model = net.model(net.conv(net.enlarge(net.input("x", 16)), 16, 8))
    weights = model.graph.initializer[2].name  # after the scales and the bias
    assert weights not in {tensor.name for tensor in changed(model)[0].graph.initializer}
    model.graph.node.append(helper.make_node("Conv", ["x", weights], ["other"], pads=[1] * 4))
    model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, None))
    after, done = changed(model)
    assert done
    assert weights in {tensor.name for tensor in after.graph.initializer}
    agree(model, after, ())


def test_adds_within_convolutions(tmp_path):
    """Onnxruntime adds the shares within a convolution, whatever the sizes: no Add of its own."""
    after, _ = changed(decoder(11, 16, (8, 16), 8, activation="Relu"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(after.SerializeToString(), options, ["CPUExecutionProvider"])
    optimised = onnx.load(tmp_path / "optimised.onnx")
    if "com.microsoft.nchwc" not in {node.domain for node in optimised.graph.node}:
        pytest.skip("onnxruntime has no NCHWc convolutions on this processor")
    assert "Add" not in operators(optimised)
