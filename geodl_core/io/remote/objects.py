"""Files at locations: a local path, or a URL of an object store; written whole or not at all.

What obstore takes is a location: s3://, gs://, az://, abfss://, https:// and http://, file://, memory://. A URL is
percent-encoded, as `join` makes it; blanks and letters beyond ASCII may also stand as they are. Credentials, regions
and endpoints come from the environment as obstore reads it (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, …); an
endpoint is asked over http if that is how it begins, as in boto3, without AWS_ALLOW_HTTP.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import obstore
from obstore.store import HTTPStore

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import InputError, StoreError
from geodl_core.io.remote.object_stores import folder_of, local_path, place_of, store_errors
from geodl_core.io.store import atomic_file, write_bytes

CHUNK_BYTES = 8 << 20
MOST_CHUNKS = 9_000
"""S3 takes 10,000 parts of an upload."""
CHUNKS_AT_ONCE = 4


def is_remote(location: str) -> bool:
    """Say whether a location is a URL, not a path."""
    return "://" in location


def join(location: str, *names: str) -> str:
    """Return the location of a file in a folder, or in a folder of it.

    Raises:
        InputError: a name that is no file's name.
    """
    for name in names:
        if name in ("", ".", "..") or any(letter in "/\\" or ord(letter) < 32 for letter in name):
            raise InputError(f"{hide_secrets(location)}: expected a file's name, found {name[:60]!r}")
    if not is_remote(location):
        return str(Path(location, *names))
    return "/".join([location.rstrip("/"), *(quote(name, safe="") for name in names)])


def read_object(location: str, max_bytes: int) -> bytes:
    """Return a file's content.

    Raises:
        InputError: it is not there, or is larger than `max_bytes`.
        RefusedError: it may not be read.
        StoreError: the store does not answer.
    """
    path = local_path(location)
    content = bytearray()
    with store_errors(location):
        if path is not None:
            with path.open("rb") as file:
                content += file.read(max_bytes + 1)
        else:
            for chunk in obstore.get(*place_of(location)).stream(CHUNK_BYTES):
                content += chunk
                if len(content) > max_bytes:
                    break
    if len(content) > max_bytes:
        raise InputError(f"{hide_secrets(location)}: expected at most {max_bytes:,} bytes, found more")
    return bytes(content)


def write_object(location: str, content: bytes) -> None:
    """Write a small file, over one that is there.

    Raises:
        InputError: there is no such bucket.
        RefusedError: it may not be written.
        StoreError: the store does not answer, or the disk is full.
    """
    path = local_path(location)
    if path is not None:
        write_bytes(path, content)
        return
    with store_errors(location, "write"):
        obstore.put(*place_of(location), content, use_multipart=False)


def download(location: str, path: Path) -> None:
    """Copy a file to a local path, a chunk at a time.

    Raises:
        InputError: it is not there.
        RefusedError: it may not be read.
        StoreError: the store does not answer or breaks off, or the path cannot be written.
    """
    source = local_path(location)
    with store_errors(location):
        if source is None:
            result = obstore.get(*place_of(location))
            size, chunks = result.meta["size"], _streamed(result)
        else:
            size, chunks = source.stat().st_size, _chunks(source)
    written = 0
    with atomic_file(path) as draft, draft.open("wb") as file:
        while True:
            with store_errors(location):
                chunk = next(chunks, b"")
            if not chunk:
                break
            written += file.write(chunk)
        if written != size:
            raise StoreError(f"{hide_secrets(location)}: expected {size:,} bytes, the store gave {written:,}")


def upload(path: Path, location: str) -> None:
    """Copy a local file to a location, large ones in parts; it appears there when all of it has arrived.

    Raises:
        InputError: there is no such bucket.
        RefusedError: it may not be written.
        StoreError: the store does not answer, or the disk is full.
        OSError: the local file cannot be read.
    """
    target = local_path(location)
    if target is not None:
        with path.open("rb") as source, atomic_file(target) as draft, draft.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK_BYTES)
        return
    size = path.stat().st_size
    with store_errors(location, "write"):
        store, key = place_of(location)
        # A web server has no uploads in parts.
        in_parts = size > CHUNK_BYTES and not isinstance(store, HTTPStore)
        chunk_bytes = max(CHUNK_BYTES, -(-size // MOST_CHUNKS))
        obstore.put(store, key, path, use_multipart=in_parts, chunk_size=chunk_bytes, max_concurrency=CHUNKS_AT_ONCE)


def object_size(location: str) -> int | None:
    """Return a file's size in bytes, None where there is none.

    Raises:
        RefusedError: it may not be read.
        StoreError: the store does not answer.
    """
    path = local_path(location)
    with store_errors(location):
        try:
            if path is not None:
                return path.stat().st_size if path.is_file() else None
            return obstore.head(*place_of(location))["size"]
        except FileNotFoundError:
            return None


def exists(location: str) -> bool:
    """Say whether a file is there.

    Raises:
        RefusedError: it may not be read.
        StoreError: the store does not answer.
    """
    return object_size(location) is not None


def list_names(location: str) -> list[str]:
    """Return the names of the files and folders in a folder, sorted; none where there is no such folder.

    Raises:
        InputError: there is no such bucket.
        RefusedError: it may not be listed.
        StoreError: the store does not answer.
    """
    path = local_path(location)
    with store_errors(location, "list"):
        if path is not None:
            return sorted(child.name for child in path.iterdir()) if path.is_dir() else []
        store, prefix = folder_of(location)
        found = obstore.list_with_delimiter(store, prefix)
        paths = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
    return sorted({path.rstrip("/").rpartition("/")[2] for path in paths})


def delete(location: str) -> None:
    """Remove a file, if it is there.

    Raises:
        RefusedError: it may not be removed.
        StoreError: the store does not answer.
    """
    path = local_path(location)
    with store_errors(location, "remove"), suppress(FileNotFoundError):
        if path is not None:
            path.unlink()
        else:
            obstore.delete(*place_of(location))


def _streamed(result: "obstore.GetResult") -> Iterator[bytes]:
    yield from result.stream(CHUNK_BYTES)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
