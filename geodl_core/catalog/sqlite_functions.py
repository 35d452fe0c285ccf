"""Functions that SQLite lacks, written here and registered on every connection."""

import json
import math
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from geodl_core.catalog.times import instant_us

Number = int | float

# The literal is prepared once and asked about every item, so it is the left side of each predicate.
SPATIAL: dict[str, Callable[[BaseGeometry, BaseGeometry], Any]] = {
    "s_intersects": shapely.intersects,
    "s_disjoint": shapely.disjoint,
    "s_within": shapely.contains,
    "s_contains": shapely.within,
    "s_equals": shapely.equals,
    "s_touches": shapely.touches,
    "s_overlaps": shapely.overlaps,
    "s_crosses": shapely.crosses,
}


def register_functions(connection: sqlite3.Connection) -> None:
    """Give `connection` the functions that the SQL of `cql2_sql` calls."""
    functions: dict[str, tuple[int, Callable[..., Any]]] = {
        "geodl_spatial": (3, _spatial),
        "geodl_us": (1, _micros),
        "geodl_casei": (1, casei),
        "geodl_accenti": (1, accenti),
        "geodl_array": (3, _array),
        "geodl_arithmetic": (3, _arithmetic),
        "geodl_text": (-1, _has_words),
    }
    for name, (arguments, function) in functions.items():
        connection.create_function(name, arguments, function, deterministic=True)


def casei(text: object) -> str | None:
    """Return `text` without its case."""
    return text.lower() if isinstance(text, str) else None


def accenti(text: object) -> str | None:
    """Return `text` without its accents."""
    if not isinstance(text, str):
        return None
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


@lru_cache(maxsize=32)
def _literal(wkb: bytes) -> BaseGeometry:
    geometry = shapely.from_wkb(wkb)
    shapely.prepare(geometry)
    return geometry


def _spatial(operator: str, stored: bytes | None, literal: bytes) -> bool | None:
    if stored is None:
        return None
    return bool(SPATIAL[operator](_literal(literal), shapely.from_wkb(stored)))


def _micros(text: object) -> int | None:
    if not isinstance(text, str):
        return None
    try:
        return instant_us(text)
    except (ValueError, OverflowError):
        return None


def _array(operator: str, left: object, right: object) -> bool | None:
    if not isinstance(left, str) or not isinstance(right, str):
        return None
    try:
        ours, theirs = _members(left), _members(right)
    except ValueError:  # text, and no array
        return None
    match operator:
        case "a_equals":
            return ours == theirs
        case "a_contains":
            return ours >= theirs
        case "a_containedby":
            return ours <= theirs
    return bool(ours & theirs)


def word_pattern(words: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of `words`, each a word or a phrase, whole and in any case."""
    spelled = "|".join(r"\s+".join(map(re.escape, word.split())) for word in words if word.split())
    # Without any word nothing is found.
    return re.compile(rf"(?<!\w)(?:{spelled})(?!\w)" if spelled else r"(?!)", re.IGNORECASE)


@lru_cache(maxsize=32)
def _pattern(words: str) -> re.Pattern[str]:
    return word_pattern(json.loads(words))


def _has_words(words: str, *texts: object) -> bool:
    pattern = _pattern(words)
    return any(isinstance(text, str) and pattern.search(text) is not None for text in texts)


def _members(text: str) -> set[tuple[bool, object]]:
    """The elements of a JSON array; `true` is kept apart from 1, nested values are compared as text."""
    elements = json.loads(text)
    return {
        (isinstance(one, bool), json.dumps(one, sort_keys=True) if isinstance(one, (dict, list)) else one)
        for one in (elements if isinstance(elements, list) else [])
    }


def _arithmetic(operator: str, left: object, right: object) -> Number | None:
    if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
        return None
    try:
        match operator:
            case "%":
                return math.fmod(left, right)
            case "div":
                return float(math.trunc(left / right))
        return math.pow(left, right)
    except (ArithmeticError, ValueError):
        return None
