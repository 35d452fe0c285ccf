"""What an order may say of a run, as a document: the options of `geodl run`, by the same names, from JSON or YAML."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from geodl_core.domain.area.area import read_area
from geodl_core.domain.place.href import require_public
from geodl_core.domain.run.complaints import ARGUMENT, complaints
from geodl_core.errors import InputError, ItemError

SAME = (
    *("pad", "radiometry", "cell_size", "crs", "snap", "resampling", "max_object", "formats", "compress", "precision"),
    *("tile_memory", "shards", "strict", "aoi"),
)
"""Options that are written in a document as on the command line."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=ARGUMENT)]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class RunOptions(BaseModel):
    """Options of a run. Unknown names are refused. None leaves the choice to the model and the scene."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    arguments: Mapping[Name, bool | int | float | Word] = Field(default_factory=dict)
    """Of the model, as `--arg`: `threshold`, `padding`, `tile_size`, `batch_size` and its own."""
    bands: Mapping[Name, Name] = Field(default_factory=dict)
    """Wanted band → asset of the Item."""
    masks: Mapping[Name, tuple[int | Word, ...]] = Field(default_factory=dict)
    """Asset → values, or names of classes or bits, under which the result is nodata."""
    aoi: str | None = Field(default=None, max_length=8_000_000)
    """GeoJSON of `domain.area.area`, or W,S,E,N in degrees: outside it the result is nodata."""
    pad: Literal["network", "reflect", "edge", "constant"] | None = None
    radiometry: Literal["raw", "dn_harmonised", "reflectance"] | None = None
    source_range: tuple[float, float] | None = None
    cell_size: Word | None = None
    crs: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    snap: Annotated[str, Field(min_length=1, max_length=2_000)] | None = None
    """Public URL of a raster."""
    resampling: Literal["nearest", "bilinear", "cubic"] | None = None
    max_object: Word | None = None
    formats: tuple[Literal["parquet", "gpkg", "geojson", "fgb"], ...] = ()
    compress: Literal["deflate", "zstd", "lzw"] | None = None
    precision: Literal["fp32", "fp16"] | None = None
    tile_memory: Annotated[int, Field(ge=16 << 20, le=1 << 40)] | None = None
    """Bytes."""
    shards: Annotated[int, Field(ge=1, le=100_000)] | None = None
    strict: bool = False

    @field_validator("aoi", mode="before")
    @classmethod
    def _area(cls, value: Any) -> Any:
        return None if value is None else normal_area(value)

    @field_validator("snap")
    @classmethod
    def _public(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                require_public(value, "snap")
            except ItemError as error:
                raise ValueError(error.message) from error
        return value


def normal_area(value: Any) -> str:
    """Return an area of interest, as text or as GeoJSON, in the form of `domain.area.area`.

    Raises:
        ValueError: it is none.
    """
    try:
        return read_area(value if isinstance(value, str) else json.dumps(value)).geojson
    except InputError as error:
        raise ValueError(error.message) from error


def read_options(document: Any, place: str) -> RunOptions:
    """Read the options of a run from a document.

    Args:
        document: from JSON or YAML.
        place: what it is called in errors.

    Raises:
        InputError: an option that there is not, or of another type or domain.
    """
    try:
        return RunOptions.model_validate({} if document is None else document)
    except ValidationError as error:
        raise InputError(complaints(error, place, RunOptions)) from error


def options_json(options: RunOptions) -> dict[str, Any]:
    """Return the options that say something, for JSON: the same options give the same document."""
    said: dict[str, Any] = options.model_dump(mode="json", exclude_defaults=True)
    return {name: said[name] for name in sorted(said)}


def command_options(options: RunOptions) -> dict[str, Any]:
    """Return the options as those of the command line are called and written, for `read_job`."""
    said = dict(options)
    return {
        **{name: said[name] for name in SAME},
        "arguments": tuple(f"{name}={_text(value)}" for name, value in options.arguments.items()),
        "bands": tuple(f"{name}={value}" for name, value in options.bands.items()),
        "masks": tuple(f"{name}={','.join(map(str, values))}" for name, values in options.masks.items()),
        "source_range": None if options.source_range is None else ",".join(map(repr, options.source_range)),
        "mosaic": None,
    }


def _text(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
