"""MODEL as a user names it: a file, JSON text, or a model of the registry."""

import json
import re
from dataclasses import replace
from pathlib import Path

from geodl_core.catalog.model_files import load_registered
from geodl_core.catalog.model_versions import reference
from geodl_core.catalog.models import find_model
from geodl_core.catalog.open import open_catalog
from geodl_core.domain.model.model import Model
from geodl_core.domain.place.href import hide_secrets
from geodl_core.engine.load_model import load_model
from geodl_core.errors import CatalogError, ModelError
from geodl_core.io.package.package import ModelPackage, load_package
from geodl_core.io.stac import read_item

REFERENCE = re.compile(r"\w[\w.-]*(@[\w.-]+)?")
PACKAGE_SUFFIXES = (".emd", ".dlpk")
ITEM_SUFFIXES = (".json", ".geojson")
"""Of STAC Items with the MLM extension."""


def open_model(location: str, catalog: str, is_strict: bool = False) -> tuple[ModelPackage, Model]:
    """Return the package and the model that a MODEL argument means.

    Args:
        location: path of a `.emd` or `.dlpk`, JSON text, or NAME[@VERSION].
        catalog: path or URL of the catalog, for models of the registry.
        is_strict: refuse a definition that needs repairs.

    Raises:
        ModelError: there is no such model, or it does not serve.
    """
    package = open_package(location, catalog, is_strict)
    return package, load_model(package)


def open_package(location: str, catalog: str, is_strict: bool = False) -> ModelPackage:
    """Return the package that a MODEL argument means; see `open_model`."""
    if location.lstrip().startswith("{"):
        return load_package(location, is_strict)
    if is_item(location):
        return replace(load_registered(read_item(location)), location=str(Path(location).absolute()))
    if not names_registered(location):
        return load_package(location, is_strict)

    try:
        with open_catalog(catalog, create=False) as opened:
            item = find_model(opened, location)
            return replace(load_registered(item), location=reference(item))
    except CatalogError as error:
        raise ModelError(
            f"{location}: expected a model file, or a model of the catalog {hide_secrets(catalog)}: {error.message}",
            hint="register it with geodl model add, or give the path of a .emd or .dlpk; "
            "geodl rerun RESULT --stack NAME takes that of a deployment",
        ) from error


def names_registered(location: str) -> bool:
    """Say whether MODEL means a model of the registry, not a file or text."""
    if not REFERENCE.fullmatch(location) or location.lower().endswith((*PACKAGE_SUFFIXES, *ITEM_SUFFIXES)):
        return False
    return not Path(location).exists()


def is_item(location: str) -> bool:
    """Say whether a file is a STAC Item rather than a definition."""
    path = Path(location)
    if not location.lower().endswith(ITEM_SUFFIXES) or not path.is_file():
        return False
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("type") == "Feature"
