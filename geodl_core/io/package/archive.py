"""Archives from anyone: their members' names and sizes, and their bytes, read in memory within bounds.

Nothing is ever unpacked to disk, so no name can lead astray and no link be followed.
"""

import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from geodl_core.errors import ModelError

ZIP_MAGIC = b"PK"
SEVEN_ZIP_MAGIC = b"7z\xbc\xaf\x27\x1c"
MAX_MEMBERS = 10_000
MAX_MEMBER_BYTES = 2 << 30
MAX_RATIO = 200
"""Weights hardly compress and text compresses tenfold; beyond this an archive is made to fill memory."""
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the libraries raise on archives that are damaged, encrypted, or packed by a method they lack."""


def is_archive(head: bytes) -> bool:
    """Say whether a file's first bytes are those of an archive."""
    return head.startswith((ZIP_MAGIC, SEVEN_ZIP_MAGIC))


def archive_sizes(path: Path) -> dict[str, int]:
    """Return the files of a zip or 7-Zip archive with their unpacked sizes in bytes.

    Raises:
        ModelError: damaged, a 7-Zip archive where py7zr is not installed, too many files, one name twice, or sizes
            that are made to fill memory.
    """
    with _reading(path) as kind:
        entries = list(_zip_entries(path) if kind == "zip" else _seven_zip_entries(path))
    if len(entries) > MAX_MEMBERS:
        raise ModelError(f"{path}: expected at most {MAX_MEMBERS} files in a package, found {len(entries)}")
    for name, size, packed in entries:
        if size > MAX_MEMBER_BYTES or size > MAX_RATIO * max(packed, 1024):
            raise ModelError(f"{path}: {name} would unpack to {size} bytes; refused")
    sizes = {name: size for name, size, _ in entries}
    if len(sizes) < len(entries):
        raise ModelError(f"{path}: expected every file of a package once, found a name twice")
    return sizes


def read_archive(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return members of an archive that `archive_sizes` has let pass, by name.

    Raises:
        ModelError: damaged, or a member is not there.
    """
    wanted = list(dict.fromkeys(names))
    with _reading(path) as kind:
        if kind == "zip":
            with zipfile.ZipFile(path) as archive:
                return {name: archive.read(name) for name in wanted}
        return _read_seven_zip(path, wanted)


def member_beside(root: str, name: str) -> str:
    """Return a file's name in the archive from what one of its files calls it; `..` leads nowhere."""
    return str(PurePosixPath(root).parent / name)


def shown(names: Mapping[str, int]) -> str:
    """Return the first names of an archive, for an error."""
    return ", ".join(list(names)[:10]) or "nothing"


def _zip_entries(path: Path) -> Iterator[tuple[str, int, int]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                yield member.filename, member.file_size, member.compress_size


def _seven_zip_entries(path: Path) -> Iterator[tuple[str, int, int]]:
    with _seven_zip(path) as archive:
        members = [member for member in archive.list() if not member.is_directory]
        # A solid archive gives the packed size of a whole block, or none.
        packed = path.stat().st_size
        for member in members:
            yield member.filename, member.uncompressed, member.compressed or packed


def _read_seven_zip(path: Path, names: list[str]) -> dict[str, bytes]:
    with _seven_zip(path) as archive:
        from py7zr.io import BytesIOFactory  # noqa: PLC0415  # optional; there, since the archive is open

        factory = BytesIOFactory(MAX_MEMBER_BYTES)
        archive.extract(targets=names, factory=factory)
    products = {name: product.read() for name, product in factory.products.items()}
    return {name: products[name] for name in names}


@contextmanager
def _seven_zip(path: Path) -> Iterator[Any]:
    try:
        import py7zr  # noqa: PLC0415  # optional
    except ImportError as error:
        raise ModelError(
            f"{path}: a 7-Zip archive, for which py7zr is not installed",
            hint="pip install py7zr, or pack the files again as a zip",
        ) from error
    try:
        with py7zr.SevenZipFile(path) as archive:
            yield archive
    except (py7zr.exceptions.ArchiveError, py7zr.PasswordRequired) as error:
        raise ValueError(str(error)) from error


@contextmanager
def _reading(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            head = file.read(len(SEVEN_ZIP_MAGIC))
        yield "7z" if head == SEVEN_ZIP_MAGIC else "zip"
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path}: expected a .dlpk package, found a damaged archive ({reason})") from error
