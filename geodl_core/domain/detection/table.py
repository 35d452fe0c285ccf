"""What goes with detections into a file of features, and what is known of the file then."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import pyproj
import pyproj.exceptions

from geodl_core.domain.classes import ClassEntry
from geodl_core.domain.grid import WGS84, Grid
from geodl_core.errors import InputError

BoundingBox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class VectorSpec:
    """Where detections lie, where they come from, and which columns are wanted.

    Raises:
        InputError: the CRS or the time cannot be read, or the tolerance is no distance.
    """

    grid: Grid
    """Of the detections' pixels."""
    classes: tuple[ClassEntry, ...]
    """For names; a class id without an entry is named by its number."""
    source_id: str
    """Of the Item that was looked at."""
    job_id: str
    model: str
    version: str | None = None
    """Of the model."""
    source_datetime: str | None = None
    """RFC 3339; None for sources of an interval. A time without an offset is UTC."""
    crs: str = WGS84
    """Of the features; any text that pyproj reads as a geographic or projected CRS."""
    geometry: Literal["polygon", "point"] = "polygon"
    """point: the centres of the boxes."""
    with_area: bool = False
    """Whether there is a column `area_m2`, of the outlines on the ellipsoid."""
    simplify_px: float = 0.0
    """How far, in pixels, outlines may move when points are left out; boxes, oriented ones too, stay as they are."""
    arcgis_fields: bool = False
    """Whether class id, name and score are called `Classvalue`, `Class` and `Confidence` (0–100), as ArcGIS does."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.simplify_px) and self.simplify_px >= 0):
            raise InputError(f"simplification: expected a distance of 0 pixels or more, found {self.simplify_px}")
        moment_of(self)
        require_crs(self.crs)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table of objects."""

    name: str
    type: str
    """As Arrow calls it, however it is stored."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class VectorFacts:
    """What is in a file of detections."""

    rows: int
    columns: tuple[Column, ...]
    geometry_types: tuple[str, ...]
    """Sorted; none where there are no rows."""
    crs: str
    """As asked for, unless the format holds another one only."""
    bbox: BoundingBox | None
    """xmin, ymin, xmax, ymax in the CRS; west > east where it crosses the antimeridian; None without rows."""
    row_groups: int | None
    """None for formats without."""
    counts: Mapping[int, int]
    """Rows of each class id that occurs."""


def require_crs(text: str, called: str = "output CRS") -> None:
    """Make sure that features can be placed in a CRS.

    Raises:
        InputError: it is none that PROJ knows, or neither geographic nor projected.
    """
    try:
        crs = pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError as error:
        raise InputError(
            f"{called}: expected one that PROJ knows, found {text[:60]!r}", hint="write it as EPSG:32633"
        ) from error
    if not (crs.is_geographic or crs.is_projected):
        raise InputError(f"{called}: expected a geographic or projected one, found {crs.name} ({crs.type_name})")


def moment_of(spec: VectorSpec) -> datetime | None:
    """Return when the source was taken, in UTC.

    Raises:
        InputError: the text is no time.
    """
    if spec.source_datetime is None:
        return None
    try:
        moment = datetime.fromisoformat(spec.source_datetime.upper())
    except ValueError as error:
        raise InputError(f"source datetime: expected RFC 3339, found {spec.source_datetime[:60]!r}") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
