"""Archives from anyone: what they hold is read in memory, and what would harm or cannot be read is refused."""

import random
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import py7zr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.errors import ModelError
from geodl_core.io.package.archive import (
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    MAX_RATIO,
    archive_sizes,
    is_archive,
    member_beside,
    read_archive,
    shown,
)

Members = dict[str, bytes]
Packer = Callable[..., Path]


def zipped(path: Path, members: Members, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def seven_zipped(path: Path, members: Members, **more: object) -> Path:
    with py7zr.SevenZipFile(path, "w", **more) as archive:  # type: ignore[arg-type]
        for name, content in members.items():
            archive.writestr(content, name)
    return path


PACKERS = pytest.mark.parametrize("pack", [zipped, seven_zipped])
SOME: Members = {"m.emd": b"{}", "model/x.onnx": bytes(range(256)) * 9, "model/empty.txt": b"", "Wälder 森.bin": b"\0"}


@PACKERS
def test_names_sizes_and_contents(tmp_path: Path, pack: Packer) -> None:
    """Every file of an archive is named with its size, its bytes come back, and nothing is left on disk."""
    path = pack(tmp_path / "p.dlpk", SOME)
    assert is_archive(path.read_bytes()[:6])
    assert archive_sizes(path) == {name: len(content) for name, content in SOME.items()}
    assert read_archive(path, SOME) == SOME
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.dlpk"]


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}(/[A-Z]{1,3}){0,2}\.[a-z]", fullmatch=True), st.binary(max_size=99), min_size=1
    ),
    st.data(),
)
def test_any_files_come_back(tmp_path_factory: pytest.TempPathFactory, members: Members, data: st.DataObject) -> None:
    """Both kinds of archive give any of their files, in the order and number asked for."""
    asked = data.draw(st.lists(st.sampled_from(sorted(members)), max_size=4))
    folder = tmp_path_factory.mktemp("a")
    for pack in (zipped, seven_zipped):
        path = pack(folder / f"{pack.__name__}.dlpk", members)
        assert archive_sizes(path) == {name: len(content) for name, content in members.items()}
        found = read_archive(path, asked)
        assert found == {name: members[name] for name in asked}
        assert list(found) == list(dict.fromkeys(asked))


@PACKERS
def test_folders_are_no_files(tmp_path: Path, pack: Packer) -> None:
    """Folders of an archive are not among its files."""
    (tmp_path / "inner" / "deep").mkdir(parents=True)
    path = tmp_path / "p.dlpk"
    if pack is zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("inner")
            archive.writestr("inner/a", b"1")
    else:
        (tmp_path / "inner" / "a").write_bytes(b"1")
        with py7zr.SevenZipFile(path, "w") as archive:
            archive.writeall(tmp_path / "inner", "inner")
    assert archive_sizes(path) == {"inner/a": 1}


@PACKERS
def test_a_name_twice(tmp_path: Path, pack: Packer) -> None:
    """A name that stands twice is a ModelError, whichever of the files is meant."""
    path = tmp_path / "p.dlpk"
    if pack is zipped:
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr("a", b"1")
            archive.writestr("a", b"2")
    else:
        with py7zr.SevenZipFile(path, "w") as archive:
            archive.writestr(b"1", "a")
            archive.writestr(b"2", "a")
    with pytest.raises(ModelError, match="a name twice"):
        archive_sizes(path)


@PACKERS
def test_bombs_by_ratio(tmp_path: Path, pack: Packer) -> None:
    """A file that would unpack to hundreds of times the archive is refused by its name, before it is unpacked."""
    path = pack(tmp_path / "p.dlpk", {"m.emd": b"{}", "big.onnx": bytes(3 << 20)})
    assert path.stat().st_size < (3 << 20) / MAX_RATIO
    with pytest.raises(ModelError, match=rf"big\.onnx would unpack to {3 << 20} bytes; refused"):
        archive_sizes(path)


