"""Where an export goes: a folder that is there whole or not at all, and is replaced only where it is geodl's own."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geodl_core.errors import InputError
from geodl_core.io.store import DRAFT, storage_errors

MARK = "geodl-export.json"
"""Lies in each export and names what else does: only such a folder is replaced without being asked."""


def check_destination(target: Path, is_forced: bool) -> None:
    """Return if an export may go there.

    Raises:
        InputError: a file, a folder with something else in it, or one that must not be replaced whole.
        StoreError: the folder cannot be read.
    """
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir() or target.is_symlink():
        raise InputError(f"{target}: expected a folder, or nothing yet, found a file", hint="name another")
    here, place = Path.cwd().resolve(), target.resolve()
    if place == here or place in here.parents or place == Path.home() or os.path.ismount(place):
        raise InputError(f"{target}: an export replaces its folder whole, found one that more depends on")
    with storage_errors(target):
        found = {path.name for path in target.iterdir()}
    if found and not found <= _own(target) and not is_forced:
        raise InputError(
            f"{target}: expected a folder of an earlier export, or an empty one, found other files in it",
            hint="name another, or replace all that is in it with --force",
        )


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write to; when the block ends without an error it becomes `target` in one step.

    Raises:
        StoreError: the folder beside it cannot be written, or the disk is full.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=target.parent))
        new, old = draft / "new", draft / "old"
    try:
        with storage_errors(target):
            new.mkdir()
            yield new
            names = sorted(path.name for path in new.iterdir())
            (new / MARK).write_text(json.dumps({"files": names}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            if target.exists():
                target.rename(old)
            try:
                new.rename(target)
            except OSError:
                with suppress(OSError):
                    old.rename(target)
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _own(target: Path) -> set[str]:
    try:
        names = json.loads((target / MARK).read_text(encoding="utf-8"))["files"]
        return {MARK, *map(str, names)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
