"""Packages that geodl writes: the same bytes for the same files, opened again, never outside of themselves."""

import os
import time
import zipfile
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from geodl_core.errors import ModelError, StoreError
from geodl_core.io.package.package import load_package
from geodl_core.io.package.package_write import network_bytes, preprocessing_bytes, write_folder, write_package
from networks import conv_network, write_emd

EMD = b'{"ModelFile": "net.onnx"}'


def test_a_package_is_opened_again(tmp_path: Path) -> None:
    """What is written is what `load_package` and any zip program read."""
    network = conv_network(tmp_path / "net.onnx").read_bytes()
    text = write_emd(tmp_path).read_bytes()
    write_package(tmp_path / "p.dlpk", text, {"net.onnx": network, "doc/read me.txt": b"hello"})
    package = load_package(str(tmp_path / "p.dlpk"))
    assert package.emd_text == text
    assert package.file.graph == load_package(str(tmp_path / "net.emd")).file.graph
    with zipfile.ZipFile(tmp_path / "p.dlpk") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["doc/read me.txt", "net.onnx", "p.emd"]


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    """Neither time, order, place nor whether a file comes as bytes or as a path is seen in a package."""
    (tmp_path / "b.bin").write_bytes(b"b" * 3_000_000)
    write_package(tmp_path / "one.dlpk", EMD, {"a.onnx": b"a", "b.bin": b"b" * 3_000_000}, "m.emd")
    os.utime(tmp_path / "b.bin", (time.time() - 1e6,) * 2)
    (tmp_path / "b.bin").chmod(0o600)
    write_package(tmp_path / "sub" / "two.dlpk", EMD, {"b.bin": tmp_path / "b.bin", "a.onnx": b"a"}, "m.emd")
    assert (tmp_path / "one.dlpk").read_bytes() == (tmp_path / "sub" / "two.dlpk").read_bytes()


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3})?\.[a-z]", fullmatch=True), st.binary(max_size=99)))
def test_every_file_comes_back(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    """Names and contents come back as they were given."""
    path = tmp_path_factory.mktemp("p") / "p.dlpk"
    write_package(path, EMD, files)
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {**files, "p.emd": EMD}
    write_folder(path.with_suffix(""), EMD, files, "p.emd")
    for name, content in files.items():
        assert (path.with_suffix("") / name).read_bytes() == content


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "a/../x", "./x", "a//x", "", "C:/x", "C:x", "\\\\server\\x", "a\\x", "x\0", "..", "p.emd", "P.EMD"],
)
def test_names_that_mean_another_place(tmp_path: Path, name: str) -> None:
    """A name that leads out of the package, or means one of its files on some system, is refused; nothing is left."""
    for write in (write_package, write_folder):
        with pytest.raises(ModelError):
            write(tmp_path / "inner" / "p.dlpk", EMD, {name: b""}, "p.emd")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_packed(tmp_path: Path) -> None:
    """A second definition, a missing file and a place that cannot be written are plain errors; nothing is left."""
    with pytest.raises(ModelError, match=r"expected one \.emd"):
        write_package(tmp_path / "p.dlpk", EMD, {"other.emd": b"{}"})
    with pytest.raises(ModelError, match="none that can be read"):
        write_package(tmp_path / "p.dlpk", EMD, {"a": tmp_path / "missing"})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        write_package(tmp_path / "file" / "p.dlpk", EMD, {})


def test_a_package_that_was_there_stays_when_writing_fails(tmp_path: Path) -> None:
    """A package is replaced as a whole or not at all."""
    write_package(tmp_path / "p.dlpk", EMD, {"a": b"1"})
    before = (tmp_path / "p.dlpk").read_bytes()
    with pytest.raises(ModelError):
        write_package(tmp_path / "p.dlpk", EMD, {"a": b"2", "b": tmp_path / "missing"})
    assert (tmp_path / "p.dlpk").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["p.dlpk"]


def test_a_network_is_verbatim_or_whole(tmp_path: Path) -> None:
    """A network in one file is copied byte for byte; one with external data becomes one file with the same weights."""
    content = conv_network(tmp_path / "net.onnx").read_bytes()
    assert network_bytes(load_package(str(write_emd(tmp_path)))) == content
    proto = onnx.load(tmp_path / "net.onnx")
    folder = tmp_path / "split"
    folder.mkdir()
    onnx.save(proto, folder / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    whole = network_bytes(load_package(str(write_emd(folder))))
    assert len((folder / "net.onnx").read_bytes()) < 1000
    one, other = (onnx.load_model_from_string(content_) for content_ in (whole, content))
    assert [numpy_helper.to_array(tensor).tolist() for tensor in one.graph.initializer] == [
        numpy_helper.to_array(tensor).tolist() for tensor in other.graph.initializer
    ]
    assert network_bytes(load_package(str(folder / "net.emd"))) == whole


def test_the_network_before_the_network(tmp_path: Path) -> None:
    """PreprocessingModel is found beside the definition and in its package."""
    content = conv_network(tmp_path / "net.onnx").read_bytes()
    before = conv_network(tmp_path / "log.onnx", seed=1).read_bytes()
    emd = write_emd(tmp_path, PreprocessingModel=".\\log.onnx")
    assert preprocessing_bytes(load_package(str(emd))) == before
    write_package(tmp_path / "p.dlpk", emd.read_bytes(), {"net.onnx": content, "log.onnx": before})
    assert preprocessing_bytes(load_package(str(tmp_path / "p.dlpk"))) == before
    assert preprocessing_bytes(load_package(str(write_emd(tmp_path, name="plain.emd")))) is None