@PACKERS
def test_small_files_may_shrink_much(tmp_path: Path, pack: Packer) -> None:
    """Blank text of some kilobytes is no bomb."""
    path = pack(tmp_path / "p.dlpk", {"blank.txt": b" " * 150_000})
    assert archive_sizes(path) == {"blank.txt": 150_000}


def test_files_larger_than_can_be_run(tmp_path: Path) -> None:
    """A zip that says of a file that it has more than 2 GB is refused by that alone."""
    path = zipped(tmp_path / "p.dlpk", {"x.onnx": b"abc"}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02")
    content[start + 20 : start + 28] = struct.pack("<II", MAX_MEMBER_BYTES + 1, MAX_MEMBER_BYTES + 1)
    path.write_bytes(content)
    with pytest.raises(ModelError, match="would unpack to"):
        archive_sizes(path)


def test_files_that_lie_about_their_size(tmp_path: Path) -> None:
    """A zip whose directory gives a smaller size than unpacking does never gives more bytes than it said."""
    path = zipped(tmp_path / "p.dlpk", {"x.onnx": bytes(1 << 20)})
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02")
    content[start + 24 : start + 28] = struct.pack("<I", 100)
    path.write_bytes(content)
    assert archive_sizes(path) == {"x.onnx": 100}
    with pytest.raises(ModelError, match="damaged"):
        read_archive(path, ["x.onnx"])


def test_too_many_files(tmp_path: Path) -> None:
    """An archive of more files than any package has is refused with both numbers."""
    path = zipped(tmp_path / "p.dlpk", {str(number): b"" for number in range(MAX_MEMBERS + 1)})
    with pytest.raises(ModelError, match=f"at most {MAX_MEMBERS} files in a package, found {MAX_MEMBERS + 1}"):
        archive_sizes(path)


@PACKERS
def test_truncated_archives(tmp_path: Path, pack: Packer) -> None:
    """An archive that ends early is a ModelError, wherever it ends."""
    path = pack(tmp_path / "p.dlpk", SOME)
    content = path.read_bytes()
    for length in range(0, len(content) - 1, 1 if pack is zipped else 7):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError):
            read_archive(path, archive_sizes(path))


@PACKERS
def test_damaged_archives(tmp_path: Path, pack: Packer) -> None:
    """An archive with some bytes changed is read or is a ModelError, never another exception."""
    path = pack(tmp_path / "p.dlpk", {"m.emd": b"{}" * 20, "x.onnx": random.Random(1).randbytes(60)})
    content = path.read_bytes()
    odd = set()
    for position in range(len(content)):
        for change in (0xFF, 0x01, 0x80):
            damaged = bytearray(content)
            damaged[position] ^= change
            path.write_bytes(damaged)
            try:
                read_archive(path, archive_sizes(path))
            except ModelError:
                pass
            except Exception as error:  # noqa: BLE001  # every other exception is what is looked for
                odd.add(f"{type(error).__name__}: {error}")
    assert odd == set()


def test_damaged_directories(tmp_path: Path) -> None:
    """A 7-Zip archive whose directory makes no sense but carries the right checksums is a ModelError too."""
    path = tmp_path / "p.dlpk"
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.set_encoded_header_mode(False)
        archive.writestr(b"{}" * 20, "m.emd")
        archive.writestr(b"123", "x.onnx")
    content = path.read_bytes()
    offset, size = struct.unpack("<QQ", content[12:28])
    odd = set()
    for position in range(32 + offset, 32 + offset + size):
        for value in (0, 0x80, content[position] ^ 1):
            damaged = bytearray(content)
            damaged[position] = value
            damaged[28:32] = struct.pack("<I", zlib.crc32(damaged[32 + offset : 32 + offset + size]))
            damaged[8:12] = struct.pack("<I", zlib.crc32(damaged[12:32]))
            path.write_bytes(damaged)
            try:
                read_archive(path, archive_sizes(path))
            except ModelError:
                pass
            except Exception as error:  # noqa: BLE001  # every other exception is what is looked for
                odd.add(f"{type(error).__name__}: {error}")
    assert odd == set()


