"""The operands of a CQL2 filter as PostgreSQL, over `pgstac.items`; they mean what they mean in an embedded catalog."""

import json
from dataclasses import replace
from typing import Any, Literal

from geodl_core.catalog.cql2_operands import Kind, Operand, Sql, Tree, instant, short, sql
from geodl_core.catalog.cql2_parse import SUPPORTED
from geodl_core.catalog.pgstac.schema import QUERYABLES, property_text
from geodl_core.catalog.sqlite_functions import accenti, casei
from geodl_core.catalog.times import DAY_US, rfc3339
from geodl_core.errors import QueryError

BEFORE_ALL, AFTER_ALL = -(2**62), 2**62
_FOLDS = {"casei": casei, "accenti": accenti}
_CASTS = {"number": "float8", "text": "text", "bool": "boolean", "json": "jsonb", "texts": "text[]", "wkb": "bytea"}
_READERS = {"number": "geodl.num({})", "text": "geodl.txt({})", "bool": "geodl.flag({})", "time": "geodl.instant({})"}
JSON_TYPES = {"number": "number", "text": "string", "bool": "boolean"}
"""What jsonb_typeof answers for the values of a kind."""


def param(kind: str, value: Any) -> Sql:
    """A value from outside as a bound parameter of a type.

    Raises:
        QueryError: it holds a character that PostgreSQL has not.
    """
    if isinstance(value, str) and "\x00" in value:
        raise QueryError("expected text without the character U+0000, found it")
    return Sql(f"?::{_CASTS[kind]}", (value,))


def json_param(value: Any) -> Sql:
    """A JSON value from outside as a bound parameter."""
    return param("json", json.dumps(value))


def moment(micros: int) -> Sql:
    """A time as a bound parameter."""
    if micros in (BEFORE_ALL, AFTER_ALL):
        return Sql("'-infinity'::timestamptz" if micros == BEFORE_ALL else "'infinity'::timestamptz")
    return Sql("?::timestamptz", (rfc3339(micros),))


def property_json(name: str) -> Sql:
    """The JSON value of an Item's property, NULL where it is missing or null; dots also lead into objects."""
    name = name.removeprefix("properties.")
    if name in QUERYABLES:
        return Sql(property_text(name))
    whole = sql("NULLIF(content->'properties'->{}, 'null'::jsonb)", param("text", name))
    if "." not in name:
        return whole
    nested = sql("NULLIF(content->'properties'#>{}, 'null'::jsonb)", param("texts", name.split(".")))
    return sql("coalesce({}, {})", whole, nested)


def property_operand(name: str) -> Operand:
    """A property by the name that the filter gives it; its value is JSON."""
    if name in ("id", "collection"):
        return Operand("text", Sql(name), name=name)
    return Operand("any", property_json(name), name=name)


def as_kind(operand: Operand, kind: Kind) -> Operand | None:
    """Return the operand as one of `kind`, NULL where an Item's value is none, or None where it can never be."""
    if operand.kind == kind:
        return operand
    if operand.kind != "any" or operand.name is None:
        return None
    if kind == "time" and operand.name.removeprefix("properties.") == "datetime":
        is_there = sql("jsonb_typeof({}) = 'string'", operand.value)
        return replace(operand, kind=kind, value=Sql("datetime"), guards=(is_there,))
    return replace(operand, kind=kind, value=sql(_READERS[kind], operand.value))


def operand(node: Tree) -> Operand:  # noqa: PLR0911 - one line a kind of node
    """Return one operand of a comparison.

    Raises:
        QueryError: the node is none, or one that is not supported here.
    """
    match node:
        case None:
            return Operand("null", Sql("NULL"))
        case bool():
            return Operand("bool", param("bool", node), literal=node)
        case int() | float():
            number = _number(node)
            return Operand("number", param("number", number), literal=number)
        case str():
            return Operand("text", param("text", node), literal=node)
        case {"property": str(name)}:
            return property_operand(name)
        case {"timestamp": str(text)}:
            return _time(text, 0)
        case {"date": str(text)}:
            return _time(text, DAY_US - 1)
        case {"op": str(name), "args": [*args]}:
            return _computed(name, args)
    raise QueryError(f"filter: cannot compare with {short(node)}", hint=SUPPORTED)


def time_range(node: Tree) -> tuple[Operand, Operand]:
    """Return the start and the end of an operand of a temporal operator.

    Raises:
        QueryError: it is no time, interval or property.
    """
    match node:
        case {"interval": [start, end]}:
            return _end(start, BEFORE_ALL)[0], _end(end, AFTER_ALL)[0]
    return _end(node, None)


def _end(node: Tree, open_us: int | None) -> tuple[Operand, Operand]:
    if node in (None, "..", "") and open_us is not None:
        literal = Operand("time", moment(open_us), literal=open_us, end_us=open_us)
        return literal, literal
    found = operand({"timestamp": node} if isinstance(node, str) else node)
    typed = as_kind(found, "time")
    if typed is None:
        raise QueryError(f"filter: expected a time, an interval or a property, found {short(node)}")
    return typed, typed if typed.end_us is None else Operand("time", moment(typed.end_us), literal=typed.end_us)


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError as err:
        raise QueryError("filter: expected numbers below 1e308, found a larger one") from err


def _time(text: str, lasts_us: int) -> Operand:
    start = instant(text)
    return Operand("time", moment(start), literal=start, end_us=start + lasts_us)


def _computed(name: str, args: list[Tree]) -> Operand:
    lower = name.lower()
    if lower in _FOLDS and len(args) == 1:
        return _folded(lower, args[0])  # type: ignore[arg-type]
    if lower not in ("+", "-", "*", "/", "%", "div", "^"):
        raise QueryError(f"filter: unknown operator {name[:40]!r}", hint=SUPPORTED)
    if len(args) != 2:
        raise QueryError(f"filter: {name} expects 2 operands, found {len(args)}")
    left, right = (as_kind(operand(arg), "number") for arg in args)
    if left is None or right is None:
        raise QueryError(f"filter: {name} expects numbers, found {short(args)}")
    return Operand("number", sql(f"geodl.arithmetic('{lower}', {{}}, {{}})", left.value, right.value))


def _folded(name: Literal["casei", "accenti"], argument: Tree) -> Operand:
    text = as_kind(operand(argument), "text")
    if text is None:
        raise QueryError(f"filter: {name} expects a text, found {short(argument)}")
    if isinstance(text.literal, str):
        folded = _FOLDS[name](text.literal)
        return Operand("text", param("text", folded), literal=folded)
    return Operand("text", sql(f"geodl.{name}({{}})", text.value))
