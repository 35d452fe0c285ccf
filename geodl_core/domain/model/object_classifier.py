"""A model that classifies given objects: what an EMD and its graph say together; one answer a chip."""

from dataclasses import dataclass

from geodl_core.domain.emd.definition import Emd, require_for_run, task_of
from geodl_core.domain.model.agreement import SCENE, require_all
from geodl_core.domain.model.classes import classes_of
from geodl_core.domain.model.halo import Halo
from geodl_core.domain.model.model import Model, model_digest
from geodl_core.domain.model.scaling import scaling_of
from geodl_core.domain.model.tensors import Layout, Output, bands_of, image_tensors, layout_of, sizes_of
from geodl_core.domain.model.training import training_of
from geodl_core.domain.naming import slug
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.errors import ModelError

DEFAULT_CROP_PX = 224
"""What most networks that classify pictures were made for."""
NO_HALO = Halo(0, "a chip is an object", False, 1, 1, True)
PIXEL = "geodl_scene"
"""The answer as an image of one pixel."""
MAP_SPACE = "map_space"


@dataclass(frozen=True, slots=True)
class ObjectClassifier:
    """A model that tells the classes of given objects."""

    model: Model
    """As one that classifies the pixels of an image of one pixel: its (N, K) answer counts as (N, K, 1, 1), one score
    as a mask. `chip_px` is what the network is given."""
    answer: str
    """Name of the graph's output that holds the scores."""
    crop_px: tuple[int, int]
    """Height and width, in pixels of the grid, of every chip; or of the largest."""
    is_crop_fixed: bool
    """Whether all chips have that size, centred on the object (`CropSizeFixed`); else a chip is the smallest box round
    its object, unless that is larger."""
    is_blackened: bool
    """Whether pixels outside the object become 0 (`BlackenAroundFeature`)."""
    is_map_space: bool
    """Whether chips have north above, however the raster lies (`ImageSpaceUsed`)."""
    threshold: float | None
    """Of the definition: below it an object gets no class."""


def classifies_objects(emd: Emd) -> bool:
    """Say whether a definition calls its model one that classifies given objects."""
    return task_of(emd) == SCENE


def make_object_classifier(
    emd: Emd, graph: Graph, fallback_name: str, preprocessing: Graph | None = None
) -> ObjectClassifier:
    """Join an EMD with its graph.

    Args:
        emd: the definition.
        graph: of the file that it names: an image in, one row of scores an image out.
        fallback_name: the model's name where the definition gives none.
        preprocessing: the graph that `PreprocessingModel` names.

    Raises:
        ModelError: another kind of model, or the two disagree on channels, size or classes.
    """
    require_for_run(emd)
    require_object_classifier(emd)
    source, result, count = scene_tensors(graph, len(emd.Classes))
    layout = layout_of(emd, source)
    opened = image_tensors(preprocessing)[0].shape[1] if preprocessing else source.shape[layout.index("C")]
    output: Output = "mask" if count == 1 else "scores"
    _require_all(emd, source, layout, opened, count)
    bands = bands_of(emd, opened, source)
    notes: list[str] = []
    crop, chip = _sizes(emd, source, layout, notes)
    classes, indices_to_ids = classes_of(emd, output, 2 if count == 1 else count, notes)
    is_activated = _is_activated(graph, result, count, notes)
    model = Model(
        name=slug(emd.ModelName or fallback_name),
        version=emd.Version or emd.ModelVersion,
        digest=model_digest(emd, graph, preprocessing),
        source=source,
        result=_pixel(result, count, layout),
        layout=layout,
        output=output,
        bands=bands,
        scaling=scaling_of(emd, len(bands), notes),
        classes=classes,
        indices_to_ids=indices_to_ids,
        threshold=0.5,
        chip_px=chip,
        is_size_fixed=True,
        is_augmented=False,
        is_bounded=False,
        batch=source.shape[0],
        halo=NO_HALO,
        is_activated=is_activated,
        notes=tuple(notes),
        training=training_of(emd, bands),
    )
    is_fixed, is_map_space = _is_crop_fixed(emd), (emd.ImageSpaceUsed or "").strip().lower() == MAP_SPACE
    is_blackened = emd.BlackenAroundFeature is True
    return ObjectClassifier(model, result.name, crop, is_fixed, is_blackened, is_map_space, emd.Threshold)


