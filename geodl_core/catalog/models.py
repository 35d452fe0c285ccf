"""The model registry: models as Items of the Collection `models`, their files in a folder."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from geodl_core.catalog.model_files import (
    EMD_ASSET,
    MODEL_ASSET,
    PREPROCESSING_ASSET,
    PROBE_ASSET,
    load_registered,
    local_path,
    properties_of,
    read_asset,
)
from geodl_core.catalog.model_versions import (
    choose_model,
    created,
    latest_first,
    link_versions,
    name_of,
    version_of,
)
from geodl_core.domain.mlm.write import (
    ALWAYS,
    MODELS,
    STAC_VERSION,
    VERSION_LENGTH,
    WORLD,
    ModelFacts,
    mlm_item,
)
from geodl_core.domain.model.agreement import with_fitting_type
from geodl_core.domain.model.detector import finds_objects
from geodl_core.domain.model.model import make_model
from geodl_core.domain.model.object_classifier import classifies_objects
from geodl_core.domain.model.probed import Probed, identity_of, probed_bytes
from geodl_core.domain.naming import safe_name, slug
from geodl_core.domain.query import ItemQuery
from geodl_core.domain.result.result import StoredFile
from geodl_core.engine.load_any import Loaded, load_any, model_in
from geodl_core.engine.load_model import probe_package
from geodl_core.engine.register_scene import Catalog
from geodl_core.errors import ModelError
from geodl_core.io.network.graph import GraphFile, load_graph
from geodl_core.io.package.package import ModelPackage
from geodl_core.io.package.package_write import file_name, network_bytes, preprocessing_bytes
from geodl_core.io.store import multihash, storage_errors, write_bytes

PAGE = 500
PROBE = {"title": "What the network told when it was run once", "type": "application/json", "roles": ["metadata"]}
NO_PARAMETERS = frozenset({7, 8, 9})
"""ONNX's numbers of int64, string and bool: shapes, labels and switches."""


class ModelCatalog(Catalog, Protocol):
    """A catalog that can also forget."""

    def delete_item(self, collection_id: str, item_id: str) -> bool:
        """Delete an Item; return whether there was one."""
        ...


def add_model(catalog: Catalog, folder: Path, package: ModelPackage, now: datetime) -> dict[str, Any]:
    """Register a model: copy its files to `<folder>/<name>/<version>/` and put its Item.

    The network is copied with its external data inside, and what it tells when it is run once is kept beside it, so
    that loading it runs nothing. The same model again changes nothing, except that files which are gone or damaged are
    copied anew. Another version of the same name is linked with those before it.

    Args:
        catalog: where to register.
        folder: of all registered models.
        package: the model.
        now: for the Item's time stamps.

    Returns:
        The Item as the catalog has it.

    Raises:
        ModelError: the model does not serve.
        StoreError: the files cannot be written.
        CatalogError: the catalog does not take the Item.
    """
    folder = folder.absolute()
    package = replace(package, file=load_graph(network_bytes(package), package.location), probed=None)
    loaded = _loaded(package)
    model = model_in(loaded)
    place = folder / safe_name(model.name) / model.digest[:VERSION_LENGTH]
    item_id = f"{model.name}-{place.name}"
    existing = catalog.get_item(MODELS, item_id)
    if existing is not None:
        # Spaced otherwise it means the same, but is not the file that was registered.
        with suppress(ModelError):
            package = replace(package, emd_text=read_asset(existing, EMD_ASSET))
    stored = _store(package, _told(package, loaded, existing), place / model.name)
    if existing is not None and existing["assets"].keys() >= stored.keys():
        return existing
    versions = [item for item in list_models(catalog) if name_of(item) == model.name and item["id"] != item_id]
    if existing is not None:
        stamp = now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        item = {**existing, "properties": {**existing["properties"], "updated": stamp}}
    else:
        if versions:
            # Order of registration is order of `created`, also for two models of one moment.
            now = max(now, created(versions[0]) + timedelta(microseconds=1))
        before = stored.get(PREPROCESSING_ASSET)
        facts = ModelFacts(stored[MODEL_ASSET], stored[EMD_ASSET], before, _parameters(package.file))
        item = mlm_item(package.emd, loaded, package.file.graph, facts, now)
        item["links"] = _links(folder, place, item_id)
    if PROBE_ASSET in stored:
        item["assets"] = {**item["assets"], PROBE_ASSET: _probe_asset(stored[PROBE_ASSET])}
    if catalog.get_collection(MODELS) is None:
        catalog.put_collection(models_collection())
    _write_json(folder / "collection.json", models_collection(), folder)
    published = _publish(catalog, folder, [item, *versions], now)
    return next(one for one in published if one["id"] == item_id)


