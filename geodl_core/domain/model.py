"""A model as the engine needs it: what an EMD and its ONNX graph say together."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from geodl_core.domain.classes import ClassEntry, default_color
from geodl_core.domain.emd import Emd, EmdClass
from geodl_core.domain.graph import Graph, Tensor
from geodl_core.errors import ModelError

PIXEL_MODEL_TYPES = ("imageclassification", "classifypixels")
BACKGROUND = ClassEntry(0, "Background", (238, 238, 232))
DEFAULT_CHIP_PX = 512
DEFAULT_THRESHOLD = 0.5
USUAL_STRIDE_PX = 32
"""Five halvings, the deepest of the usual encoders; a phase that is a multiple of it suits every shallower one."""

Layout = Literal["NCHW", "NHWC"]
Output = Literal["scores", "mask", "class map"]


@dataclass(frozen=True, slots=True)
class Scaling:
    """What the EMD says of the values that the model wants; empty means pixel values as they are."""

    data_range: tuple[float, float] | None = None
    """The range that the source's range is mapped to."""
    minimum: tuple[float, ...] = ()
    maximum: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    """Of the values after min-max scaling."""
    std: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A pixel-classification model."""

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
    """Above it a mask's score is its class; unused by the other outputs."""
    chip_px: tuple[int, int]
    """Height and width that the definition or the graph names."""
    is_size_fixed: bool
    """Whether the graph takes only `chip_px`."""
    stride_px: int
    """The network's total stride, or a multiple of it: shifting its input by that much shifts its answer."""
    batch: int | None
    """The graph's batch, None where it takes any."""
    halo_px: int
    halo_origin: str
    is_cropping: bool
    """Whether the result lacks the halo already (`ModelPadding`)."""
    notes: tuple[str, ...]
    """What had to be decided, for the run report."""


def make_model(emd: Emd, graph: Graph, fallback_name: str) -> Model:
    """Join an EMD with its graph.

    Args:
        emd: the definition.
        graph: of the file that it names.
        fallback_name: the model's name where the definition gives none.

    Raises:
        ModelError: another kind of model, or the two disagree on channels, size, padding or classes.
    """
    notes: list[str] = []
    _require_pixel_model(emd)
    source, result = _image_tensors(graph)
    bands_wanted = len(emd.ExtractBands) if emd.ExtractBands is not None else None
    layout = _layout(emd, source, bands_wanted)
    channels = source.shape[layout.index("C")]
    bands = _bands(emd, channels, source)
    chip = _chip(emd, source, layout, notes)
    output = _output(result)
    classes, indices_to_ids = _classes(emd, output, _class_count(result, layout, output), notes)
    halo, halo_origin, is_cropping = _halo(emd, chip, (source, result), layout)
    return Model(
        name=slug(emd.ModelName or fallback_name),
        version=emd.Version or emd.ModelVersion,
        digest=model_digest(emd, graph),
        source=source,
        result=result,
        layout=layout,
        output=output,
        bands=bands,
        scaling=_scaling(emd, len(bands)),
        classes=classes,
        indices_to_ids=indices_to_ids,
        threshold=DEFAULT_THRESHOLD if emd.Threshold is None else emd.Threshold,
        chip_px=chip,
        is_size_fixed=None not in _sizes(source, layout),
        stride_px=1 if None not in _sizes(source, layout) else USUAL_STRIDE_PX,
        batch=source.shape[0],
        halo_px=halo,
        halo_origin=halo_origin,
        is_cropping=is_cropping,
        notes=tuple(notes),
    )


def slug(name: str) -> str:
    """Return the name with all but letters, digits, `.`, `_` and `-` replaced, fit for ids, keys and file names."""
    return re.sub(r"[^0-9A-Za-z._-]+", "-", name).strip("-.") or "model"


def model_digest(emd: Emd, graph: Graph) -> str:
    """Return the content hash of a model; spacing and key order of the EMD's text do not matter."""
    try:
        meaning = json.dumps(emd.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), default=str)
    except (ValueError, RecursionError) as error:
        raise ModelError("the definition is nested too deeply") from error
    return hashlib.sha256(f"{graph.digest}\n{meaning}".encode()).hexdigest()


def _require_pixel_model(emd: Emd) -> None:
    if emd.ModelType.lower() not in PIXEL_MODEL_TYPES:
        raise ModelError(
            f"ModelType: expected ImageClassification, found {emd.ModelType}",
            hint="this version runs pixel classification; object detection is not built yet",
        )


def _image_tensors(graph: Graph) -> tuple[Tensor, Tensor]:
    images = [tensor for tensor in graph.inputs if len(tensor.shape) == 4]
    if len(images) != 1 or len(graph.inputs) != 1:
        found = "; ".join(map(str, graph.inputs)) or "none"
        raise ModelError(f"the ONNX graph: expected one input of four dimensions, found {found}")
    result = next((tensor for tensor in graph.outputs if len(tensor.shape) in (3, 4)), None)
    if result is None:
        found = "; ".join(map(str, graph.outputs)) or "none"
        raise ModelError(f"the ONNX graph: expected an output of three or four dimensions, found {found}")
    return images[0], result


def _layout(emd: Emd, source: Tensor, bands_wanted: int | None) -> Layout:
    """Return the layout in which the channel count fits; NCHW where both or none do."""
    if emd.ModelFormat:
        return emd.ModelFormat
    first, last = source.shape[1], source.shape[3]
    if bands_wanted is not None and last == bands_wanted and first != bands_wanted:
        return "NHWC"
    if bands_wanted is None and first is None and last is not None:
        return "NHWC"
    return "NCHW"


