"""What an EMD says of the scenes that its model was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.emd.types import CellSize, TileStatistics


@dataclass(frozen=True, slots=True)
class TrainedCell:
    """A cell size seen in training."""

    size: float
    """Of the y axis, in units of the CRS."""
    wkid: int
    """Of the CRS, by EPSG or Esri."""


@dataclass(frozen=True, slots=True)
class Training:
    """What a model was made for; empty where the definition does not say."""

    sensor: str | None = None
    least_cell: TrainedCell | None = None
    largest_cell: TrainedCell | None = None
    ranges: tuple[tuple[float, float] | None, ...] = ()
    """Lowest and highest value of each band, as the network's own scaling takes it."""
    ranges_key: str = ""
    """The EMD's key that says them."""


UNTOLD = Training()


def training_of(emd: Emd, bands: Sequence[int | str]) -> Training:
    """Return what an EMD says of the scenes that its model was trained on.

    Args:
        emd: the definition.
        bands: what the model wants, in channel order.
    """
    sensor = emd.InputRastersProps.SensorName if emd.InputRastersProps else None
    ranges, key = _ranges(emd, bands)
    return Training(sensor, _cell(emd.MinCellSize), _cell(emd.MaxCellSize), ranges, key)


def _cell(said: CellSize | None) -> TrainedCell | None:
    """Return a cell size, None without the CRS in whose units it is: centimetres have been seen."""
    reference = said.spatialReference if said else None
    wkid = (reference.latestWkid or reference.wkid) if reference else None
    return TrainedCell(abs(said.y), wkid) if said and said.y and wkid else None


def _ranges(emd: Emd, bands: Sequence[int | str]) -> tuple[tuple[tuple[float, float] | None, ...], str]:
    if emd.AllTilesStats:
        found = tuple(
            _range(_statistics(emd.AllTilesStats, band, place, len(bands))) for place, band in enumerate(bands)
        )
        if any(found):
            return found, "AllTilesStats"
    stats = emd.NormalizationStats
    if stats is not None and len(stats.band_min_values) == len(stats.band_max_values) == len(bands):
        return tuple(zip(stats.band_min_values, stats.band_max_values, strict=True)), "NormalizationStats"
    return (), ""


def _statistics(stats: list[TileStatistics], band: int | str, place: int, count: int) -> TileStatistics | None:
    """Return what is said of a band: by its name, else by its number, else by its place among as many."""
    named = [entry for entry in stats if str(entry.BandName).lower() == str(band).lower()]
    if named:
        return named[0]
    if isinstance(band, int) and band < len(stats):
        return stats[band]
    return stats[place] if len(stats) == count else None


def _range(stats: TileStatistics | None) -> tuple[float, float] | None:
    if stats is None or stats.Min is None or stats.Max is None or stats.Min >= stats.Max:
        return None
    return stats.Min, stats.Max
