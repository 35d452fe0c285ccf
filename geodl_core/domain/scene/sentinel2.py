"""Sentinel-2's offset: since processing baseline 04.00 stored values are 1000 too high, unless somebody took it off."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from geodl_core.domain.scene.band_names import SENTINEL_2, sentinel2_band
from geodl_core.domain.scene.item import Band, Scene, is_jpeg2000, is_picture

OFFSET = 1000.0
"""Of ESA's BOA_ADD_OFFSET and RADIO_ADD_OFFSET, the same for all bands since 2022-01-25."""
SCALE = 1e-4
"""One over ESA's QUANTIFICATION_VALUE."""
FIRST_WITH_OFFSET = (4, 0)
APPLIED_FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
"""Of Earth Search, versions 1 and 0; true: taken off the pixels of the COGs, whatever the offset of the bands says."""
BASELINES = ("s2:processing_baseline", "sentinel2:processing_baseline", "sentinel:processing_baseline")
PRODUCTS = ("s2:product_uri", "s2:product_id", "sentinel:product_id", "s2:tile_id")
LOCAL_MAJOR = 99
"""Of products that somebody made with Sen2Cor: it says nothing of the offset."""
COLLECTION_1 = "sentinel-2-c1-"
"""How Earth Search's Collection 1 begins: as ESA made it, with the offset."""
DARK = frozenset({"b04", "b11", "b12", "red", "swir16", "swir22"})
DOUBTFUL_BELOW = 800.0
"""Somewhere in a scene red and short-wave infrared reflect next to nothing, which with the offset is about 1000; a
hundredth of all pixels below -0.02 of reflectance is more than noise over water and in shadow makes."""


@dataclass(frozen=True, slots=True)
class OffsetState:
    """Whether a band's stored values hold the offset, and which rule says so."""

    is_held: bool
    why: str
    """The rule, as the part of a sentence that gives a reason."""


def is_sentinel2(scene: Scene) -> bool:
    """Say whether an Item is a scene of Sentinel-2."""
    said = (scene.properties.get("platform"), scene.properties.get("constellation"))
    names = [re.sub(r"[^a-z0-9]", "", str(name).lower()) for name in said if name]
    return any(name.startswith("sentinel2") for name in names) or any(key in scene.properties for key in BASELINES)


def offset_state(scene: Scene, band: Band, dtype: str) -> OffsetState | None:
    """Return whether stored values hold Sentinel-2's offset; None where the rules do not apply or nothing tells.

    In this order: Earth Search's flag, which is right where it is true and speaks of COGs alone; Collection 1; the
    baseline, unless the Item gives a scale without an offset; the Item's offset.

    Args:
        scene: the Item.
        band: one of its bands.
        dtype: NumPy's name of its type.
    """
    if not (is_sentinel2(scene) and _is_reflectance(band, dtype)):
        return None
    flags = {name: scene.properties[name] for name in APPLIED_FLAGS if name in scene.properties}
    applied = next((name for name, value in flags.items() if value is True), None)
    if applied and not is_jpeg2000(band):
        return OffsetState(False, f"{applied} is true: the offset is off the pixels, whatever the bands' metadata says")
    if (scene.collection or "").startswith(COLLECTION_1):
        return OffsetState(True, f"{scene.collection} holds ESA's values")
    return _by_baseline(scene, band, "the flag speaks of the COGs alone, " if applied else "")


def _by_baseline(scene: Scene, band: Band, before: str) -> OffsetState | None:
    baseline = baseline_of(scene)
    if baseline is None:
        if band.offset:
            return OffsetState(True, f"{before}the baseline is not known and the bands' metadata gives an offset")
        return None if band.scale is None else OffsetState(False, "the bands' metadata gives a scale and no offset")
    shown = f"{before}baseline {baseline[0]:02d}.{baseline[1]:02d}"
    if baseline < FIRST_WITH_OFFSET:
        return OffsetState(False, f"{shown} is from before 04.00, the first with an offset")
    if band.scale is not None and not band.offset and not before:
        return OffsetState(False, f"{shown}, but the bands' metadata gives a scale and no offset")
    return OffsetState(True, f"{shown} is 04.00 or later")


def baseline_of(scene: Scene) -> tuple[int, int] | None:
    """Return the processing baseline as (major, minor), from its property or the product's name; None where unknown."""
    properties = scene.properties
    said: list[Any] = [properties.get(key) for key in BASELINES]
    if re.search(r"l1c|l2a", f"{scene.collection} {scene.id}".lower()):
        said.append(properties.get("processing:version"))
    names = [str(properties[key]) for key in PRODUCTS if key in properties] + [scene.id]
    found = [re.fullmatch(r"N?(\d{2})\.?(\d{2})", _two_digits(value)) for value in said if value is not None]
    found += [re.search(r"_N(\d{2})\.?(\d{2})(?![0-9])", name) for name in names]
    numbers = [(int(match[1]), int(match[2])) for match in found if match]
    return next((pair for pair in numbers if pair[0] != LOCAL_MAJOR), None)


def is_dark(band: Band) -> bool:
    """Say whether a band is one in which some of every scene is dark: red or short-wave infrared."""
    return bool({sentinel2_band(name) or name for name in (*band.names, band.asset.lower())} & DARK)


def offset_doubt(lows: Mapping[str, float]) -> str | None:
    """Return a warning where stored values are too low to hold the offset that is subtracted; None where they may.

    Args:
        lows: asset → 1st percentile of its valid stored values.
    """
    doubtful = {asset: low for asset, low in lows.items() if low < DOUBTFUL_BELOW}
    if not doubtful:
        return None
    found = ", ".join(f"{asset} {low:g}" for asset, low in doubtful.items())
    return (
        "Sentinel-2's offset of 1000 is subtracted, but seems to be off the pixels already: 1 % of the valid values "
        f"are expected below about 1000, not below {DOUBTFUL_BELOW:g}; found {found}"
    )


def _is_reflectance(band: Band, dtype: str) -> bool:
    """Say whether a band holds reflectance as ESA stores it; not pictures, nor classes, nor values made floating."""
    kind = np.dtype(dtype)
    names = {sentinel2_band(name) or name for name in (*band.names, band.asset.lower())}
    known = names & (SENTINEL_2.keys() | set(SENTINEL_2.values()) | {"rededge"})
    return bool(known) and kind.kind in "iu" and kind.itemsize > 1 and not is_picture(band)


def _two_digits(value: Any) -> str:
    """Return a baseline as text, `5.11` with the zero that numbers lose."""
    text = f"{value:.2f}" if isinstance(value, float) else str(value).strip()
    return f"0{text}" if re.fullmatch(r"\d\.\d{2}", text) else text
