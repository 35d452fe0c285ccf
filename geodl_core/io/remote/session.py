"""HTTP requests, by the way that the access in force has."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import requests
import urllib3

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import ItemError, StoreError
from geodl_core.io.remote.access import way
from geodl_core.io.remote.egress_http import REFUSED

TIMEOUT_S = 5
"""Without a byte."""
BODY_S = 120
"""A document may take so long: a server that sends a byte a second would else hold a reader for good."""
CHUNK_BYTES = 1 << 16
HINT = "an operator may allow it by GEODL_ALLOW_HOSTS"


@contextmanager
def answered(
    url: str, about: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, follows: bool = True
) -> Iterator[requests.Response]:
    """Ask a server; the answer's body is not read yet.

    Args:
        url: with its secrets.
        about: what the error names.
        method: GET or HEAD.
        headers: of the request.
        follows: redirects, to which headers of one's own go too.

    Raises:
        ItemError: no URL, or one of a host that may not be read.
        StoreError: the server does not answer, or breaks off.
    """
    proxy = way().proxy
    with requests.Session() as session:
        if proxy:
            session.trust_env = False
            session.proxies = {"http": proxy.url, "https": proxy.url}
        try:
            with session.request(
                method, url, headers=headers, timeout=TIMEOUT_S, stream=True, allow_redirects=follows
            ) as response:
                if proxy and REFUSED in response.headers:
                    raise ItemError(f"{about}: refused: {response.headers[REFUSED]}", HINT)
                yield response
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise ItemError(f"{about}: expected a URL that can be asked, found none") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            asked = getattr(error, "request", None)
            why = proxy.why_refused(str(asked.url)) if proxy and asked is not None else None
            if why:
                raise ItemError(f"{about}: refused: {why}", HINT) from error
            raise StoreError(f"{about}: the server does not answer ({type(error).__name__})") from error


def body_of(response: requests.Response, most_bytes: int, about: str) -> bytes:
    """Return an answer's body, or one byte more than `most_bytes` of it.

    Raises:
        StoreError: it does not come within two minutes.
    """
    content, began = bytearray(), time.monotonic()
    while len(content) <= most_bytes:
        chunk = response.raw.read1(CHUNK_BYTES, decode_content=True)
        if not chunk:
            break
        content += chunk
        if time.monotonic() - began > BODY_S:
            raise StoreError(f"{about}: the server is too slow: {len(content):,} bytes in {BODY_S} s")
    return bytes(content[: most_bytes + 1])


def shown(url: str) -> str:
    """Return a URL as it may be shown."""
    return hide_secrets(url)
