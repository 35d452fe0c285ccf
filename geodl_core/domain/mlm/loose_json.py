"""JSON from outside, looked into without trusting its shape: what is not there, or something else, is empty."""

from collections.abc import Mapping, Sequence
from typing import Any


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:
    """Return an array, an empty one for anything else."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of an array."""
    return [entry for entry in sequence(value) if isinstance(entry, Mapping)]


def texts(value: Any) -> list[str]:
    """Return the strings of an array."""
    return [entry for entry in sequence(value) if isinstance(entry, str)]


def assets(item: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the assets of an Item, each with its key."""
    return [(key, asset) for key, asset in mapping(item.get("assets")).items() if isinstance(asset, Mapping)]
