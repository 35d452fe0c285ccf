"""What a decoder's settings say: options, numbers and lists of numbers, checked where they are read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.errors import ModelError

Settings = Mapping[str, Any]


def option(settings: Settings, key: str, default: Any = None) -> Any:
    """Return a setting; definitions also write its name with a capital."""
    return settings.get(key, settings.get(key.capitalize(), default))


def one_of(settings: Settings, key: str, values: Sequence[str], default: str | None = None) -> str:
    """Return a setting that is one of some words.

    Raises:
        ModelError: it is another, or is missing and has no default.
    """
    found = option(settings, key, default)
    for value in values:
        if found == value:
            return value
    raise ModelError(f"detector: {key} is {found!r}, expected one of {', '.join(values)}")


def numbers(settings: Settings, key: str, default: Sequence[float] | None = None) -> npt.NDArray[np.float64]:
    """Return a setting of one or several finite numbers from 0 up as (n,).

    Raises:
        ModelError: it is something else, or is missing and has no default.
    """
    found = option(settings, key, default)
    values = _parsed(found)
    if values is None or values.ndim > 1:
        raise ModelError(f"detector: {key} is {found!r}, expected numbers")
    return np.atleast_1d(values)


def arrays(settings: Settings, key: str, default: Sequence[Any] | None = None) -> tuple[npt.NDArray[np.float64], ...]:
    """Return a setting that is a list of numbers, lists of numbers, or lists of such, each at least one axis.

    Raises:
        ModelError: it is something else, or is missing and has no default.
    """
    found = option(settings, key, default)
    values = (
        tuple(map(_parsed, found)) if isinstance(found, Sequence | np.ndarray) and not isinstance(found, str) else ()
    )
    known = tuple(np.atleast_1d(value) for value in values if value is not None)
    if not known or len(known) < len(values):
        raise ModelError(f"detector: {key} is {found!r}, expected lists of numbers")
    return known


def _parsed(found: Any) -> npt.NDArray[np.float64] | None:
    """Return finite numbers from 0 up as an array; None if they are something else."""
    try:
        values = np.asarray(found, np.float64)
    except (TypeError, ValueError):
        return None
    return values if values.size and bool((values >= 0).all() and np.isfinite(values).all()) else None
