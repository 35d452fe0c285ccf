"""The Esri model definition: JSON text in, a checked document out, unknown keys kept."""

import json
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from geodl_core.errors import ModelError

PLACEHOLDER = "e.g. "
"""How Export Training Data marks values that somebody still has to fill in."""


def _to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _to_flag(value: Any) -> Any:
    return bool(value) if value in (0, 1) else value


Text = Annotated[str, BeforeValidator(_to_text)]
Flag = Annotated[bool, BeforeValidator(_to_flag)]
Byte = Annotated[int, Field(ge=-1, le=255)]
"""-1 is how an export template says that a colour was never chosen."""


class EmdClass(BaseModel):
    """One entry of `Classes`; the older spelling is `ClassValue`, `ClassName`."""

    model_config = ConfigDict(extra="allow")

    Value: int = Field(validation_alias=AliasChoices("Value", "ClassValue"))
    Name: Text = Field(validation_alias=AliasChoices("Name", "ClassName"))
    Color: tuple[Byte, Byte, Byte] | None = None


class BandStatistics(BaseModel):
    """Per-band statistics of a multispectral model: min-max scaling first, then standardisation."""

    model_config = ConfigDict(extra="allow")

    band_min_values: list[float]
    band_max_values: list[float]
    scaled_mean_values: list[float]
    scaled_std_values: list[float]


class Emd(BaseModel):
    """The keys of an EMD that geodl acts on; all others are kept as extras."""

    model_config = ConfigDict(extra="allow", frozen=True)

    Framework: str | None = None
    ModelConfiguration: str | dict[str, Any] | None = None
    ModelName: Text | None = None
    Version: Text | None = None
    ModelVersion: Text | None = None
    Description: str | None = None
    ModelFile: str
    ModelType: str
    ModelFormat: Literal["NCHW", "NHWC"] | None = None
    InferenceFunction: str | None = None
    ImageHeight: int | None = Field(default=None, gt=0)
    ImageWidth: int | None = Field(default=None, gt=0)
    ExtractBands: list[int | str] | None = None
    DataRange: tuple[float, float] | None = None
    NormalizationStats: BandStatistics | None = None
    IsMultispectral: Flag | None = None
    BatchSize: int | None = Field(default=None, gt=0)
    ModelPadding: int | None = Field(default=None, ge=0)
    Padding: int | None = Field(default=None, ge=0)
    Threshold: float | None = Field(default=None, ge=0, le=1)
    SupportsVariableTileSize: Flag | None = None
    Classes: list[EmdClass] = Field(default_factory=list)


def parse_emd(text: str | bytes, origin: str) -> Emd:
    """Read an EMD from its JSON text.

    Args:
        text: JSON, UTF-8 where bytes; a byte-order mark is accepted.
        origin: what to call it in errors, such as the file's name.

    Raises:
        ModelError: not JSON (with line and column), not an object, placeholders left in, or keys that are missing
            or of the wrong type; all of these at once.
    """
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
        document = json.loads(decoded)
    except UnicodeDecodeError as error:
        raise ModelError(f"{origin}: expected JSON text in UTF-8, found other bytes at {error.start}") from error
    except RecursionError as error:
        raise ModelError(f"{origin}: expected a model definition, found JSON nested too deeply") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ModelError(f"{origin}: expected JSON, found at {where}: {error.msg}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{origin}: expected a JSON object, found {type(document).__name__}")
    placeholders = [key for key in Emd.model_fields if str(document.get(key, "")).startswith(PLACEHOLDER)]
    if placeholders:
        raise ModelError(
            f"{origin}: still holds the placeholders of an export template in {', '.join(placeholders)}",
            hint='replace every value that begins with "e.g. " by what the model needs',
        )
    try:
        return Emd.model_validate(document)
    except ValidationError as error:
        raise ModelError(f"{origin}: {_all_problems(error)}") from error


def _all_problems(error: ValidationError) -> str:
    """Say every problem in one line, each as `key: what was expected, found …`."""
    problems: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        key = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "missing":
            problems.setdefault(key, f"the key {key} is missing")
        else:
            problems.setdefault(key, f"{key}: {detail['msg']}, found {_shortened(detail['input'])}")
    return "; ".join(problems.values())


def _shortened(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
