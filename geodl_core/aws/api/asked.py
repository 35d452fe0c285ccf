"""A request of the status API, as its routes get it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as it matters."""

    path: Mapping[str, str]
    """What stands in the path, by name."""
    query: Mapping[str, str]
    body: Any = None


def is_said(asked: Asked, name: str, *, usual: bool = False) -> bool:
    """Say whether a request's query says yes to something."""
    text = str(asked.query.get(name, "")).lower()
    return usual if not text else text not in ("0", "false", "no")
