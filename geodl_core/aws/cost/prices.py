"""Prices of what a run uses on AWS: one region's list with its date, beside this module; or a table of one's own."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geodl_core.errors import InputError

LIST = Path(__file__).with_name("prices.toml")
OWN = "a table of one's own"
SHARES = ("gpu_spot_share", "fargate_spot_share")
"""Which are parts of other prices."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one of something costs."""

    usd: float
    """US dollars, without taxes, free tiers and discounts; of a share, the share."""
    unit: str
    page: str = ""
    """Public page that has it."""
    basis: str = OWN
    """`read` where the figure was seen in a public text, `from memory` where it was not."""
    seen: str = ""
    """In which text."""


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices of a region at a date."""

    region: str
    as_of: str
    prices: Mapping[str, Price]

    def usd(self, name: str) -> float:
        """Return a price.

        Args:
            name: of a price.

        Raises:
            InputError: the table has none of that name.
        """
        if name not in self.prices:
            raise InputError(
                f"no price {name} in the table of {self.region}",
                hint=f'a table for --prices has it as: "{name}" = 1.23',
            )
        return self.prices[name].usd


def read_prices(own: Path | None = None) -> PriceTable:
    """Return the list in force, with the prices of a table of one's own put in.

    Args:
        own: a TOML or JSON file: `region` and `as_of`, and prices by the names of the list, each a number or a table
            with `usd`. An instance type that the list lacks may be there, too. None for the list as it is.

    Raises:
        InputError: the file cannot be read, or has a name or a number that is none.
    """
    listed = _parse(LIST)
    table = PriceTable(
        listed.pop("region"), listed.pop("as_of"), {name: Price(**entry) for name, entry in listed.items()}
    )
    if own is None:
        return table
    told = _parse(own)
    region = str(told.pop("region", "a region of one's own"))
    as_of = str(told.pop("as_of", "an unknown date"))
    prices = dict(table.prices)
    for name, entry in told.items():
        if name not in prices and "." not in name:
            raise InputError(f"{own}: no price is called {name!r}; there are: {', '.join(sorted(prices))}")
        known = prices.get(name, Price(0.0, "hour on demand"))
        prices[name] = replace(known, usd=_number(own, name, entry), page="", basis=OWN, seen="")
    return PriceTable(region, as_of, prices)


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = path.read_text()
        found = json.loads(content) if path.suffix.lower() == ".json" else tomllib.loads(content)
    except OSError as error:
        raise InputError(f"{path}: expected a table of prices, cannot read it ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: expected a table of prices as TOML or JSON ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a table of prices, found {type(found).__name__}")
    return found


def _number(path: Path, name: str, entry: Any) -> float:
    """Return the price that an entry gives.

    Raises:
        InputError: it gives none.
    """
    value = entry.get("usd") if isinstance(entry, dict) else entry
    most = 1.0 if name in SHARES else math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most or value == math.inf:
        what = "a share, 0 to 1" if name in SHARES else "US dollars"
        raise InputError(f"{path}: {name}: expected {what}, found {value!r}")
    return float(value)
