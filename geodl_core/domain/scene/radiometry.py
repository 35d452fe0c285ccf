"""From pixel values as stored to the values that a model wants: one scale and one offset a band."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from geodl_core.domain.model.scaling import Scaling
from geodl_core.domain.scene.item import Band, Scene
from geodl_core.domain.scene.sentinel2 import OFFSET, SCALE, OffsetState, offset_state
from geodl_core.errors import ItemError

Kind = Literal["raw", "dn_harmonised", "reflectance"]
UINT8_RANGE = (0.0, 255.0)
REFLECTANCE_RANGE = (0.0, 1.0)
HARMONISED_RANGE = (0.0, 10000.0)
"""Of Sentinel-2's values without the offset: reflectance 0 to 1."""
MOST_REFLECTANCE = 2.0
"""Clouds and glint exceed 1. A model whose statistics lie below was trained on reflectance, not on whole numbers."""
NO_FLOOR = -math.inf


@dataclass(frozen=True, slots=True)
class Radiometry:
    """Model input = max(stored value, floor) × scale + offset, band by band."""

    kind: Kind
    """`raw`: values as stored; `reflectance`: scale and offset of the metadata applied first; `dn_harmonised`:
    Sentinel-2's as before baseline 04.00."""
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    source_range: tuple[float, float] | None
    """What the model's `DataRange` was taken to be mapped from; None where it plays no part."""
    floor: tuple[float, ...] = ()
    """Lesser stored values count as this one; empty where no band has one."""


@dataclass(frozen=True, slots=True)
class Unscaling:
    """What turns a band's stored values into those of a kind."""

    scale: float = 1.0
    offset: float = 0.0
    floor: float = NO_FLOOR
    takes_offset: bool = False
    """Whether Sentinel-2's offset is subtracted."""


@dataclass(frozen=True, slots=True)
class RadiometryChoice:
    """What happens to pixel values, and why."""

    radiometry: Radiometry
    rule: str
    """A sentence that names what decided."""
    unscaling: tuple[Unscaling, ...]
    """Of each band, before what the model itself does to its input."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A band with what is known of its values."""

    band: Band
    dtype: str
    state: OffsetState | None
    physical: tuple[float, float] | None
    """Scale and offset that make reflectance, or whatever else is measured; None where nothing says them."""


def choose_radiometry(
    scene: Scene,
    bands: Sequence[tuple[Band, str]],
    scaling: Scaling,
    asked: Kind | None,
    asked_range: tuple[float, float] | None,
) -> RadiometryChoice:
    """Decide what happens to pixel values before the network.

    A `DataRange` needs a range to be mapped from, which no published text fixes for all pixel types. It is, in this
    order: the user's, 0–1 for reflectance, 0–10000 for harmonised values, 0–255 for uint8, the range of the Item's
    statistics. Tags of the files that give a scale play no part: the Item speaks for all its sources.

    Args:
        scene: the Item, for flags that overrule its band metadata.
        bands: each band with the NumPy name of its type.
        scaling: what the model wants.
        asked: the user's choice; by default reflectance where all bands have a scale and the model a `DataRange`, or
            statistics of reflectance while the bands hold whole numbers; else raw, and raw where the range is one
            that Sentinel-2's reflectance never has.
        asked_range: the user's source range, in the units of the chosen kind.

    Raises:
        ItemError: the choice cannot be made from what the Item says.
    """
    sources = [_source(scene, band, dtype) for band, dtype in bands]
    kind = asked or _default_kind(scaling, sources, asked_range)
    unscaling = _unscaling(scene, sources, kind)
    if asked_range and not scaling.data_range:
        raise ItemError("--source-range: the model has no DataRange that values could be mapped to; leave it out")
    source_range = _source_range(scene, bands, kind, asked_range) if scaling.data_range else None
    scale = np.array([each.scale for each in unscaling])
    offset = np.array([each.offset for each in unscaling])
    for factor, summand in _model_steps(scaling, source_range, len(bands)):
        scale, offset = scale * factor, offset * factor + summand
    floor = tuple(each.floor for each in unscaling)
    radiometry = Radiometry(
        kind,
        tuple(map(float, scale)),
        tuple(map(float, offset)),
        source_range,
        () if all(value == NO_FLOOR for value in floor) else floor,
    )
    return RadiometryChoice(radiometry, _rule(sources, kind), unscaling)