def _loaded(package: ModelPackage) -> Loaded:
    """Return what a model means; how far a pixel's answer reaches, which may take minutes to find, is left open."""
    if classifies_objects(package.emd) or finds_objects(package.emd):
        return load_any(package)
    before = None if package.preprocessing is None else package.preprocessing.graph
    try:
        return make_model(package.emd, package.file.graph, package.name, preprocessing=before)
    except ModelError as error:
        raise with_fitting_type(error, package.emd, package.file.graph) from error


def _told(package: ModelPackage, loaded: Loaded, existing: Mapping[str, Any] | None) -> Probed | None:
    """Return what a network tells when it is run, which may take minutes, None where nothing has to run it."""
    detector = model_in(loaded).detector
    if detector is not None:
        return Probed(decoder=detector.decoder)
    if existing is not None and PROBE_ASSET in existing["assets"]:
        # Files that are damaged or gone are about to be copied anew.
        with suppress(ModelError):
            return load_registered(existing).probed or probe_package(package)
    return probe_package(package)


def list_models(catalog: Catalog) -> list[dict[str, Any]]:
    """Return the Items of all registered models, by name, the latest version of each first."""
    if catalog.get_collection(MODELS) is None:
        return []
    return latest_first(_all(catalog, ItemQuery(collections=(MODELS,), limit=PAGE)))


def find_model(catalog: Catalog, reference: str) -> dict[str, Any]:
    """Return the Item that `NAME` or `NAME@VERSION` means; see `choose_model`."""
    return choose_model(list_models(catalog), reference)


def count_results(catalog: Catalog, item: Mapping[str, Any]) -> int:
    """Return how many results in the catalog were made by a model."""
    digest = properties_of(item).get("geodl:model_sha256")
    if not digest:
        return 0
    wanted = {"op": "=", "args": [{"property": "geodl:model_sha256"}, digest]}
    found = _all(catalog, ItemQuery(filter=wanted, limit=PAGE))
    return sum(
        result.get("collection") != MODELS and properties_of(result).get("geodl:model_sha256") == digest
        for result in found
    )


def remove_model(
    catalog: ModelCatalog, folder: Path, item: Mapping[str, Any], now: datetime, is_forced: bool = False
) -> None:
    """Remove a model's Item, and its files where they lie in the registry's folder.

    Args:
        catalog: where it is registered.
        folder: of all registered models.
        item: of the model.
        now: for the other versions, whose links change.
        is_forced: remove it although results were made by it; they stay, and keep their copy of its definition.

    Raises:
        ModelError: results were made by it.
    """
    results = 0 if is_forced else count_results(catalog, item)
    if results:
        raise ModelError(
            f"model {item['id']}: {results} result{'s' if results > 1 else ''} in the catalog "
            f"{'were' if results > 1 else 'was'} made by it",
            hint="--force removes it all the same; the results stay",
        )
    others = [other for other in list_models(catalog) if name_of(other) == name_of(item) and other["id"] != item["id"]]
    catalog.delete_item(MODELS, str(item["id"]))
    _publish(catalog, folder.absolute(), others, now)
    place = _place(folder.absolute(), item)
    if place is not None:
        _delete_files(place, item)


def _store(package: ModelPackage, told: Probed | None, stem: Path) -> dict[str, StoredFile]:
    """Write the files that are not there yet, and return what is measured of them, by their assets' keys.

    Args:
        package: the model.
        told: by its network.
        stem: of the definition's path.
    """
    before = None if package.preprocessing is None else package.preprocessing.graph
    # Of a registered model the name of the file is all that is kept of where it lay.
    network = slug(file_name(package.emd.ModelFile or "model.onnx").removesuffix(".onnx"))
    contents = {
        MODEL_ASSET: (f"{network}.onnx", network_bytes(package)),
        EMD_ASSET: (f"{stem.name}.emd", package.emd_text),
        PREPROCESSING_ASSET: (f"{network}-{PREPROCESSING_ASSET}.onnx", preprocessing_bytes(package)),
    }
    if told is not None:
        model = identity_of(package.emd_text, package.file.graph, before)
        contents[PROBE_ASSET] = (f"{stem.name}-probe.json", probed_bytes(told, model))
    return {key: _stored(stem.parent / name, content) for key, (name, content) in contents.items() if content}


