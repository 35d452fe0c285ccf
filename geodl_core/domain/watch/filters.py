"""CQL2 filters of watches: read under bounds, and asked of one Item at a time, whatever stands in it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cql2

from geodl_core.domain.cql2_bounds import MAX_CHARACTERS, require_bounded, require_shallow
from geodl_core.errors import QueryError

OPERATORS = frozenset(
    (
        *("and", "or", "not", "=", "<>", "<", "<=", ">", ">=", "like", "between", "in", "isnull", "casei", "accenti"),
        *("+", "-", "*", "/", "%", "div", "^", "s_contains", "s_crosses", "s_disjoint", "s_equals", "s_intersects"),
        *("s_overlaps", "s_touches", "s_within", "t_after", "t_before", "t_contains", "t_disjoint", "t_during"),
        *("t_equals", "t_finishedby", "t_finishes", "t_intersects", "t_meets", "t_metby", "t_overlappedby"),
        *("t_overlaps", "t_startedby", "t_starts", "a_containedby", "a_contains", "a_equals", "a_overlaps"),
    )
)
"""That are evaluated for an Item; in lower case."""
SUPPORTED = (
    "supported: and, or, not, = <> < <= > >=, in, between, like, is null, + - * / % div ^, casei, accenti, "
    "s_intersects and its kin, t_intersects, t_after, t_before, t_during and their kin, a_contains and its kin"
)
_TOP = frozenset(("id", "collection", "geometry", "bbox", "type", "links", "assets", "stac_version"))


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that can be asked."""

    expression: Any
    """`cql2.Expr`."""
    names: tuple[str, ...]
    """Properties that it looks at, as it calls them, sorted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a filter says of an Item."""

    passed: bool
    problem: str = ""
    """Why it cannot be told: then it did not pass."""


def read_filter(source: str | Mapping[str, Any], place: str = "filter") -> Filter:
    """Return a filter of CQL2, given as text, as JSON text or as JSON.

    Raises:
        QueryError: it cannot be read, nests too deeply, or uses an operator that there is not.
    """
    text = json.dumps(source) if isinstance(source, Mapping) else source
    if len(text) > MAX_CHARACTERS:
        raise QueryError(f"{place}: expected at most {MAX_CHARACTERS:,} characters, found {len(text):,}")
    is_json = text.lstrip().startswith("{")
    try:
        if is_json:
            require_shallow(json.loads(text), place)
        else:
            require_bounded(text, place)
        expression = cql2.parse_json(text) if is_json else cql2.parse_text(text)
        tree = expression.to_json()
        _try(expression)
    except (cql2.ParseError, ValueError, RecursionError) as error:
        raise QueryError(f"{place}: {_complaint(text, str(error), is_json)}", hint=SUPPORTED) from error
    names, operators = _used(tree)
    unknown = sorted(operators - OPERATORS)
    if unknown:
        raise QueryError(f"{place}: unknown operator {unknown[0][:40]!r}", hint=SUPPORTED)
    return Filter(expression, tuple(sorted(names)))


def ask(asked: Filter, item: Mapping[str, Any]) -> Answer:
    """Return whether an Item passes a filter. An Item of which that cannot be told does not."""
    try:
        return Answer(bool(asked.expression.matches(_part(item, asked.names))))
    # The library raises nothing more special, and a panic of Rust is no Exception.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return Answer(False, "it cannot be told: a property lacks, or is of another type")


def value_of(item: Mapping[str, Any], name: str) -> Any:
    """Return what an Item has under a name as a filter writes it, None where it has nothing."""
    properties = item.get("properties")
    short = name.removeprefix("properties.")
    if isinstance(properties, Mapping) and short in properties:
        return properties[short]
    place: Any = item if short.partition(".")[0] in _TOP else properties
    for step in short.split("."):
        place = place.get(step) if isinstance(place, Mapping) else None
    return place


def _try(expression: Any) -> None:
    """Evaluate a filter once: the parser lets through operators with too few arguments.

    Raises:
        ValueError: there are some.
    """
    try:
        expression.matches({"properties": {}})
    except Exception as error:
        # A plain Exception is how the library says that nothing is known of no Item, which is as expected.
        if type(error) is not Exception:
            raise


def _part(item: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the part of an Item that a filter looks at: what else stands in it does no harm and costs nothing."""
    given = item.get("properties")
    properties = given if isinstance(given, Mapping) else {}
    part: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for name in names:
        short = name.removeprefix("properties.")
        for key in (short, short.partition(".")[0]):
            if key in properties:
                kept[key] = properties[key]
            if key in _TOP and key in item:
                part[key] = item[key]
    part["properties"] = kept
    return part


def _used(tree: Any) -> tuple[set[str], set[str]]:
    """Return the properties and operators of a CQL2-JSON tree."""
    names, operators, waiting = set(), set(), [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, Mapping):
            if isinstance(node.get("property"), str):
                names.add(node["property"])
            if isinstance(node.get("op"), str):
                operators.add(node["op"].lower())
            waiting += [value for key, value in node.items() if key in ("args", "interval")]
    return names, operators


def _complaint(text: str, message: str, is_json: bool) -> str:
    place = re.search(r"--> (\d+):(\d+)", message)
    if is_json or not place:
        return f"cannot read {text[:60]!r} as CQL2"
    row, column = int(place[1]), int(place[2])
    rest = (text.splitlines() or [""])[row - 1][column - 1 :][:40]
    where = f"line {row}, column {column}" if row > 1 else f"column {column}"
    return f"cannot read CQL2 at {where}: " + (f"found {rest!r}" if rest else "it ends too early")
