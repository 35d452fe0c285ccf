"""CQL2 filters as conditions on the `items` table of an embedded catalog.

Negations are carried down to the comparisons, where each is turned into its opposite. So a missing
property, or one of another type, matches neither a comparison nor its negation, as CQL2 wants it and as
`cql2.Expr.matches` does it; SQL's own NOT would let the latter through.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from geodl_core.catalog.cql2_operands import (
    Kind,
    Operand,
    Param,
    Sql,
    Tree,
    as_kind,
    bound,
    joined,
    json_class,
    operand,
    property_operand,
    property_sql,
    short,
    sql,
)
from geodl_core.catalog.cql2_parse import SUPPORTED, parse_cql2
from geodl_core.catalog.footprint import Box, bbox_geometry, search_boxes
from geodl_core.domain.area.plane import plane_geometry
from geodl_core.errors import QueryError

_NEVER, _ALWAYS = Sql("0"), Sql("1")
_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
# Square degrees. Most Items lie in such an area: listing them all costs more than the exact test does
# on the few that a page needs.
_LARGE = 10_000
_BEFORE_ALL, _AFTER_ALL = -(2**62), 2**62

# Left and right are ranges; their starts and ends are ls, le, rs, re.
_TEMPORAL: dict[str, tuple[str, ...]] = {
    "t_after": ("ls > re",),
    "t_before": ("le < rs",),
    "t_contains": ("rs > ls", "re < le"),
    "t_during": ("ls > rs", "le < re"),
    "t_equals": ("ls = rs", "le = re"),
    "t_finishedby": ("rs > ls", "le = re"),
    "t_finishes": ("ls > rs", "le = re"),
    "t_intersects": ("ls <= re", "le >= rs"),
    "t_meets": ("le = rs",),
    "t_metby": ("re = ls",),
    "t_overlappedby": ("rs < le", "ls < re", "re < le"),
    "t_overlaps": ("ls < re", "rs < le", "le < re"),
    "t_startedby": ("ls = rs", "re < le"),
    "t_starts": ("ls = rs", "le < re"),
}
_SPATIAL = ("s_intersects", "s_within", "s_contains", "s_equals", "s_touches", "s_overlaps", "s_crosses")
_SWAPPED = {"s_within": "s_contains", "s_contains": "s_within"}
_ARRAY = ("a_contains", "a_containedby", "a_equals", "a_overlaps")


def cql2_condition(source: str | Mapping[str, Any]) -> tuple[str, tuple[Param, ...]]:
    """Return a filter as an SQL condition on `items` and the values bound to it.

    The literal DATE stands for the whole day. `datetime` is that property alone, as everywhere in CQL2:
    an Item where it is null is found by INTERVAL(start_datetime, end_datetime).

    Raises:
        QueryError: the filter cannot be read or asks for something that is not supported.
    """
    found = _condition(parse_cql2(source), negated=False)
    return found.text, found.params


def box_condition(boxes: list[Box]) -> Sql:
    """Return the R*Tree test that an Item's box touches one of `boxes`, a mere prefilter."""
    if sum((east - west) * (north - south) for west, south, east, north in boxes) > _LARGE:
        return _ALWAYS
    tests = [
        Sql("(maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?)", (west, east, south, north))
        for west, south, east, north in boxes
    ]
    return sql("pk IN (SELECT id >> 1 FROM items_rtree WHERE {})", joined("OR", tests))


def _condition(node: Tree, negated: bool) -> Sql:
    match node:
        case bool():
            return _ALWAYS if node != negated else _NEVER
        case {"property": str(name)}:
            return _flag(property_operand(name), negated)
        case {"op": str(name), "args": [*args]}:
            return _operator(name, args, negated)
    raise QueryError(f"filter: expected a condition, found {short(node)}", hint=SUPPORTED)


def _operator(name: str, args: list[Tree], negated: bool) -> Sql:
    lower = name.lower()
    if lower in ("and", "or"):
        if not args:
            raise QueryError(f"filter: {name} expects operands, found none")
        word = "AND" if (lower == "and") != negated else "OR"
        return joined(word, [_condition(arg, negated) for arg in args])
    if lower == "not":
        return _condition(_exactly(name, args, 1)[0], not negated)
    if lower == "between" and len(args) == 2 and isinstance(args[1], list):  # as a draft of CQL2 had it
        args = [args[0], *args[1]]
    for family, count, build in _FAMILIES:
        if lower in family:
            return build(lower, _exactly(name, args, count), negated)
    raise QueryError(f"filter: unknown operator {name[:40]!r}", hint=SUPPORTED)


