"""Model packages written: a zip whose bytes follow from its files alone, and what belongs into it."""

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import SEEK_END, BytesIO
from pathlib import Path, PureWindowsPath
from typing import IO

from google.protobuf.message import EncodeError

from geodl_core.domain.emd.write import write_emd
from geodl_core.errors import ModelError
from geodl_core.io.network.graph import GraphFile
from geodl_core.io.package.archive import MAX_MEMBER_BYTES, archive_sizes, member_beside, read_archive
from geodl_core.io.package.package import ModelPackage
from geodl_core.io.store import atomic_file

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip can name."""
COPY_BYTES = 1 << 20
Files = Mapping[str, bytes | Path]
"""Content, or where it lies, by name in the package."""
_ODD_PARTS = {"", ".", ".."}
_ODD_LETTERS = set("\\\0")


def write_package(target: Path, emd_text: bytes, files: Files, emd_name: str | None = None) -> None:
    """Write a `.dlpk`: the definition at its root, the files beside it.

    The same content gives the same bytes: fixed times, sorted names, stored and not compressed, since weights hardly
    shrink and compressors differ between machines.

    Args:
        target: the package.
        emd_text: the definition, verbatim.
        files: by name in the package, with forward slashes; what a path leads to is copied.
        emd_name: of the definition; the target's name with `.emd` where None.

    Raises:
        ModelError: a name that leads out of the package or stands twice, a file that cannot be read or is larger
            than geodl would open again.
        StoreError: the package cannot be written.
    """
    members = _members(target, emd_name or f"{target.stem}.emd", emd_text, files)
    with atomic_file(target) as draft, zipfile.ZipFile(draft, "w") as archive:
        for name in sorted(members):
            _add(archive, name, members[name])


def write_folder(target: Path, emd_text: bytes, files: Files, emd_name: str) -> None:
    """Write the same files into a folder; each is whole or not there.

    Raises:
        ModelError: as `write_package`.
        StoreError: the folder cannot be written.
    """
    members = _members(target, emd_name, emd_text, files)
    for name in sorted(members):
        with atomic_file(target / name) as draft, draft.open("wb") as file, _opened(members[name], name) as source:
            for chunk in _chunks(source):
                file.write(chunk)


def package_files(package: ModelPackage) -> tuple[bytes, dict[str, bytes]]:
    """Return the definition and the files that make a package self-contained.

    The definition stays verbatim where the names in it hold inside a package, and else names what lies there.

    Raises:
        ModelError: two files would have the same name, or as `network_bytes`.
    """
    found = {"ModelFile": network_bytes(package), "PreprocessingModel": preprocessing_bytes(package)}
    files = {key: content for key, content in found.items() if content is not None}
    said = {key: str(getattr(package.emd, key)) for key in files}
    names = {key: package_name(name) for key, name in said.items()}
    if len(set(names.values())) < len(names):
        raise ModelError(
            f"{package.location}: ModelFile and PreprocessingModel would have the same name in the package"
        )
    is_kept = all(said[key].replace("\\", "/").removeprefix("./") == name for key, name in names.items())
    text = package.emd_text if is_kept else write_emd(package.emd.model_copy(update=names)).encode()
    return text, {name: files[key] for key, name in names.items()}


def network_bytes(package: ModelPackage) -> bytes:
    """Return a package's network as one self-contained file: verbatim where it is one already.

    Raises:
        ModelError: with its external data it is larger than the 2 GB that one ONNX message may have.
    """
    return _whole(package, package.emd.ModelFile or "", package.file)


def preprocessing_bytes(package: ModelPackage) -> bytes | None:
    """Return the ONNX file that the definition's `PreprocessingModel` names likewise, None where it names none.

    Raises:
        ModelError: as `network_bytes`.
    """
    if package.preprocessing is None:
        return None
    return _whole(package, package.emd.PreprocessingModel or "", package.preprocessing)


def package_name(path: str) -> str:
    """Return a file's name within a package: a plain relative path as it is, the last part of any other."""
    relative = path.replace("\\", "/").removeprefix("./")
    windows = PureWindowsPath(path)
    is_plain = not windows.drive and not windows.is_absolute() and set(relative.split("/")).isdisjoint(_ODD_PARTS)
    return relative if is_plain else file_name(path)


def file_name(path: str) -> str:
    """Return the last part of a path as definitions have them, from Windows or not."""
    return PureWindowsPath(path).name


def _whole(package: ModelPackage, name: str, file: GraphFile) -> bytes:
    content = _beside(package, name.replace("\\", "/"))
    if content is not None and hashlib.sha256(content).hexdigest() == file.graph.digest:
        return content
    try:
        whole: bytes = file.proto.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise ModelError(f"{package.location}: the network is larger than the 2 GB of one ONNX file") from error
    return whole


def _beside(package: ModelPackage, name: str) -> bytes | None:
    """Return the file of a package that its definition calls by a name, None where it is not there any more."""
    if package.location == "<text>":
        return _content(Path(name))
    path = Path(package.location)
    if not zipfile.is_zipfile(path):
        return _content(path.parent / name)
    root = min((entry for entry in archive_sizes(path) if entry.lower().endswith(".emd")), key=lambda e: e.count("/"))
    member = member_beside(root, name)
    return read_archive(path, [member])[member]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (OSError, ValueError):
        return None


def _members(target: Path, emd_name: str, emd_text: bytes, files: Files) -> dict[str, bytes | Path]:
    """Return all files of a package by name.

    Refused are names that mean another place on any system, that mean the same file on some, and a second definition.
    """
    names = [emd_name, *files]
    for name in names:
        windows = PureWindowsPath(name)
        if windows.is_absolute() or windows.drive or _ODD_PARTS & set(name.split("/")) or _ODD_LETTERS & set(name):
            raise ModelError(f"{target}: expected names within the package, found {name!r}")
    folded = [name.casefold() for name in names]
    if len(set(folded)) != len(folded):
        twice = sorted({name for name in folded if folded.count(name) > 1})
        raise ModelError(f"{target}: names must differ by more than capital letters, found twice: {', '.join(twice)}")
    definitions = sorted(name for name in names if name.lower().endswith(".emd") and "/" not in name)
    if len(definitions) != 1:
        raise ModelError(f"{target}: expected one .emd at the package's root, found {', '.join(definitions) or 'none'}")
    return {emd_name: emd_text, **files}


def _add(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system = 3  # Unix, wherever it is written
    entry.external_attr = 0o644 << 16
    with _opened(content, name) as source:
        entry.file_size = source.seek(0, SEEK_END)
        if entry.file_size > MAX_MEMBER_BYTES:
            raise ModelError(f"{name}: expected at most {MAX_MEMBER_BYTES >> 30} GB, found {entry.file_size} bytes")
        source.seek(0)
        with archive.open(entry, "w") as file:
            for chunk in _chunks(source):
                file.write(chunk)


@contextmanager
def _opened(content: bytes | Path, name: str) -> Iterator[IO[bytes]]:
    if isinstance(content, bytes):
        yield BytesIO(content)
        return
    try:
        file = content.open("rb")
    except OSError as error:
        raise ModelError(f"{name}: expected a file at {content}, found none that can be read") from error
    with file:
        yield file


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(COPY_BYTES):
        yield chunk
