"""Footprints of Items of anybody."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shapely.geometry.base import BaseGeometry

from geodl_core.domain.area.plane import is_wrapping, plane_geometry


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where an Item lies, or why that cannot be told."""

    geometry: BaseGeometry | None
    """Valid, in degrees, (longitude, latitude)."""
    problem: str = ""


def footprint_of(item: Mapping[str, Any]) -> Footprint:
    """Return where an Item of anybody lies; nothing that stands in it raises an error."""
    geojson = item.get("geometry")
    if geojson is None:
        return Footprint(None, "the Item has no geometry")
    try:
        return Footprint(plane_geometry(geojson, wraps=is_wrapping(item.get("bbox"))))
    except ValueError as error:
        return Footprint(None, f"geometry: {error}")
