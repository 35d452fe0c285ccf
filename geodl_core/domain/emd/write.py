"""An EMD as text that ArcGIS and geodl read."""

import json
import re
from collections.abc import Mapping

from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.emd.text import is_bare_path
from geodl_core.errors import ModelError

NUMBER_FLAGS = ("fixedTileSize", "CropSizeFixed", "BlackenAroundFeature")
"""Flags that are documented as 0 or 1; the others are true or false."""
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_SHORT_ESCAPE = re.compile(r"\\([\\\"bfnrt])")
_LONG_ESCAPES = {"b": "\\u0008", "f": "\\u000c", "n": "\\u000a", "r": "\\u000d", "t": "\\u0009"}


def write_emd(emd: Emd, placeholders: Mapping[str, str] | None = None) -> str:
    """Return a definition as JSON: only the keys that were given, documented ones first, then the others as they came.

    Reading the text gives an equal `Emd` and needs no repair.

    Args:
        emd: the definition.
        placeholders: keys that somebody still has to fill in, with the text that says so.

    Raises:
        ModelError: a value that JSON cannot say, such as a NaN among the unknown keys.
    """
    document = {**emd.model_dump(exclude_unset=True), **(placeholders or {})}
    for key in NUMBER_FLAGS:
        if isinstance(document.get(key), bool):
            document[key] = int(document[key])
    try:
        text = json.dumps(document, indent=4, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"expected a definition that JSON can hold: {error}") from error
    return _STRING.sub(_without_bare_path, text) + "\n"


def _without_bare_path(match: re.Match[str]) -> str:
    """Spell line ends and tabs in what looks like a Windows path so that they are not taken for its backslashes."""
    if not is_bare_path(match[0][1:-1]):
        return match[0]
    return _SHORT_ESCAPE.sub(lambda escape: _LONG_ESCAPES.get(escape[1], escape[0]), match[0])
