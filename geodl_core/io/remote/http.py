"""HTTP: small documents, and the version of a remote file."""

from datetime import UTC
from email.utils import parsedate_to_datetime

import requests

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import GeodlError, ItemError, StoreError
from geodl_core.io.remote.session import answered, body_of
from geodl_core.io.remote.signing import openable

MAX_BYTES = 20 << 20
REFUSED_HINT = "is the link still signed, and are credentials set?"
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


def fetch_text(url: str) -> str:
    """Return a document's text.

    Raises:
        ItemError: the server refuses it, or it is larger than 20 MB.
        StoreError: the server does not answer, or answers that it cannot now.
    """
    shown = hide_secrets(url)
    with answered(url, shown) as response:
        _require_answer(response, shown)
        if not response.ok:
            raise ItemError(f"{shown}: expected a STAC Item, the server answers {response.status_code}")
        content = body_of(response, MAX_BYTES, shown)
    if len(content) > MAX_BYTES:
        raise ItemError(f"{shown}: expected a STAC Item, found more than {MAX_BYTES >> 20} MB")
    return str(content.decode("utf-8-sig", errors="replace"))


def file_version(href: str, asset: str) -> str:
    """Return what tells one version of a remote file from another: its ETag and size, where the server gives them.

    Raises:
        ItemError: the server refuses the file.
        StoreError: the server does not answer.
    """
    if not href.startswith(("http://", "https://")):
        # Object stores are read by GDAL, which does not tell an ETag; the Item may give file:checksum instead.
        return "unversioned"
    shown = hide_secrets(href)
    with answered(openable(href, asset), f"asset {asset}: {shown}", method="HEAD") as response:
        _require_answer(response, shown)
    if response.status_code == requests.codes.not_found:
        raise ItemError(f"asset {asset}: {shown} is not there (404)")
    # Signed links often allow GET alone; then nothing is known of the version, and reading will tell.
    headers = response.headers if response.ok else {}
    facts = [headers.get(name) for name in ("ETag", "Content-Length", "Last-Modified")]
    return f"etag:{facts[0] or facts[2]},size:{facts[1]}"


def modified_at(url: str) -> str | None:
    """Return when a remote file was changed, in RFC 3339, None where the server does not tell."""
    try:
        with answered(url, hide_secrets(url), method="HEAD") as response:
            moment = parsedate_to_datetime(response.headers.get("Last-Modified", ""))
    except (GeodlError, ValueError):
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def is_there(href: str, asset: str) -> None:
    """Make sure that a remote file can be had now, by its first byte.

    Raises:
        ItemError: it is not there.
        StoreError: the server does not answer or refuses, or the file lies where nobody can be asked.
    """
    shown = hide_secrets(href)
    if not href.startswith(("http://", "https://")):
        raise StoreError(f"asset {asset}: {shown} cannot be read now")
    about = f"asset {asset}: {shown}"
    with answered(openable(href, asset), about, headers={"Range": "bytes=0-0"}) as response:
        if response.status_code in (requests.codes.not_found, requests.codes.gone):
            raise ItemError(f"{about} is not there ({response.status_code})")
        if not response.ok:
            raise StoreError(f"{about}: the server answers {response.status_code}", hint=REFUSED_HINT)
        # A server that says yes and cuts the connection has not sent it.
        if not next(response.iter_content(1), b""):
            raise StoreError(f"{about}: the server sends nothing")


def _require_answer(response: requests.Response, shown: str) -> None:
    if response.status_code in TRANSIENT:
        raise StoreError(f"{shown}: the server answers {response.status_code}", hint="try again later")
