"""MODEL as a user names it: a file, JSON text, or a model of the registry."""

from geodl_core.domain.model import Model
from geodl_core.engine.load_model import load_model
from geodl_core.io.package import ModelPackage, load_package


def open_model(location: str, catalog: str) -> tuple[ModelPackage, Model]:
    """Return the package and the model that a MODEL argument means.

    Args:
        location: path of a `.emd` or `.dlpk`, JSON text, or NAME[@VERSION].
        catalog: path or URL of the catalog, for models of the registry.

    Raises:
        ModelError: there is no such model, or it does not serve.
    """
    package = load_package(location)
    return package, load_model(package)
