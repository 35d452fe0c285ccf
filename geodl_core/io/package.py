"""Model packages: from what a user names (a `.emd`, its JSON text, a `.dlpk`) to a definition and its graph."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from geodl_core.domain.emd import Emd, parse_emd, require_for_run
from geodl_core.errors import ModelError
from geodl_core.io.onnx_graph import GraphFile, load_graph

SEVEN_ZIP_MAGIC = b"7z\xbc\xaf\x27\x1c"
MAX_MEMBERS = 10_000
MAX_MEMBER_BYTES = 2 << 30
MAX_RATIO = 200
"""Weights hardly compress and text compresses tenfold; beyond this an archive is made to fill memory."""


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A model as it came."""

    emd: Emd
    emd_text: bytes
    """Verbatim."""
    file: GraphFile
    name: str
    """Of the `.emd` or package, without its suffix."""
    location: str
    """The path it was read from, `<text>` for JSON text."""
    preprocessing: GraphFile | None = None
    """Of `PreprocessingModel`: run before the network."""


def load_package(location: str) -> ModelPackage:
    """Read a model.

    Args:
        location: path of a `.emd` or `.dlpk`, or an EMD's JSON text (its relative ModelFile is then looked for in
            the working folder, since there is no other).

    Raises:
        ModelError: nothing there, a broken definition, or no ONNX model where it points.
    """
    if location.lstrip().startswith("{"):
        return _from_text(location)
    path = Path(location)
    try:
        with path.open("rb") as file:
            head = file.read(len(SEVEN_ZIP_MAGIC))
    except OSError as error:
        raise ModelError(f"{location}: expected a .emd or .dlpk file, found none that can be read") from error
    if head.startswith(SEVEN_ZIP_MAGIC):
        raise ModelError(f"{location}: a 7-Zip archive, which geodl does not open", hint="pack it again as a zip")
    return _from_archive(path) if head.startswith(b"PK") else _from_emd(path)


def _from_text(text: str) -> ModelPackage:
    emd = parse_emd(text, "the model given as JSON")
    files = {key: _load_file(key, Path(name), Path.cwd()) for key, name in _graph_names(emd).items()}
    return _package(emd, text.encode(), files, Path(_graph_names(emd)["ModelFile"]).stem, "<text>")


def _from_emd(path: Path) -> ModelPackage:
    content = path.read_bytes()
    emd = parse_emd(content, str(path))
    files = {key: _load_file(key, Path(name), path.parent) for key, name in _graph_names(emd).items()}
    return _package(emd, content, files, path.stem, str(path.absolute()))


def _package(emd: Emd, content: bytes, files: Mapping[str, GraphFile], name: str, location: str) -> ModelPackage:
    return ModelPackage(emd, content, files["ModelFile"], name, location, files.get("PreprocessingModel"))


def _load_file(key: str, name: Path, folder: Path) -> GraphFile:
    path = name if name.is_absolute() else folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{key}: expected an ONNX model at {path}, found none that can be read") from error
    return load_graph(content, str(path), path.parent)


def _from_archive(path: Path) -> ModelPackage:
    """Read definition and weights out of a package in memory; nothing is unpacked, so no name can lead astray."""
    try:
        with zipfile.ZipFile(path) as archive:
            _require_harmless(archive, path)
            root = _definition(archive, path)
            content = archive.read(root)
            emd = parse_emd(content, f"{path}: {root}")
            members = {key: _member(archive, root, name, path) for key, name in _graph_names(emd).items()}
            files = {key: load_graph(archive.read(name), f"{path}: {name}") for key, name in members.items()}
            return _package(emd, content, files, path.stem, str(path.absolute()))
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: expected a .dlpk package (a zip archive), found a damaged one ({error})") from error


def _require_harmless(archive: zipfile.ZipFile, path: Path) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ModelError(f"{path}: expected at most {MAX_MEMBERS} files in a package, found {len(members)}")
    for member in members:
        if member.file_size > MAX_MEMBER_BYTES or member.file_size > MAX_RATIO * max(member.compress_size, 1024):
            raise ModelError(f"{path}: {member.filename} would unpack to {member.file_size} bytes; refused")


def _definition(archive: zipfile.ZipFile, path: Path) -> str:
    """Return the name of the package's EMD: the one at the root, else the shallowest."""
    names = [name for name in archive.namelist() if name.lower().endswith(".emd")]
    if not names:
        raise ModelError(f"{path}: expected a .emd in the package, found none among {len(archive.namelist())} files")
    depth = min(name.count("/") for name in names)
    shallowest = [name for name in names if name.count("/") == depth]
    if len(shallowest) > 1:
        raise ModelError(f"{path}: expected one .emd in the package, found {', '.join(sorted(shallowest))}")
    return shallowest[0]


def _member(archive: zipfile.ZipFile, root: str, model_file: str, path: Path) -> str:
    """Return the archive's name of ModelFile, which is relative to the EMD."""
    wanted = str(PurePosixPath(root).parent / model_file)
    if wanted not in archive.namelist():
        there = ", ".join(archive.namelist()[:10])
        raise ModelError(f"{path}: expected {wanted} (named by the EMD) in the package, found {there}")
    return wanted


def _graph_names(emd: Emd) -> dict[str, str]:
    """Return the files that the definition names, by key, with forward slashes; those from Windows have backward ones."""
    if not emd.ModelFile:
        require_for_run(emd)
    named = {"ModelFile": emd.ModelFile or ""}
    if emd.PreprocessingModel:
        named["PreprocessingModel"] = emd.PreprocessingModel
    names = {key: name.replace("\\", "/") for key, name in named.items()}
    for key, name in names.items():
        if PurePosixPath(name).suffix.lower() != ".onnx" or "\0" in name:
            raise ModelError(
                f"{key}: expected an ONNX model, found {json.dumps(named[key])}",
                hint=f"export the network to ONNX and name that file in {key}",
            )
    return names
