"""One argument of a model: its name, what it may be, and what it means."""

from dataclasses import dataclass
from typing import Literal

Value = bool | float | int | str
FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
"""How truth values are written, ArcGIS's True and False among them."""


@dataclass(frozen=True, slots=True)
class ModelArgument:
    """One argument, by Esri's name."""

    name: str
    kind: Literal["whole number", "number", "numbers", "flag", "choice"]
    default: Value
    help: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
