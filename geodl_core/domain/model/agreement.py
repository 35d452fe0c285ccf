"""Whether a definition and its graph agree: all that is wrong is said at once, and which ModelType would fit."""

from collections.abc import Callable, Iterable, Mapping

from geodl_core.domain.emd.definition import Emd, task_of
from geodl_core.domain.network.graph import Graph
from geodl_core.domain.network.outputs import Kind, describe_outputs
from geodl_core.errors import ModelError

PIXELS, OBJECTS, INSTANCES, SCENE = (
    "ImageClassification",
    "ObjectDetection",
    "InstanceDetection",
    "ObjectClassification",
)
MASKS = "boxes and masks"
TYPES: Mapping[Kind, str] = {
    "scores": PIXELS,
    "mask": PIXELS,
    "class map": PIXELS,
    "detections": OBJECTS,
    "scene": SCENE,
}
"""What a network answers → ModelType."""


def require_all(checks: Iterable[Callable[[], object]]) -> None:
    """Make every check, so that all that is wrong is said at once; of the hints the first counts.

    Raises:
        ModelError: one of them fails.
    """
    errors: list[ModelError] = []
    for check in checks:
        try:
            check()
        except ModelError as error:
            errors.append(error)
    if errors:
        said = "; ".join(dict.fromkeys(error.message for error in errors))
        raise ModelError(said, next((error.hint for error in errors if error.hint), None)) from errors[0]


def fitting_type(graph: Graph) -> str | None:
    """Return the ModelType that names and shapes of a graph's outputs speak for, None where they are like nothing."""
    found = describe_outputs(graph)
    return INSTANCES if found.form == MASKS else TYPES.get(found.kind)


def is_mistaken(emd: Emd, graph: Graph) -> bool:
    """Say whether a graph looks like a model of another kind than its definition calls it."""
    fitting = fitting_type(graph)
    kinds = {PIXELS: 0, OBJECTS: 1, INSTANCES: 1, SCENE: 2}
    return fitting is not None and kinds.get(task_of(emd) or "") != kinds[fitting]


def with_fitting_type(error: ModelError, emd: Emd, graph: Graph) -> ModelError:
    """Return what is wrong with a model, and, where its graph looks like one of another kind, which ModelType fits."""
    if not is_mistaken(emd, graph):
        return error
    why = describe_outputs(graph).why
    is_said = emd.ModelType is None or why in error.message
    message = error.message if is_said else f"{error.message}; ModelType is {emd.ModelType}, but {why}"
    return ModelError(message, f"ModelType {fitting_type(graph)} fits")