def _default_kind(scaling: Scaling, sources: Sequence[_Source], asked_range: tuple[float, float] | None) -> Kind:
    # Sentinel-2's reflectance never comes to a range such as 0 to 10000: that is one of stored values.
    is_of_stored = asked_range is not None and asked_range[1] > MOST_REFLECTANCE and any(s.state for s in sources)
    if is_of_stored or not all(source.physical for source in sources):
        return "raw"
    if scaling.data_range:
        return "reflectance"
    spans = zip(scaling.minimum, scaling.maximum, scaling.mean, scaling.std, strict=True)
    # Most of the values lie below; whole numbers that matter go beyond.
    high = max((low + (top - low) * (mean + 2 * std) for low, top, mean, std in spans), default=math.inf)
    is_whole = all(np.dtype(source.dtype).kind in "iu" for source in sources)
    return "reflectance" if high <= MOST_REFLECTANCE and is_whole else "raw"


def _source(scene: Scene, band: Band, dtype: str) -> _Source:
    """Return a band with STAC's scale and offset, those of Sentinel-2's rules above them."""
    state = offset_state(scene, band, dtype)
    if band.scale == 0:
        raise ItemError(f"Item {scene.id}: asset {band.asset}: expected a scale other than 0")
    if state is None:
        is_bare = band.scale is None and band.offset is None
        scale = 1.0 if band.scale is None else band.scale
        return _Source(band, dtype, None, None if is_bare else (scale, band.offset or 0.0))
    scale = SCALE if band.scale is None else band.scale
    held = band.offset or -OFFSET * scale
    return _Source(band, dtype, state, (scale, held if state.is_held else 0.0))


def _unscaling(scene: Scene, sources: Sequence[_Source], kind: Kind) -> tuple[Unscaling, ...]:
    if kind == "raw":
        return (Unscaling(),) * len(sources)
    if kind == "reflectance":
        bare = ", ".join(source.band.asset for source in sources if source.physical is None)
        if bare:
            raise ItemError(f"Item {scene.id}: reflectance needs a scale, which its metadata lacks for {bare}")
        return tuple(
            Unscaling(*source.physical, takes_offset=source.state is not None and source.state.is_held)
            for source in sources
            if source.physical is not None
        )
    if all(source.state is None for source in sources):
        raise ItemError(
            f"Item {scene.id}: dn_harmonised is for Sentinel-2: expected its platform or constellation, bands of "
            "stored whole numbers, and a processing baseline or flag that tells whether they hold the offset",
            hint="values of other sensors are taken raw, or as reflectance",
        )
    held = Unscaling(offset=-OFFSET, floor=OFFSET, takes_offset=True)
    return tuple(held if source.state and source.state.is_held else Unscaling() for source in sources)


def _rule(sources: Sequence[_Source], kind: Kind) -> str:
    """Return the sentence that names what decided, alike bands together."""
    said: dict[str, list[str]] = {}
    for source in sources:
        said.setdefault(_reason(source, kind), []).append(source.band.asset)
    if len(said) == 1:
        return next(iter(said))
    return "; ".join(f"{', '.join(dict.fromkeys(assets))}: {reason}" for reason, assets in said.items())


def _reason(source: _Source, kind: Kind) -> str:
    state = source.state
    if kind == "raw":
        if state is None:
            return "values as stored"
        return f"values as stored, {'with' if state.is_held else 'without'} Sentinel-2's offset of 1000 ({state.why})"
    if state is None:
        return (
            "scale and offset of the Item" if kind == "reflectance" else "values as stored: not of Sentinel-2's bands"
        )
    scaled = f"scale {source.physical[0]:g}" if kind == "reflectance" and source.physical else "no scale"
    deed = "Sentinel-2's offset of 1000 is subtracted" if state.is_held else "no offset is subtracted"
    clipped = ", what is lower becomes 0" if state.is_held and kind == "dn_harmonised" else ""
    return f"{scaled}, {deed}{clipped} ({state.why})"


def _source_range(
    scene: Scene, bands: Sequence[tuple[Band, str]], kind: Kind, asked: tuple[float, float] | None
) -> tuple[float, float]:
    if asked is not None:
        if not (math.isfinite(asked[0]) and math.isfinite(asked[1]) and asked[0] < asked[1]):
            raise ItemError(f"--source-range: expected MIN below MAX, found {asked[0]:g},{asked[1]:g}")
        return asked
    if kind != "raw":
        return REFLECTANCE_RANGE if kind == "reflectance" else HARMONISED_RANGE
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
        hint="an Item with scale and offset tells it (geodl item make --scale 0.0001 --offset -0.1 for Sentinel-2 "
        "since 2022); or give the range that the model's DataRange means with --source-range MIN,MAX",
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
