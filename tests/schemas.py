"""Validation of STAC documents against the schema files of the test data, without a network."""

import json
from pathlib import Path
from typing import Any

from pystac.validation import validate_dict
from pystac.validation.stac_validator import JsonSchemaSTACValidator


def validator(shared: Path) -> JsonSchemaSTACValidator:
    """Return a validator that knows every schema under `shared/schemas` by its address."""
    made = JsonSchemaSTACValidator()
    folder = shared / "schemas"
    for path in folder.rglob("*.json"):
        made.schema_cache[f"https://{path.relative_to(folder)}"] = json.loads(path.read_text())
    return made


def require_valid(document: dict[str, Any], shared: Path) -> list[str]:
    """Validate a document with all its extensions; return the schemas that were applied."""
    return list(validate_dict(document, validator=validator(shared)))
