"""A model as the engine needs it: what an EMD and its ONNX graph say together."""

import hashlib
import json
from dataclasses import dataclass

from geodl_core.domain.classes import ClassEntry
from geodl_core.domain.detection.detector import Detector
from geodl_core.domain.emd.definition import Emd, require_for_run, task_of
from geodl_core.domain.model.agreement import SCENE, require_all
from geodl_core.domain.model.classes import classes_of
from geodl_core.domain.model.halo import Halo, halo_of
from geodl_core.domain.model.scaling import Scaling, scaling_of
from geodl_core.domain.model.tensors import (
    Layout,
    Output,
    bands_of,
    chip_of,
    class_count,
    image_tensors,
    layout_of,
    output_of,
    sizes_of,
)
from geodl_core.domain.model.training import UNTOLD, Training, training_of
from geodl_core.domain.naming import slug
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.network.reach import Reach
from geodl_core.errors import ModelError

PIXEL_MODEL_TYPES = ("imageclassification", "classifypixels")
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Model:
    """A model that classifies pixels, or finds objects."""

    name: str
    version: str | None
    digest: str
    """SHA-256 over the definition's meaning and the graph's bytes, hexadecimal."""
    source: Tensor
    result: Tensor
    layout: Layout
    output: Output
    bands: tuple[int | str, ...]
    """0-based indices or names, in channel order."""
    scaling: Scaling
    classes: tuple[ClassEntry, ...]
    indices_to_ids: tuple[int, ...]
    """Class index (or, for a class map, the value the model writes) to class id."""
    threshold: float
    """Above it a mask's score is its class, and an object counts; unused by the other outputs."""
    chip_px: tuple[int, int]
    """Height and width that the definition or the graph names."""
    is_size_fixed: bool
    """Whether the graph takes only `chip_px`."""
    is_augmented: bool
    """Whether the definition asks for test-time augmentation."""
    is_bounded: bool
    """Whether an answer is known to depend on no more than its surroundings, so that tiles of any size agree."""
    batch: int | None
    """The graph's batch, None where it takes any."""
    halo: Halo
    is_activated: bool
    """Whether the result is a probability already, not a logit."""
    notes: tuple[str, ...]
    """What had to be decided, for the run report."""
    bytes_per_px: float | None = None
    """Memory that a run takes for each pixel of its tile, activations at their peak; None where that is not known."""
    training: Training = UNTOLD
    """What the definition says of the scenes that it was trained on."""
    detector: Detector | None = None
    """Of a model that finds objects."""


def make_model(
    emd: Emd, graph: Graph, fallback_name: str, reach: Reach | None = None, preprocessing: Graph | None = None
) -> Model:
    """Join an EMD with its graph.

    Args:
        emd: the definition.
        graph: of the file that it names.
        fallback_name: the model's name where the definition gives none.
        reach: how far an answer of the graph reaches, None where it was not looked at.
        preprocessing: the graph that `PreprocessingModel` names.

    Raises:
        ModelError: another kind of model, or the two disagree on channels, size, padding or classes.
    """
    notes: list[str] = []
    require_for_run(emd)
    require_pixel_model(emd)
    source, result = image_tensors(graph)
    layout = layout_of(emd, source)
    _require_all(emd, (source, result, layout), _channels(source, layout, preprocessing))
    bands = bands_of(emd, _channels(source, layout, preprocessing), source)
    chip = chip_of(emd, source, layout, notes)
    output = output_of(result)
    classes, indices_to_ids = classes_of(emd, output, class_count(result, layout, output), notes)
    activation = dict(zip(graph.outputs, graph.activations, strict=True))[result]
    if output == "mask" and activation is None:
        notes.append("the mask's scores are logits: a sigmoid is applied before the threshold")
    return Model(
        name=slug(emd.ModelName or fallback_name),
        version=emd.Version or emd.ModelVersion,
        digest=model_digest(emd, graph, preprocessing),
        source=source,
        result=result,
        layout=layout,
        output=output,
        bands=bands,
        scaling=scaling_of(emd, len(bands), notes),
        classes=classes,
        indices_to_ids=indices_to_ids,
        threshold=DEFAULT_THRESHOLD if emd.Threshold is None else emd.Threshold,
        chip_px=chip,
        is_size_fixed=None not in sizes_of(source, layout),
        is_augmented=emd.test_time_augmentation is True and output != "class map",
        is_bounded=reach is not None and reach.radius_px is not None and not reach.is_global,
        batch=source.shape[0],
        halo=halo_of(emd, chip, (source, result, layout), reach, notes),
        is_activated=activation is not None,
        notes=tuple(notes),
        training=training_of(emd, bands),
    )


def require_pixel_model(emd: Emd) -> None:
    """Refuse other kinds of models.

    Raises:
        ModelError: `ModelType` is another.
    """
    if (emd.ModelType or "").lower() not in PIXEL_MODEL_TYPES:
        is_scene = task_of(emd) == SCENE
        raise ModelError(
            f"ModelType: expected ImageClassification or ObjectDetection, found {emd.ModelType}",
            hint="geodl detections classify runs it: it tells the classes of given objects" if is_scene else None,
        )


def model_digest(emd: Emd, graph: Graph, preprocessing: Graph | None = None) -> str:
    """Return the content hash of a model; spacing and key order of the EMD's text do not matter."""
    try:
        said = emd.model_dump(mode="json", exclude_unset=True, warnings=False)
        meaning = json.dumps(said, sort_keys=True, separators=(",", ":"), default=str)
    except (ValueError, RecursionError) as error:
        raise ModelError("the definition is nested too deeply") from error
    digests = graph.digest if preprocessing is None else f"{preprocessing.digest}\n{graph.digest}"
    return hashlib.sha256(f"{digests}\n{meaning}".encode()).hexdigest()


def _require_all(emd: Emd, tensors: tuple[Tensor, Tensor, Layout], channels: int | None) -> None:
    """Compare a definition with its graph in every respect, so that all that is wrong is said at once.

    Raises:
        ModelError: they disagree.
    """
    source, result, layout = tensors
    output = output_of(result)
    count = len(emd.ExtractBands or ()) or channels
    require_all(
        (
            lambda: bands_of(emd, channels, source),
            lambda: chip_of(emd, source, layout, []),
            lambda: classes_of(emd, output, class_count(result, layout, output), []),
            lambda: scaling_of(emd, count, []) if count else None,
        )
    )


def _channels(source: Tensor, layout: Layout, preprocessing: Graph | None) -> int | None:
    """Return how many bands are wanted: by the preprocessing graph where there is one."""
    if preprocessing is None:
        return source.shape[layout.index("C")]
    opened, _ = image_tensors(preprocessing)
    return opened.shape[1]
