"""What of an EMD has no word in MLM, carried in an Item's hyperparameters."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.mlm.loose_json import mapping, texts

CARRIED = "emd."
"""Prefix of the hyperparameters that hold an EMD's keys as they were."""
CARRIED_REST = "emd"
"""The hyperparameter that holds what has no name there: keys of unusual spelling, keys that the EMD lacks."""


def document(emd: Emd) -> dict[str, Any]:
    """Return an EMD as plain JSON: the keys that were given, and no number that JSON lacks."""
    found: dict[str, Any] = _finite(emd.model_dump(exclude_unset=True))
    return found


def with_carried(keys: dict[str, Any], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys with those of the hyperparameters in their place."""
    rest = mapping(hyperparameters.get(CARRIED_REST))
    absent = texts(rest.get("absent"))
    kept = {key: value for key, value in keys.items() if key not in absent}
    kept |= {key.removeprefix(CARRIED): value for key, value in hyperparameters.items() if key.startswith(CARRIED)}
    kept |= mapping(rest.get("other"))
    foreign = {
        key: value for key, value in hyperparameters.items() if key != CARRIED_REST and not key.startswith(CARRIED)
    }
    return kept | ({"Hyperparameters": foreign} if foreign else {})


def is_carried(key: str, hyperparameters: Mapping[str, Any]) -> bool:
    """Whether the hyperparameters say what a key is, or that there is none."""
    return CARRIED + key in hyperparameters or key in texts(mapping(hyperparameters.get(CARRIED_REST)).get("absent"))


def carry(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters that turn what an Item says into the whole definition.

    Args:
        wanted: the definition's keys.
        found: those that reading the Item gives without these hyperparameters.
    """
    missing = {key: value for key, value in wanted.items() if key not in found or not _is_same(found[key], value)}
    plain = {key: value for key, value in missing.items() if re.fullmatch(r"[0-9a-zA-Z_.-]+", key)}
    carried = {f"{CARRIED}{key}": value for key, value in plain.items()}
    other = {key: value for key, value in missing.items() if key not in plain}
    absent = sorted(set(found) - set(wanted))
    rest = {key: value for key, value in (("absent", absent), ("other", other)) if value}
    return carried | ({CARRIED_REST: rest} if rest else {})


def _is_same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
