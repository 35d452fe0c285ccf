"""CQL2 filters as conditions on `pgstac.items`.

As in an embedded catalog negations are carried down to the comparisons, so that a missing property, or one of another
type, matches neither a comparison nor its negation. pgstac's own translation differs in this, in days, in lists, and
in what it does with values of another type than the literal's: there a single Item makes the whole search fail.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import shapely

from geodl_core.catalog.cql2_operands import Kind, Operand, Sql, Tree, joined, short, sql
from geodl_core.catalog.cql2_parse import SUPPORTED, parse_cql2
from geodl_core.catalog.footprint import Box, bbox_geometry, search_boxes
from geodl_core.catalog.pgstac.operands import (
    JSON_TYPES,
    as_kind,
    json_param,
    moment,
    operand,
    param,
    property_operand,
    time_range,
)
from geodl_core.domain.area.plane import plane_geometry
from geodl_core.errors import QueryError

NEVER, ALWAYS = Sql("false"), Sql("true")
_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
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
# Square degrees. Most Items lie in such an area: listing them all costs more than the exact test does
# on the few that a page needs.
_LARGE = 10_000


def cql2_condition(source: str | Mapping[str, Any]) -> Sql:
    """Return a filter as a condition on `items`.

    Raises:
        QueryError: the filter cannot be read or asks for something that is not supported.
    """
    return _condition(parse_cql2(source), negated=False)


def intersects(area: Any) -> Sql:
    """Return the condition that an Item's footprint touches an area between -180 and 180 degrees."""
    boxes = search_boxes(area)
    exact = sql("ST_Intersects(geometry, {})", _geometry_param(area))
    if sum((east - west) * (north - south) for west, south, east, north in boxes) > _LARGE:
        # The same, but nothing that PostgreSQL takes for a reason to ask the index.
        return sql("{} IS TRUE", exact)
    if len(boxes) == 1:
        return exact
    # The box of both sides of the antimeridian would span the world: the index is asked for each.
    return joined("AND", [joined("OR", [_box(one) for one in boxes]), exact])


def _box(box: Box) -> Sql:
    edges = [param("number", value) for value in box]
    return sql("geometry && ST_MakeEnvelope({}, {}, {}, {}, 4326)", *edges)


def _geometry_param(area: Any) -> Sql:
    located = shapely.set_srid(area, 4326)
    return sql("{}::geometry", param("wkb", shapely.to_wkb(located, include_srid=True)))


def _condition(node: Tree, negated: bool) -> Sql:
    match node:
        case bool():
            return ALWAYS if node != negated else NEVER
        case {"property": str(name)}:
            return sql("{} = {}", property_operand(name).value, json_param(not negated))
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


def _comparison(name: str, args: list[Tree], negated: bool) -> Sql:
    return _compared(_OPPOSITE[name] if negated else name, operand(args[0]), operand(args[1]))


def _compared(op: str, left: Operand, right: Operand) -> Sql:
    kinds: set[Kind] = {left.kind, right.kind} - {"any"}
    if len(kinds) > 1 or "null" in kinds:
        return NEVER
    if not kinds:
        return _same_kind(op, left, right)
    kind = kinds.pop()
    if right.kind == "any":
        op, left, right = _MIRRORED[op], right, left
    is_json = left.kind == "any" and right.literal is not None and kind in JSON_TYPES
    if is_json and (kind != "text" or op in ("=", "<>")):
        # As JSON the index serves; text is in order as the database's locale wants it, so not for < and >.
        test, typed = sql(f"{{}} {op} {{}}", left.value, json_param(right.literal)), as_kind(left, kind)
        # Not by jsonb_typeof: its result is taken for rare, and then the slower plan for the better one.
        return test if op == "=" or typed is None else joined("AND", [test, sql("{} IS NOT NULL", typed.value)])
    first, second = as_kind(left, kind), as_kind(right, kind)
    if first is None or second is None:
        return NEVER
    if first.end_us is not None and second.end_us is None:
        op, first, second = _MIRRORED[op], second, first
    return joined("AND", [_plain(op, first, second), *first.guards, *second.guards])


