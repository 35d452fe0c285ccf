"""What Items share with their Collection: left out when pgstac stores them, filled in when they are read.

The rules are those of pgstac's `content_slim` and `content_hydrate` (pgstac 0.10), but nulls stay what they are.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

LACKS = "𒍟※"
"""Stands, in what is stored, for a key that the Collection has and the Item has not."""


def without_shared(item: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an object has beyond what is shared, with a mark for each key that it lacks."""
    kept = {key: _rest(value, base[key]) if key in base else value for key, value in item.items()}
    kept = {key: value for key, value in kept.items() if key not in base or not _is_same(item[key], base[key])}
    return kept | dict.fromkeys((key for key in base if key not in item), LACKS)


def with_shared(content: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object filled up with what is shared."""
    filled = {key: _filled(value, base[key]) if key in base else value for key, value in content.items()}
    lacking = {key: deepcopy(value) for key, value in base.items() if key not in content}
    return {key: value for key, value in filled.items() if key not in base or value != LACKS} | lacking


def _rest(value: Any, base: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(base, Mapping):
        return without_shared(value, base)
    if _are_paired(value, base):
        return [_rest_of_pair(*pair) for pair in zip(value, base, strict=True)]
    return value


def _rest_of_pair(value: Any, base: Any) -> Any:
    """Return what an element of a list has beyond the Collection's at its place."""
    if not _are_objects(value, base):
        return value
    # Of two objects without keys pgstac makes null; null in what is stored stands for the Collection's element.
    return without_shared(value, base) if value or base else None


def _filled(value: Any, base: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(base, Mapping):
        return with_shared(value, base)
    if _are_paired(value, base):
        return [_filled_pair(*pair) for pair in zip(value, base, strict=True)]
    return value


def _filled_pair(value: Any, base: Any) -> Any:
    if value is None:
        return deepcopy(base)
    return with_shared(value, base) if _are_objects(value, base) else value


def _is_same(value: Any, base: Any) -> bool:
    # To Python 1 and true are equal.
    return bool(value == base) and json.dumps(value, sort_keys=True) == json.dumps(base, sort_keys=True)


def _are_paired(value: Any, base: Any) -> bool:
    return isinstance(value, list) and isinstance(base, list) and len(value) == len(base)


def _are_objects(value: Any, base: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(base, Mapping)
