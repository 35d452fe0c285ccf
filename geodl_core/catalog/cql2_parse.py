"""CQL2 text or JSON into its JSON tree, with errors that say where and what would be understood."""

import json
import re
from collections.abc import Mapping
from typing import Any

import cql2

from geodl_core.domain.cql2_bounds import require_bounded, require_shallow
from geodl_core.errors import QueryError

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
        return _checked(dict(source))
    if source.lstrip().startswith("{"):
        try:
            return _checked(json.loads(source))
        except (ValueError, RecursionError) as err:
            raise QueryError(f"filter: expected CQL2-JSON, found text that is no JSON ({err})") from err
    require_bounded(source, "filter")
    try:
        return _checked(cql2.parse_text(source).to_json())
    except (cql2.ParseError, ValueError) as err:
        raise QueryError(_complaint(source, str(err)), hint=SUPPORTED) from err


def _checked(tree: Any) -> Any:
    require_shallow(tree, "filter")
    return tree


def _complaint(source: str, message: str) -> str:
    place = re.search(r"--> (\d+):(\d+)", message)
    if not place:
        return f"filter: cannot read {source[:80]!r} as CQL2"
    row, column = int(place[1]), int(place[2])
    line = (source.splitlines() or [""])[row - 1]
    where = f"line {row}, column {column}" if row > 1 else f"column {column}"
    rest = line[column - 1 :][:40]
    return f"filter: cannot read CQL2 at {where}: " + (f"found {rest!r}" if rest else "it ends too early")
