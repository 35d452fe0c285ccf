"""Changes to a document: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902)."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

MOST_OPERATIONS = 1_000


def merged(document: Any, patch: Any) -> Any:
    """Return `document` with a merge patch applied: objects are merged, null removes, all else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def patched(document: Any, operations: Sequence[Any]) -> Any:
    """Return `document` with a JSON Patch applied, operation by operation.

    Raises:
        ValueError: the patch is none.
        LookupError: a place does not exist in the document, or a test fails.
    """
    if len(operations) > MOST_OPERATIONS:
        raise ValueError(f"expected at most {MOST_OPERATIONS} operations, found {len(operations)}")
    result = deepcopy(document)
    for number, operation in enumerate(operations):
        try:
            result = _applied(result, operation)
        except (ValueError, LookupError) as err:
            raise type(err)(f"operation {number}: {err.args[0]}") from err
    return result


def _applied(document: Any, operation: Any) -> Any:
    match operation:
        case {"op": "add", "path": str(path), "value": value}:
            return _set(document, _steps(path), deepcopy(value), replaces=False)
        case {"op": "replace", "path": str(path), "value": value}:
            return _set(document, _steps(path), deepcopy(value), replaces=True)
        case {"op": "remove", "path": str(path)}:
            return _removed(document, _steps(path))
        case {"op": "test", "path": str(path), "value": value}:
            if not _is_same(_get(document, _steps(path)), value):
                raise LookupError(f"test: {path[:80]} has another value")
            return document
        case {"op": "copy", "from": str(source), "path": str(path)}:
            return _set(document, _steps(path), deepcopy(_get(document, _steps(source))), replaces=False)
        case {"op": "move", "from": str(source), "path": str(path)}:
            if path.startswith(f"{source}/"):
                raise ValueError(f"move: {path[:80]} lies inside what is moved")
            value = _get(document, _steps(source))
            return _set(_removed(document, _steps(source)), _steps(path), value, replaces=False)
    raise ValueError(f"expected an operation of JSON Patch, found {str(operation)[:60]}")


def _steps(path: str) -> list[str]:
    if path and not path.startswith("/"):
        raise ValueError(f"expected a JSON pointer, found {path[:80]!r}")
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _get(document: Any, steps: list[str]) -> Any:
    for step in steps:
        document = document[_key(document, step, len(document) if isinstance(document, list) else 0)]
    return document


def _set(document: Any, steps: list[str], value: Any, *, replaces: bool) -> Any:
    if not steps:
        return value
    *above, last = steps
    holder = _get(document, above)
    if isinstance(holder, dict) and not replaces:
        holder[last] = value
    elif isinstance(holder, list) and not replaces:
        position = len(holder) if last == "-" else _key(holder, last, len(holder) + 1)
        holder.insert(position, value)
    else:
        holder[_key(holder, last, len(holder) if isinstance(holder, list) else 0)] = value
    return document


def _removed(document: Any, steps: list[str]) -> Any:
    if not steps:
        raise ValueError("expected a place within the document, found the document itself")
    *above, last = steps
    holder = _get(document, above)
    del holder[_key(holder, last, len(holder) if isinstance(holder, list) else 0)]
    return document


def _key(holder: Any, step: str, end: int) -> Any:
    """Return a step as the key or the index that it means, below `end`."""
    if isinstance(holder, dict) and step in holder:
        return step
    is_index = step.isascii() and step.isdigit() and (step == "0" or not step.startswith("0"))
    if isinstance(holder, list) and is_index and len(step) < 10 and int(step) < end:
        return int(step)
    raise LookupError(f"no {step[:80]!r} there")


def _is_same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; `true` is not 1."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    return bool(left == right)
