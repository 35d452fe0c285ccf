"""Names that go into ids, folders and files, and the version of results. Imports nothing, for those who only name."""

import hashlib
import re

RESULT_VERSION = 3
"""Raised whenever the same job would give other bytes than before."""
MOST_NAME_BYTES = 200
"""File systems take 255; drafts and suffixes need some."""


def slug(name: str) -> str:
    """Return the name, fit for ids: all but letters and digits of any script, `.`, `_` and `-` become `-`."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"


def safe_name(identifier: str) -> str:
    """Return a file name for an id of anybody: the id itself where it is a plain name, else a part of it and its hash.

    Ids come from URLs and may hold anything: slashes, `..`, drive letters, more letters than a file system takes.
    """
    is_plain = re.fullmatch(r"[\w+=@~-][\w .+=@~-]*", identifier) and not identifier.endswith((".", " "))
    if is_plain and len(identifier.encode()) <= MOST_NAME_BYTES:
        return identifier
    kept = re.sub(r"[^\w-]+", "-", identifier).strip("-")[: MOST_NAME_BYTES // 8]
    return f"{kept}-{hashlib.sha256(identifier.encode()).hexdigest()[:12]}".lstrip("-")


def source_name(item_id: str, is_mosaic: bool) -> str:
    """Return what a result's id says of its source."""
    return f"{item_id}_mosaic" if is_mosaic else item_id


def output_item_id(source_id: str, model_name: str, job_id: str) -> str:
    """Return `<item id>_<model name>_<first 8 of job id>`."""
    return f"{source_id}_{model_name}_{job_id[:8]}"


def output_collection_id(model_name: str) -> str:
    """Return the Collection in which a model's results lie unless the user names another."""
    return f"geodl-{model_name}"
