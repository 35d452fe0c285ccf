"""Load a model that tells the classes of given objects."""

from dataclasses import replace

from geodl_core.domain.model.agreement import with_fitting_type
from geodl_core.domain.model.object_classifier import ObjectClassifier, make_object_classifier
from geodl_core.engine.load_model import REPAIRED
from geodl_core.errors import ModelError
from geodl_core.io.package.package import ModelPackage


def load_object_classifier(package: ModelPackage) -> ObjectClassifier:
    """Return the classifier of a package.

    Raises:
        ModelError: the definition and the graph disagree, or it is another kind of model; says which ModelType fits.
    """
    preprocessing = None if package.preprocessing is None else package.preprocessing.graph
    try:
        found = make_object_classifier(package.emd, package.file.graph, package.name, preprocessing)
    except ModelError as error:
        raise with_fitting_type(error, package.emd, package.file.graph) from error
    repairs = tuple(f"{REPAIRED}{repair}" for repair in package.repairs)
    return replace(found, model=replace(found.model, notes=(*repairs, *found.model.notes)))