def _exactly(name: str, args: list[Tree], count: int) -> list[Tree]:
    if len(args) != count:
        raise QueryError(f"filter: {name} expects {count} operand{'s' * (count > 1)}, found {len(args)}")
    return args


def _flag(prop: Operand, negated: bool) -> Sql:
    wanted = "'false'" if negated else "'true'"
    return sql(f"{{}} = {wanted}", property_sql(prop.name or "", "json_type"))


def _comparison(name: str, args: list[Tree], negated: bool) -> Sql:
    return _compared(_OPPOSITE[name] if negated else name, operand(args[0]), operand(args[1]))


def _compared(op: str, left: Operand, right: Operand) -> Sql:
    kinds: set[Kind] = {left.kind, right.kind} - {"any"}
    if len(kinds) > 1 or "null" in kinds:
        return _NEVER
    if not kinds:
        same = sql("{} = {}", json_class(left), json_class(right))
        return joined("AND", [sql(f"{{}} {op} {{}}", left.value, right.value), same])
    kind = kinds.pop()
    first, second = as_kind(left, kind), as_kind(right, kind)
    if first is None or second is None:
        return _NEVER
    if first.end_us is not None and second.end_us is None:
        op, first, second = _MIRRORED[op], second, first
    return joined("AND", [_plain(op, first, second), *first.guards, *second.guards])


def _plain(op: str, first: Operand, second: Operand) -> Sql:
    """Compare values of one kind; a literal day is compared by the end that decides."""
    start, end = second.value, bound(second.end_us)
    if second.end_us is None or second.end_us == second.literal:
        return sql(f"{{}} {op} {{}}", first.value, start)
    match op:
        case "=":
            return sql("{} BETWEEN {} AND {}", first.value, start, end)
        case "<>":
            return sql("{} NOT BETWEEN {} AND {}", first.value, start, end)
        case "<" | ">=":
            return sql(f"{{}} {op} {{}}", first.value, start)
    return sql(f"{{}} {op} {{}}", first.value, end)


def _between(_: str, args: list[Tree], negated: bool) -> Sql:
    value, low, high = (operand(arg) for arg in args)
    if negated:
        return joined("OR", [_compared("<", value, low), _compared(">", value, high)])
    return joined("AND", [_compared(">=", value, low), _compared("<=", value, high)])


def _in(_: str, args: list[Tree], negated: bool) -> Sql:
    value = operand(args[0])
    if not isinstance(args[1], list):
        raise QueryError(f"filter: in expects a list, found {short(args[1])}")
    choices = [operand(choice) for choice in args[1]]
    tests = [_compared("=", value, choice) for choice in choices if not isinstance(choice.literal, (str, float))]
    families: tuple[tuple[Kind, type], ...] = (("number", float), ("text", str))
    for kind, python_type in families:
        literals = [choice.literal for choice in choices if isinstance(choice.literal, python_type)]
        typed = as_kind(value, kind)
        if literals and typed is not None:
            # One parameter however long the list: SQLite counts them.
            member = sql("{} IN (SELECT value FROM json_each({}))", typed.value, bound(json.dumps(literals)))
            tests.append(joined("AND", [member, *typed.guards]))
    found = joined("OR", tests or [_NEVER])
    return sql("({} IS NOT NULL AND NOT coalesce({}, 0))", value.value, found) if negated else found


def _like(_: str, args: list[Tree], negated: bool) -> Sql:
    value, pattern = operand(args[0]), operand(args[1])
    if not isinstance(pattern.literal, str):
        raise QueryError(f"filter: like expects a pattern in quotes, found {short(args[1])}")
    text = as_kind(value, "text")
    if text is None:
        return _NEVER
    # LIKE ignores the case of ASCII letters only; GLOB never does.
    test = sql("{} NOT GLOB {}" if negated else "{} GLOB {}", text.value, bound(_glob(pattern.literal)))
    return joined("AND", [test, *text.guards])


def _glob(pattern: str) -> str:
    r"""Return a LIKE pattern (`%`, `_`, escape `\`) as a GLOB pattern."""
    out, escaped = [], False
    for char in pattern:
        if char == "\\" and not escaped:
            escaped = True
            continue
        wild = {} if escaped else {"%": "*", "_": "?"}
        out.append(wild.get(char, f"[{char}]" if char in "*?[" else char))
        escaped = False
    return "".join(out)


