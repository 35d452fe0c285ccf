"""Items that publishers name instead of sending: fetched from public servers, whoever named them."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from geodl_core.domain.place.href import WEB, hide_secrets
from geodl_core.errors import ItemError, StoreError
from geodl_core.io.remote.access import way
from geodl_core.io.remote.egress import EgressProxy
from geodl_core.io.remote.http import TRANSIENT
from geodl_core.io.remote.session import HINT, TIMEOUT_S, body_of
from geodl_core.io.stac import parse_item

MOST_BYTES = 4 << 20
"""Of an Item."""
SNS_HOST = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")


def fetch_item(href: str) -> dict[str, Any]:
    """Return the Item at a public URL, as STAC 1.1, its asset hrefs absolute.

    Raises:
        ItemError: no http(s) URL, one of a host that is not public, or no Item there.
        StoreError: the server does not answer.
    """
    shown = hide_secrets(href)[:200]
    if not href.startswith(WEB) or not href.isprintable():
        raise ItemError(f"href: expected the http(s) URL of an Item, found {shown!r}")
    content = _fetch(href, f"href {shown}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ItemError(f"href {shown}: expected a STAC Item as JSON, found something else") from error
    return parse_item(document, href)


def confirm_subscription(document: dict[str, Any]) -> str:
    """Confirm a subscription that Amazon SNS asks about; return the topic.

    Raises:
        ItemError: the address of the confirmation is not one of SNS.
        StoreError: SNS does not answer.
    """
    url, topic = str(document.get("SubscribeURL")), str(document.get("TopicArn"))[:300]
    try:
        parts = urlsplit(url)
        is_of_sns = parts.scheme == "https" and parts.port in (None, 443) and "@" not in parts.netloc
    except ValueError:
        is_of_sns = False
    if not is_of_sns or not SNS_HOST.fullmatch(parts.hostname or ""):
        raise ItemError("SubscribeURL: expected https://sns.REGION.amazonaws.com/…, found another address")
    _fetch(url, f"the subscription to {topic}", follows=False)
    return topic


def _fetch(url: str, about: str, *, follows: bool = True) -> bytes:
    with _public_way() as proxy, requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy.url, "https": proxy.url}
        try:
            with session.get(url, timeout=TIMEOUT_S, stream=True, allow_redirects=follows) as response:
                # What the proxy itself refuses of plain http comes as an answer.
                _require_allowed(proxy, str(response.url), about)
                if response.status_code in TRANSIENT:
                    raise StoreError(f"{about}: the server answers {response.status_code}", hint="try again later")
                if response.status_code != requests.codes.ok:
                    raise ItemError(f"{about}: expected a document, the server answers {response.status_code}")
                content = body_of(response, MOST_BYTES, about)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise ItemError(f"{about}: expected a URL that can be asked, found none") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            asked = getattr(error, "request", None)
            _require_allowed(proxy, url if asked is None else str(asked.url), about)
            raise StoreError(f"{about}: the server does not answer ({type(error).__name__})") from error
    if len(content) > MOST_BYTES:
        raise ItemError(f"{about}: expected at most {MOST_BYTES >> 20} MB, found more")
    return content


def _require_allowed(proxy: EgressProxy, url: str, about: str) -> None:
    why = proxy.why_refused(url)
    if why:
        raise ItemError(f"{about}: refused: {why}", HINT)


@contextmanager
def _public_way() -> Iterator[EgressProxy]:
    """Give the proxy that lets through what is public: that of service mode, or one for this request."""
    held = way()
    with nullcontext(held.proxy) if held.proxy else EgressProxy(held.access.allowed_hosts) as proxy:
        yield proxy
