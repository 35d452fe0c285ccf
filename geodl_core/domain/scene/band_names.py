"""What the name of a band means: Esri's well-known names, STAC's common ones, designators of sensors, wavelengths."""

import re

COMMON_NAMES = {
    "red": ("red",),
    "green": ("green",),
    "blue": ("blue",),
    "infrared": ("nir", "nir08"),
    "nearinfrared": ("nir", "nir08"),
    "nearinfrared_1": ("nir", "nir08"),
    "nearinfrared_2": ("nir08",),
    "coastalblue": ("coastal",),
    "yellow": ("yellow",),
    "rededge": ("rededge",),
    "shortwaveinfrared": ("swir16",),
    "midinfrared": ("swir16",),
    "midinfrared_1": ("swir16",),
    "midinfrared_2": ("swir22",),
    "thermal": ("lwir", "lwir11"),
    "thermal_1": ("lwir11",),
    "thermal_2": ("lwir12",),
    "panchromatic": ("pan",),
}
"""Esri's WellKnownBandNames in lower case → STAC common names, the first that a scene has."""
SENTINEL_2 = {
    "b01": "coastal",
    "b02": "blue",
    "b03": "green",
    "b04": "red",
    "b05": "rededge1",
    "b06": "rededge2",
    "b07": "rededge3",
    "b08": "nir",
    "b8a": "nir08",
    "b09": "nir09",
    "b10": "cirrus",
    "b11": "swir16",
    "b12": "swir22",
}
"""Band of Sentinel-2 → Earth Search's key of its asset, which is the common name but for the three red edges."""
WAVELENGTHS_UM = {
    "coastal": (0.443, 0.02),
    "blue": (0.490, 0.03),
    "green": (0.560, 0.03),
    "yellow": (0.605, 0.02),
    "red": (0.665, 0.03),
    "rededge": (0.705, 0.03),
    "rededge1": (0.705, 0.015),
    "rededge2": (0.740, 0.015),
    "rededge3": (0.783, 0.015),
    "nir": (0.842, 0.06),
    "nir08": (0.865, 0.03),
    "nir09": (0.945, 0.03),
    "cirrus": (1.375, 0.03),
    "swir16": (1.610, 0.08),
    "swir22": (2.190, 0.12),
    "lwir": (10.9, 0.9),
    "lwir11": (10.9, 0.6),
    "lwir12": (12.0, 0.6),
}
"""Common name → (centre, how far another sensor's may lie from it). A panchromatic band has no one wavelength."""
NANOMETRES = re.compile(r"(\d+(?:\.\d+)?) ?nm")
GIVEN_TOLERANCE_UM = 0.01
"""Of a band that is asked for as a wavelength."""
_DESIGNATOR = re.compile(r"(?:b|band)[ _-]?0?(8a|\d{1,2})")
_LANDSAT_FILE = re.compile(r"(?:sr|st)_b0?(\d{1,2})")
_LANDSAT_SENSORS = ("oli", "tirs", "etm", "tm")


def spellings(name: str, is_sentinel2: bool) -> tuple[str, ...]:
    """Return what a band may be called in an Item, lower case, the most literal first.

    Args:
        name: as a model has it: B04, B4, Band 4, red, Red, NearInfrared, SR_B4.
        is_sentinel2: whether the Item is of Sentinel-2, so that numbers are those of its bands.
    """
    lower = name.strip().lower()
    found = [lower, *COMMON_NAMES.get(lower.replace(" ", ""), ())]
    if landsat := _LANDSAT_FILE.fullmatch(lower):
        found += [f"{sensor}_b{landsat[1]}" for sensor in _LANDSAT_SENSORS]
    if not is_sentinel2:
        return tuple(dict.fromkeys(found))
    designators = {key: band for band, key in SENTINEL_2.items()}
    twins = []
    for one in found:
        band = sentinel2_band(one)
        twins += [one, *([band, SENTINEL_2[band]] if band else [designators[one]] if one in designators else [])]
    return tuple(dict.fromkeys(twins))


def sentinel2_band(name: str) -> str | None:
    """Return the band of Sentinel-2 that B04, B4, b8a or "Band 4" names, as `b04`; None for other names."""
    match = _DESIGNATOR.fullmatch(name.strip().lower())
    band = f"b{match[1].zfill(2)}" if match else None
    return band if band in SENTINEL_2 else None


def wavelength_of(name: str) -> tuple[float, float] | None:
    """Return the (centre, tolerance) in micrometres that a name means, None where it means none.

    Designators mean none: band 4 of another sensor is another band.
    """
    lower = name.strip().lower()
    if given := NANOMETRES.fullmatch(lower):
        return float(given[1]) / 1000, GIVEN_TOLERANCE_UM
    common = (lower, *COMMON_NAMES.get(lower.replace(" ", ""), ()))
    return next((WAVELENGTHS_UM[one] for one in common if one in WAVELENGTHS_UM), None)
