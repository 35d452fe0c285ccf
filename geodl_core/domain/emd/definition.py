"""The Esri model definition: JSON text in, a checked document out, unknown keys kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from geodl_core.domain.emd.quirks import Mender, place_of, shortened
from geodl_core.domain.emd.text import KeyPath, Place, Repair, parse_tolerant, spell
from geodl_core.domain.emd.types import (
    Band,
    BandStatistics,
    CellSize,
    Count,
    EmdClass,
    FileName,
    Flag,
    Fraction,
    LayoutName,
    Parameters,
    Pixels,
    Range,
    RasterProperties,
    Size,
    Text,
    TextOrNumber,
    TextOrObject,
    TileStatistics,
)
from geodl_core.errors import ModelError

__all__ = [
    "Emd",
    "EmdClass",
    "EmdReading",
    "missing_for_run",
    "parse_emd",
    "read_emd",
    "read_for_run",
    "require_for_run",
    "task_of",
    "well_known_bands",
]

MAX_PROBLEMS = 100
"""So many are said one by one."""
PLACEHOLDER = "e.g. "
"""How Export Training Data marks values that somebody still has to fill in."""
NOT_NEEDED = ("Framework", "ModelConfiguration", "ModelName", "Version", "Description", "PerProcessGPUMemoryFraction")
"""Keys that a run does without, so that their placeholders may stay."""
NEEDED_KEYS = ("ModelFile", "ModelType", "Classes")
WELL_KNOWN_BANDS = "WellKnownBandNames"
TASKS = (
    "ImageClassification",
    "ObjectDetection",
    "ObjectClassification",
    "InstanceDetection",
    "ChangeDetection",
    "ObjectTracking",
    "CycleGAN",
    "Pix2PixHD",
)
_TASK_NAMES = {task.lower(): task for task in TASKS} | {"classifypixels": "ImageClassification"}
_EXPECTED = {
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "list_type": "a list",
}


class Emd(BaseModel):
    """The keys of an EMD whose type is documented; all others are kept as extras.

    Absent means None, for `Classes` empty; Esri's defaults belong to those who act on a key. The order is that of
    the documentation, in which a definition is written.
    """

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    Framework: Text | None = None
    ModelConfiguration: TextOrObject | None = None
    ModelFile: FileName | None = None
    ModelType: Text | None = None
    InferenceFunction: FileName | None = None
    ImageHeight: Pixels | None = None
    ImageWidth: Pixels | None = None
    ExtractBands: list[Band] | None = None
    Classes: Annotated[list[EmdClass], BeforeValidator(lambda value: [] if value is None else value)] = Field(
        default_factory=list
    )
    DataRange: Range | None = None
    BatchSize: Pixels | None = None
    ModelPadding: Count | None = None
    Padding: Count | None = None
    Threshold: Fraction | None = None
    fixedTileSize: Flag | None = None  # noqa: N815
    CropSizeFixed: Flag | None = None
    BlackenAroundFeature: Flag | None = None
    ImageSpaceUsed: Text | None = None
    PerProcessGPUMemoryFraction: Fraction | None = None
    ModelName: Text | None = None
    Version: Text | None = None
    Description: Text | None = None

    # Written by training in ArcGIS
    ModelParameters: Parameters | None = None
    backbone: Text | None = None
    backend: Text | None = None
    ModelConfigurationFile: FileName | None = None
    ModelFileConfigurationClass: Text | None = None
    ModelFormat: Annotated[Literal["NCHW", "NHWC"], LayoutName] | None = None
    ArcGISLearnVersion: Text | None = None
    SupportsVariableTileSize: Flag | None = None
    IsEdgeDetection: Flag | None = None
    IsMultispectral: Flag | None = None
    NormalizationStats: BandStatistics | None = None
    NormalizationStats_b: BandStatistics | None = None
    NormalizationStats_c: BandStatistics | None = None
    ignore_mapped_class: list[Any] | None = None
    resize_to: Size | None = None
    LearningRate: TextOrNumber | None = None
    accuracy: TextOrNumber | None = None
    per_class_metrics: TextOrObject | None = None
    """JSON within a string, as a rule; kept as it is."""
    test_time_augmentation: Flag | None = None
    ModelVersion: Text | None = None
    RoadOrientation: dict[str, Any] | None = None
    MetaDataMode: Text | None = None
    MinCellSize: CellSize | None = None
    MaxCellSize: CellSize | None = None

    # Written by Export Training Data
    IsMultidimensional: Flag | None = None
    CropTileMode: Text | None = None
    InputRastersProps: RasterProperties | None = None
    AllTilesStats: list[TileStatistics] | None = None
    InputRastersProps2: RasterProperties | None = None
    AllTilesStats2: list[TileStatistics] | None = None

    # geodl's own
    PreprocessingModel: FileName | None = None
    """An ONNX file beside the EMD that is run before the network."""


@dataclass(frozen=True, slots=True)
class EmdReading:
    """A definition and what had to be done to read it."""

    emd: Emd
    repairs: tuple[Repair, ...]
    """In the order of the text."""
    placeholders: Mapping[str, str]
    """Keys that still hold an export template's "e.g. …", with that text; in `emd` they are absent."""


