"""Loading a model: its graph is followed, and the network run only where nothing else tells how far it reaches."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.plan.tiling import choose_tile
from geodl_core.engine.load_model import load_model, reach_of
from geodl_core.errors import ModelError
from geodl_core.io.network.memory import ARENA_FACTOR
from geodl_core.io.package.package import load_package
from networks import conv_network, save, write_emd


def network(folder: Path, name: str, *nodes: onnx.NodeProto, domain: str = "", **weights: np.ndarray) -> Path:
    """Save a network of two bands and three classes; `c` is a 3 × 3 convolution of the image."""
    kernel = np.random.default_rng(1).standard_normal((3, 2, 3, 3)).astype("float32")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "k"], ["c"], pads=[1] * 4), *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [
            numpy_helper.from_array(kernel, "k"),
            *(numpy_helper.from_array(array, key) for key, array in weights.items()),
        ],
    )
    if not domain:
        return save(graph, folder / name)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)], ir_version=8
    )
    (folder / name).write_bytes(model.SerializeToString())
    return folder / name


def strange(folder: Path) -> Path:
    """A network that onnxruntime refuses: it holds an operator that nobody knows."""
    return network(folder, "net.onnx", helper.make_node("Riddle", ["c"], ["y"], domain="nobody"), domain="nobody")


def unfollowed(folder: Path) -> Path:
    """A network with an operator of onnxruntime's own, which no specification describes."""
    gelu = helper.make_node("Gelu", ["c"], ["y"], domain="com.microsoft")
    return network(folder, "net.onnx", gelu, domain="com.microsoft")


@pytest.mark.parametrize("keys", [{"Padding": 8}, {"Padding": 0}, {"ModelPadding": 4, "Padding": None}])
def test_padding_spares_the_probe(tmp_path: Path, keys: dict[str, int | None]) -> None:
    """Where the definition says the padding no session is opened, even for a graph that cannot be followed."""
    strange(tmp_path)
    model = load_model(load_package(str(write_emd(tmp_path, **keys))))
    assert model.halo.px == next(value for value in keys.values() if value is not None)


def test_no_padding_and_a_graph_that_cannot_be_followed(tmp_path: Path) -> None:
    """Without padding such a graph is run, so that one which cannot be run is refused, unless probing is forbidden."""
    strange(tmp_path)
    package = load_package(str(write_emd(tmp_path, Padding=None)))
    with pytest.raises(ModelError, match="onnxruntime refuses the model"):
        load_model(package)
    assert "quarter" in load_model(package, is_probed=False).halo.origin
    with_padding = load_package(str(write_emd(tmp_path)))
    with pytest.raises(ModelError, match="onnxruntime refuses the model"):
        load_model(with_padding, is_probed=True)


def test_a_probed_network(tmp_path: Path) -> None:
    """What a probe finds becomes the halo, and the run report says that it was probed."""
    unfollowed(tmp_path)
    model = load_model(load_package(str(write_emd(tmp_path, Padding=None))))
    assert model.halo.px == 1
    assert "probe" in model.halo.origin


def test_a_graph_that_can_be_followed_is_not_run(tmp_path: Path) -> None:
    """Without padding a graph that can be followed gives the halo, and onnxruntime is not even imported."""
    conv_network(tmp_path / "net.onnx")
    emd = write_emd(tmp_path, Padding=None)
    code = (
        "import sys; from geodl_core.io.package.package import load_package; "
        "from geodl_core.engine.load_model import load_model; "
        f"print(load_model(load_package({str(emd)!r})).halo.px, 'onnxruntime' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["4", "False"], result.stderr


def test_walk_and_probe_agree(tmp_path: Path) -> None:
    """Asked to probe, the network's answers confirm what its graph says."""
    conv_network(tmp_path / "net.onnx")
    package = load_package(str(write_emd(tmp_path, Padding=None)))
    walked, both = reach_of(package, is_probed=False), reach_of(package, is_probed=True)
    assert walked is not None
    assert both is not None
    assert (walked.radius_px, walked.stride_px, walked.origin) == (4, 1, "graph")
    assert (both.radius_px, both.stride_px, both.origin) == (4, 1, "graph and probe")


def preprocessing(folder: Path, side: int) -> None:
    kernel = np.ones((2, 1, side, side), "float32")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "k"], ["y"], pads=[side // 2] * 4, group=2)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [numpy_helper.from_array(kernel, "k")],
    )
    save(graph, folder / "before.onnx")


@pytest.mark.parametrize(("side", "halo"), [(1, 4), (7, 7)])
def test_the_reach_of_a_preprocessing_graph_is_added(tmp_path: Path, side: int, halo: int) -> None:
    """A network behind a preprocessing graph reaches as far as both together."""
    conv_network(tmp_path / "net.onnx")
    preprocessing(tmp_path, side)
    package = load_package(str(write_emd(tmp_path, Padding=None, PreprocessingModel="before.onnx")))
    assert load_model(package).halo.px == halo
    plain = load_package(str(write_emd(tmp_path, name="plain.emd", Padding=None)))
    assert load_model(package).digest != load_model(plain).digest