def _stored(path: Path, content: bytes) -> StoredFile:
    with storage_errors(path):
        is_there = path.is_file() and path.read_bytes() == content
    if not is_there:
        write_bytes(path, content)
    return StoredFile(str(path), len(content), multihash(path))


def _links(folder: Path, place: Path, item_id: str) -> list[dict[str, Any]]:
    return [
        {"rel": "self", "href": str(place / f"{item_id}.json"), "type": "application/geo+json"},
        {"rel": "collection", "href": str(folder / "collection.json"), "type": "application/json"},
    ]


def _probe_asset(file: StoredFile) -> dict[str, Any]:
    return {
        "href": file.href,
        **PROBE,
        "file:size": file.size_bytes,
        "file:checksum": file.checksum,
    }


def _parameters(file: GraphFile) -> int:
    weights = [tensor for tensor in file.proto.graph.initializer if tensor.data_type not in NO_PARAMETERS]
    return sum(math.prod(tensor.dims) for tensor in weights)


def _publish(catalog: Catalog, folder: Path, versions: Sequence[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Link the versions of a model with one another and put those that changed or are new."""
    linked = link_versions(versions, now)
    known = {json.dumps(catalog.get_item(MODELS, item["id"]), sort_keys=True) for item in versions}
    changed = [item for item in linked if json.dumps(item, sort_keys=True) not in known]
    for item in changed:
        place = _place(folder, item)
        if place is not None and place.is_dir():
            _write_json(place / f"{item['id']}.json", item, folder)
    if changed:
        catalog.put_items(changed)
    return linked


def _place(folder: Path, item: Mapping[str, Any]) -> Path | None:
    """Return the folder of a version, None for an Item that says anything but what geodl gives itself."""
    name, version = name_of(item), version_of(item)
    is_ours = name == slug(name) and re.fullmatch(rf"[0-9a-f]{{{VERSION_LENGTH}}}", version)
    return folder / name / version if is_ours else None


def _write_json(path: Path, document: Mapping[str, Any], folder: Path) -> None:
    """Write a document whose hrefs into the folder are relative, so that the folder can be moved as a whole."""
    up = "../" * (len(path.relative_to(folder).parts) - 1)
    text = json.dumps(_relative(document, f"{folder}/", up or "./"), indent=2, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def _relative(value: Any, start: str, up: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _relative(entry, start, up) for key, entry in value.items()}
    if isinstance(value, list):
        return [_relative(entry, start, up) for entry in value]
    return f"{up}{value.removeprefix(start)}" if isinstance(value, str) and value.startswith(start) else value


def _delete_files(place: Path, item: Mapping[str, Any]) -> None:
    """Delete a version's own files, and its folder and its model's where nothing else is left in them."""
    paths = [local_path(str(asset.get("href"))) for asset in item["assets"].values()]
    with storage_errors(place):
        for path in [*filter(None, paths), place / f"{item['id']}.json"]:
            if path.parent == place:
                path.unlink(missing_ok=True)
        for folder in (place, place.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _all(catalog: Catalog, query: ItemQuery) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = catalog.search(query)
        found += page.items
        if page.next_token is None:
            return found
        query = ItemQuery(collections=query.collections, filter=query.filter, limit=query.limit, token=page.next_token)


def models_collection() -> dict[str, Any]:
    """Return the Collection of registered models."""
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": MODELS,
        "title": "Models",
        "description": "Models registered with geodl: each with its definition and its network.",
        "license": "other",
        "extent": {"spatial": {"bbox": [list(WORLD)]}, "temporal": {"interval": [list(ALWAYS)]}},
        "links": [],
        "item_assets": {
            "model": {"title": "Network", "roles": ["mlm:model", "mlm:weights"]},
            EMD_ASSET: {"title": "Model definition, verbatim", "type": "application/json", "roles": ["metadata"]},
            PROBE_ASSET: PROBE,
        },
    }
