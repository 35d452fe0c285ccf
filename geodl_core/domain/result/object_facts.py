"""What is known of found objects beside their files."""

from collections.abc import Mapping
from dataclasses import dataclass

from geodl_core.domain.detection.table import Column


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What is known of found objects beside their files."""

    counts: Mapping[int, int]
    """Objects of each class id."""
    columns: tuple[Column, ...]
    geometry_types: tuple[str, ...]
    crs: str
    largest_px: float
    cut: int
    """Objects that were cut where tiles end."""