def _require_all(emd: Emd, source: Tensor, layout: Layout, channels: int | None, scores: int | None) -> None:
    """Compare a definition with its graph in every respect, so that all that is wrong is said at once.

    Raises:
        ModelError: they disagree.
    """
    count = len(emd.ExtractBands or ()) or channels
    is_mask = scores == 1
    require_all(
        (
            lambda: bands_of(emd, channels, source),
            lambda: _sizes(emd, source, layout, []),
            lambda: classes_of(emd, "mask" if is_mask else "scores", 2 if is_mask else scores, []),
            lambda: scaling_of(emd, count, []) if count else None,
        )
    )


def require_object_classifier(emd: Emd) -> None:
    """Refuse other kinds of models.

    Raises:
        ModelError: `ModelType` is another.
    """
    if not classifies_objects(emd):
        raise ModelError(
            f"ModelType: expected {SCENE}, found {emd.ModelType}",
            hint="geodl run takes models that classify pixels or find objects",
        )


def scene_tensors(graph: Graph, classes: int) -> tuple[Tensor, Tensor, int | None]:
    """Return the image input, the output that holds one row of scores an image, and how many; None: not said.

    Of several such outputs, the first with as many scores as there are classes, or one more; else the first.

    Args:
        graph: of the network.
        classes: of the definition.

    Raises:
        ModelError: another number of inputs, or no such output.
    """
    if len(graph.inputs) != 1 or len(graph.inputs[0].shape) != 4:
        found = "; ".join(map(str, graph.inputs)) or "none"
        raise ModelError(f"the ONNX graph: expected one input of four dimensions, found {found}")
    rows = [tensor for tensor in graph.outputs if _is_row(tensor)]
    if not rows:
        found = "; ".join(map(str, graph.outputs)) or "none"
        raise ModelError(f"the ONNX graph: expected an output of one row of scores an image, (N, K), found {found}")
    result = next((tensor for tensor in rows if _row_length(tensor) in (classes, classes + 1)), rows[0])
    return graph.inputs[0], result, _row_length(result)


def _is_row(tensor: Tensor) -> bool:
    is_row = len(tensor.shape) > 1 and sum(size != 1 for size in tensor.shape[1:]) <= 1
    return is_row and tensor.dtype.startswith("float")


def _row_length(tensor: Tensor) -> int | None:
    return next((size for size in tensor.shape[1:] if size != 1), 1)


def _is_activated(graph: Graph, result: Tensor, count: int | None, notes: list[str]) -> bool:
    activation = dict(zip(graph.outputs, graph.activations, strict=True))[result]
    if activation is None:
        notes.append(f"the scores are logits: a {'sigmoid' if count == 1 else 'softmax'} is applied")
    return activation is not None


def _pixel(result: Tensor, count: int | None, layout: Layout) -> Tensor:
    sizes = {"N": result.shape[0], "C": count, "H": 1, "W": 1}
    return Tensor(PIXEL, result.dtype, tuple(sizes[axis] for axis in layout))


def _is_crop_fixed(emd: Emd) -> bool:
    """Return whether chips have one size; where only the template's key says it, by that (`BOUNDING_BOX`)."""
    if emd.CropSizeFixed is not None:
        return emd.CropSizeFixed
    return not (emd.CropTileMode or "").strip().lower().startswith("bounding")


def _sizes(emd: Emd, source: Tensor, layout: Layout, notes: list[str]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return height and width of a chip on the grid, and of what the network is given.

    Raises:
        ModelError: the network does not take what `resize_to` says.
    """
    asked = (emd.resize_to, emd.resize_to) if isinstance(emd.resize_to, int) else emd.resize_to or (None, None)
    fixed = sizes_of(source, layout)
    crop, chip = [], []
    for said, taken, wanted in zip((emd.ImageHeight, emd.ImageWidth), fixed, asked, strict=True):
        if wanted is not None and taken is not None and wanted != taken:
            raise ModelError(f"resize_to is {emd.resize_to}, but the ONNX input {source} takes only {taken}")
        crop.append(said or taken or wanted or DEFAULT_CROP_PX)
        chip.append(taken or wanted or crop[-1])
        if not (said or taken or wanted):
            notes.append(f"ImageHeight or ImageWidth is missing and the graph takes any size: {DEFAULT_CROP_PX} pixels")
    return (crop[0], crop[1]), (chip[0], chip[1])
