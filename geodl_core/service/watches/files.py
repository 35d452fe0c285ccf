"""Watches in YAML files: several in one file, as documents or as a list."""

from pathlib import Path
from typing import Any

import yaml

from geodl_core.errors import InputError
from geodl_core.service.jobs.read_job import area_of

MOST_BYTES = 32 << 20
AREA_SUFFIXES = (".json", ".geojson")


def read_watch_file(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the watches of a YAML or JSON file, each with what it is called in errors.

    An `aoi` that names a GeoJSON file is read from beside the file.

    Raises:
        InputError: no such file, no YAML, or something else than watches in it.
    """
    try:
        content = path.read_bytes()
        if len(content) > MOST_BYTES:
            raise InputError(f"{path}: expected at most {MOST_BYTES >> 20} MB, found more")
        documents = [one for one in yaml.safe_load_all(content.decode("utf-8-sig")) if one is not None]
    except OSError as error:
        raise InputError(f"{path}: expected a file of watches, found none that can be read") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where is not None else ""
        raise InputError(f"{path}: expected YAML, found text that is none{line}") from error
    listed = [one for document in documents for one in (document if isinstance(document, list) else [document])]
    if not listed:
        raise InputError(f"{path}: expected watches, found none")
    return [(_place(path, number, len(listed)), _with_area(path, document)) for number, document in enumerate(listed)]


def _place(path: Path, number: int, count: int) -> str:
    return str(path) if count == 1 else f"{path}: watch {number + 1}"


def _with_area(path: Path, document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected watches, found {type(document).__name__}")
    area = document.get("aoi")
    if isinstance(area, str) and area.lower().endswith(AREA_SUFFIXES):
        return {**document, "aoi": area_of(str(path.parent / area))}
    return document