def _bands(emd: Emd, channels: int | None, source: Tensor) -> tuple[int | str, ...]:
    if emd.ExtractBands is not None:
        if channels is not None and channels != len(emd.ExtractBands):
            raise ModelError(
                f"ExtractBands names {len(emd.ExtractBands)} bands {emd.ExtractBands}, "
                f"but the ONNX input {source} takes {channels} channels",
                hint="make ExtractBands list as many bands as the network takes, in its order",
            )
        return tuple(emd.ExtractBands)
    if channels is None:
        raise ModelError(f"the key ExtractBands is missing and the ONNX input {source} leaves its channels open")
    return tuple(range(channels))


def _sizes(tensor: Tensor, layout: Layout) -> tuple[int | None, int | None]:
    """Return height and width of a tensor; one of three dimensions is (N, H, W)."""
    if len(tensor.shape) == 3:
        return tensor.shape[1], tensor.shape[2]
    return tensor.shape[layout.index("H")], tensor.shape[layout.index("W")]


def _chip(emd: Emd, source: Tensor, layout: Layout, notes: list[str]) -> tuple[int, int]:
    chip: list[int] = []
    for key, said, fixed in zip(
        ("ImageHeight", "ImageWidth"), (emd.ImageHeight, emd.ImageWidth), _sizes(source, layout), strict=True
    ):
        if said is not None and fixed is not None and said != fixed:
            raise ModelError(f"{key} is {said}, but the ONNX input {source} takes only {fixed}")
        if said is None and fixed is None:
            notes.append(f"{key} is missing and the graph takes any size: {DEFAULT_CHIP_PX} pixels are used")
        chip.append(said or fixed or DEFAULT_CHIP_PX)
    return chip[0], chip[1]


def _output(result: Tensor) -> Output:
    if result.dtype.startswith(("int", "uint")):
        return "class map"
    if len(result.shape) == 3 or 1 in (result.shape[1], result.shape[3]):
        return "mask"
    return "scores"


def _class_count(result: Tensor, layout: Layout, output: Output) -> int | None:
    if output == "scores":
        return result.shape[layout.index("C")]
    return 2 if output == "mask" else None


def _classes(
    emd: Emd, output: Output, count: int | None, notes: list[str]
) -> tuple[tuple[ClassEntry, ...], tuple[int, ...]]:
    """Return the classes and the table from class index to class id (by `Value`, else by position)."""
    classes = tuple(_class_entry(entry, position) for position, entry in enumerate(emd.Classes))
    values = [entry.value for entry in classes]
    if not classes:
        raise ModelError("the key Classes is missing or empty; a classified raster needs Value and Name of each class")
    if len(set(values)) != len(values):
        twice = sorted({value for value in values if values.count(value) > 1})
        raise ModelError(f"Classes: every Value must stand once, found {twice} more than once")
    if output == "class map":
        return classes, tuple(values)
    count = len(classes) if count is None else count
    if set(range(count)) <= set(values):
        return classes, tuple(range(count))
    if count == len(classes):
        notes.append(f"class indices 0–{count - 1} are mapped to Classes by position: their Values are {values}")
        return classes, tuple(values)
    if count == len(classes) + 1 and 0 not in values:
        notes.append("the network has one class more than Classes: index 0 is taken as background, class id 0")
        by_value = set(values) == set(range(1, count))
        return (BACKGROUND, *classes), tuple(range(count)) if by_value else (0, *values)
    raise ModelError(f"the network tells {count} classes apart, but Classes has {len(classes)} with Values {values}")


def _class_entry(entry: EmdClass, position: int) -> ClassEntry:
    color = entry.Color
    if color is None or min(color) < 0:
        color = default_color(position)
    return ClassEntry(entry.Value, entry.Name, color)


def _halo(emd: Emd, chip: tuple[int, int], tensors: tuple[Tensor, Tensor], layout: Layout) -> tuple[int, str, bool]:
    """Return halo, where it comes from, and whether the model crops it itself."""
    source, result = tensors
    lost = [
        None if before is None or after is None else before - after
        for before, after in zip(_sizes(source, layout), _sizes(result, layout), strict=True)
    ]
    if emd.ModelPadding:
        wanted = [2 * emd.ModelPadding] * 2
        if None not in lost and lost != wanted:
            raise ModelError(
                f"ModelPadding is {emd.ModelPadding}, so {wanted[0]} rows and columns should be lost, "
                f"but from {source} to {result} it is {lost}"
            )
        return emd.ModelPadding, "ModelPadding", True
    if None not in lost and any(lost):
        raise ModelError(
            f"the ONNX output {result} is not as large as the input {source}",
            hint="if the network leaves off its border, say so with ModelPadding: (input - output) / 2",
        )
    if emd.Padding is not None:
        return emd.Padding, "Padding", False
    quarter = min(chip) // 4
    return quarter - quarter % USUAL_STRIDE_PX, "a quarter of the chip, as the definition says nothing", False


def _scaling(emd: Emd, count: int) -> Scaling:
    if emd.NormalizationStats is None:
        return Scaling(data_range=emd.DataRange)
    stats = emd.NormalizationStats
    columns: Sequence[list[float]] = (
        stats.band_min_values,
        stats.band_max_values,
        stats.scaled_mean_values,
        stats.scaled_std_values,
    )
    if any(len(column) != count for column in columns):
        lengths = [len(column) for column in columns]
        raise ModelError(f"NormalizationStats: expected {count} values a list, one a band, found {lengths}")
    low, high, mean, std = (tuple(column) for column in columns)
    if any(a >= b for a, b in zip(low, high, strict=True)) or min(std) <= 0:
        raise ModelError("NormalizationStats: expected minimum < maximum and std > 0 in every band")
    return Scaling(None, low, high, mean, std)
