"""Hrefs as they are opened: without geodl's notes, and signed where they ask for it.

The Planetary Computer's files lie in containers that take a signature, which lasts less than an hour: `GET
{url}/token/{account}/{container}` gives one for all files of a container. It is asked for when a file is opened, kept
until shortly before its end, and asked for anew when the store refuses it.
"""

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from geodl_core.domain.place.href import split_notes
from geodl_core.domain.scene.item_hrefs import BLOB_HOST, SIGN
from geodl_core.errors import StoreError
from geodl_core.io.remote.access import require_allowed, way

MARGIN_S = 120.0
"""Before its end a signature is not taken for another file any more."""
KEY_HEADER = "Ocp-Apim-Subscription-Key"
MOST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    ends_s: float
    """Since 1970."""


_tokens: dict[tuple[str, str], _Token] = {}
"""Service and container → its signature."""
_lock = threading.Lock()


def openable(href: str, asset: str) -> str:
    """Return the href by which a file is opened now. It is as secret as the credentials in it.

    Raises:
        ItemError: in service mode, it is no public URL.
        StoreError: the service that signs does not answer.
    """
    require_allowed(href, asset)
    place = _place(href)
    if place is None:
        return split_notes(href)[0]
    return f"{split_notes(href)[0]}?{_token(place).text}"


def renew_refused(href: str, asset: str) -> bool:
    """Forget the signature of an href if the store refuses it; say whether it did, so that opening anew may help.

    Raises:
        StoreError: the store does not answer.
    """
    place = _place(href)
    if place is None:
        return False
    from geodl_core.io.remote.session import answered, shown  # noqa: PLC0415  # 0.2 s to import, for signed files alone

    token = _token(place)
    signed = f"{split_notes(href)[0]}?{token.text}"
    with answered(signed, f"asset {asset}: {shown(href)}", headers={"Range": "bytes=0-0"}) as response:
        is_refused = response.status_code in (401, 403)
    with _lock:
        if is_refused and _tokens.get(place) == token:
            del _tokens[place]
    return is_refused


def explain_refusal(href: str, asset: str) -> None:
    """Say so where a file does not open since its host, or one that it redirects to, may not be read.

    Raises:
        ItemError: that is why.
    """
    if way().proxy is None or not href.startswith(("http://", "https://")):
        return
    from geodl_core.io.remote.session import answered, shown  # noqa: PLC0415  # as above

    with (
        suppress(StoreError),
        answered(openable(href, asset), f"asset {asset}: {shown(href)}", headers={"Range": "bytes=0-0"}),
    ):
        pass


def _place(href: str) -> tuple[str, str] | None:
    """Return service and container of an href that is to be signed."""
    plain, notes = split_notes(href)
    if SIGN not in notes:
        return None
    url = urlsplit(plain)
    container = url.path.strip("/").partition("/")[0]
    account = (url.hostname or "").removesuffix(BLOB_HOST)
    return way().access.signing_url.rstrip("/"), f"{quote(account, safe='')}/{quote(container, safe='')}"


def _token(place: tuple[str, str]) -> _Token:
    with _lock:
        token = _tokens.get(place)
        if token is None or token.ends_s - MARGIN_S < time.time():
            token = _tokens[place] = _ask(*place)
        return token


def _ask(service: str, container: str) -> _Token:
    from geodl_core.io.remote.session import answered, body_of, shown  # noqa: PLC0415  # as above

    key = way().access.signing_key
    about = f"signature for {container} from {shown(service)}"
    headers = {KEY_HEADER: key} if key else None
    with answered(f"{service}/token/{container}", about, headers=headers, follows=False) as response:
        if response.status_code != 200:
            raise StoreError(f"{about}: the server answers {response.status_code}")
        text = body_of(response, MOST_BYTES, about)
    try:
        document: Any = json.loads(text)
        ends = datetime.fromisoformat(document["msft:expiry"]).timestamp()
        return _Token(str(document["token"]).lstrip("?"), ends)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{about}: expected token and msft:expiry, found another document") from error
