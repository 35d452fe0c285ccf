"""Packages: what a user may name as a model, and what is refused."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import py7zr
import pytest
from onnx import TensorProto, helper, numpy_helper

from geodl_core.errors import ModelError
from geodl_core.io.package.archive import MAX_MEMBERS
from geodl_core.io.package.package import load_package

EMD = {"ModelFile": "x.onnx", "ModelType": "ImageClassification", "Classes": [{"Value": 0, "Name": "a"}]}


def network() -> bytes:
    weight = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, None, None])],
        [weight],
    )
    content: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return content


ONNX = network()


def emd(**fields: object) -> str:
    return json.dumps({**EMD, **fields})


def pack(path: Path, members: dict[str, bytes | str], **options: int) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["x.onnx", "./x.onnx", ".\\x.onnx", "sub\\x.onnx", "sub/../x.onnx"])
def test_an_emd_beside_its_network(tmp_path: Path, name: str) -> None:
    """A definition's ModelFile starts from the definition, with slashes of either kind."""
    (tmp_path / "sub").mkdir()
    for place in (tmp_path, tmp_path / "sub"):
        (place / "x.onnx").write_bytes(ONNX)
    (tmp_path / "m.emd").write_text(emd(ModelFile=name), encoding="utf-8-sig")
    package = load_package(str(tmp_path / "m.emd"))
    assert package.emd.ModelFile == name
    assert package.emd_text == (tmp_path / "m.emd").read_bytes()
    assert (package.name, package.location) == ("m", str(tmp_path / "m.emd"))
    assert package.file.graph.inputs[0].name == "x"


def test_json_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A definition given as text finds its network by absolute path, or from the working folder."""
    (tmp_path / "x.onnx").write_bytes(ONNX)
    package = load_package("\n " + emd(ModelFile=str(tmp_path / "x.onnx")))
    assert (package.name, package.location) == ("x", "<text>")
    with pytest.raises(ModelError, match="none that can be read"):
        load_package(emd(ModelFile="nowhere/x.onnx"))
    monkeypatch.chdir(tmp_path)
    assert load_package(emd()).file.graph == package.file.graph


@pytest.mark.parametrize("folder", ["", "model/", "a/b/"])
def test_a_package(tmp_path: Path, folder: str) -> None:
    """A package's definition lies at its root or in a folder, its network beside it."""
    members = {f"{folder}m.emd": emd(), f"{folder}x.onnx": ONNX, f"{folder}deeper/other.emd": "{"}
    package = load_package(str(pack(tmp_path / "p.dlpk", members)))
    assert (package.name, package.location) == ("p", str(tmp_path / "p.dlpk"))
    assert package.emd_text == emd().encode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.dlpk"]


@pytest.mark.parametrize("name", [".\\x.onnx", ".\\sub\\x.onnx", "sub/x.onnx"])
def test_windows_names_in_a_package(tmp_path: Path, name: str) -> None:
    """Names with backslashes are found in a package too."""
    members = {"m.emd": emd(ModelFile=name), "x.onnx": ONNX, "sub/x.onnx": ONNX}
    assert load_package(str(pack(tmp_path / "p.dlpk", members))).emd.ModelFile == name


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"x.onnx": ONNX}, "expected a .emd in the package"),
        ({}, "expected a .emd in the package"),
        ({"a.emd": emd(), "b.emd": emd(), "x.onnx": ONNX}, r"expected one .emd in the package, found a\.emd, b\.emd"),
        ({"m.emd": emd(), "y.onnx": ONNX}, r"expected x\.onnx .* found m\.emd, y\.onnx"),
        ({"m.emd": "{", "x.onnx": ONNX}, r"m\.emd: line 1, column 2: expected"),
        ({"m.emd": emd(), "x.onnx": b"not onnx"}, "expected an ONNX model"),
        ({"sub/m.emd": emd(ModelFile="../x.onnx"), "x.onnx": ONNX}, "in the package"),
        ({"m.emd": emd(ModelFile="../x.onnx"), "x.onnx": ONNX}, "in the package"),
        ({"m.emd": emd(ModelFile="/x.onnx"), "x.onnx": ONNX}, "in the package"),
    ],
)
def test_packages_that_do_not_serve(tmp_path: Path, members: dict[str, bytes | str], said: str) -> None:
    """A package without just one definition and its network is a ModelError that says what is there."""
    with pytest.raises(ModelError, match=said):
        load_package(str(pack(tmp_path / "p.dlpk", members)))


