"""The operands of a CQL2 filter as SQL: a piece of SQL never travels without its bound parameters."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from geodl_core.catalog.cql2_parse import SUPPORTED
from geodl_core.catalog.sqlite_functions import accenti, casei
from geodl_core.catalog.sqlite_schema import QUERYABLES, json_path
from geodl_core.catalog.times import DAY_US, instant_us
from geodl_core.errors import QueryError

Param = str | int | float | bytes | None
Kind = Literal["number", "text", "bool", "time", "any", "null"]
Tree = Any  # a JSON tree: checked node by node

# What json_type() answers for the values of a kind.
_JSON_TYPES = {
    "number": "('integer', 'real')",
    "text": "('text')",
    "bool": "('true', 'false')",
    "time": "('text')",
}
_ARITHMETIC = {"+": "({} + {})", "-": "({} - {})", "*": "({} * {})", "/": "(CAST({} AS REAL) / {})"}
_FOLDS = {"casei": casei, "accenti": accenti}


@dataclass(frozen=True, slots=True)
class Sql:
    """SQL text and the values bound to its question marks."""

    text: str
    params: tuple[Param, ...] = ()


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a comparison."""

    kind: Kind
    """`any` where the value comes from an Item's JSON, whose type is known row by row only."""
    value: Sql
    guards: tuple[Sql, ...] = ()
    """What must hold for the value to count: it is there, and of its kind."""
    literal: Param = None
    """The value itself, where the filter states it."""
    end_us: int | None = None
    """Last microsecond, of a literal time."""
    name: str | None = None
    """Of a property."""


def sql(template: str, *parts: Sql) -> Sql:
    """Fill `parts` into the `{}` of `template`, in order, and collect their parameters."""
    return Sql(template.format(*(part.text for part in parts)), tuple(param for part in parts for param in part.params))


def bound(value: Param) -> Sql:
    """A value from outside, as a bound parameter."""
    return Sql("?", (value,))


def joined(word: str, parts: list[Sql]) -> Sql:
    """Join conditions by AND or OR."""
    return sql("(" + f" {word} ".join(["{}"] * len(parts)) + ")", *parts)


def property_sql(name: str, function: Literal["json_extract", "json_type"]) -> Sql:
    """The value or the JSON type of an Item's property; a dotted name is also looked for inside objects."""
    name = name.removeprefix("properties.")
    if name in QUERYABLES:  # spelled as in the index, or SQLite would not use it
        return Sql(f"{function}(props, '{json_path(name)}')")
    whole = _member(name, function)
    if "." not in name or not _is_plain(name):
        return whole
    nested = bound("$" + "".join(f'."{part}"' for part in name.split(".")))
    return sql(f"coalesce({{}}, {function}(props, {{}}))", whole, nested)


def property_operand(name: str) -> Operand:
    """A property by the name that the filter gives it."""
    if name in ("id", "collection"):
        return Operand("text", Sql(name), name=name)
    return Operand("any", property_sql(name, "json_extract"), name=name)


def as_kind(operand: Operand, kind: Kind) -> Operand | None:
    """Return the operand as one of `kind`, or None where it can never be."""
    if operand.kind == kind:
        return operand
    if operand.kind != "any" or operand.name is None:
        return None
    value = operand.value
    if kind == "time":
        is_datetime = operand.name.removeprefix("properties.") == "datetime"
        value = Sql("t0") if is_datetime else sql("geodl_us({})", value)
    guard = sql(f"{{}} IN {_JSON_TYPES[kind]}", property_sql(operand.name, "json_type"))
    return replace(operand, kind=kind, value=value, guards=(*operand.guards, guard))


def json_class(operand: Operand) -> Sql:
    """SQL for the kind of a property's value: 'n', 't', 'b', or NULL for what cannot be compared."""
    return sql(
        "CASE {} WHEN 'integer' THEN 'n' WHEN 'real' THEN 'n' WHEN 'text' THEN 't' "
        "WHEN 'true' THEN 'b' WHEN 'false' THEN 'b' END",
        property_sql(operand.name or "", "json_type"),
    )


def operand(node: Tree) -> Operand:  # noqa: PLR0911 - one line a kind of node
    """Return one operand of a comparison.

    Raises:
        QueryError: the node is none, or one that is not supported here.
    """
    match node:
        case None:
            return Operand("null", Sql("NULL"))
        case bool():
            return Operand("bool", bound(int(node)), literal=node)
        case int() | float():
            number = _number(node)
            return Operand("number", bound(number), literal=number)
        case str():
            return Operand("text", bound(node), literal=node)
        case {"property": str(name)}:
            return property_operand(name)
        case {"timestamp": str(text)}:
            return _time(text, 0)
        case {"date": str(text)}:
            return _time(text, DAY_US - 1)
        case {"op": str(name), "args": [*args]}:
            return _computed(name, args)
    raise QueryError(f"filter: cannot compare with {short(node)}", hint=SUPPORTED)


def instant(text: str) -> int:
    """Return the microsecond of a time literal.

    Raises:
        QueryError: it is none.
    """
    try:
        return instant_us(text)
    except (ValueError, OverflowError) as err:
        raise QueryError(f"filter: expected an RFC 3339 time, found {text[:40]!r}") from err


def short(node: Tree) -> str:
    """Return a node for an error message."""
    if isinstance(node, Mapping) and "op" in node:
        return f"the operator {str(node['op'])[:40]!r}"
    text = json.dumps(node, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError as err:
        raise QueryError("filter: expected numbers below 1e308, found a larger one") from err


def _time(text: str, lasts_us: int) -> Operand:
    start = instant(text)
    return Operand("time", bound(start), literal=start, end_us=start + lasts_us)


def _computed(name: str, args: list[Tree]) -> Operand:
    lower = name.lower()
    if lower in _FOLDS and len(args) == 1:
        return _folded(lower, args[0])
    if lower not in (*_ARITHMETIC, "%", "div", "^"):
        raise QueryError(f"filter: unknown operator {name[:40]!r}", hint=SUPPORTED)
    if len(args) != 2:
        raise QueryError(f"filter: {name} expects 2 operands, found {len(args)}")
    left, right = (as_kind(operand(arg), "number") for arg in args)
    if left is None or right is None:
        raise QueryError(f"filter: {name} expects numbers, found {short(args)}")
    template = _ARITHMETIC.get(lower, f"geodl_arithmetic('{lower}', {{}}, {{}})")
    return Operand("number", sql(template, left.value, right.value), (*left.guards, *right.guards))


def _folded(name: str, argument: Tree) -> Operand:
    text = as_kind(operand(argument), "text")
    if text is None:
        raise QueryError(f"filter: {name} expects a text, found {short(argument)}")
    if isinstance(text.literal, str):
        folded = _FOLDS[name](text.literal)
        return Operand("text", bound(folded), literal=folded)
    return Operand("text", sql(f"geodl_{name}({{}})", text.value), text.guards)


def _member(name: str, function: str) -> Sql:
    if _is_plain(name):
        return sql(f"{function}(props, {{}})", bound(json_path(name)))
    column = "value" if function == "json_extract" else "type"
    # JSON paths cannot escape a quote.
    return sql(f"(SELECT {column} FROM json_each(props) WHERE key = {{}})", bound(name))  # noqa: S608 - column is one of two words


def _is_plain(name: str) -> bool:
    return name.isprintable() and not set(name) & {'"', "\\"}
