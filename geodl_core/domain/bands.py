"""Which bands of a scene a model is given: by number, name, the user's word or, where names fail, wavelength."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from geodl_core.domain.band_names import spellings, wavelength_of
from geodl_core.domain.item import SIDE_ROLES, Band, Scene, is_jpeg2000, is_picture
from geodl_core.domain.sentinel2 import is_sentinel2
from geodl_core.errors import ItemError

def choose_bands(scene: Scene, wanted: Sequence[int | str], mapping: Mapping[str, str]) -> tuple[Band, ...]:
    """Return the scene's bands that a model wants, in its order.

    Args:
        scene: where to look.
        wanted: 0-based indices into the one multi-band asset, or band names.
        mapping: the user's own choice, wanted band → asset key, band name, or `asset:index` (1-based as in GDAL).

    Raises:
        ItemError: a band is missing or ambiguous; says which there are.
    """
    unknown = set(mapping) - {str(band) for band in wanted}
    if unknown:
        asked, known = ", ".join(sorted(unknown)), ", ".join(map(str, wanted))
        raise ItemError(f"--band names {asked}, but the model wants {known}")
    chosen: list[Band] = []
    problems: list[ItemError] = []
    for band in wanted:
        try:
            chosen.append(_choose_band(scene, band, mapping.get(str(band))))
        except ItemError as error:
            problems.append(error)
    if problems:
        raise ItemError("; ".join(dict.fromkeys(problem.message for problem in problems)), problems[0].hint)
    return tuple(chosen)


def _choose_band(scene: Scene, wanted: int | str, mapped: str | None) -> Band:
    if mapped is not None:
        return _mapped_band(scene, wanted, mapped)
    if isinstance(wanted, int) or wanted.isdecimal():
        return _band_by_index(scene, int(wanted))
    return _band_by_name(scene, wanted)


def _mapped_band(scene: Scene, wanted: int | str, mapped: str) -> Band:
    asset, colon, number = mapped.rpartition(":")
    if colon and number.isdecimal() and int(number) > 0:
        of_asset = [band for band in scene.bands if band.asset == asset]
        described = [band for band in of_asset if band.index == int(number) - 1]
        if described:
            return described[0]
        if of_asset:
            return _undescribed(of_asset, int(number) - 1)
    exact = [band for band in scene.bands if band.asset == mapped]
    if len(exact) == 1:
        return exact[0]
    try:
        return _band_by_name(scene, mapped)
    except ItemError as error:
        several = sum(band.asset == mapped for band in scene.bands) > 1
        hint = f"say which of its bands, such as --band {wanted}={mapped}:1" if several else None
        raise ItemError(f"--band {wanted}={mapped}: {error.message}", hint) from error


def _band_by_index(scene: Scene, index: int) -> Band:
    data = [band for band in scene.bands if not SIDE_ROLES & set(band.roles)]
    assets = list(dict.fromkeys(band.asset for band in data))
    several = [asset for asset in assets if sum(band.asset == asset for band in data) > 1]
    candidates = assets if len(assets) == 1 else several
    if len(candidates) != 1:
        raise ItemError(
            f"Item {scene.id}: the model wants band {index} by number, "
            f"but the Item has {len(assets)} raster assets: {', '.join(assets) or 'none'}",
            hint=f"say which is meant, for instance --band {index}={assets[0] if assets else 'ASSET'}",
        )
    of_asset = [band for band in data if band.asset == candidates[0]]
    if index < len(of_asset):
        return of_asset[index]
    if len(of_asset) > 1:
        raise ItemError(
            f"Item {scene.id}: the model wants band {index} (0-based), "
            f"but asset {candidates[0]} has {len(of_asset)} bands"
        )
    return of_asset[0] if index == 0 else _undescribed(of_asset, index)


def _undescribed(of_asset: Sequence[Band], index: int) -> Band:
    """Return a band of which the Item says nothing; opening the file will tell whether it is there.

    What an Item says of an asset without listing its bands holds for all of them.
    """
    if len(of_asset) == 1:
        return replace(of_asset[0], index=index, names=())
    return replace(of_asset[0], index=index, names=(), scale=None, offset=None, nodata=None, value_range=None)


def _band_by_name(scene: Scene, name: str) -> Band:
    asked = (name.lower(), *COMMON_NAMES.get(name.lower().replace(" ", ""), ()))
    candidates = ([band for band in scene.bands if one in band.names] for one in asked)
    found = next(filter(None, candidates), [])
    found = [band for band in found if not SIDE_ROLES & set(band.roles)] or found
    # A picture made of bands names them too; an asset that holds one band alone is that band.
    found = [band for band in found if band.band_count == 1] or found
    # The same band may lie there as COG and as JPEG 2000, and at several cell sizes.
    found = [band for band in found if "jp2" not in band.media_type] or found
    finest = min((band.cell_size for band in found if band.cell_size), default=None)
    found = [band for band in found if band.cell_size in (None, finest)]
    if not found:
        there = ", ".join(dict.fromkeys(_label(band) for band in scene.bands)) or "no raster bands"
        raise ItemError(
            f"Item {scene.id} has no band {name}: it has {there}",
            hint=f"if one of these is meant, say --band {name}=ASSET" if scene.bands else None,
        )
    if len({(band.asset, band.index) for band in found}) > 1:
        there = ", ".join(_label(band) for band in found)
        raise ItemError(
            f"Item {scene.id}: band {name} is ambiguous: {there}", hint=f"choose one with --band {name}=ASSET"
        )
    return found[0]


def _label(band: Band) -> str:
    names = "/".join(name for name in band.names if name != band.asset.lower())
    return f"{band.asset} ({names})" if names else band.asset


