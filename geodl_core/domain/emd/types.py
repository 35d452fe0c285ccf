"""The values and nested documents of an EMD. A ValueError here says what was expected, as a noun."""

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(expected: str, low: float = -math.inf) -> BeforeValidator:
    def check(value: Any) -> int:
        if not _is_number(value) or value != int(value) or value < low:
            raise ValueError(expected)
        return int(value)

    return BeforeValidator(check)


def _real(expected: str, low: float = -math.inf, high: float = math.inf) -> BeforeValidator:
    def check(value: Any) -> float:
        if not _is_number(value) or not low <= value <= high:
            raise ValueError(expected)
        return float(value)

    return BeforeValidator(check)


def _reals(expected: str, count: int | None = None) -> Callable[[Any], tuple[float, ...]]:
    def check(value: Any) -> tuple[float, ...]:
        if not isinstance(value, list | tuple) or not all(map(_is_number, value)):
            raise ValueError(expected)
        if count is not None and len(value) != count:
            raise ValueError(expected)
        return tuple(map(float, value))

    return check


def _as_list(value: Any) -> list[float]:
    return list(_reals("a list of numbers")(value))


def _as_text(value: Any) -> str:
    if isinstance(value, str) or _is_number(value):
        return str(value)
    raise ValueError("text")


def _as_file_name(value: Any) -> str:
    if isinstance(value, str) and not any(character < " " for character in value):
        return value
    raise ValueError("a file name")


def _as_flag(value: Any) -> bool:
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise ValueError("0, 1, true or false")


def _as_band(value: Any) -> int | str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError("a band number from 0 or a band name")


def _as_color(value: Any) -> tuple[int, int, int]:
    expected = "three whole numbers from 0 to 255"
    numbers = _reals(expected, 3)(value)
    if any(number != int(number) or not -1 <= number <= 255 for number in numbers):
        raise ValueError(expected)
    red, green, blue = map(int, numbers)
    return red, green, blue


def _as_text_or_object(value: Any) -> str | dict[str, Any]:
    if isinstance(value, str | dict):
        return value
    raise ValueError("text or an object")


def _as_text_or_number(value: Any) -> str | int | float:
    if isinstance(value, str | int | float) and (isinstance(value, str) or _is_number(value)):
        return value
    raise ValueError("text or a number")


def _as_layout(value: Any) -> str:
    if value in ("NCHW", "NHWC"):
        return str(value)
    raise ValueError("NCHW or NHWC")


def _as_size(value: Any) -> int | tuple[int, int]:
    expected = "a whole number above 0, or two of them"
    numbers = _reals(expected)(value if isinstance(value, list | tuple) else [value])
    if len(numbers) not in (1, 2) or any(number != int(number) or number < 1 for number in numbers):
        raise ValueError(expected)
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else int(numbers[0])


Text = Annotated[str, BeforeValidator(_as_text)]
FileName = Annotated[str, BeforeValidator(_as_file_name)]
Flag = Annotated[bool, BeforeValidator(_as_flag)]
Whole = Annotated[int, _whole("a whole number")]
Pixels = Annotated[int, _whole("a whole number above 0", 1)]
Count = Annotated[int, _whole("a whole number from 0", 0)]
Real = Annotated[float, _real("a number")]
Fraction = Annotated[float, _real("a number from 0 to 1", 0, 1)]
Reals = Annotated[list[float], BeforeValidator(_as_list)]
Range = Annotated[tuple[float, float], BeforeValidator(_reals("two numbers", 2))]
Band = Annotated[int | str, BeforeValidator(_as_band)]
Rgb = Annotated[tuple[int, int, int], BeforeValidator(_as_color)]
Size = Annotated[int | tuple[int, int], BeforeValidator(_as_size)]
TextOrObject = Annotated[str | dict[str, Any], BeforeValidator(_as_text_or_object)]
TextOrNumber = Annotated[str | int | float, BeforeValidator(_as_text_or_number)]
LayoutName = BeforeValidator(_as_layout)


class EmdClass(BaseModel):
    """One entry of `Classes`; the older spelling is `ClassValue`, `ClassName`."""

    model_config = ConfigDict(extra="allow")

    Value: Whole = Field(validation_alias=AliasChoices("Value", "ClassValue"))
    Name: Text = Field(validation_alias=AliasChoices("Name", "ClassName"))
    Color: Rgb | None = None


class BandStatistics(BaseModel):
    """Per-band statistics of a multispectral model: min-max scaling first, then standardisation."""

    model_config = ConfigDict(extra="allow")

    band_min_values: Reals
    band_max_values: Reals
    scaled_mean_values: Reals
    scaled_std_values: Reals
    band_mean_values: Reals | None = None
    band_std_values: Reals | None = None
    scaled_min_values: Reals | None = None
    scaled_max_values: Reals | None = None


class SpatialReference(BaseModel):
    """The CRS of a cell size; without a wkid its unit is unknown."""

    model_config = ConfigDict(extra="allow")

    wkid: Whole | None = None
    latestWkid: Whole | None = None  # noqa: N815


class CellSize(BaseModel):
    """A cell size seen in training, in units of its spatial reference."""

    model_config = ConfigDict(extra="allow")

    x: Real
    y: Real
    spatialReference: SpatialReference | None = None  # noqa: N815


class Parameters(BaseModel):
    """What rebuilds the network; `mean` and `std` are other tools' way to say how its input is standardised."""

    model_config = ConfigDict(extra="allow")

    backbone: Text | None = None
    backend: Text | None = None
    mean: Reals | None = None
    std: Reals | None = None


class RasterProperties(BaseModel):
    """Of the rasters that training samples were cut from."""

    model_config = ConfigDict(extra="allow")

    RasterCount: Count | None = None
    SensorName: Text | None = None
    BandNames: list[Text] | None = None


class TileStatistics(BaseModel):
    """Of one band over all exported chips."""

    model_config = ConfigDict(extra="allow")

    BandName: Text | None = None
    Min: Real | None = None
    Max: Real | None = None
    Mean: Real | None = None
    StdDev: Real | None = None
