"""Which bands of a scene a model is given: by number, name, the user's word or, where names fail, wavelength."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from geodl_core.domain.scene.band_names import spellings, wavelength_of
from geodl_core.domain.scene.item import SIDE_ROLES, Band, Scene, is_jpeg2000, is_picture
from geodl_core.domain.scene.sentinel2 import is_sentinel2
from geodl_core.errors import ItemError

TIE_UM = 0.005
"""Bands whose wavelengths lie about equally near to the one that is meant are ambiguous."""


@dataclass(frozen=True, slots=True)
class BandChoice:
    """The bands that a model is given."""

    bands: tuple[Band, ...]
    """In the model's order."""
    notes: tuple[str, ...]
    """What was decided by more than names."""


def choose_bands(
    scene: Scene, wanted: Sequence[int | str], mapping: Mapping[str, str], beside: Collection[str] = ()
) -> BandChoice:
    """Return the scene's bands that a model wants, in its order.

    Args:
        scene: where to look.
        wanted: 0-based indices into the one multi-band asset, or band names.
        mapping: the user's own choice, wanted band → asset key, band name, or `asset:index` (1-based as in GDAL).
        beside: assets that are no bands of the image, such as masks.

    Raises:
        ItemError: a band is missing or ambiguous; says which there are.
    """
    unknown = set(mapping) - {str(band) for band in wanted}
    if unknown:
        asked, known = ", ".join(sorted(unknown)), ", ".join(map(str, wanted))
        raise ItemError(f"--band names {asked}, but the model wants {known}")
    chosen: list[Band] = []
    notes: list[str] = []
    problems: list[ItemError] = []
    for band in wanted:
        try:
            mapped = mapping.get(str(band))
            if mapped is not None:
                is_shared = list(mapping.values()).count(mapped) > 1
                chosen.append(_mapped_band(scene, band, (mapped, is_shared), notes))
            elif str(band).isdecimal():
                chosen.append(_band_by_index(scene, int(band), beside))
            else:
                chosen.append(_band_by_name(scene, str(band), notes))
        except ItemError as error:
            problems.append(error)
    if problems:
        raise ItemError("; ".join(dict.fromkeys(problem.message for problem in problems)), problems[0].hint)
    return BandChoice(tuple(chosen), tuple(dict.fromkeys(notes)))


def _mapped_band(scene: Scene, wanted: int | str, choice: tuple[str, bool], notes: list[str]) -> Band:
    """Return the band that the user names, and whether other bands were given the same word."""
    mapped, is_shared = choice
    asset, colon, number = mapped.rpartition(":")
    if colon and number.isdecimal() and int(number) > 0:
        of_asset = [band for band in scene.bands if band.asset == asset]
        described = [band for band in of_asset if band.index == int(number) - 1]
        if described:
            return described[0]
        if of_asset:
            return _undescribed(of_asset, int(number) - 1)
    exact = [band for band in scene.bands if band.asset == mapped]
    if exact and str(wanted).isdecimal() and (is_shared or len(exact) > 1):
        # A number is that of a band within the asset, as it is without a mapping.
        return _numbered(exact, int(wanted))
    if len(exact) == 1:
        return exact[0]
    try:
        return _band_by_name(scene, mapped, notes)
    except ItemError as error:
        hint = f"say which of its bands, such as {_option(wanted, f'{mapped}:1')}" if len(exact) > 1 else None
        raise ItemError(f"--band {wanted}={mapped}: {error.message}", hint) from error


def _band_by_index(scene: Scene, index: int, beside: Collection[str]) -> Band:
    data = [band for band in scene.bands if not _is_beside(band) and band.asset not in beside]
    assets = list(dict.fromkeys(band.asset for band in data))
    several = [asset for asset in assets if sum(band.asset == asset for band in data) > 1]
    candidates = assets if len(assets) == 1 else several
    if len(candidates) != 1:
        raise ItemError(
            f"Item {scene.id}: the model wants band {index} by number, "
            f"but the Item has {len(assets)} raster assets: {', '.join(assets) or 'none'}",
            hint=f"say which is meant, for instance {_option(index, assets[0] if assets else 'ASSET')}",
        )
    of_asset = [band for band in data if band.asset == candidates[0]]
    if 1 < len(of_asset) <= index:
        raise ItemError(
            f"Item {scene.id}: the model wants band {index} (0-based), "
            f"but asset {candidates[0]} has {len(of_asset)} bands"
        )
    return _numbered(of_asset, index)


