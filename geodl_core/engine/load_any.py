"""Load a model of whatever kind its definition names."""

from geodl_core.domain.model.model import Model
from geodl_core.domain.model.object_classifier import ObjectClassifier, classifies_objects
from geodl_core.engine.load_model import load_model
from geodl_core.engine.load_object_classifier import load_object_classifier
from geodl_core.io.package.package import ModelPackage

Loaded = Model | ObjectClassifier


def load_any(package: ModelPackage, is_probed: bool | None = None) -> Loaded:
    """Return what a package's definition and graph mean: a model of pixels or objects, or a classifier of objects.

    Args:
        package: definition and graphs.
        is_probed: as for `load_model`.

    Raises:
        ModelError: the definition and the graph disagree, or a kind that geodl does not run.
    """
    return load_object_classifier(package) if classifies_objects(package.emd) else load_model(package, is_probed)


def model_in(loaded: Loaded) -> Model:
    """Return what all kinds have in common: name, digest, bands, classes, notes."""
    return loaded.model if isinstance(loaded, ObjectClassifier) else loaded
