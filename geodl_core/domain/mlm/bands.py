"""How MLM and EMD name the bands that a network takes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from geodl_core.domain.mlm.loose_json import assets, mapping, objects, sequence
from geodl_core.domain.scene.band_names import COMMON_NAMES

ESRI_BANDS = {
    "red": "Red",
    "green": "Green",
    "blue": "Blue",
    "nir": "NearInfrared",
    "nir08": "NearInfrared_2",
    "coastal": "CoastalBlue",
    "yellow": "Yellow",
    "rededge": "RedEdge",
    "swir16": "ShortWaveInfrared",
    "swir22": "MidInfrared_2",
    "lwir": "Thermal",
    "lwir11": "Thermal_1",
    "lwir12": "Thermal_2",
    "pan": "Panchromatic",
}
"""STAC common name → the one of Esri's WellKnownBandNames that finds it again."""


def read_bands(item: Mapping[str, Any], source: Mapping[str, Any], warnings: list[str]) -> list[int | str]:
    """Return bands as indices where they are called band_1, band_2…; else Esri's names for common ones, else theirs."""
    entries = [
        entry if isinstance(entry, Mapping) else {"name": entry} for entry in sequence(source.get("bands")) if entry
    ]
    names = [str(entry.get("name")) for entry in entries]
    derived = [name for name, entry in zip(names, entries, strict=True) if entry.get("expression") is not None]
    if derived:
        warnings.append(f"mlm:input: bands that an expression derives are taken as bands: {', '.join(derived)}")
    numbers = [re.fullmatch(r"band_([1-9][0-9]{0,5})", name) for name in names]
    if all(numbers):
        return [int(number[1]) - 1 for number in numbers if number]
    common = _common_names(item)
    known = {name: ESRI_BANDS[common[name]] for name in dict.fromkeys(names) if common.get(name) in ESRI_BANDS}
    ambiguous = {esri for esri in known.values() if list(known.values()).count(esri) > 1}
    return [known[name] if name in known and known[name] not in ambiguous else name for name in names]


def _common_names(item: Mapping[str, Any]) -> dict[str, str]:
    """Return band name → STAC common name, from the Item's and its assets' band definitions of STAC 1.0 and 1.1."""
    found: dict[str, str] = {}
    for holder in (mapping(item.get("properties")), *(asset for _, asset in assets(item))):
        for key in ("bands", "eo:bands", "raster:bands"):
            for band in objects(holder.get(key)):
                common = band.get("eo:common_name", band.get("common_name"))
                if isinstance(common, str):
                    found.setdefault(str(band.get("name")), common)
    return found


def write_bands(wanted: Sequence[int | str]) -> list[dict[str, Any]]:
    """Return a STAC band for each entry of ExtractBands; one that two well-known names share keeps the name it has."""
    common = {band: next(iter(COMMON_NAMES.get(band.lower(), ())), None) for band in wanted if isinstance(band, str)}
    described: list[dict[str, Any]] = []
    for band in wanted:
        shared = common.get(band) if isinstance(band, str) else None
        if isinstance(band, int):
            described.append({"name": f"band_{band + 1}"})
        elif shared and list(common.values()).count(shared) == 1:
            described.append({"name": shared, "eo:common_name": shared})
        else:
            described.append({"name": band or "band"})
    return described