def _numbered(of_asset: Sequence[Band], index: int) -> Band:
    """Return a band of an asset by its number; what the Item does not describe may be there still."""
    return of_asset[index] if index < len(of_asset) else _undescribed(of_asset, index)


def _undescribed(of_asset: Sequence[Band], index: int) -> Band:
    """Return a band of which the Item says nothing; opening the file will tell whether it is there.

    What an Item says of an asset without listing its bands holds for all of them.
    """
    if len(of_asset) == 1:
        return replace(of_asset[0], index=index, names=(), wavelength_um=None)
    return replace(
        of_asset[0], index=index, names=(), scale=None, offset=None, nodata=None, value_range=None, wavelength_um=None
    )


def _band_by_name(scene: Scene, name: str, notes: list[str]) -> Band:
    measured = _measured(scene)
    candidates = ([band for band in measured if one in band.names] for one in spellings(name, is_sentinel2(scene)))
    found = _best(next(filter(None, candidates), []))
    if not found:
        found = _best(_bands_by_wavelength(measured, name))
        if len(found) == 1:
            notes.append(
                f"band {name} is {found[0].asset} by its wavelength of {found[0].wavelength_um:g} µm: "
                "the Item has none of that name"
            )
    if not found:
        there = ", ".join(dict.fromkeys(_label(band) for band in scene.bands)) or "no raster bands"
        raise ItemError(
            f"Item {scene.id} has no band {name}: it has {there}",
            hint=f"if one of these is meant, say {_option(name)}" if scene.bands else None,
        )
    if len({(band.asset, band.index) for band in found}) > 1:
        there = ", ".join(_label(band) for band in found)
        raise ItemError(f"Item {scene.id}: band {name} is ambiguous: {there}", hint=f"choose one with {_option(name)}")
    return found[0]


def _measured(scene: Scene) -> list[Band]:
    """Return the bands without those of pictures, which serve where an Item has nothing else."""
    return [band for band in scene.bands if not is_picture(band)] or list(scene.bands)


def _best(found: Sequence[Band]) -> list[Band]:
    """Leave off what is the same band in a lesser form."""
    best = [band for band in found if not SIDE_ROLES & set(band.roles)] or list(found)
    # A picture made of bands names them too; an asset that holds one band alone is that band.
    best = [band for band in best if band.band_count == 1] or best
    # The same band may lie there as COG and as JPEG 2000, and at several cell sizes.
    best = [band for band in best if not is_jpeg2000(band)] or best
    finest = min((band.cell_size for band in best if band.cell_size), default=None)
    return [band for band in best if band.cell_size in (None, finest)]


def _bands_by_wavelength(bands: Sequence[Band], name: str) -> list[Band]:
    """Return the bands whose wavelength is nearest to the one that a name means; none where all are too far."""
    meant = wavelength_of(name)
    if meant is None:
        return []
    centre, tolerance = meant
    far = [(abs(band.wavelength_um - centre), band) for band in bands if band.wavelength_um and "pan" not in band.names]
    nearest = min((distance for distance, _ in far if distance <= tolerance), default=None)
    return [] if nearest is None else [band for distance, band in far if distance <= nearest + TIE_UM]


def _is_beside(band: Band) -> bool:
    return is_picture(band) or bool(SIDE_ROLES & set(band.roles))


def _option(wanted: int | str, asset: str = "ASSET") -> str:
    """Return how a band is named, by hand and in a watch."""
    return f"--band {wanted}={asset} (in a watch: options: bands: {wanted}: {asset})"


def _label(band: Band) -> str:
    names = "/".join(name for name in band.names if name != band.asset.lower())
    return f"{band.asset} ({names})" if names else band.asset
