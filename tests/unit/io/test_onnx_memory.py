"""How much memory networks take: small ones counted by hand."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from geodl_core.io.network.memory import peak_bytes_per_px


def build(
    nodes: list[onnx.NodeProto], shape: list[object], kind: int = TensorProto.FLOAT, **weights: np.ndarray
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, "float32")


def peak(model: onnx.ModelProto, chip: tuple[int, int] = (48, 40), layout: str = "NCHW") -> float | None:
    return peak_bytes_per_px(model, chip, layout)  # type: ignore[arg-type]


OPEN: list[object] = ["n", 2, "h", "w"]


def test_a_tensor_dies_after_its_last_use() -> None:
    """A chain holds what a node reads and what it makes, no more."""
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in zip("xabc", "abcy", strict=True)]
    assert peak(build(nodes, OPEN)) == 4 * (2 + 2)


def test_a_skip_is_held() -> None:
    """What is read again later is held until then: image 2 and its copy 2, a quarter of 8 channels, and both joined."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["b"], strides=[2, 2]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Resize", ["c", "", "s"], ["d"]),
        helper.make_node("Concat", ["d", "a"], ["e"], axis=1),
        helper.make_node("Conv", ["e", "v"], ["y"]),
    ]
    weights = {"w": ones(8, 2, 2, 2), "s": np.array([1, 1, 2, 2], "float32"), "v": ones(3, 10, 1, 1)}
    assert peak(build(nodes, OPEN, **weights)) == 4 * (8 + 2 + 10)


def test_weights_do_not_count() -> None:
    """Weights, Constant nodes and what is computed from them alone take no memory of a tile."""
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(ones(2, 2, 50, 50))),
        helper.make_node("Mul", ["k", "k2"], ["k3"]),
        helper.make_node("Conv", ["x", "k3"], ["y"], auto_pad="SAME_UPPER"),
    ]
    assert peak(build(nodes, OPEN, k2=ones(2, 2, 50, 50))) == 4 * (2 + 2)


def test_types_count() -> None:
    """An element takes as many bytes as its type; the image lives until its last use."""
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["a"], ["b"], axis=1),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.UINT8),
    ]
    assert peak(build(nodes, OPEN, TensorProto.UINT16)) == max(2 * 2 + 4 * 2, 4 * 2 + 8, 8 + 1)


def test_outputs_are_held_to_the_end() -> None:
    """A result that is ready early is still there at the end."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Concat", ["a", "a"], ["z"], axis=1),
    ]
    model = build(nodes, OPEN, w=ones(6, 2, 1, 1))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    assert peak(model) == 4 * (6 + 2 + 4)


def test_sizes_from_the_image_do_not_hide_it() -> None:
    """What is resized to the image's own size, as exporters write it, is counted."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2]),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "two", "four"], ["hw"]),
        helper.make_node("Concat", ["nc", "hw"], ["t"], axis=0),
        helper.make_node("Resize", ["a", "", "", "t"], ["y"]),
    ]
    integers = {"two": np.array([2]), "four": np.array([4]), "nc": np.array([1, 8])}
    assert peak(build(nodes, OPEN, w=ones(8, 2, 2, 2), **integers)) == pytest.approx(4 * (8 / 4 + 8), abs=0.1)


def test_layout_and_batch() -> None:
    """Pixels are counted where the layout says, those of a fixed batch one by one."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    assert peak(build(nodes, ["n", "h", "w", 4], w=ones(4, 6)), layout="NHWC") == 4 * (4 + 6)
    assert peak(build(nodes, [3, 20, 30, 4], w=ones(4, 6)), layout="NHWC") == 4 * (4 + 6)


def test_what_cannot_be_told() -> None:
    """An operator of unknown result is not guessed."""
    nodes = [helper.make_node("Mystery", ["x"], ["a"], domain="own"), helper.make_node("Relu", ["a"], ["y"])]
    model = build(nodes, OPEN)
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert peak(model) is None


def test_branches_read_from_outside() -> None:
    """What a branch takes from outside is held until then."""
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["i"])], "then", [], [helper.make_tensor_value_info("i", 1, OPEN)]
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("If", ["yes"], ["c"], then_branch=inner, else_branch=inner),
        helper.make_node("Concat", ["b", "c"], ["y"], axis=1),
    ]
    model = build(nodes, OPEN, w=ones(6, 2, 1, 1), yes=np.array(True))
    assert peak(model) == 4 * max(2 + 6 + 6, 2 + 6 + 2, 6 + 2 + 8)


@pytest.mark.parametrize("chip", [(64, 64), (512, 512), (1136, 568)])
def test_a_unet(chip: tuple[int, int]) -> None:
    """A U-Net is largest where its last skip is joined, whatever the tile's size."""
    nodes, last = [], "x"
    weights = {"s": np.array([1, 1, 2, 2], "float32")}
    for index, (wide, before) in enumerate(((8, 4), (16, 8))):
        weights |= {f"w{index}": ones(wide, before, 3, 3)}
        nodes += [
            helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], pads=[1] * 4),
            helper.make_node("Relu", [f"c{index}"], [f"r{index}"]),
            helper.make_node("MaxPool", [f"r{index}"], [f"p{index}"], kernel_shape=[2, 2], strides=[2, 2]),
        ]
        last = f"p{index}"
    for index, (wide, before) in reversed(list(enumerate(((8, 24), (16, 32))))):
        weights |= {f"v{index}": ones(wide, before, 3, 3)}
        nodes += [
            helper.make_node("Resize", [last, "", "s"], [f"u{index}"]),
            helper.make_node("Concat", [f"u{index}", f"r{index}"], [f"k{index}"], axis=1),
            helper.make_node("Conv", [f"k{index}", f"v{index}"], [f"d{index}"], pads=[1] * 4),
        ]
        last = f"d{index}"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    assert peak(build(nodes, ["n", 4, "h", "w"], **weights), chip) == 4 * (16 + 8 + 24)
