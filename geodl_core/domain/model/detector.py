"""A model that finds objects: what an EMD, its graph and one answer of it say together."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.detection.detector import ARCGIS_OVERLAP, USUAL_OVERLAP, Detector
from geodl_core.domain.detection.labels import class_table
from geodl_core.domain.detection.recognise import choose_decoder
from geodl_core.domain.emd.definition import Emd, require_for_run, task_of
from geodl_core.domain.model.agreement import INSTANCES, OBJECTS, require_all
from geodl_core.domain.model.halo import USUAL_STRIDE_PX, Halo
from geodl_core.domain.model.model import DEFAULT_THRESHOLD, Model, model_digest
from geodl_core.domain.model.scaling import LEARN, scaling_of
from geodl_core.domain.model.tensors import bands_of, chip_of, image_tensors, layout_of, sizes_of
from geodl_core.domain.model.training import training_of
from geodl_core.domain.naming import slug
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.errors import ModelError

FINISHED_COLUMNS = 6
"""Box, score and class, without the image's number."""
OBJECT_TASKS = (OBJECTS, INSTANCES)


def finds_objects(emd: Emd) -> bool:
    """Say whether a definition calls its model a detector."""
    return task_of(emd) in OBJECT_TASKS


def image_input(graph: Graph) -> Tensor:
    """Return the input that takes the image, with its batch; other inputs tell its size.

    Raises:
        ModelError: there is none, or more than one.
    """
    images = [tensor for tensor in graph.inputs if len(tensor.shape) == 4]
    if not images:
        # Some exporters leave the batch off.
        bare = [tensor for tensor in graph.inputs if len(tensor.shape) == 3 and not tensor.dtype.startswith("int")]
        images = [Tensor(tensor.name, tensor.dtype, (1, *tensor.shape)) for tensor in bare]
    if len(images) != 1:
        found = "; ".join(map(str, graph.inputs)) or "none"
        raise ModelError(f"the ONNX graph: expected one input that is an image, found {found}")
    return images[0]


def make_detector(
    emd: Emd,
    graph: Graph,
    fallback_name: str,
    told: Mapping[str, npt.NDArray[Any]] | Decoder | None,
    preprocessing: Graph | None = None,
) -> Model:
    """Join an EMD with the graph of a detector.

    Args:
        emd: the definition.
        graph: of the file that it names.
        fallback_name: the model's name where the definition gives none.
        told: what the network answered once, by the names of its outputs; None where it was not run. Or what was
            decided of it before.
        preprocessing: the graph that `PreprocessingModel` names.

    Raises:
        ModelError: the answer cannot be told, or definition and graph disagree; all of this at once.
    """
    source = image_input(graph)
    layout = layout_of(emd, source)
    opened = image_tensors(preprocessing)[0].shape[1] if preprocessing else source.shape[layout.index("C")]
    decoder = _require_all(emd, graph, told, opened)
    bands = bands_of(emd, opened, source)
    classes, labels, said = class_table(emd.Classes, decoder)
    notes = [f"the answer: {decoder.why}", *said] if decoder.why else list(said)
    chip = chip_of(emd, source, layout, notes)
    result = next(tensor for tensor in graph.outputs if tensor.name == decoder.tensors[0])
    return Model(
        name=slug(emd.ModelName or fallback_name),
        version=emd.Version or emd.ModelVersion,
        digest=model_digest(emd, graph, preprocessing),
        source=source,
        result=result,
        layout=layout,
        output="objects",
        bands=bands,
        scaling=scaling_of(emd, len(bands), notes),
        classes=classes,
        indices_to_ids=tuple(entry.value for entry in classes),
        threshold=DEFAULT_THRESHOLD if emd.Threshold is None else emd.Threshold,
        chip_px=chip,
        # Inputs that tell the image's size are fed that of one; a side that is fixed fixes the tile.
        is_size_fixed=sizes_of(source, layout) != (None, None) or len(graph.inputs) > 1,
        is_augmented=emd.test_time_augmentation is True,
        is_bounded=False,
        batch=_batch(source, result, decoder, len(graph.inputs)),
        halo=_halo(emd, chip),
        is_activated=True,
        notes=tuple(notes),
        training=training_of(emd, bands),
        detector=Detector(decoder, labels, _overlap(emd, decoder), sizes_of(source, layout)),
    )


def _require_all(
    emd: Emd, graph: Graph, told: Mapping[str, npt.NDArray[Any]] | Decoder | None, channels: int | None
) -> Decoder:
    """Compare a definition with its graph in every respect, and return how the answer becomes objects.

    Raises:
        ModelError: they disagree; all that is wrong is said at once.
    """
    source = image_input(graph)
    layout = layout_of(emd, source)
    count = len(emd.ExtractBands or ()) or channels
    decoders: list[Decoder] = []
    require_all(
        (
            lambda: require_for_run(emd),
            lambda: bands_of(emd, channels, source),
            lambda: chip_of(emd, source, layout, []),
            lambda: scaling_of(emd, count, []) if count else None,
            lambda: decoders.append(told if isinstance(told, Decoder) else choose_decoder(emd, graph, told)),
            lambda: class_table(emd.Classes, decoders[0]) if decoders and emd.Classes else None,
        )
    )
    return decoders[0]


def _batch(source: Tensor, result: Tensor, decoder: Decoder, inputs: int) -> int | None:
    """Return the tiles that a call takes, None for any number.

    Some answers do not tell one image from another, as rows of six without an axis of images; and inputs beside the
    image are fed what one image wants.
    """
    is_flat = len(result.shape) == 2 or result.shape[0] == 1
    is_single = decoder.form in ("torchvision", "cntk faster-rcnn") or inputs > 1
    is_single |= decoder.form == "finished" and result.shape[-1] == FINISHED_COLUMNS and is_flat
    return source.shape[0] or (1 if is_single else None)


def _halo(emd: Emd, chip: tuple[int, int]) -> Halo:
    """Return how far tiles reach beyond their cores: by the definition, else by a quarter of the tile as in ArcGIS."""
    px, origin = (emd.Padding, "Padding") if emd.Padding is not None else (chip[0] // 4, "a quarter of ImageHeight")
    return Halo(px, origin, False, USUAL_STRIDE_PX, 1, False)


def _overlap(emd: Emd, decoder: Decoder) -> float:
    if decoder.is_suppressed:
        return 1.0
    return ARCGIS_OVERLAP if (emd.Framework or "").startswith(LEARN) else USUAL_OVERLAP
