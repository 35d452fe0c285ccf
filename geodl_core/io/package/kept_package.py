"""Packages of models, kept by their content for the next job on this machine that needs the same."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from geodl_core.errors import StoreError
from geodl_core.io.store import atomic_file, sha256_file

FOLDER = "models"
MOST_BYTES = 2 << 30
"""Kept beyond the one that was used last."""


def fetch_package(cache: Path | None, digest: str, fetch: Callable[[Path], None], target: Path) -> bool:
    """Put the package with a content hash at `target`: the one that was kept, where it is whole, else a fetched one.

    What was fetched and is right is kept; a cache that cannot be written is done without.

    Args:
        cache: folder of what may be made anew at any time; None keeps nothing.
        digest: SHA-256 of the package, in hexadecimal.
        fetch: writes the package to a path.
        target: where it is put; it belongs to the caller, whatever becomes of the cache.

    Returns:
        Whether it is the package with that hash.
    """
    kept = None if cache is None else cache / FOLDER / f"{digest}.dlpk"
    if kept is not None and _copied(kept, target) and sha256_file(target) == digest:
        with suppress(OSError):
            os.utime(kept)
        return True
    fetch(target)
    if sha256_file(target) != digest:
        return False
    if kept is not None:
        with suppress(StoreError, OSError):
            with atomic_file(kept) as draft:
                shutil.copyfile(target, draft)
            _keep_newest(kept.parent)
    return True


def _copied(kept: Path, target: Path) -> bool:
    try:
        shutil.copyfile(kept, target)
    except OSError:
        return False
    return True


def _keep_newest(folder: Path) -> None:
    files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob("*.dlpk"))
    total = sum(size for _, size, _ in files[:-1])
    for _, size, path in files[:-1]:
        if total <= MOST_BYTES:
            break
        path.unlink(missing_ok=True)
        total -= size
