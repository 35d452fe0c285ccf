"""The files of registered models: read with their checksums compared, loaded as a package, exported."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from geodl_core.domain.emd.definition import Emd, parse_emd
from geodl_core.domain.mlm.carry import document
from geodl_core.domain.mlm.read import emd_from_mlm, onnx_asset
from geodl_core.domain.model.probed import identity_of, parse_probed
from geodl_core.domain.naming import slug
from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import InputError, ModelError
from geodl_core.io.network.graph import load_graph
from geodl_core.io.package.package import ModelPackage
from geodl_core.io.package.package_write import file_name, write_folder, write_package
from geodl_core.io.remote.objects import read_object
from geodl_core.io.stac import item_href

MODEL_ASSET = "model"
EMD_ASSET = "emd"
PREPROCESSING_ASSET = "preprocessing"
PROBE_ASSET = "geodl:probe"
"""What the network told when it was run once; models registered before there was such a file lack it."""
BUCKET = "s3://"
MOST_BYTES = 4 << 30
"""Of a network: protobuf takes 2 GiB."""
SHA256 = "1220"
"""How a multihash says that a SHA-256 follows."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A registered model's files, as they should be."""

    emd: Emd
    emd_text: bytes
    network: bytes
    preprocessing: bytes | None
    warnings: tuple[str, ...]
    """What the Item says and its definition cannot; none where it has its definition as an asset."""


def load_registered(item: Mapping[str, Any]) -> ModelPackage:
    """Return the model of an Item, ready to run. Nothing but JSON and ONNX is read; no code is run.

    Args:
        item: of the registry, or of anybody with the MLM extension and an ONNX asset; with absolute hrefs.

    Raises:
        ModelError: no ONNX asset, a file that is missing or is not the one that was registered.
    """
    files = read_model_files(item)
    origin = f"Item {item.get('id')}"
    file = load_graph(files.network, f"{origin}: {onnx_asset(item)}")
    before = None
    if files.preprocessing is not None:
        before = load_graph(files.preprocessing, f"{origin}: {PREPROCESSING_ASSET}")
    name = str(properties_of(item).get("geodl:model") or properties_of(item).get("mlm:name") or item.get("id"))
    package = ModelPackage(files.emd, files.emd_text, file, name, origin, before, item_href(dict(item)), files.warnings)
    if PROBE_ASSET not in (item.get("assets") or {}):
        return package
    told_by = identity_of(files.emd_text, file.graph, None if before is None else before.graph)
    told = parse_probed(read_asset(item, PROBE_ASSET), told_by, file.graph, f"{origin}: asset {PROBE_ASSET}")
    return replace(package, probed=told)


def export_model(item: Mapping[str, Any], target: Path) -> None:
    """Write the model of an Item as a `.dlpk`, or into a folder where the target's name ends in anything else.

    Raises:
        ModelError: as `load_registered`.
        StoreError: the target cannot be written.
    """
    files = read_model_files(item)
    text, network = _placed(files, "ModelFile")
    beside: dict[str, bytes | Path] = {network: files.network}
    if files.preprocessing is not None:
        name = files.emd.PreprocessingModel or "preprocessing.onnx"
        beside[_harmless(name) or file_name(name)] = files.preprocessing
    emd_name = f"{slug(str(properties_of(item).get('geodl:model') or item.get('id')))}.emd"
    write = write_package if target.suffix.lower() == ".dlpk" else write_folder
    write(target, text, beside, emd_name)


def read_model_files(item: Mapping[str, Any]) -> ModelFiles:
    """Return the files of an Item's model.

    Raises:
        ModelError: as `load_registered`.
    """
    assets = item.get("assets") or {}
    network = read_asset(item, onnx_asset(item))
    preprocessing = read_asset(item, PREPROCESSING_ASSET) if PREPROCESSING_ASSET in assets else None
    if EMD_ASSET in assets:
        text = read_asset(item, EMD_ASSET)
        emd = parse_emd(text, f"Item {item.get('id')}: {EMD_ASSET}")
        return ModelFiles(emd, text, network, preprocessing, ())
    reading = emd_from_mlm(item)
    return ModelFiles(reading.emd, emd_bytes(document(reading.emd)), network, preprocessing, reading.warnings)


def emd_bytes(keys: Mapping[str, Any]) -> bytes:
    """Return an EMD's keys as the text of a file."""
    return (json.dumps(keys, indent=2, ensure_ascii=False) + "\n").encode()


def local_path(href: str) -> Path | None:
    """Return the path that an href means, None where it leads to another machine."""
    try:
        parts = urlsplit(href)
    except ValueError:  # brackets that hold no address
        return Path(href)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    # A scheme of one letter is a drive.
    return Path(href) if len(parts.scheme) < 2 else None


def properties_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the properties of an Item, none where it has none."""
    return item.get("properties") or {}


def read_asset(item: Mapping[str, Any], key: str) -> bytes:
    """Return an asset's bytes, which must be those that its size and checksum tell of.

    Raises:
        ModelError: no such asset, a file that is missing or is not the one that was registered.
        RefusedError: its bucket may not be read.
        StoreError: its bucket does not answer.
    """
    where = f"Item {item.get('id')}: asset {key}"
    asset = (item.get("assets") or {}).get(key)
    if not isinstance(asset, Mapping):
        raise ModelError(f"{where}: expected one, found none")
    href = str(asset.get("href"))
    content = _content(href, where)
    wanted = str(asset.get("file:checksum") or "").lower()
    found = SHA256 + hashlib.sha256(content).hexdigest()
    size = asset.get("file:size")
    if (wanted.startswith(SHA256) and wanted != found) or (size is not None and size != len(content)):
        raise ModelError(
            f"{where}: {hide_secrets(href)} is not the file that was registered: "
            f"expected {wanted[4:16]}… of {size} bytes, found {found[4:16]}… of {len(content)} bytes",
            hint="restore the file, or remove the model and add it again",
        )
    return content


def _content(href: str, where: str) -> bytes:
    """Return a file of this machine, or of a bucket, which is read with this machine's own credentials."""
    path = local_path(href)
    try:
        if path is not None:
            return path.read_bytes()
        if href.startswith(BUCKET):
            return read_object(href, MOST_BYTES)
    except (OSError, ValueError, InputError) as error:
        shown = path or hide_secrets(href)
        raise ModelError(f"{where}: expected a file at {shown}, found none", hint="add the model again") from error
    raise ModelError(
        f"{where}: expected a local file, found {hide_secrets(href)}", hint="download it and register that file"
    )


def _placed(files: ModelFiles, key: str) -> tuple[bytes, str]:
    """Return the definition's text, and where in a package the network must lie for it.

    Verbatim, unless it names a place outside of its folder: then with the file's own name instead.
    """
    said = str(getattr(files.emd, key))
    inside = _harmless(said)
    if inside is not None:
        return files.emd_text, inside
    name = file_name(said) or "model.onnx"
    return emd_bytes({**document(files.emd), key: name}), name


def _harmless(name: str) -> str | None:
    """Return a relative name in its plain form, None where it leads out of its folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    is_outside = path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or not path.parts
    return None if is_outside else str(path)
