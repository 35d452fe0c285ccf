"""Bounds of CQL2 that comes from outside: its parser, a library, ends the process where text nests too deeply."""

import re
from collections.abc import Mapping
from typing import Any

from geodl_core.errors import QueryError

MAX_DEPTH = 100
"""The parser recurses: a few thousand nested parentheses, signs or operators in a row end the whole process."""
MAX_CHARACTERS = 200_000
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_PLACES = re.compile(r"(?i)\b(?:bbox|point|linestring|polygon|multi\w+|geometrycollection)[\sz]*\([-+\d.e,\s()]*\)")
_CALCULATIONS = re.compile(r"(?i)[\w)\]'\"]\s*(?:[-+*/%^]|\bdiv\b)")


def require_bounded(text: str, place: str) -> None:
    """Make sure that CQL2 text is one that the parser survives.

    Raises:
        QueryError: it nests too deeply.
    """
    bare = _QUOTED.sub("''", text)
    depth = deepest = 0
    for letter in bare:
        depth += (letter == "(") - (letter == ")")
        deepest = max(deepest, depth)
    signs = re.search(rf"(?:[-+]\s*){{{MAX_DEPTH}}}", bare)
    calculations = len(_CALCULATIONS.findall(_PLACES.sub("''", bare)))
    nots = len(re.findall(r"(?i)\bnot\b", bare))
    if signs or max(deepest, calculations, nots) > MAX_DEPTH:
        raise QueryError(f"{place}: expected at most {MAX_DEPTH} nested parentheses, nots or calculations")


def require_shallow(tree: Any, place: str) -> None:
    """Make sure that a JSON tree is not deeper than any reader follows it.

    Raises:
        QueryError: it is.
    """
    level = [tree]
    for _ in range(2 * MAX_DEPTH):
        below = (one.values() if isinstance(one, Mapping) else one for one in level if isinstance(one, Mapping | list))
        level = [child for children in below for child in children]
        if not level:
            return
    raise QueryError(f"{place}: expected at most {MAX_DEPTH} levels of nesting, found more")
