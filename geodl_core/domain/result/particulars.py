"""What one kind of result tells beside what all tell."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geodl_core.domain.classes import ClassEntry
from geodl_core.domain.result.result import Result, class_rows

Asset = tuple[str, str, dict[str, Any]]
"""Key in the Item, name of the file, and what is said of it."""


@dataclass(frozen=True, slots=True)
class Particulars:
    """What an Item tells of one kind of result alone."""

    title: str
    lineage: str
    extensions: tuple[str, ...]
    """Name and version of each that only this kind needs."""
    properties: Mapping[str, Any]
    assets: tuple[Asset, ...]
    """The main one first."""
    further: tuple[Asset, ...]
    """Assets that only some arguments give."""


def class_fields(result: Result) -> list[dict[str, Any]]:
    """Return the classes of a result with their counts and shares (STAC classification extension)."""
    classes = result.provenance.model.classes
    return [_stac_class(entry, row) for entry, row in zip(classes, class_rows(result), strict=True)]


def crs_fields(crs: str) -> dict[str, str | None]:
    """Return `proj:code` of a CRS, null beside `proj:wkt2` where it has none."""
    if re.fullmatch(r"[A-Z]+:\w+", crs):
        return {"proj:code": crs}
    return {"proj:code": None, "proj:wkt2": crs}


def _stac_class(entry: ClassEntry, row: Mapping[str, Any]) -> dict[str, Any]:
    name = re.sub(r"[^0-9A-Za-z_-]+", "-", entry.name).strip("-").lower() or f"class-{entry.value}"
    return {
        "value": entry.value,
        "name": name,
        "title": entry.name,
        "description": entry.name,
        "color_hint": row["color_hint"],
        "count": row["count"],
        "percentage": row["percentage"],
    }
