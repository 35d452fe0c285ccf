"""How MLM and EMD say what happens to pixel values before the network."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Affine = tuple[float, float]
"""(subtracted, divisor): MLM's min-max, z-score, offset and scale are all of this kind."""
IDENTITY: Affine = (0.0, 1.0)
UNIT = [0.0, 1.0]
_COLUMNS = ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")


def read_scaling(entries: Any, count: int, warnings: list[str]) -> dict[str, Any]:
    """Return the EMD's keys for MLM's `value_scaling`.

    Min-max from 0 to 1 asks for values in that range, which is DataRange; any other affine scaling is exactly
    NormalizationStats. What is none (clip, expressions) is left out with a warning.

    Args:
        entries: `value_scaling` as it stands: one object a band, or one for all.
        count: of bands, below 1 where unknown.
        warnings: takes what is left out.
    """
    if not isinstance(entries, list) or not entries:
        return {}
    if all(entry == entries[0] for entry in entries):
        target = _data_range(entries[0])
        if target is not None:
            return {"DataRange": target}
        if len(entries) == 1:
            entries = entries * count
    if count < 1 or len(entries) != count:
        found = "nothing that says how many bands there are" if count < 1 else f"{len(entries)} for {count} bands"
        warnings.append(f"mlm:input: value_scaling is left out: expected one for each band, found {found}")
        return {}
    affine = [_affine(entry) for entry in entries]
    left_out: dict[str, list[str]] = {}
    for band, (entry, pair) in enumerate(zip(entries, affine, strict=True), start=1):
        if pair is None:
            left_out.setdefault(_kind(entry), []).append(str(band))
    warnings.extend(
        f"mlm:input: the value_scaling {kind} is left out of band {', '.join(bands)}"
        for kind, bands in left_out.items()
    )
    chosen = [pair or IDENTITY for pair in affine]
    return {} if set(chosen) == {IDENTITY} else {"NormalizationStats": _statistics(entries, chosen)}


def write_scaling(data_range: Sequence[float] | None, stats: Mapping[str, Any] | None, count: int) -> Any:
    """Return MLM's `value_scaling` for an EMD, None where it scales nothing or in a way that is not understood.

    Args:
        data_range: `DataRange`.
        stats: `NormalizationStats`, which counts where both are there.
        count: of bands.
    """
    if stats is not None:
        columns = [stats.get(key) for key in _COLUMNS]
        if not all(isinstance(column, Sequence) and len(column) == count for column in columns):
            return None
        rows = list(zip(*(column for column in columns if column), strict=True))
        # A definition that no run takes; it is carried as it is.
        if not rows or any(high <= low or std <= 0 for low, high, _, std in rows):
            return None
        return [
            {"type": "z-score", "mean": low + mean * (high - low), "stddev": std * (high - low)}
            for low, high, mean, std in rows
        ]
    if data_range is None:
        return None
    if list(data_range) == UNIT:
        return [{"type": "min-max", "minimum": data_range[0], "maximum": data_range[1]}]
    # MLM's min-max names the range that values come from, DataRange the one that they are brought to.
    return [{"type": "processing", "format": "emd", "expression": {"DataRange": list(data_range)}}]


def _data_range(entry: Any) -> list[Any] | None:
    if not isinstance(entry, Mapping):
        return None
    if entry.get("type") == "min-max" and [entry.get("minimum"), entry.get("maximum")] == UNIT:
        return [entry["minimum"], entry["maximum"]]
    expression = entry.get("expression")
    if entry.get("type") == "processing" and entry.get("format") == "emd" and isinstance(expression, Mapping):
        target = expression.get("DataRange")
        return target if isinstance(target, list) else None
    return None


def _kind(entry: Any) -> str:
    return str(entry.get("type")) if isinstance(entry, Mapping) else str(entry)


def _affine(entry: Any) -> Affine | None:
    """Return the scaling of one band, None where it is not affine or not usable."""
    if entry is None or _kind(entry) == "None":
        return IDENTITY
    if not isinstance(entry, Mapping):
        return None
    kind = entry["type"]
    try:
        if kind == "min-max":
            pair = (float(entry["minimum"]), float(entry["maximum"]) - float(entry["minimum"]))
        elif kind == "z-score":
            pair = (float(entry["mean"]), float(entry["stddev"]))
        elif kind == "offset":
            pair = (float(entry["value"]), 1.0)
        elif kind == "scale":
            pair = (0.0, float(entry["value"]))
        else:
            return None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    # A definition's standard deviations are above 0.
    return pair if all(map(math.isfinite, pair)) and pair[1] > 0 else None


def _statistics(entries: Sequence[Any], affine: Sequence[Affine]) -> dict[str, list[float]]:
    """Return NormalizationStats: minima and maxima as they were said where all bands say them, else mean and std."""
    count = len(affine)
    if all(_kind(entry) == "min-max" and pair is not IDENTITY for entry, pair in zip(entries, affine, strict=True)):
        low, high = [pair[0] for pair in affine], [float(entry["maximum"]) for entry in entries]
        return dict(zip(_COLUMNS, (low, high, [0.0] * count, [1.0] * count), strict=True))
    mean, std = [pair[0] for pair in affine], [pair[1] for pair in affine]
    return dict(zip(_COLUMNS, ([0.0] * count, [1.0] * count, mean, std), strict=True))
