"""Batch's API speaks in camelCase, CloudFormation and Step Functions in PascalCase."""

from collections.abc import Callable
from typing import Any

FREE = {"tags", "parameters", "options", "labels"}
"""Fields whose value is a map with keys of the user's, which stay as they are."""


def camel(value: Any) -> Any:
    """Spell the keys as Batch's API does."""
    return _spelled(value, str.lower)


def pascal(value: Any) -> Any:
    """Spell the keys as CloudFormation and Step Functions do."""
    return _spelled(value, str.upper)


def _spelled(value: Any, case: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_spelled(one, case) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        case(key[:1]) + key[1:]: inner if key.lower() in FREE else _spelled(inner, case) for key, inner in value.items()
    }