def test_a_preprocessing_graph_that_sees_everything(tmp_path: Path) -> None:
    """A preprocessing graph that looks at the whole tile is refused."""
    conv_network(tmp_path / "net.onnx")
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["m"]), helper.make_node("Sub", ["x", "m"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, "h", "w"])],
    )
    save(graph, tmp_path / "before.onnx")
    with pytest.raises(ModelError, match="PreprocessingModel: expected a graph that looks at each pixel alone"):
        load_model(load_package(str(write_emd(tmp_path, Padding=None, PreprocessingModel="before.onnx"))))


def test_bands_are_those_of_the_preprocessing_graph(tmp_path: Path) -> None:
    """A preprocessing graph that takes other channels than the network decides how many bands are wanted."""
    conv_network(tmp_path / "net.onnx", channels=1)
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, "h", "w"])],
    )
    save(graph, tmp_path / "before.onnx")
    keys = {"PreprocessingModel": "before.onnx", "ExtractBands": [2, 1, 0]}
    assert load_model(load_package(str(write_emd(tmp_path, **keys)))).bands == (2, 1, 0)
    with pytest.raises(ModelError, match="ExtractBands names 2 bands"):
        load_model(load_package(str(write_emd(tmp_path, PreprocessingModel="before.onnx"))))


def test_repairs_are_noted(tmp_path: Path) -> None:
    """What was repaired in the definition stands before all else in the run report."""
    conv_network(tmp_path / "net.onnx")
    model = load_model(load_package(str(write_emd(tmp_path, Padding="8"))))
    assert model.notes[0].endswith('line 1: Padding: "8" was read as 8')
    assert "definition" in model.notes[0]


def test_the_memory_of_a_run(tmp_path: Path) -> None:
    """The activations at their peak, with what onnxruntime holds besides: image 2 and answer 3 of float32."""
    network(tmp_path, "net.onnx", helper.make_node("Identity", ["c"], ["y"]))
    model = load_model(load_package(str(write_emd(tmp_path, ImageHeight=63, ImageWidth=61))))
    assert model.bytes_per_px == ARENA_FACTOR * 4 * (3 + 3)
    assert model.is_bounded


def test_the_memory_of_a_coarse_answer(tmp_path: Path) -> None:
    """Scores that are brought to the image's pixels after the network count, where they are more than it takes."""
    pool = helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2])
    widen = helper.make_node("Conv", ["p", "w"], ["y"])
    proto = onnx.load(network(tmp_path, "draft.onnx", pool, widen, w=np.ones((60, 3, 1, 1), "float32")))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 60
    onnx.save(proto, tmp_path / "net.onnx")
    classes = [{"Value": value, "Name": str(value)} for value in range(60)]
    model = load_model(load_package(str(write_emd(tmp_path, Classes=classes))))
    assert model.halo.coarsening == 2
    assert model.bytes_per_px == ARENA_FACTOR * (60 * 4 * 1.25 + 8)


def test_memory_that_the_graph_does_not_tell(tmp_path: Path) -> None:
    """An operator without a specification leaves the memory open; a probe still tells that the reach is bounded."""
    unfollowed(tmp_path)
    model = load_model(load_package(str(write_emd(tmp_path, Padding=None))))
    assert model.bytes_per_px is None
    assert model.is_bounded
    with_padding = load_model(load_package(str(write_emd(tmp_path))))
    assert not with_padding.is_bounded


@pytest.mark.shared
@pytest.mark.parametrize(
    ("path", "bands", "classes", "bytes_per_px", "core"),
    [
        ("bench/unet_small.onnx", 4, 5, 384, 1024),
        ("data/dynamicworld/dynamicworld_forward.onnx", 9, 9, 2312, 256),
        ("data/dynamicworld/dynamicworld_forward_nchw.onnx", 9, 9, 2312, 256),
    ],
)
def test_tiles_of_real_networks(
    shared: Path, tmp_path: Path, path: str, bands: int, classes: int, bytes_per_px: float, core: int
) -> None:
    """The yardstick and Dynamic World: what they take, and the core that follows."""
    names = [{"Value": value, "Name": str(value)} for value in range(classes)]
    keys = {"ExtractBands": list(range(bands)), "Classes": names, "Padding": None}
    (tmp_path / "net.onnx").write_bytes((shared / path).read_bytes())
    model = load_model(load_package(str(write_emd(tmp_path, **keys))))
    assert model.bytes_per_px == bytes_per_px
    assert choose_tile(model, Arguments())[0] == (core, core)
