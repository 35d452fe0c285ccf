"""Class ids: how they are stored, which value means nodata, and how a model's class indices become them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geodl_core.errors import ModelError

STORED_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32")
USUAL_NODATA = (255, 65535)


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """One class of a model."""

    value: int
    """The class id: what is stored in the output (`Value` in the EMD)."""
    name: str
    color: tuple[int, int, int]
    """Red, green, blue in 0–255."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How class ids lie in a raster."""

    dtype: str
    nodata: int
    """A value that is no class id."""


def choose_storage(values: Iterable[int]) -> Storage:
    """Return the smallest type that holds all ids and one free value, and the nodata value in it.

    Unsigned unless an id is negative. Nodata is 255 or 65535 where free, else the largest free value.

    Raises:
        ModelError: no integer type of 32 bits holds the ids.
    """
    ids = set(values)
    for dtype in STORED_TYPES:
        info = np.iinfo(dtype)
        if (min(ids, default=0) < 0) != (info.min < 0):
            continue
        if all(info.min <= value <= info.max for value in ids) and len(ids) < info.max - info.min + 1:
            usual = int(info.max) if info.max in USUAL_NODATA else None
            if usual is not None and usual not in ids:
                return Storage(dtype, usual)
            return Storage(dtype, next(v for v in range(int(info.max), int(info.min) - 1, -1) if v not in ids))
    raise ModelError(f"class values must fit in 32 bits, found {min(ids)} to {max(ids)}")


def lookup_table(indices_to_ids: Sequence[int], storage: Storage) -> npt.NDArray[np.generic]:
    """Return a (K,) array of the storage type that turns class index k into a class id."""
    return np.asarray(indices_to_ids, dtype=storage.dtype)


def default_color(position: int) -> tuple[int, int, int]:
    """Return a colour for the n-th class that has none: hues a golden angle apart, well separated for any count."""
    hue = (position * 0.61803398875 + 0.08) % 1.0
    sector, fraction = divmod(hue * 6, 1.0)
    low, high = 70, 220
    up, down = round(low + (high - low) * fraction), round(high - (high - low) * fraction)
    wheel = (
        (high, up, low),
        (down, high, low),
        (low, high, up),
        (low, down, high),
        (up, low, high),
        (high, low, down),
    )
    return wheel[int(sector)]
