"""From pixel values as stored to the values that a model wants: one scale and one offset a band."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from geodl_core.domain.item import Band, Scene
from geodl_core.domain.model.scaling import Scaling
from geodl_core.errors import ItemError

Kind = Literal["raw", "reflectance"]
UINT8_RANGE = (0.0, 255.0)
REFLECTANCE_RANGE = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Radiometry:
    """Model input = stored value × scale + offset, band by band."""

    kind: Kind
    """`raw`: values as stored; `reflectance`: STAC's scale and offset applied first."""
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    source_range: tuple[float, float] | None
    """What the model's `DataRange` was taken to be mapped from; None where it plays no part."""


def choose_radiometry(
    scene: Scene,
    bands: Sequence[tuple[Band, str]],
    scaling: Scaling,
    asked: Kind | None,
    asked_range: tuple[float, float] | None,
) -> Radiometry:
    """Decide what happens to pixel values before the network.

    A `DataRange` needs a range to be mapped from, which no published text fixes for all pixel types. It is, in this
    order: the user's, 0–1 for reflectance, 0–255 for uint8, the range of the Item's statistics.

    Args:
        scene: the Item, for flags that overrule its band metadata.
        bands: each band with the NumPy name of its type.
        scaling: what the model wants.
        asked: the user's choice; by default reflectance where the model has a `DataRange` and the Item a scale.
        asked_range: the user's source range, in the units of the chosen kind.

    Raises:
        ItemError: the choice cannot be made from what the Item says.
    """
    unscale = [_unscale(scene, band) for band, _ in bands]
    kind = asked or ("reflectance" if scaling.data_range and all(unscale) else "raw")
    if kind == "reflectance" and not all(unscale):
        names = ", ".join(band.asset for (band, _), pair in zip(bands, unscale, strict=True) if pair is None)
        raise ItemError(f"Item {scene.id}: reflectance needs a scale, which its metadata lacks for {names}")
    pairs = [pair if kind == "reflectance" and pair else (1.0, 0.0) for pair in unscale]
    if asked_range and not scaling.data_range:
        raise ItemError("--source-range: the model has no DataRange that values could be mapped to; leave it out")
    source_range = _source_range(scene, bands, kind, asked_range) if scaling.data_range else None
    steps = _model_steps(scaling, source_range, len(bands))
    scale = np.array([pair[0] for pair in pairs])
    offset = np.array([pair[1] for pair in pairs])
    for factor, summand in steps:
        scale, offset = scale * factor, offset * factor + summand
    return Radiometry(kind, tuple(map(float, scale)), tuple(map(float, offset)), source_range)


def _unscale(scene: Scene, band: Band) -> tuple[float, float] | None:
    """Return STAC's (scale, offset), or None where the Item gives neither."""
    if band.scale is None and band.offset is None:
        return None
    scale = 1.0 if band.scale is None else band.scale
    if scale == 0:
        raise ItemError(f"Item {scene.id}: asset {band.asset}: expected a scale other than 0")
    # Earth Search subtracts the offset from the pixels of some Items and leaves it in their metadata.
    if scene.properties.get("earthsearch:boa_offset_applied") is True:
        return scale, 0.0
    return scale, band.offset or 0.0


def _source_range(
    scene: Scene, bands: Sequence[tuple[Band, str]], kind: Kind, asked: tuple[float, float] | None
) -> tuple[float, float]:
    if asked is not None:
        if not (math.isfinite(asked[0]) and math.isfinite(asked[1]) and asked[0] < asked[1]):
            raise ItemError(f"--source-range: expected MIN below MAX, found {asked[0]:g},{asked[1]:g}")
        return asked
    if kind == "reflectance":
        return REFLECTANCE_RANGE
    if all(dtype == "uint8" for _, dtype in bands):
        return UINT8_RANGE
    ranges = [band.value_range for band, _ in bands if band.value_range is not None]
    if len(ranges) == len(bands):
        low, high = min(pair[0] for pair in ranges), max(pair[1] for pair in ranges)
        if low < high:
            return low, high
    dtypes = ", ".join(sorted({dtype for _, dtype in bands}))
    raise ItemError(
        f"Item {scene.id}: the model wants its DataRange, but nothing says which range of the {dtypes} values "
        "is mapped to it: the bands have no scale and no statistics",
        hint="give the range of the pixel values with --source-range MIN,MAX, such as 0,10000",
    )


def _model_steps(
    scaling: Scaling, source_range: tuple[float, float] | None, count: int
) -> list[tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]]:
    """Return (factor, summand) pairs to apply one after the other, each of length `count`."""
    steps = []
    if scaling.data_range and source_range:
        (low, high), (new_low, new_high) = source_range, scaling.data_range
        factor = (new_high - new_low) / (high - low)
        steps.append((np.full(count, factor), np.full(count, new_low - low * factor)))
    if scaling.minimum:
        low_, high_ = np.array(scaling.minimum), np.array(scaling.maximum)
        steps.append((1 / (high_ - low_), -low_ / (high_ - low_)))
        mean, std = np.array(scaling.mean), np.array(scaling.std)
        steps.append((1 / std, -mean / std))
    return steps
