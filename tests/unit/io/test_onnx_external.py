"""Weights outside an ONNX model: taken in from beside it, and from nowhere else."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from geodl_core.engine.session import open_session
from geodl_core.errors import ModelError
from geodl_core.io.network.graph import load_graph, read_graph_file
from geodl_core.io.package.package import load_package

FIRST = np.arange(6, dtype=np.float32).reshape(3, 2, 1, 1)
SECOND = np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1) - 4
Place = dict[str, object]


def build(*places: Place) -> bytes:
    """Two convolutions; each weight with a place lies there, not in the model."""
    weights = [numpy_helper.from_array(FIRST, "a"), numpy_helper.from_array(SECOND, "b")]
    for tensor, place in zip(weights, places, strict=False):
        put_outside(tensor, place)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "a"], ["t"]), helper.make_node("Conv", ["t", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2, None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3, None, None])],
        weights,
    )
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return content


def put_outside(tensor: TensorProto, place: Place) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))


WHOLE = onnx.load_model_from_string(build())
ONE: Place = {"location": "w.bin", "offset": 0, "length": FIRST.nbytes}


def weights_of(proto: onnx.ModelProto) -> list[list[float]]:
    assert all(tensor.data_location == TensorProto.DEFAULT for tensor in proto.graph.initializer)
    return [numpy_helper.to_array(tensor).ravel().tolist() for tensor in proto.graph.initializer]


def refused(content: bytes, beside: Path | None) -> str:
    with pytest.raises(ModelError) as caught:
        load_graph(content, "net.onnx", beside)
    assert caught.value.message.startswith("net.onnx")
    return caught.value.message


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.booleans())
def test_offsets_and_lengths(tmp_path_factory: pytest.TempPathFactory, before: int, between: int, one: bool) -> None:
    """Weights come from wherever the model says that they lie, in one file or in several."""
    folder = tmp_path_factory.mktemp("w")
    second = before + FIRST.nbytes + between if one else between
    names = ("w.bin", "w.bin" if one else "v.bin")
    raw = bytes(before) + FIRST.tobytes() + bytes(between) + SECOND.tobytes() + b"more"
    (folder / "w.bin").write_bytes(raw)
    if not one:
        (folder / "v.bin").write_bytes(bytes(between) + SECOND.tobytes())
    places = (
        {"location": names[0], "offset": before, "length": FIRST.nbytes},
        {"location": names[1], "offset": second, "length": SECOND.nbytes},
    )
    file = load_graph(build(*places), "net.onnx", folder)
    assert weights_of(file.proto) == weights_of(WHOLE)


def test_without_offset_and_length(tmp_path: Path) -> None:
    """Without an offset the weights begin with the file, without a length they end with it."""
    (tmp_path / "w.bin").write_bytes(FIRST.tobytes())
    (tmp_path / "v.bin").write_bytes(b"1234" + SECOND.tobytes())
    content = build({"location": "w.bin"}, {"location": "v.bin", "offset": 4})
    assert weights_of(load_graph(content, "net.onnx", tmp_path).proto) == weights_of(WHOLE)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"offset": 0, "length": 25}, "a: expected its data at 0–25, found 24 bytes"),
        ({"offset": 1, "length": 24}, "a: expected its data at 1–25, found 24 bytes"),
        ({"offset": 25}, "a: expected its data at 25–24, found 24 bytes"),
        ({"offset": 10**30, "length": 1}, "a: expected its data at"),
        ({"offset": -4, "length": 24}, "a: expected its data at -4–20"),
        ({"offset": "x"}, "a: expected an offset and a length"),
        ({"length": "1.5"}, "a: expected an offset and a length"),
        ({"length": ""}, "a: expected an offset and a length"),
    ],
)
def test_data_beyond_the_file(tmp_path: Path, place: Place, said: str) -> None:
    """An offset or length that leads beyond the file, or is none, is a ModelError that names the weight."""
    (tmp_path / "w.bin").write_bytes(FIRST.tobytes())
    assert said in refused(build({"location": "w.bin", **place}), tmp_path)


@pytest.mark.parametrize("length", [0, 4, 20])
def test_data_of_another_size(tmp_path: Path, length: int) -> None:
    """Data that are fewer than the weight's shape needs are a ModelError, at the latest when the network is opened."""
    (tmp_path / "w.bin").write_bytes(FIRST.tobytes())
    with pytest.raises(ModelError):
        file = load_graph(build({**ONE, "length": length}), "net.onnx", tmp_path)
        open_session(file.proto.SerializeToString(), "cpu")