@pytest.mark.parametrize("is_header_locked", [False, True])
def test_encrypted_seven_zip(tmp_path: Path, is_header_locked: bool) -> None:
    """A 7-Zip archive with a password is a ModelError, whether its names can be read or not."""
    path = seven_zipped(tmp_path / "p.dlpk", SOME, password="secret", header_encryption=is_header_locked)
    with pytest.raises(ModelError):
        read_archive(path, archive_sizes(path))


def test_encrypted_zip(tmp_path: Path) -> None:
    """A zip with a password gives its names; its files are a ModelError."""
    path = zipped(tmp_path / "p.dlpk", {"x": b"123"})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    assert archive_sizes(path) == {"x": 3}
    with pytest.raises(ModelError, match="encrypted"):
        read_archive(path, ["x"])


@pytest.mark.parametrize("method", [9, 14, 93, 99])
def test_unknown_methods(tmp_path: Path, method: int) -> None:
    """A zip packed by a method that is not there is a ModelError."""
    path = zipped(tmp_path / "p.dlpk", {"x": b"123" * 50}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = content.index(signature) + offset
        content[start : start + 2] = struct.pack("<H", method)
    path.write_bytes(content)
    with pytest.raises(ModelError):
        read_archive(path, ["x"])


@pytest.mark.parametrize("filters", [py7zr.FILTER_LZMA2, py7zr.FILTER_BZIP2, py7zr.FILTER_DEFLATE, py7zr.FILTER_COPY])
def test_methods_of_seven_zip(tmp_path: Path, filters: int) -> None:
    """The usual methods of 7-Zip are read."""
    path = seven_zipped(tmp_path / "p.dlpk", SOME, filters=[{"id": filters}])
    assert read_archive(path, archive_sizes(path)) == SOME


@PACKERS
def test_files_that_are_not_there(tmp_path: Path, pack: Packer) -> None:
    """A file that an archive lacks is a ModelError, as is an archive that is not there."""
    path = pack(tmp_path / "p.dlpk", SOME)
    with pytest.raises(ModelError):
        read_archive(path, ["m.emd", "none"])
    for missing in (tmp_path / "none.dlpk", tmp_path, Path("\0")):
        with pytest.raises(ModelError):
            archive_sizes(missing)


@pytest.mark.parametrize(
    "ask",
    [
        "archive_sizes(path)",
        pytest.param("read_archive(path, ['m.emd'])"),
    ],
)
def test_without_py7zr(tmp_path: Path, ask: str) -> None:
    """Without py7zr a 7-Zip archive is a ModelError that says what to install; zips are read as ever."""
    seven_zipped(tmp_path / "p.dlpk", SOME)
    zipped(tmp_path / "q.dlpk", SOME)
    code = f"""
import sys
sys.modules["py7zr"] = None
from pathlib import Path
from geodl_core.errors import ModelError
from geodl_core.io.package.archive import archive_sizes, read_archive
assert len(archive_sizes(Path("q.dlpk"))) == 4
path = Path("p.dlpk")
try:
    {ask}
except ModelError as error:
    print(error.message, "|", error.hint)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "7-Zip archive, for which py7zr is not installed" in result.stdout, result.stderr
    assert "py7zr" in result.stdout


def test_names_beside_another() -> None:
    """What a file of an archive names lies beside it; up and absolute names lead to no file of its own."""
    assert member_beside("m.emd", "x.onnx") == "x.onnx"
    assert member_beside("model/m.emd", "./deep/x.onnx") == "model/deep/x.onnx"
    assert member_beside("model/m.emd", "../x.onnx") == "model/../x.onnx"
    assert member_beside("model/m.emd", "/x.onnx") == "/x.onnx"


def test_names_for_an_error() -> None:
    """An error shows ten names at most, and says where there are none."""
    assert shown({str(number): 0 for number in range(99)}) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert shown({}) == "nothing"