def read_emd(text: str | bytes, origin: str, is_strict: bool = False) -> EmdReading:
    """Read an EMD for inspection: what is missing or still to be filled in is no error.

    Args:
        text: JSON, UTF-8 where bytes.
        origin: what to call it in errors, such as the file's name.
        is_strict: refuse whatever needs a repair.

    Raises:
        ModelError: no JSON object even with repairs, values of the wrong type, or a repair where none is wanted;
            each with its line and key, all of these at once.
    """
    reading, problems = _read(text, origin)
    return _accepted(reading, problems, origin, is_strict)


def read_for_run(text: str | bytes, origin: str, is_strict: bool = False) -> EmdReading:
    """Read an EMD to run it: as `read_emd`, but placeholders where a run needs values are an error too.

    Raises:
        ModelError: as for `read_emd`; or placeholders that are still to be filled in.
    """
    reading, problems = _read(text, origin)
    left = [key for key in reading.placeholders if key not in NOT_NEEDED]
    if left:
        placeholders = ", ".join(reading.placeholders)
        found = f"; {_in_order(problems)}" if problems else ""
        raise ModelError(
            f"{origin}: still holds the placeholders of an export template in {placeholders}{found}",
            hint='replace every value that begins with "e.g. " by what the model needs',
        )
    return _accepted(reading, problems, origin, is_strict)


def parse_emd(text: str | bytes, origin: str) -> Emd:
    """Return the definition that `read_for_run` reads."""
    return read_for_run(text, origin).emd


def missing_for_run(emd: Emd) -> tuple[str, ...]:
    """Return the keys that a run needs and the definition lacks."""
    return tuple(key for key in NEEDED_KEYS if getattr(emd, key) in (None, []))


def require_for_run(emd: Emd) -> None:
    """Refuse a definition that lacks what a run needs.

    Raises:
        ModelError: names all keys that are missing.
    """
    if missing := missing_for_run(emd):
        raise ModelError("; ".join(f"the key {key} is missing or empty" for key in missing))


def task_of(emd: Emd) -> str | None:
    """Return `ModelType` in its documented spelling; what is not documented as it stands."""
    return None if emd.ModelType is None else _TASK_NAMES.get(emd.ModelType.strip().lower(), emd.ModelType)


def well_known_bands(emd: Emd) -> tuple[str, ...]:
    """Return the band names that a template lists; the key's name goes on with an explanation."""
    for key, value in (emd.model_extra or {}).items():
        if key.startswith(WELL_KNOWN_BANDS) and isinstance(value, list):
            return tuple(map(str, value))
    return ()


def _read(text: str | bytes, origin: str) -> tuple[EmdReading, list[tuple[Place, str]]]:
    """Return the reading and what is wrong; where something is, the definition is an empty one."""
    parsed = parse_tolerant(text, origin)
    mender = Mender(dict(parsed.document), parsed.positions, Emd.model_fields)
    mender.mend()
    fields = {key: mender.document.get(key) for key in Emd.model_fields}
    placeholders = {key: str(value) for key, value in fields.items() if _is_placeholder(value)}
    document = {key: value for key, value in mender.document.items() if key not in placeholders}
    repairs = sorted((*parsed.repairs, *mender.repairs), key=lambda repair: (repair.line, repair.column))
    problems: list[tuple[Place, str]] = []
    try:
        emd = Emd.model_validate(document)
    except ValidationError as error:
        emd = Emd()
        problems = _problems(error, mender.positions)
    return EmdReading(emd, tuple(repairs), placeholders), problems


def _accepted(reading: EmdReading, problems: list[tuple[Place, str]], origin: str, is_strict: bool) -> EmdReading:
    """Return the reading, or refuse it for all that is wrong with it."""
    is_refused = is_strict and bool(reading.repairs)
    if is_refused:
        problems = problems + [(Place(repair.line, repair.column), repair.message) for repair in reading.repairs]
    if problems:
        hint = "a strict reading takes nothing that needs a repair" if is_refused else None
        raise ModelError(f"{origin}: {_in_order(problems)}", hint)
    return reading


def _is_placeholder(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(PLACEHOLDER)


def _problems(error: ValidationError, positions: Mapping[KeyPath, Place]) -> list[tuple[Place, str]]:
    """Say the first problems of the text one by one, and how many follow."""
    placed = [(place_of(positions, detail["loc"]), detail) for detail in error.errors(include_url=False)]
    placed.sort(key=lambda entry: (entry[0].line, entry[0].column))
    problems = [(place, _problem(detail)) for place, detail in placed[:MAX_PROBLEMS]]
    if rest := placed[MAX_PROBLEMS:]:
        problems.append((rest[0][0], f"from here on {len(rest)} more"))
    return problems


def _problem(detail: Any) -> str:
    path: KeyPath = detail["loc"]
    if detail["type"] == "missing":
        return f"the key {spell(path)} is missing"
    expected = detail.get("ctx", {}).get("error") or _EXPECTED.get(detail["type"]) or detail["msg"]
    return f"{spell(path)}: expected {expected}, found {shortened(detail['input'])}"


def _in_order(problems: list[tuple[Place, str]]) -> str:
    """Say every problem once, in the order of the text."""
    ordered = sorted(problems, key=lambda problem: (problem[0].line, problem[0].column))
    return "; ".join(dict.fromkeys(f"line {place.line}: {message}" for place, message in ordered))
