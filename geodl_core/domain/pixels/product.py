"""What a run writes: a raster of class ids, and where asked for one of scores, one band a class."""

from dataclasses import dataclass
from typing import Literal

from geodl_core.domain.classes import ClassEntry, Storage

ProductName = Literal["classification", "probabilities"]
ScoreType = Literal["uint8", "float32"]
SCORE_TYPES: tuple[ScoreType, ...] = ("uint8", "float32")
SCORE_STEPS = 254
"""A score in [0, 1] is stored in uint8 as a whole number of 254ths; 255 is nodata."""


@dataclass(frozen=True, slots=True)
class Product:
    """One raster of a result."""

    name: ProductName
    dtype: str
    samples: int
    """Bands."""
    nodata: float
    halve: Literal["mode", "mean"]
    """How its overviews come about."""
    scale: float = 1.0
    """Meaning = stored value × scale."""


def class_product(storage: Storage) -> Product:
    """Return the raster of class ids."""
    return Product("classification", storage.dtype, 1, storage.nodata, "mode")


def score_product(classes: tuple[ClassEntry, ...], dtype: ScoreType) -> Product:
    """Return the raster of scores, one band a class."""
    if dtype == "uint8":
        return Product("probabilities", "uint8", len(classes), SCORE_STEPS + 1, "mean", 1 / SCORE_STEPS)
    return Product("probabilities", "float32", len(classes), float("nan"), "mean")
