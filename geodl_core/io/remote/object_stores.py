"""Object stores as obstore reaches them: where a location lies, and what its errors mean."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import MemoryStore, ObjectStore, from_url

from geodl_core.domain.place.href import hide_secrets
from geodl_core.domain.place.refusal import HINT, Act, refusal
from geodl_core.errors import GeodlError, InputError, StoreError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig  # not there when the program runs

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https", "file", "memory")
# obstore's own limit of 30 s holds for a whole answer, however large; what must not stall is each read of it. Options
# given here put obstore's AWS_ALLOW_HTTP out of force, so they allow it: only who names an http endpoint gets one.
CLIENT: "ClientConfig" = {"allow_http": True, "connect_timeout": "5s", "read_timeout": "30s", "timeout": "1h"}
RETRIES: "RetryConfig" = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
STATUS = re.compile(r"non-2xx status code: (\d{3})")
TRANSIENT = (408, 425, 429)
FORBIDDEN = (401, 403)
DENIED = "(code: AccessDenied)"
"""What S3 says of a single file of several that were to be removed."""
WRONG_REGION = "redirect without LOCATION"
MEMORY = "memory://"


def local_path(location: str) -> Path | None:
    """Return the path of a local location, None of others.

    Raises:
        InputError: a URL that cannot be one of a file, or with credentials in it.
    """
    if "://" not in location:
        return Path(location)
    shown = hide_secrets(location)
    try:
        url = urlsplit(location)
    except ValueError as error:
        raise InputError(f"{shown}: expected a URL, found none that can be read") from error
    if url.scheme not in SCHEMES:
        raise InputError(f"{shown}: expected a path or a URL, one of {', '.join(SCHEMES)}; found {url.scheme}")
    if url.query or url.fragment or ("@" in url.netloc and not url.scheme.startswith("abfs")):
        raise InputError(
            f"{shown}: expected a URL without user, query and fragment",
            hint="credentials belong in the environment; in names, write ? as %3F and # as %23",
        )
    return Path(url2pathname(url.path)) if url.scheme == "file" else None


def place_of(location: str) -> tuple[ObjectStore, str]:
    """Return the store that stands for a file's folder, and the file's key in it.

    Raises:
        InputError: no URL of a file.
    """
    folder, _, name = location.rstrip("/").rpartition("/")
    if "://" not in folder or (folder.endswith("/") and folder != MEMORY):
        raise InputError(f"{hide_secrets(location)}: expected the URL of a file, found a bucket's or server's")
    store, prefix = folder_of(folder)
    return store, f"{prefix}/{unquote(name)}" if prefix else unquote(name)


def folder_of(location: str) -> tuple[ObjectStore, str | None]:
    """Return the store that stands for a folder, and the prefix to ask it for: the memory is one store for all.

    Raises:
        InputError: no URL of a folder.
    """
    if location.startswith(MEMORY.rstrip("/")):
        return _memory(), unquote(location.removeprefix(MEMORY).strip("/")) or None
    try:
        return _store(location.rstrip("/") + "/"), None
    except (BaseError, ValueError) as error:
        raise InputError(
            f"{hide_secrets(location)}: expected the URL of a folder in a store, found an incomplete one",
            hint="name bucket and, for Azure, the account (AZURE_STORAGE_ACCOUNT_NAME)",
        ) from error


@lru_cache(maxsize=64)
def _store(folder: str) -> ObjectStore:
    """Return a store, one for each folder, since each has connections and credentials of its own."""
    return from_url(folder, client_options=CLIENT, retry_config=RETRIES)


@lru_cache(maxsize=1)
def _memory() -> MemoryStore:
    return MemoryStore()


@contextmanager
def store_errors(location: str, act: Act = "read") -> Iterator[None]:
    """Turn what obstore and the operating system raise into an error that names the location.

    Args:
        location: path or URL.
        act: what is done there.

    Raises:
        InputError: not there, or impossible.
        RefusedError: not for these credentials.
        StoreError: not now.
    """
    shown = hide_secrets(location)
    try:
        yield
    except GeodlError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{shown}: there is no such file, or no such bucket") from error
    except (PermissionError, PermissionDeniedError, UnauthenticatedError) as error:
        raise refusal(location, act, str(error)) from error
    except (IsADirectoryError, NotADirectoryError, NotImplementedError, ValueError) as error:
        raise InputError(f"{shown}: cannot be a file there ({type(error).__name__})") from error
    except (BaseError, OSError) as error:
        raise _store_error(location, act, error) from error


def _store_error(location: str, act: Act, error: Exception) -> GeodlError:
    """Tell what lasts from what passes; obstore has one class for all of it, and the server's answer in its text."""
    text, shown = str(error), hide_secrets(location)
    if WRONG_REGION in text:
        return InputError(f"{shown}: the bucket lies in another region", hint="set AWS_REGION to it")
    status = STATUS.search(text)
    if DENIED in text or (status and int(status[1]) in FORBIDDEN):
        return refusal(location, act, text)
    if status and 400 <= int(status[1]) < 500 and int(status[1]) not in TRANSIENT:
        return InputError(f"{shown}: the store refuses this ({status[1]})", hint=HINT)
    answer = f"the store answers {status[1]}" if status else "cannot be reached now"
    return StoreError(f"{shown}: {answer}", hint="is the network there, and are credentials set?")