def _same_kind(op: str, left: Operand, right: Operand) -> Sql:
    kind = sql("jsonb_typeof({})", left.value)
    texts = sql(f'geodl.txt({{}}) COLLATE "C" {op} geodl.txt({{}})', left.value, right.value)
    others = sql(f"{{}} {op} {{}}", left.value, right.value)
    compared = sql("CASE {} WHEN 'string' THEN {} ELSE {} END", kind, texts, others)
    same = sql("{} = jsonb_typeof({})", kind, right.value)
    return joined("AND", [same, sql("{} NOT IN ('array', 'object')", kind), compared])


def _plain(op: str, first: Operand, second: Operand) -> Sql:
    """Compare values of one kind; a literal day is compared by the end that decides."""
    if second.kind == "text" and op not in ("=", "<>"):
        return sql(f'{{}} COLLATE "C" {op} {{}}', first.value, second.value)
    if second.end_us is None or second.end_us == second.literal:
        return sql(f"{{}} {op} {{}}", first.value, second.value)
    start, end = second.value, moment(second.end_us)
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
    listed = [one.literal for one in choices if isinstance(one.literal, (str, float)) and one.kind in JSON_TYPES]
    tests = [_compared("=", value, one) for one in choices if not isinstance(one.literal, (str, float))]
    if value.kind == "any" and listed:
        tests.append(sql("{} = ANY({}::jsonb[])", value.value, param("texts", [json.dumps(one) for one in listed])))
    elif value.kind in ("text", "number"):
        of_kind = [str(one) for one in listed if isinstance(one, str) == (value.kind == "text")]
        cast = "text" if value.kind == "text" else "float8"
        tests.append(sql(f"{{}} = ANY({{}}::{cast}[])", value.value, param("texts", of_kind)))
    found = joined("OR", tests or [NEVER])
    return sql("({} IS NOT NULL AND NOT coalesce({}, false))", value.value, found) if negated else found


def _like(_: str, args: list[Tree], negated: bool) -> Sql:
    value, pattern = operand(args[0]), operand(args[1])
    if not isinstance(pattern.literal, str):
        raise QueryError(f"filter: like expects a pattern in quotes, found {short(args[1])}")
    text = as_kind(value, "text")
    if text is None:
        return NEVER
    word = "NOT LIKE" if negated else "LIKE"
    return sql(f"{{}} {word} {{}}", text.value, param("text", _closed(pattern.literal)))


def _closed(pattern: str) -> str:
    """Return a pattern without a backslash at the end that escapes nothing."""
    ending = len(pattern) - len(pattern.rstrip("\\"))
    return pattern[:-1] if ending % 2 else pattern


def _is_null(_: str, args: list[Tree], negated: bool) -> Sql:
    match args[0]:
        case {"property": "geometry"}:
            return Sql("NOT ST_IsEmpty(geometry)" if negated else "ST_IsEmpty(geometry)")
    return sql("{} IS NOT NULL" if negated else "{} IS NULL", operand(args[0]).value)


def _temporal(name: str, args: list[Tree], negated: bool) -> Sql:
    if name == "t_disjoint":
        name, negated = "t_intersects", not negated
    (left_start, left_end), (right_start, right_end) = (time_range(arg) for arg in args)
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
    if name == "s_intersects" and not negated:
        return intersects(area)
    test = sql(f"ST_{name[2:]}(geometry, {{}})", _geometry_param(area))
    # Of an Item without a geometry nothing is said, neither yes nor no.
    return sql("(NOT ST_IsEmpty(geometry) AND NOT {})", test) if negated else test


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
    values = []
    for arg in args:
        match arg:
            case {"property": str(prop)}:
                values.append(property_operand(prop).value)
            case [*members]:
                values.append(json_param(members))
            case _:
                raise QueryError(f"filter: {name} expects a list or a property, found {short(arg)}")
    test = sql(f"geodl.lists('{name}', {{}}, {{}})", *values)
    return sql("NOT {}", test) if negated else test


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