def _is_null(_: str, args: list[Tree], negated: bool) -> Sql:
    match args[0]:
        case {"property": "geometry"}:
            value = Sql("geom")
        case _:
            value = operand(args[0]).value
    return sql("{} IS NOT NULL" if negated else "{} IS NULL", value)


def _temporal(name: str, args: list[Tree], negated: bool) -> Sql:
    if name == "t_disjoint":
        name, negated = "t_intersects", not negated
    (left_start, left_end), (right_start, right_end) = (_range(arg) for arg in args)
    sides = {"ls": left_start, "le": left_end, "rs": right_start, "re": right_end}
    tests, guards = [], []
    for rule in _TEMPORAL[name]:
        first, op, second = rule.split()
        tests.append(sql(f"{{}} {op} {{}}", sides[first].value, sides[second].value))
    for side in sides.values():
        guards += [guard for guard in side.guards if guard not in guards]
        known = sql("{} IS NOT NULL", side.value)
        guards += [known] if side.literal is None and known not in guards else []
    formula = joined("AND", tests)
    return joined("AND", [sql("NOT {}", formula) if negated else formula, *guards])


def _range(node: Tree) -> tuple[Operand, Operand]:
    match node:
        case {"interval": [start, end]}:
            return _end(start, _BEFORE_ALL)[0], _end(end, _AFTER_ALL)[0]
    return _end(node, None)


def _end(node: Tree, open_us: int | None) -> tuple[Operand, Operand]:
    if node in (None, "..", "") and open_us is not None:
        literal = Operand("time", bound(open_us), literal=open_us, end_us=open_us)
        return literal, literal
    found = operand({"timestamp": node} if isinstance(node, str) else node)
    typed = as_kind(found, "time")
    if typed is None:
        raise QueryError(f"filter: expected a time, an interval or a property, found {short(node)}")
    return typed, typed if typed.end_us is None else Operand("time", bound(typed.end_us), literal=typed.end_us)


def _spatial(name: str, args: list[Tree], negated: bool) -> Sql:
    if name == "s_disjoint":
        name, negated = "s_intersects", not negated
    is_property = [isinstance(arg, Mapping) and "property" in arg for arg in args]
    if is_property not in ([True, False], [False, True]):
        raise QueryError(f"filter: {name} expects the property geometry and a geometry, found {short(args)}")
    prop, literal = (args[0], args[1]) if is_property[0] else (args[1], args[0])
    if prop["property"] != "geometry":
        raise QueryError(f"filter: {name} is for the property geometry, found {str(prop['property'])[:40]!r}")
    if not is_property[0]:
        name = _SWAPPED.get(name, name)
    area = _geometry(literal)
    test = sql(f"geodl_spatial('{name}', geom, {{}})", bound(area.wkb))
    if negated:
        return sql("NOT {}", test)
    return joined("AND", [box_condition(search_boxes(area)), test])


def _geometry(node: Tree) -> Any:
    match node:
        case {"bbox": [west, south, east, north] | [west, south, _, east, north, _]} if all(
            isinstance(value, (int, float)) for value in (west, south, east, north)
        ):
            return bbox_geometry((west, south, east, north))
        case Mapping() if "bbox" not in node or "type" in node:
            try:
                return plane_geometry(node)
            except ValueError as err:
                raise QueryError(f"filter: {err}") from err
    raise QueryError(f"filter: expected a geometry, found {short(node)}")


def _array(name: str, args: list[Tree], negated: bool) -> Sql:
    values, guards = [], []
    for arg in args:
        match arg:
            case {"property": str(prop)}:
                values.append(property_operand(prop).value)
                guards.append(sql("{} = 'array'", property_sql(prop, "json_type")))
            case [*members]:
                values.append(bound(json.dumps(members)))
            case _:
                raise QueryError(f"filter: {name} expects a list or a property, found {short(arg)}")
    test = sql(f"geodl_array('{name}', {{}}, {{}})", *values)
    return joined("AND", [sql("NOT {}", test) if negated else test, *guards])


_FAMILIES: tuple[tuple[tuple[str, ...], int, Callable[[str, list[Tree], bool], Sql]], ...] = (
    (tuple(_OPPOSITE), 2, _comparison),
    (("between",), 3, _between),
    (("in",), 2, _in),
    (("like",), 2, _like),
    (("isnull",), 1, _is_null),
    (("t_disjoint", *_TEMPORAL), 2, _temporal),
    (("s_disjoint", *_SPATIAL), 2, _spatial),
    (_ARRAY, 2, _array),
)
