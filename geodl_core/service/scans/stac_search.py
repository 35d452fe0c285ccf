"""A public STAC API: its landing page, and one page of a search at a time.

pystac-client writes the search. Its iterator cannot go on after an error (stac-utils/pystac-client#712), follows links
to any host and reads answers of any size, so that pages are fetched here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urljoin, urlsplit, urlunsplit

import requests
import urllib3

from geodl_core.domain.place.href import hide_secrets, scrub
from geodl_core.domain.scan.links import Request, at_home
from geodl_core.errors import InputError, ItemError, StoreError
from geodl_core.io.remote.access import way
from geodl_core.io.remote.egress_http import REFUSED
from geodl_core.io.remote.session import HINT, body_of

TIMEOUT_S = (10.0, 60.0)
"""To connect, and between two bytes."""
MOST_BYTES = 64 << 20
"""Of a page: a hundred Items of Sentinel-2 take four million."""
MOST_REDIRECTS = 5
MOST_PAUSE_S = 600.0
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
PATIENCE = (425, 429)
"""Statuses that smaller pages do not cure."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an API can do, by its landing page. JSON keeps it."""

    search: str
    """Address of the search."""
    method: str
    """POST, or GET where that is all it takes."""
    has_filter: bool
    has_query: bool


@dataclass(frozen=True, slots=True)
class Later:
    """The API cannot answer now."""

    text: str
    is_large: bool
    """Perhaps less would be answered."""
    pause_s: float | None = None
    """It says for how long."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The API does not take the request, and never will."""

    text: str


class StacSearch:
    """Connections to one API, by the way that the access in force has. Threads should not share one.

    Name and password, or a query string with a key, may stand in the address: they go with each request, which all go
    to that host alone, and never into an error.

    Args:
        api: address of the landing page.
    """

    def __init__(self, api: str) -> None:
        parts = urlsplit(api)
        host = parts.netloc.rpartition("@")[2]
        self.api = urlunsplit((parts.scheme, host, parts.path, "", ""))
        self._proxy = way().proxy
        self._session = requests.Session()
        self._session.headers["Accept"] = "application/geo+json, application/json"
        self._session.params = dict(parse_qsl(parts.query))
        if parts.username:
            self._session.auth = (unquote(parts.username), unquote(parts.password or ""))
        if self._proxy:
            self._session.trust_env = False
            self._session.proxies = {"http": self._proxy.url, "https": self._proxy.url}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def abilities(self) -> Abilities | Later:
        """Read the landing page.

        Raises:
            InputError: it is none of a STAC API with item search.
            DataError: its search lies on another host.
        """
        page = self.page(Request("GET", self.api))
        if isinstance(page, Later):
            return page
        if isinstance(page, Refused):
            raise InputError(f"{self._shown}: expected the landing page of a STAC API; {page.text}")
        listed = page.get("links")
        links = [link for link in listed if isinstance(link, Mapping)] if isinstance(listed, list) else []
        searches = [link for link in links if link.get("rel") == "search" and isinstance(link.get("href"), str)]
        if not searches:
            raise InputError(
                f"{self._shown}: expected the landing page of a STAC API, found no link to its search",
                hint="Earth Search is https://earth-search.aws.element84.com/v1",
            )
        posts = [link for link in searches if str(link.get("method", "GET")).upper() == "POST"]
        said = page.get("conformsTo")
        classes = [str(each) for each in said] if isinstance(said, list) else []
        return Abilities(
            search=at_home(urljoin(self.api, (posts or searches)[0]["href"]), self.api),
            method="POST" if posts else "GET",
            has_filter=any(each.endswith("item-search#filter") for each in classes),
            has_query=any(each.endswith("item-search#query") for each in classes),
        )

    def page(self, request: Request) -> dict[str, Any] | Later | Refused:
        """Send a request once.

        Raises:
            ItemError: the host may not be asked (service mode).
            DataError: the API leads to another host.
        """
        method, href = request.method, request.href
        for _ in range(MOST_REDIRECTS):
            try:
                with self._session.request(
                    method, href, json=request.body, timeout=TIMEOUT_S, stream=True, allow_redirects=False
                ) as response:
                    if self._proxy and REFUSED in response.headers:
                        raise ItemError(f"{self._shown}: refused: {response.headers[REFUSED]}", HINT)
                    if not response.is_redirect:
                        return self._answer(response)
                    href = at_home(urljoin(href, response.headers["Location"]), self.api)
            except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
                raise InputError(f"{self._shown}: expected an address that can be asked, found none") from error
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                why = self._proxy.why_refused(href) if self._proxy else None
                if why:
                    raise ItemError(f"{self._shown}: refused: {why}", HINT) from error
                is_slow = isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError)
                return Later(f"{self._shown}: no answer ({type(error).__name__})", is_large=is_slow)
            except StoreError as error:
                return Later(error.message, is_large=True)
        return Refused(f"it redirects more than {MOST_REDIRECTS} times")

    @property
    def _shown(self) -> str:
        return hide_secrets(self.api)

    def _answer(self, response: requests.Response) -> dict[str, Any] | Later | Refused:
        status = response.status_code
        if status in TRANSIENT:
            is_large = status not in PATIENCE
            return Later(f"{self._shown}: the service answers {status}", is_large, _pause_s(response))
        content = body_of(response, MOST_BYTES, self._shown)
        if status == 413:
            return Later(f"{self._shown}: the service answers 413", is_large=True)
        if not response.ok:
            return Refused(f"the service answers {status}: {_first_line(content)}")
        if len(content) > MOST_BYTES:
            return Later(f"{self._shown}: a page of more than {MOST_BYTES >> 20} MB", is_large=True)
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            return Later(f"{self._shown}: expected a page of Items as JSON, found other text", is_large=True)
        return document


def search_request(abilities: Abilities, terms: Mapping[str, Any]) -> Request:
    """Return the request of a search's first page.

    Args:
        abilities: of the API.
        terms: as `pystac_client.ItemSearch` takes them.
    """
    from pystac_client import ItemSearch  # noqa: PLC0415  # half a second, for scans alone

    language: dict[str, Any] = {"filter_lang": "cql2-json"} if "filter" in terms else {}
    search = ItemSearch(abilities.search, method=abilities.method, **terms, **language)
    if abilities.method == "GET":
        return Request("GET", search.url_with_parameters())
    body = json.loads(json.dumps(search.get_parameters()))
    return Request("POST", abilities.search, body)


def _pause_s(response: requests.Response) -> float | None:
    """Return Retry-After in seconds; the form with a date is rare, and is not looked at."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), MOST_PAUSE_S) if text.isascii() and text.isdecimal() else None


def _first_line(content: bytes) -> str:
    text = " ".join(content[:2_000].decode("utf-8", errors="replace").split())
    return scrub(text[:200]) or "nothing else"