@pytest.mark.parametrize(
    "name",
    [
        "../w.bin",
        "..\\w.bin",
        "inner/../../w.bin",
        "inner\\..\\..\\w.bin",
        "/w.bin",
        "\\w.bin",
        "//server/w.bin",
        "\\\\server\\share\\w.bin",
        "C:w.bin",
        "C:\\w.bin",
        "c:/w.bin",
        "",
        ".",
        "..",
        "w.bin\0",
        "{outside}",
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    """A name that leads out of the model's folder on any system is refused, even where the file is there."""
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    for place in (tmp_path, folder):
        (place / "w.bin").write_bytes(FIRST.tobytes())
    content = build({**ONE, "location": name.format(outside=tmp_path / "w.bin")})
    assert "expected weights beside the model" in refused(content, folder)


@pytest.mark.parametrize("name", ["w.bin", "./w.bin", "deep/w.bin", "deep\\w.bin", "deep//w.bin", "a b ü.bin"])
def test_names_beside_the_model(tmp_path: Path, name: str) -> None:
    """A name beside or below the model is followed, with slashes of either kind."""
    (tmp_path / "deep").mkdir()
    (tmp_path / name.replace("\\", "/")).write_bytes(FIRST.tobytes())
    (tmp_path / "net.onnx").write_bytes(build({**ONE, "location": name}))
    assert weights_of(read_graph_file(tmp_path / "net.onnx").proto) == weights_of(WHOLE)


@pytest.mark.parametrize("is_folder_linked", [False, True])
def test_links_that_lead_out(tmp_path: Path, is_folder_linked: bool) -> None:
    """A link, or a link to a folder, that leads out of the model's folder is refused; one that stays is followed."""
    folder = tmp_path / "model"
    (folder / "real").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for place in (tmp_path / "out", folder / "real"):
        (place / "w.bin").write_bytes(FIRST.tobytes())
    name = "link/w.bin" if is_folder_linked else "link.bin"
    link = folder / Path(name).parts[0]
    content = build({**ONE, "location": name})
    for place, is_inside in ((tmp_path / "out", False), (folder / "real", True)):
        link.symlink_to(place if is_folder_linked else place / "w.bin")
        if is_inside:
            assert weights_of(load_graph(content, "net.onnx", folder).proto) == weights_of(WHOLE)
        else:
            assert "a link that leads elsewhere" in refused(content, folder)
        link.unlink()


def test_a_folder_that_is_a_link(tmp_path: Path) -> None:
    """A model whose own folder is reached by a link finds its weights."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "w.bin").write_bytes(FIRST.tobytes())
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert weights_of(load_graph(build(ONE), "net.onnx", tmp_path / "link").proto) == weights_of(WHOLE)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """Weights that are missing, or are a folder, are a ModelError; so are any where there must be none."""
    assert "keeps weights in w.bin, which cannot be read" in refused(build(ONE), tmp_path)
    (tmp_path / "w.bin").mkdir()
    assert "cannot be read" in refused(build(ONE), tmp_path)
    assert "keeps weights outside itself, in v.bin, w.bin" in refused(build(ONE, {"location": "v.bin"}), None)


def test_the_digest_is_of_all_files(tmp_path: Path) -> None:
    """A change in any file of weights changes the digest; so does the same data in the model itself."""
    places = ({"location": "w.bin"}, {"location": "v.bin"})
    digests = set()
    for first, second in ((FIRST, SECOND), (FIRST + 1, SECOND), (FIRST, SECOND + 1)):
        (tmp_path / "w.bin").write_bytes(first.tobytes())
        (tmp_path / "v.bin").write_bytes(second.tobytes())
        digests.add(load_graph(build(*places), "net.onnx", tmp_path).graph.digest)
    assert len(digests | {load_graph(build(), "net.onnx").graph.digest}) == 4


def pack(path: Path, members: dict[str, bytes]) -> Path:
    definition = {"ModelFile": "net.onnx", "ModelType": "ImageClassification", "Classes": [{"Value": 0, "Name": "a"}]}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/m.emd", json.dumps(definition))
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_weights_within_a_package(tmp_path: Path) -> None:
    """A network in a package takes its weights from the package alone, in memory."""
    content = build({**ONE, "location": ".\\deep\\w.bin"}, {"location": "v.bin"})
    members = {"model/net.onnx": content, "model/deep/w.bin": FIRST.tobytes(), "model/v.bin": SECOND.tobytes()}
    package = load_package(str(pack(tmp_path / "p.dlpk", members)))
    assert weights_of(package.file.proto) == weights_of(WHOLE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.dlpk"]


@pytest.mark.parametrize("name", ["w.bin", "../w.bin", "deep/w.bin", "{outside}"])
def test_weights_that_a_package_lacks(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files beside the package or the working folder, and members elsewhere in it, are no weights of its network."""
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path, tmp_path / "model"):
        place.mkdir(exist_ok=True)
        (place / "w.bin").write_bytes(FIRST.tobytes())
    content = build({**ONE, "location": name.format(outside=tmp_path / "w.bin")})
    members = {"model/net.onnx": content, "w.bin": FIRST.tobytes(), "../w.bin": FIRST.tobytes()}
    with pytest.raises(ModelError, match=r"not in the package|beside the model"):
        load_package(str(pack(tmp_path / "p.dlpk", members)))


def hidden(kind: str) -> bytes:
    """A network with its weight outside: in a branch, or in a Constant."""
    weight = numpy_helper.from_array(FIRST, "a")
    put_outside(weight, ONE)
    nodes = [helper.make_node("Constant", [], ["a"], value=weight), helper.make_node("Conv", ["x", "a"], ["y"])]
    values = []
    if kind == "branch":
        branches = [
            helper.make_graph(
                [helper.make_node("Conv", ["x", "a"], [name])],
                name,
                [],
                [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
                [weight],
            )
            for name in ("yes", "no")
        ]
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])]
        values = [numpy_helper.from_array(np.array(True), "c")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2, None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3, None, None])],
        values,
    )
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return content


@pytest.mark.parametrize("kind", ["branch", "constant"])
def test_weights_within_branches_and_constants(tmp_path: Path, kind: str) -> None:
    """Weights of branches and of Constant nodes are taken in or refused like all others."""
    refused(hidden(kind), None)
    (tmp_path / "w.bin").write_bytes(FIRST.tobytes())
    one = load_graph(hidden(kind), "net.onnx", tmp_path)
    (tmp_path / "w.bin").write_bytes((FIRST + 1).tobytes())
    assert load_graph(hidden(kind), "net.onnx", tmp_path).graph.digest != one.graph.digest
