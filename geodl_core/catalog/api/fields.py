"""The fields extension: which parts of a document are answered."""

from collections.abc import Iterable, Mapping
from typing import Any

DEFAULT = ("type", "stac_version", "id", "geometry", "bbox", "links", "assets", "properties.datetime")
"""What an empty `fields` asks for; with start and end where datetime is null."""
_TOP = frozenset(
    {"type", "stac_version", "stac_extensions", "id", "collection", "geometry", "bbox", "properties", "links", "assets"}
)
Path = tuple[str, ...]


def read_fields(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return what to include and what to exclude of the names of a GET request, `-` in front of the latter."""
    spelled = [name.strip() for name in names]
    wanted = [name.removeprefix("+") for name in spelled if name and not name.startswith("-")]
    return wanted, [name[1:] for name in spelled if name.startswith("-")]


def selected(document: Mapping[str, Any], include: Iterable[str], exclude: Iterable[str]) -> dict[str, Any]:
    """Return the asked parts of an Item (fields v1.0.0): the most specific path decides, and include before exclude.

    Without either the least that makes an Item; with `exclude` alone everything else.
    """
    wanted, unwanted = [_path(name) for name in include], [_path(name) for name in exclude]
    if not wanted and not unwanted:
        wanted = [_path(name) for name in DEFAULT]
        if (document.get("properties") or {}).get("datetime") is None:
            wanted += [("properties", "start_datetime"), ("properties", "end_datetime")]
    return _kept(document, (), wanted, unwanted) if wanted else _kept(document, (), [()], unwanted)


def _kept(value: Mapping[str, Any], here: Path, wanted: list[Path], unwanted: list[Path]) -> dict[str, Any]:
    kept = {}
    for key, below in value.items():
        path = (*here, key)
        goes_on = any(len(one) > len(path) and one[: len(path)] == path for one in (*wanted, *unwanted))
        is_wanted = _depth(path, wanted) >= _depth(path, unwanted) and _depth(path, wanted) >= 0
        if goes_on and isinstance(below, Mapping):
            inside = _kept(below, path, wanted, unwanted)
            if inside or is_wanted:
                kept[key] = inside
        elif is_wanted:
            kept[key] = below
    return kept


def _depth(path: Path, rules: list[Path]) -> int:
    """Return the length of the longest rule that covers a path, -1 where none does."""
    return max((len(rule) for rule in rules if path[: len(rule)] == rule), default=-1)


def _path(name: str) -> Path:
    steps = tuple(name.split("."))
    return steps if steps[0] in _TOP else ("properties", *steps)
