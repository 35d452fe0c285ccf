"""fp16 on real networks: what it changes, on the CPU provider (which computes with rounded weights in 32 bits)."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
from onnx import TensorProto, helper, numpy_helper

from geodl_core.engine.check_half import HalfCheck, check_half, require_half
from geodl_core.engine.session import open_session
from geodl_core.io.network.half import to_half
from make_scene import BANDS, make_scene, read_scene

MODELS = Path(__file__).parents[2] / "scripts" / "models"
HELD_OUT_SEED = 42
SPAIN = Path("sen1floods11_spain", "Spain_7370579_S2Hand.tif")


def fused(path: Path, chip: str = "float32", scale: float = 1) -> bytes:
    """Return a network between stored values that are scaled, and class indices, as geodl fuses it."""
    model = onnx.load(path)
    graph = model.graph
    names = graph.input[0].name, graph.output[0].name
    before = [
        helper.make_node("Cast", ["geodl_pixels"], ["geodl_before_0"], "geodl_before_0_Cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["geodl_before_0", "geodl_scale"], [names[0]], "geodl_before_1_Mul"),
    ]
    after = [
        helper.make_node("ArgMax", [names[1]], ["geodl_after_0"], "geodl_after_0_ArgMax", axis=1, keepdims=0),
        helper.make_node("Cast", ["geodl_after_0"], ["geodl_answer"], "geodl_after_1_Cast", to=TensorProto.UINT8),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(np.float32(scale), "geodl_scale"))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(chip))
    graph.input.append(helper.make_tensor_value_info("geodl_pixels", kind, ["n", "c", "h", "w"]))
    graph.output.append(helper.make_tensor_value_info("geodl_answer", TensorProto.UINT8, None))
    return model.SerializeToString()


def checked(content: bytes, chips: list[np.ndarray]) -> HalfCheck:
    half = to_half(content)
    assert len(half) < 0.6 * len(content)
    return check_half(open_session(content, "cpu"), open_session(half, "cpu"), chips)


def cut(pixels: np.ndarray, side: int = 256) -> list[np.ndarray]:
    rows, cols = (range(0, size - side + 1, side) for size in pixels.shape[1:])
    return [pixels[:, row : row + side, col : col + side] for row in rows for col in cols]


def test_landcover(tmp_path: Path) -> None:
    """The demo model in fp16 names 99.9 % of an unseen scene's pixels as in fp32."""
    folder = make_scene(tmp_path, 258, HELD_OUT_SEED).parent
    pixels, _ = read_scene(folder, tuple(band.common_name for band in BANDS))
    check = checked(fused(MODELS / "landcover" / "landcover.onnx"), cut(pixels))
    require_half(check)


@pytest.mark.shared
def test_dynamic_world(shared: Path) -> None:
    """Dynamic World in fp16 names 99.9 % of the pixels of a real tile as in fp32."""
    facts = json.loads((shared / "data" / "dynamicworld" / "preprocessing.json").read_text())
    low, width = np.array(facts["norm_percentiles"], "float32").T[:, :, None, None]
    with rasterio.open(shared / "data" / SPAIN) as source:
        pixels = source.read([2, 3, 4, 5, 6, 7, 8, 12, 13])
    x = np.exp(5 * (np.log(pixels * np.float32(0.005) + 1) - low) / width - 1)
    network = fused(shared / "data" / "dynamicworld" / "dynamicworld_forward_nchw.onnx")
    check = checked(network, cut((x / (x + 1)).astype("float32"))[:1])
    require_half(check)


@pytest.mark.shared
def test_a_network_of_narrow_margins(shared: Path, tmp_path: Path) -> None:
    """A U-Net of random weights, whose classes lie close to one another, keeps 99.8 % of its classes or more."""
    folder = make_scene(tmp_path, 258, HELD_OUT_SEED).parent
    pixels, _ = read_scene(folder, tuple(band.common_name for band in BANDS[:4]))
    stored = np.clip(pixels * 10000, 0, 10000).astype("uint16")
    check = checked(fused(shared / "bench" / "unet_small.onnx", "uint16", 1e-4), cut(stored))
    assert check.agreement >= 0.998
