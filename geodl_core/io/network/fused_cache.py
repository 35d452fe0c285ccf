"""Fused graphs kept by content, so that a large network is not taken apart and put together at every start.

What onnxruntime makes of a graph is never kept: it fits the CPU that it was made on, and no other.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from geodl_core.domain.model.model import Model
from geodl_core.errors import StoreError
from geodl_core.io.network.fuse import Feed, Yield
from geodl_core.io.store import write_bytes

FUSE_VERSION = 1
"""Raised whenever the same model would be fused into another graph."""
MOST_BYTES = 4 << 30
"""Of all graphs kept; those used longest ago go first."""
FOLDER = "fused"


def fused_key(model: Model, feed: Feed, wanted: Yield, more: tuple[object, ...] = ()) -> str:
    """Return the content hash of all that a fused graph depends on; `more` are facts of other kinds of graphs."""
    preprocessing = None if feed.preprocessing is None else feed.preprocessing.graph.digest
    facts = {
        "version": [FUSE_VERSION, *map(_version, ("geodl", "onnx"))],
        "model": model.digest,
        # What geodl made of definition and graph, which another version of it may make otherwise.
        "reading": [model.layout, model.output, model.is_activated, model.halo.coarsening, model.indices_to_ids],
        "threshold": model.threshold,
        "radiometry": asdict(feed.radiometry),
        "chip_dtype": feed.chip_dtype,
        "preprocessing": preprocessing,
        "yield": asdict(wanted),
        "more": more,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def fused_bytes(cache: Path | None, key: str, make: Callable[[], bytes]) -> bytes:
    """Return a fused graph from the cache, or make it and keep it there; without a cache make it.

    A damaged file is made anew; a cache that cannot be written is done without.
    """
    if cache is None:
        return make()
    folder = cache / FOLDER
    path = folder / f"{key}.onnx"
    content = _read_whole(path)
    if content is not None:
        return content
    content = make()
    try:
        write_bytes(path, hashlib.sha256(content).digest() + content)
        _keep_newest(folder)
    except StoreError:
        pass
    return content


def _read_whole(path: Path) -> bytes | None:
    """Return a kept graph whose hash is right, and note that it was used."""
    try:
        kept = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):
        path.touch()
    content = kept[32:]
    return content if hashlib.sha256(content).digest() == kept[:32] else None


def _keep_newest(folder: Path) -> None:
    try:
        files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob("*.onnx"))
        total = sum(size for _, size, _ in files)
        for _, size, path in files[:-1]:
            if total <= MOST_BYTES:
                break
            path.unlink(missing_ok=True)
            total -= size
    except OSError:
        pass  # another process cleans up too
