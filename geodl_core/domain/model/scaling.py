"""What an EMD says of the values that a network wants."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geodl_core.domain.emd.definition import Emd
from geodl_core.errors import ModelError

# Mean and standard deviation of ImageNet's red, green and blue in 0–1, by which networks pretrained on it are fed.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LEARN = "arcgis.learn"
"""Networks trained in ArcGIS on three bands are fed by ImageNet's statistics unless IsMultispectral says otherwise."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """What the EMD says of the values that the model wants; empty means pixel values as they are."""

    data_range: tuple[float, float] | None = None
    """The range that the source's range is mapped to."""
    minimum: tuple[float, ...] = ()
    maximum: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    """Of the values after min-max scaling."""
    std: tuple[float, ...] = ()


def scaling_of(emd: Emd, count: int, notes: list[str]) -> Scaling:
    """Return the scaling of `count` bands; what was decided is added to the notes.

    In this order: `NormalizationStats`; `mean` and `std` of `ModelParameters`, after `DataRange`; ImageNet's for
    three-band networks of ArcGIS; `DataRange` alone; nothing.

    Raises:
        ModelError: a list has another length than there are bands, or values that cannot be.
    """
    if emd.DataRange is not None and emd.DataRange[0] >= emd.DataRange[1]:
        raise ModelError(f"DataRange: expected a minimum below the maximum, found {list(emd.DataRange)}")
    if emd.NormalizationStats is not None:
        stats = emd.NormalizationStats
        lists = (stats.band_min_values, stats.band_max_values, stats.scaled_mean_values, stats.scaled_std_values)
        low, high, mean, std = _columns("NormalizationStats", lists, count)
        if any(a >= b for a, b in zip(low, high, strict=True)):
            raise ModelError("NormalizationStats: expected minimum < maximum in every band")
        return Scaling(None, low, high, mean, std)
    parameters = emd.ModelParameters
    if parameters is not None and parameters.mean and parameters.std:
        mean, std = _columns("ModelParameters", (parameters.mean, parameters.std), count)
        return Scaling(emd.DataRange, (0.0,) * count, (1.0,) * count, mean, std)
    if (emd.Framework or "").startswith(LEARN) and not emd.IsMultispectral and count == len(IMAGENET[0]):
        notes.append("the values are scaled by ImageNet's statistics, as ArcGIS does for three-band networks")
        return Scaling((0.0, 1.0), (0.0,) * count, (1.0,) * count, *IMAGENET)
    return Scaling(emd.DataRange)


def _columns(key: str, lists: Sequence[Any], count: int) -> list[tuple[float, ...]]:
    """Return lists of numbers, one a band, the last of them standard deviations."""
    try:
        columns = [tuple(float(value) for value in values) for values in lists]
    except (TypeError, ValueError) as error:
        raise ModelError(f"{key}: expected lists of numbers, one number a band") from error
    if any(len(column) != count for column in columns):
        raise ModelError(f"{key}: expected {count} values a list, one a band, found {[len(c) for c in columns]}")
    if min(columns[-1]) <= 0:
        raise ModelError(f"{key}: expected standard deviations above 0, found {min(columns[-1]):g}")
    return columns
