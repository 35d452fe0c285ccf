"""Local files: written whole or not at all, hashed, held by one process at a time."""

import errno
import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import filelock

from geodl_core.errors import StoreError

DRAFT = ".draft-"
"""Prefix of the folders of files that are not finished. Machine and process follow, so that what a killed process left
can be told; whoever holds a job's folder may remove them all."""
LOCK = ".lock"


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a path to write to; when the block ends without an error its file becomes `target` in one step.

    The file lies in a folder of its own beside the target until then, so that a crash leaves no half-written target.

    Raises:
        StoreError: the folder cannot be written, or the disk is full.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(target.parent)
        folder = Path(tempfile.mkdtemp(prefix=f"{_machine()}{os.getpid()}-", dir=target.parent))
    draft = folder / target.name
    try:
        with storage_errors(target):
            yield draft
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            draft.replace(target)
            _sync_folder(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return how drafts of this machine begin; containers that share a name and a disk number processes apart."""
    try:
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        processes = ""
    return f"{DRAFT}{re.sub(r'[^0-9A-Za-z]+', '', platform.node() + processes) or 'here'}-"


def _remove_orphans(folder: Path) -> None:
    """Remove the drafts that processes of this machine left in a folder when they were killed."""
    mine = _machine()
    for draft in folder.glob(f"{mine}*"):
        process = draft.name.removeprefix(mine).partition("-")[0]
        if process.isdecimal() and not _is_running(int(process)):
            shutil.rmtree(draft, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # asking would end it there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # of another user, or not to be told here
    return True


def write_bytes(target: Path, content: bytes) -> None:
    """Write a small file atomically.

    Raises:
        StoreError: as `atomic_file`.
    """
    with atomic_file(target) as draft:
        draft.write_bytes(content)


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone, creating it where needed; a killed holder holds it no longer.

    Raises:
        StoreError: it cannot be made or written, or another process holds it.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK)
    with storage_errors(folder):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise StoreError(
                f"{folder}: another process is computing this job", hint="wait for it, then ask again for its result"
            ) from error
    try:
        # Left by a process that was killed: nobody else can be writing here now.
        for draft in folder.rglob(f"{DRAFT}*"):
            shutil.rmtree(draft, ignore_errors=True)
        yield
    finally:
        # While it is held: nobody else can hold it then, and a folder of results should hold results alone.
        with suppress(OSError):
            (folder / LOCK).unlink()
        lock.release()
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into a StoreError that names the path.

    Raises:
        StoreError: an OSError was raised within.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "free some space, or write to another place" if full else "write to another place"
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StoreError(f"{path}: cannot be written: {reason}", hint=hint) from error


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def multihash(path: Path) -> str:
    """Return a file's `file:checksum`: SHA-256 as a multihash in hexadecimal (STAC file extension)."""
    return f"1220{sha256_file(path)}"


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; where folders cannot be opened (Windows) the file system sees to it."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
