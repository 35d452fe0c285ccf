"""Model packages written: a zip whose bytes follow from its files alone, and what belongs into it."""

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import SEEK_END, BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from google.protobuf.message import EncodeError

from geodl_core.errors import ModelError
from geodl_core.io.package import MAX_MEMBER_BYTES, ModelPackage
from geodl_core.io.store import atomic_file

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip can name."""
COPY_BYTES = 1 << 20
_ODD = {"", ".", ".."}


def write_package(
    target: Path, emd_text: bytes, files: Mapping[str, bytes | Path], emd_name: str | None = None
) -> None:
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
    root = emd_name or f"{target.stem}.emd"
    members: dict[str, bytes | Path] = {root: emd_text, **files}
    if root in files:
        raise ModelError(f"{target}: {root} is the name of the definition, and of another file of the package")
    _require_names(members, target)
    with atomic_file(target) as draft, zipfile.ZipFile(draft, "w") as archive:
        for name in sorted(members):
            _add(archive, name, members[name])


def write_folder(target: Path, emd_text: bytes, files: Mapping[str, bytes | Path], emd_name: str) -> None:
    """Write the same files into a folder; each is whole or not there.

    Raises:
        ModelError: as `write_package`.
        StoreError: the folder cannot be written.
    """
    members: dict[str, bytes | Path] = {emd_name: emd_text, **files}
    _require_names(members, target)
    for name in sorted(members):
        with atomic_file(target / name) as draft, draft.open("wb") as file, _opened(members[name], name) as source:
            for chunk in _chunks(source):
                file.write(chunk)


def network_bytes(package: ModelPackage) -> bytes:
    """Return a package's network as one self-contained file: verbatim where it is one already.

    Raises:
        ModelError: with its external data it is larger than the 2 GB that one ONNX message may have.
    """
    content = _beside(package, package.emd.ModelFile or "")
    if hashlib.sha256(content).hexdigest() == package.file.graph.digest:
        return content
    try:
        whole: bytes = package.file.proto.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise ModelError(
            f"{package.location}: the network is larger than the 2 GB that one ONNX file may have"
        ) from error
    return whole


def preprocessing_bytes(package: ModelPackage) -> bytes | None:
    """Return the ONNX file that the definition's `PreprocessingModel` names, None where it names none.

    Raises:
        ModelError: it is not there.
    """
    name = getattr(package.emd, "PreprocessingModel", None)
    return _beside(package, str(name)) if name else None


def file_name(path: str) -> str:
    """Return the last part of a path as definitions have them, from Windows or not."""
    return PureWindowsPath(path).name


def _beside(package: ModelPackage, name: str) -> bytes:
    """Return the file of a package that its definition calls by a name."""
    relative = name.replace("\\", "/")
    try:
        if package.location == "<text>":
            return Path(relative).read_bytes()
        path = Path(package.location)
        return _member(path, relative) if zipfile.is_zipfile(path) else (path.parent / relative).read_bytes()
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{package.location}: expected {name} beside the definition, found no file there") from error


def _member(path: Path, relative: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        definitions = [name for name in archive.namelist() if name.lower().endswith(".emd")]
        root = min(definitions, key=lambda name: name.count("/"))
        member = archive.getinfo(str(PurePosixPath(root).parent / relative))
        if member.file_size > MAX_MEMBER_BYTES:
            raise ModelError(f"{path}: {member.filename} would unpack to {member.file_size} bytes; refused")
        return archive.read(member)


def _require_names(members: Mapping[str, bytes | Path], target: Path) -> None:
    """Refuse names that mean another place, on any system, and a second definition beside the first."""
    for name in members:
        windows = PureWindowsPath(name)
        parts = name.split("/")
        if windows.is_absolute() or windows.drive or "\\" in name or "\0" in name or not set(parts).isdisjoint(_ODD):
            raise ModelError(f"{target}: expected names within the package, found {name!r}")
    folded = [name.casefold() for name in members]
    if len(set(folded)) != len(folded):
        twice = sorted({name for name in folded if folded.count(name) > 1})
        raise ModelError(f"{target}: names must differ by more than capital letters, found {', '.join(twice)}")
    definitions = sorted(name for name in members if name.lower().endswith(".emd") and "/" not in name)
    if len(definitions) != 1:
        raise ModelError(f"{target}: expected one .emd at the package's root, found {', '.join(definitions) or 'none'}")


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
