"""CQL2 text or JSON into its JSON tree, with errors that say where and what would be understood."""

import json
import re
from collections.abc import Mapping
from typing import Any

import cql2

from geodl_core.errors import QueryError

# The parser recurses: a few thousand nested parentheses or signs end the whole process.
MAX_DEPTH = 100
SUPPORTED = (
    "supported: and, or, not, = <> < <= > >=, in, between, like, is null, + - * / % div ^, casei, accenti, "
    "s_intersects and its kin, t_intersects, t_after, t_before, t_during and their kin, "
    "a_contains, a_containedBy, a_equals, a_overlaps"
)


def parse_cql2(source: str | Mapping[str, Any]) -> Any:
    """Return the CQL2-JSON tree of a filter given as text, as JSON text or as JSON.

    Raises:
        QueryError: the filter cannot be read, or nests too deeply.
    """
    if isinstance(source, Mapping):
        return _shallow(dict(source))
    if source.lstrip().startswith("{"):
        try:
            return _shallow(json.loads(source))
        except (ValueError, RecursionError) as err:
            raise QueryError(f"filter: expected CQL2-JSON, found text that is no JSON ({err})") from err
    if _nests_too_deeply(source):
        raise QueryError(f"filter: expected at most {MAX_DEPTH} nested parentheses, signs or nots, found more")
    try:
        return _shallow(cql2.parse_text(source).to_json())
    except (cql2.ParseError, ValueError) as err:
        raise QueryError(_complaint(source, str(err)), hint=SUPPORTED) from err


def _shallow(tree: Any) -> Any:
    level = [tree]
    for _ in range(2 * MAX_DEPTH):
        below = [one.values() if isinstance(one, Mapping) else one for one in level]
        level = [child for one in below if not isinstance(one, str) and hasattr(one, "__iter__") for child in one]
        if not level:
            return tree
    raise QueryError(f"filter: expected at most {MAX_DEPTH} levels of nesting, found more")


def _nests_too_deeply(text: str) -> bool:
    bare = re.sub(r"'(?:[^']|'')*'", "''", text)
    depth = deepest = 0
    for char in bare:
        depth += (char == "(") - (char == ")")
        deepest = max(deepest, depth)
    signs = re.search(rf"(?:[-+]\s*){{{MAX_DEPTH}}}", bare)
    return deepest > MAX_DEPTH or signs is not None or len(re.findall(r"(?i)\bnot\b", bare)) > MAX_DEPTH


def _complaint(source: str, message: str) -> str:
    place = re.search(r"--> (\d+):(\d+)", message)
    if not place:
        return f"filter: cannot read {source[:80]!r} as CQL2"
    row, column = int(place[1]), int(place[2])
    line = (source.splitlines() or [""])[row - 1]
    where = f"line {row}, column {column}" if row > 1 else f"column {column}"
    rest = line[column - 1 :][:40]
    return f"filter: cannot read CQL2 at {where}: " + (f"found {rest!r}" if rest else "it ends too early")
