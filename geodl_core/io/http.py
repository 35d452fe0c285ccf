"""HTTP: small documents, and the version of a remote file."""

import requests
import urllib3

from geodl_core.domain.href import hide_secrets
from geodl_core.errors import ItemError, StoreError

MAX_BYTES = 20 << 20
TIMEOUT_S = 30
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


def fetch_text(url: str) -> str:
    """Return a document's text.

    Raises:
        ItemError: the server refuses it, or it is larger than 20 MB.
        StoreError: the server does not answer, or answers that it cannot now.
    """
    shown = hide_secrets(url)
    try:
        with requests.get(url, timeout=TIMEOUT_S, stream=True) as response:
            _require_answer(response, shown)
            if not response.ok:
                raise ItemError(f"{shown}: expected a STAC Item, the server answers {response.status_code}")
            content = response.raw.read(MAX_BYTES + 1, decode_content=True)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise ItemError(f"{shown}: expected the URL of a STAC Item, found none that can be asked") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise StoreError(f"{shown}: the server does not answer ({type(error).__name__})") from error
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
    try:
        response = requests.head(href, timeout=TIMEOUT_S, allow_redirects=True)
    except requests.RequestException as error:
        raise StoreError(f"asset {asset}: {shown}: the server does not answer ({type(error).__name__})") from error
    _require_answer(response, shown)
    if response.status_code == requests.codes.not_found:
        raise ItemError(f"asset {asset}: {shown} is not there (404)")
    # Signed links often allow GET alone; then nothing is known of the version, and reading will tell.
    headers = response.headers if response.ok else {}
    facts = [headers.get(name) for name in ("ETag", "Content-Length", "Last-Modified")]
    return f"etag:{facts[0] or facts[2]},size:{facts[1]}"


def is_there(href: str, asset: str) -> None:
    """Make sure that a remote file can be had now, by its first byte.

    Raises:
        StoreError: the server does not answer or refuses, or the file lies where nobody can be asked.
    """
    shown = hide_secrets(href)
    if not href.startswith(("http://", "https://")):
        raise StoreError(f"asset {asset}: {shown} cannot be read now")
    try:
        with requests.get(href, headers={"Range": "bytes=0-0"}, timeout=TIMEOUT_S, stream=True) as response:
            if not response.ok:
                raise StoreError(f"asset {asset}: {shown}: the server answers {response.status_code}")
    except requests.RequestException as error:
        raise StoreError(f"asset {asset}: {shown}: the server does not answer ({type(error).__name__})") from error


def _require_answer(response: requests.Response, shown: str) -> None:
    if response.status_code in TRANSIENT:
        raise StoreError(f"{shown}: the server answers {response.status_code}", hint="try again later")