@pytest.mark.parametrize("name", ["../x.onnx", "/tmp/geodl-x.onnx", "..\\x.onnx", "C:\\x.onnx"])
def test_members_that_lead_astray(tmp_path: Path, name: str) -> None:
    """Members whose names lead out of the package are never written anywhere."""
    folder = tmp_path / "inner"
    folder.mkdir()
    path = pack(folder / "p.dlpk", {"m.emd": emd(), "x.onnx": ONNX, name: b"evil"})
    load_package(str(path))
    assert [entry.name for entry in folder.iterdir()] == ["p.dlpk"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["inner"]
    assert not Path("/tmp/geodl-x.onnx").exists()


def test_bombs(tmp_path: Path) -> None:
    """A package that would fill memory is refused before it is unpacked, by ratio and by number of files."""
    members = {"m.emd": emd(), "x.onnx": bytes(64 << 20)}
    with pytest.raises(ModelError, match=r"x\.onnx would unpack to"):
        load_package(str(pack(tmp_path / "p.dlpk", members, compression=zipfile.ZIP_DEFLATED)))
    many = pack(tmp_path / "q.dlpk", {f"{number}": b"" for number in range(MAX_MEMBERS + 1)})
    with pytest.raises(ModelError, match="at most"):
        load_package(str(many))


def test_a_locked_package(tmp_path: Path) -> None:
    """An encrypted package is a ModelError."""
    path = pack(tmp_path / "p.dlpk", {"m.emd": emd(), "x.onnx": ONNX})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(signature)
        while start >= 0:
            content[start + offset] |= 1
            start = content.find(signature, start + 1)
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged|encrypted"):
        load_package(str(path))


def test_a_package_that_ends_early(tmp_path: Path) -> None:
    """A truncated package is a ModelError, wherever it ends."""
    path = pack(tmp_path / "p.dlpk", {"m.emd": emd(), "x.onnx": ONNX}, compression=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    for length in range(0, len(content), 11):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError):
            load_package(str(path))


def test_a_package_with_a_flipped_byte(tmp_path: Path) -> None:
    """A damaged package is a ModelError or is read, never another exception."""
    path = pack(tmp_path / "p.dlpk", {"m.emd": emd(), "x.onnx": ONNX}, compression=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    odd = []
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            load_package(str(path))
        except ModelError:
            pass
        except Exception as error:  # noqa: BLE001  # every other exception is what is looked for
            odd.append(f"{position}: {type(error).__name__}: {error}")
    assert odd == []


def test_a_seven_zip_package(tmp_path: Path) -> None:
    """A package that is a 7-Zip archive is read like a zip; what only begins like one is a ModelError."""
    path = tmp_path / "p.dlpk"
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.writestr(emd(), "model/m.emd")
        archive.writestr(ONNX, "model/x.onnx")
    zipped = load_package(str(pack(tmp_path / "q.dlpk", {"m.emd": emd(), "x.onnx": ONNX})))
    package = load_package(str(path))
    assert (package.emd, package.emd_text, package.file.graph) == (zipped.emd, zipped.emd_text, zipped.file.graph)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["p.dlpk", "q.dlpk"]
    path.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(50))
    with pytest.raises(ModelError, match="damaged"):
        load_package(str(path))


def test_repairs_are_kept(tmp_path: Path) -> None:
    """What had to be repaired is said with its line; a strict reading refuses it, from a file, a package or text."""
    (tmp_path / "x.onnx").write_bytes(ONNX)
    text = emd(ImageHeight="64", ModelFile=str(tmp_path / "x.onnx"))
    (tmp_path / "m.emd").write_text(text)
    packed = pack(tmp_path / "p.dlpk", {"m.emd": emd(ImageHeight="64"), "x.onnx": ONNX})
    for place in (str(tmp_path / "m.emd"), str(packed), text):
        assert load_package(place).repairs == ('line 1: ImageHeight: "64" was read as 64',)
        with pytest.raises(ModelError, match="line 1: ImageHeight"):
            load_package(place, is_strict=True)
    (tmp_path / "m.emd").write_text(emd())
    assert load_package(str(tmp_path / "m.emd"), is_strict=True).repairs == ()


def test_a_preprocessing_graph(tmp_path: Path) -> None:
    """`PreprocessingModel` is read beside the definition and from its package; one that is not there is named."""
    (tmp_path / "x.onnx").write_bytes(ONNX)
    (tmp_path / "m.emd").write_text(emd(PreprocessingModel="before.onnx"))
    with pytest.raises(ModelError, match=r"PreprocessingModel: .*before\.onnx"):
        load_package(str(tmp_path / "m.emd"))
    members = {"m.emd": emd(PreprocessingModel="before.onnx"), "x.onnx": ONNX}
    with pytest.raises(ModelError, match=r"before\.onnx \(the EMD's PreprocessingModel\)"):
        load_package(str(pack(tmp_path / "p.dlpk", members)))
    (tmp_path / "before.onnx").write_bytes(ONNX)
    for path in (tmp_path / "m.emd", pack(tmp_path / "q.dlpk", {**members, "before.onnx": ONNX})):
        package = load_package(str(path))
        assert package.preprocessing is not None
        assert package.preprocessing.graph == package.file.graph
    (tmp_path / "m.emd").write_text(emd())
    assert load_package(str(tmp_path / "m.emd")).preprocessing is None


@pytest.mark.parametrize("name", ["x.pth", "x", "x.onnx.zip", "[Functions]System\\DeepLearning\\x.py"])
def test_networks_of_other_kinds(tmp_path: Path, name: str) -> None:
    """A ModelFile that is no ONNX file is refused by its name."""
    (tmp_path / "m.emd").write_text(emd(ModelFile=name))
    with pytest.raises(ModelError, match="ModelFile: expected an ONNX model") as caught:
        load_package(str(tmp_path / "m.emd"))
    assert json.dumps(name) in caught.value.message


@pytest.mark.parametrize(
    "name",
    [
        "none.onnx",
        "x" * 300 + ".onnx",
        "\x00.onnx",
        "folder.onnx",
    ],
)
def test_networks_that_are_not_there(tmp_path: Path, name: str) -> None:
    """A ModelFile that cannot be read is a ModelError."""
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "m.emd").write_text(emd(ModelFile=name))
    with pytest.raises(ModelError):
        load_package(str(tmp_path / "m.emd"))


@pytest.mark.parametrize(
    "name",
    [
        "none.emd",
        ".",
        "",
        "none\x00.emd",
    ],
)
def test_places_without_a_model(tmp_path: Path, name: str) -> None:
    """A path without a file is a ModelError."""
    with pytest.raises(ModelError):
        load_package(str(tmp_path / name))


def test_the_networks_digest_is_of_its_bytes(tmp_path: Path) -> None:
    """The same network has one digest, from a folder and from a package."""
    (tmp_path / "x.onnx").write_bytes(ONNX)
    (tmp_path / "m.emd").write_text(emd())
    packed = load_package(str(pack(tmp_path / "p.dlpk", {"m.emd": emd(), "x.onnx": ONNX})))
    assert packed.file.graph == load_package(str(tmp_path / "m.emd")).file.graph
    assert onnx.load_model_from_string(ONNX).SerializeToString() == packed.file.proto.SerializeToString()
