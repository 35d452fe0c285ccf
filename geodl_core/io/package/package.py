"""Model packages: from what a user names (a `.emd`, its JSON text, a `.dlpk`) to a definition and its graphs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from geodl_core.domain.emd.definition import Emd, EmdReading, read_for_run, require_for_run
from geodl_core.domain.model.probed import Probed
from geodl_core.errors import ModelError
from geodl_core.io.network.graph import GraphFile, load_graph
from geodl_core.io.package.archive import SEVEN_ZIP_MAGIC, archive_sizes, is_archive, member_beside, read_archive, shown

MAX_EMD_BYTES = 20 << 20
"""More than a definition of ten thousand classes takes."""


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
    item_href: str | None = None
    """Of the STAC Item that describes the model, where it came from one."""
    repairs: tuple[str, ...] = ()
    """What had to be repaired to read the definition."""
    probed: Probed | None = None
    """What the network told when it was run once, where that is known: then nothing has to run it."""


def load_package(location: str, is_strict: bool = False) -> ModelPackage:
    """Read a model.

    Args:
        location: path of a `.emd` or `.dlpk`, or an EMD's JSON text (its relative ModelFile is then looked for in
            the working folder, since there is no other).
        is_strict: refuse a definition that needs repairs.

    Raises:
        ModelError: nothing there, a broken definition, or no ONNX model where it points.
    """
    if location.lstrip().startswith("{"):
        reading = read_for_run(location, "the model given as JSON", is_strict)
        files = _beside(reading.emd, Path.cwd())
        return _package(reading, location.encode(), files, Path(_graph_names(reading.emd)["ModelFile"]).stem, "<text>")
    path = Path(location)
    try:
        with path.open("rb") as file:
            head = file.read(len(SEVEN_ZIP_MAGIC))
            content = b"" if is_archive(head) else head + file.read(MAX_EMD_BYTES)
    except (OSError, ValueError) as error:
        raise ModelError(f"{location}: expected a .emd or .dlpk file, found none that can be read") from error
    if is_archive(head):
        return _from_archive(path, is_strict)
    if path.suffix.lower() == ".onnx":
        raise ModelError(
            f"{location}: expected a model definition, found a network",
            hint=f"describe it: geodl model init {location}",
        )
    reading = read_for_run(content, str(path), is_strict)
    return _package(reading, content, _beside(reading.emd, path.parent), path.stem, str(path.absolute()))


def _package(
    reading: EmdReading, content: bytes, files: Mapping[str, GraphFile], name: str, location: str
) -> ModelPackage:
    repairs = tuple(f"line {repair.line}: {repair.message}" for repair in reading.repairs)
    preprocessing = files.get("PreprocessingModel")
    return ModelPackage(reading.emd, content, files["ModelFile"], name, location, preprocessing, repairs=repairs)


def _beside(emd: Emd, folder: Path) -> dict[str, GraphFile]:
    """Return the graphs that a definition names, from files."""
    files = {}
    for key, name in _graph_names(emd).items():
        path = Path(name) if Path(name).is_absolute() else folder / name
        try:
            content = path.read_bytes()
        except (OSError, ValueError) as error:
            raise ModelError(f"{key}: expected an ONNX model at {path}, found none that can be read") from error
        files[key] = load_graph(content, str(path), path.parent)
    return files


def _from_archive(path: Path, is_strict: bool) -> ModelPackage:
    """Read definition and weights out of a package in memory."""
    sizes = archive_sizes(path)
    root = _definition(sizes, path)
    if sizes[root] > MAX_EMD_BYTES:
        raise ModelError(f"{path}: {root} would unpack to {sizes[root]} bytes, which no definition needs; refused")
    content = read_archive(path, [root])[root]
    reading = read_for_run(content, f"{path}: {root}", is_strict)
    members = {key: member_beside(root, name) for key, name in _graph_names(reading.emd).items()}
    for key, name in members.items():
        if name not in sizes:
            raise ModelError(f"{path}: expected {name} (the EMD's {key}) in the package, found {shown(sizes)}")
    contents = read_archive(path, members.values())
    files = {
        key: load_graph(contents[name], f"{path}: {name}", _member_reader(path, name, sizes))
        for key, name in members.items()
    }
    return _package(reading, content, files, path.stem, str(path.absolute()))


def _member_reader(path: Path, beside: str, sizes: Mapping[str, int]) -> Callable[[str], bytes]:
    """Return what reads the external data of a network from the package it lies in, and from nowhere else."""

    def read(name: str) -> bytes:
        member = member_beside(beside, name)
        if member not in sizes:
            raise ModelError(f"{path}: {beside} keeps weights in {name}, which is not in the package")
        return read_archive(path, [member])[member]

    return read


def _definition(sizes: Mapping[str, int], path: Path) -> str:
    """Return the name of the package's EMD: the one at the root, else the shallowest."""
    names = [name for name in sizes if name.lower().endswith(".emd")]
    if not names:
        raise ModelError(f"{path}: expected a .emd in the package, found none among {len(sizes)} files")
    depth = min(name.count("/") for name in names)
    shallowest = [name for name in names if name.count("/") == depth]
    if len(shallowest) > 1:
        raise ModelError(f"{path}: expected one .emd in the package, found {', '.join(sorted(shallowest))}")
    return shallowest[0]


def _graph_names(emd: Emd) -> dict[str, str]:
    """Return the files that the definition names, by key; backward slashes, as from Windows, become forward ones."""
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
