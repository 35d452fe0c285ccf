"""A catalog behind a STAC API with the Transaction extension, somewhere on the network."""

import base64
import json
import re
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit, urlunsplit

import requests
from shapely.geometry import mapping

from geodl_core.catalog.cql2_parse import parse_cql2
from geodl_core.catalog.footprint import bbox_geometry
from geodl_core.catalog.times import interval_us, rfc3339
from geodl_core.domain.query import ItemPage, ItemQuery
from geodl_core.errors import CatalogError, ItemError, QueryError

TRIES = 3
TIMEOUT_S = (10.0, 60.0)
"""To connect, and between two bytes."""
_AGAIN = frozenset({429, 500, 502, 503, 504})
_NEVER = frozenset({400, 413, 415, 422})
"""What a service answers to a document that it will never take."""
BULK_ITEMS, BULK_BYTES = 500, 8 * 2**20
"""Of one request with many Items, at most."""
_BULK = re.compile(r"/collections/\{\w+\}/bulk_items/?$")


class StacApiCatalog:
    """Collections and Items of a STAC API. Threads should not share one.

    Name and password, a token (`https://TOKEN@host`), or a query string with a key may stand in the address: they go
    with each request to that host, and never into an error message.

    Args:
        url: of the landing page.
        pause_s: before the second try; doubled before the third.
    """

    def __init__(self, url: str, pause_s: float = 0.5) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._pause_s = pause_s
        self._keys = dict(parse_qsl(parts.query))
        self._session = requests.Session()
        name, password = unquote(parts.username or ""), unquote(parts.password or "")
        if name:
            self._session.auth = _Bearer(name) if parts.password is None else (name, password)
        hidden = (name, parts.username) if parts.password is None else (password, parts.password)
        self._secrets = [*hidden, *self._keys.values()]
        self._landing: dict[str, Any] | None = None
        self._takes_bulk: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def put_collection(self, collection: dict[str, Any]) -> None:
        """Create or replace a Collection."""
        self._put("collections", collection)

    def get_collection(self, collection_id: str) -> dict[str, Any] | None:
        """Return a Collection, or None where there is none of this id."""
        return self._get(_path("collections", collection_id))

    def collections(self) -> list[dict[str, Any]]:
        """Return all Collections, in the order of the service."""
        found: list[dict[str, Any]] = []
        href: str | None = f"{self.url}/collections"
        while href:
            page = self._answer(self._send("GET", href))
            found += page.get("collections", [])
            link = _next_link(page)
            href = urljoin(href, link["href"]) if link else None
        return found

    def put_item(self, item: dict[str, Any]) -> None:
        """Create or replace an Item."""
        self._put(_path("collections", str(item.get("collection")), "items"), item)

    def put_items(self, items: Sequence[dict[str, Any]]) -> None:
        """Create or replace Items, many at once where the service says that it takes that, else one by one.

        After an error, those of the requests before it stay written.

        Raises:
            ItemError: the service takes an Item for none.
            CatalogError: the service does not answer or refuses.
        """
        if len(items) < 2 or not self._has_bulk():
            for item in items:
                self.put_item(item)
            return
        for batch in _batches(items):
            self._put_bulk(batch)

    def can_sort(self) -> bool:
        """Say whether searches may name an order (STAC API's Sort extension).

        Raises:
            CatalogError: the service does not answer.
        """
        return any(str(one).endswith("#sort") for one in self._landing_page().get("conformsTo") or ())

    def get_item(self, collection_id: str, item_id: str) -> dict[str, Any] | None:
        """Return an Item, or None where there is none of these ids."""
        return self._get(_path("collections", collection_id, "items", item_id))

    def delete_item(self, collection_id: str, item_id: str) -> bool:
        """Delete an Item; return whether there was one."""
        response = self._send("DELETE", f"{self.url}/{_path('collections', collection_id, 'items', item_id)}")
        if response.status_code != 404:
            self._check(response)
        return response.status_code != 404

    def search(self, query: ItemQuery) -> ItemPage:
        """Return one page of the Items that match; how many that is at most is up to the service.

        Raises:
            QueryError: the query cannot be understood.
            CatalogError: the service does not answer or refuses.
        """
        href, body = _decoded(query.token) if query.token else (f"{self.url}/search", _body(query))
        response = self._send("GET" if body is None else "POST", href, body)
        page = self._answer(response)
        link = _next_link(page)
        token = _encoded(href, body, link) if link and page.get("features") else None
        return ItemPage(tuple(page.get("features", ())), token)

    def count(self, query: ItemQuery) -> int:
        """Return how many Items match.

        Raises:
            CatalogError: the service does not say.
        """
        page = self._answer(self._send("POST", f"{self.url}/search", {**_body(query), "limit": 1}))
        matched = page.get("numberMatched", page.get("context", {}).get("matched"))
        if not isinstance(matched, int):
            raise CatalogError(f"{self.url}: expected the number of matches, found that the service gives none")
        return matched

    def _landing_page(self) -> dict[str, Any]:
        """What the service says of itself; nothing where it says nothing."""
        if self._landing is None:
            self._landing = self._told(self.url)
        return self._landing

    def _has_bulk(self) -> bool:
        """Whether the service's OpenAPI description has the route of stac-fastapi's bulk transactions."""
        if self._takes_bulk is None:
            links = self._landing_page().get("links") or ()
            hrefs = [urljoin(f"{self.url}/", str(one.get("href"))) for one in links if one.get("rel") == "service-desc"]
            here = [href for href in hrefs if urlsplit(href).netloc == urlsplit(self.url).netloc]
            paths = self._told(here[0]).get("paths") if here else None
            self._takes_bulk = isinstance(paths, dict) and any(_BULK.search(path) for path in paths)
        return self._takes_bulk

    def _told(self, href: str) -> dict[str, Any]:
        response = self._send("GET", href)
        try:
            document = response.json() if response.ok else {}
        except ValueError:
            document = {}
        return document if isinstance(document, dict) else {}

    def _put_bulk(self, items: Sequence[dict[str, Any]]) -> None:
        """Create or replace Items of one Collection: all or none, unless they are too many for the service."""
        path = _path("collections", str(items[0].get("collection")), "bulk_items")
        body = {"items": {str(one.get("id")): one for one in items}, "method": "upsert"}
        response = self._send("POST", f"{self.url}/{path}", body)
        if response.status_code == 413 and len(items) > 1:
            half = len(items) // 2
            self._put_bulk(items[:half])
            self._put_bulk(items[half:])
            return
        self._check_taken(response)

    def _put(self, path: str, document: dict[str, Any]) -> None:
        response = self._send("POST", f"{self.url}/{path}", document)
        if response.status_code == 409:
            response = self._send("PUT", f"{self.url}/{path}/{quote(str(document.get('id')), safe='')}", document)
        self._check_taken(response)

    def _check_taken(self, response: requests.Response) -> None:
        if response.status_code in _NEVER:
            raise ItemError(self._complaint(response))
        self._check(response)

    def _get(self, path: str) -> dict[str, Any] | None:
        response = self._send("GET", f"{self.url}/{path}")
        return None if response.status_code == 404 else self._answer(response)

    def _send(self, method: str, href: str, body: dict[str, Any] | None = None) -> requests.Response:
        """Send a request, again where the service is merely indisposed; all of them may safely be repeated."""
        # A link may lead elsewhere: keys are for this host only.
        at_home = urlsplit(href).netloc == urlsplit(self.url).netloc
        complaint: requests.RequestException | None = None
        for attempt in range(TRIES):
            if attempt:
                time.sleep(self._pause_s * 2 ** (attempt - 1))
            try:
                response = self._session.request(
                    method,
                    href,
                    params=self._keys if at_home else None,
                    json=body,
                    auth=None if at_home else _no_auth,
                    timeout=TIMEOUT_S,
                )
            except (requests.ConnectionError, requests.Timeout) as err:
                complaint = err
                continue
            except requests.RequestException as err:
                raise CatalogError(f"{self.url}: the request cannot be sent ({type(err).__name__})") from err
            complaint = None
            if response.status_code not in _AGAIN:
                break
        if complaint is not None:
            kind = "no answer in time" if isinstance(complaint, requests.Timeout) else "no connection"
            raise CatalogError(
                f"{self.url}: expected a STAC API, found {kind} in {TRIES} tries",
                hint="is the service running, and the address right?",
            ) from complaint
        return response

    def _check(self, response: requests.Response) -> None:
        if response.ok:
            return
        hint = "a token may stand in the address: https://TOKEN@host" if response.status_code == 401 else None
        raise CatalogError(self._complaint(response), hint=hint)

    def _complaint(self, response: requests.Response) -> str:
        where = f"{self.url}{urlsplit(response.url).path.removeprefix(urlsplit(self.url).path)}"
        return f"{where}: the service answers {response.status_code}: {self._message(response)}"

    def _answer(self, response: requests.Response) -> dict[str, Any]:
        self._check(response)
        try:
            answer = response.json()
        except ValueError as err:
            raise CatalogError(f"{self.url}: expected a STAC API, found an answer that is no JSON") from err
        if not isinstance(answer, dict):
            raise CatalogError(f"{self.url}: expected a STAC document, found {str(answer)[:40]}")
        return answer

    def _message(self, response: requests.Response) -> str:
        """What the service has to say, in one line and without our keys."""
        try:
            answer = response.json()
        except ValueError:
            answer = response.text
        if isinstance(answer, dict):
            answer = answer.get("detail") or answer.get("description") or answer.get("message") or answer
        text = " ".join(str(answer).split())
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        return (text[:197] + "..." if len(text) > 200 else text) or str(response.reason)


def _batches(items: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield Items of one Collection each, in their order, as many as a request takes."""
    batch: list[dict[str, Any]] = []
    size = 0
    for item in items:
        length = len(json.dumps(item))
        is_other = bool(batch) and item.get("collection") != batch[0].get("collection")
        if is_other or len(batch) == BULK_ITEMS or (batch and size + length > BULK_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


def _body(query: ItemQuery) -> dict[str, Any]:
    body: dict[str, Any] = {"limit": query.limit}
    if query.collections:
        body["collections"] = list(query.collections)
    if query.ids:
        body["ids"] = list(query.ids)
    if query.bbox is not None and query.bbox[0] > query.bbox[2]:
        # pgstac reads such a box as the one the long way round: stac-utils/pgstac#428.
        body["intersects"] = mapping(bbox_geometry(query.bbox))
    elif query.bbox is not None:
        body["bbox"] = list(query.bbox)
    if query.intersects is not None:
        body["intersects"] = dict(query.intersects)
    if query.datetime is not None:
        start, end = (".." if micros is None else rfc3339(micros) for micros in interval_us(query.datetime))
        body["datetime"] = start if start == end else f"{start}/{end}"
    if query.filter is not None:
        body |= {"filter": parse_cql2(query.filter), "filter-lang": "cql2-json"}
    if query.sortby:
        body["sortby"] = [
            {"field": name, "direction": "asc" if ascending else "desc"} for name, ascending in query.sortby
        ]
    return body


def _path(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _next_link(page: dict[str, Any]) -> dict[str, Any] | None:
    for link in page.get("links", ()):
        if link.get("rel") == "next" and isinstance(link.get("href"), str):
            return dict(link)
    return None


def _encoded(href: str, body: dict[str, Any] | None, link: dict[str, Any]) -> str:
    following: dict[str, Any] | None = None
    if str(link.get("method", "GET")).upper() == "POST":
        following = {**(body or {}), **link.get("body", {})} if link.get("merge") else link.get("body", body)
    request = [urljoin(href, link["href"]), following]
    return base64.urlsafe_b64encode(json.dumps(request).encode()).decode()


def _decoded(token: str) -> tuple[str, dict[str, Any] | None]:
    try:
        href, body = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError) as err:
        raise QueryError("token: expected one that a search gave, found another text") from err
    return str(href), body


class _Bearer(requests.auth.AuthBase):
    """Shows a token, as `geodl serve` and deployments want it (RFC 6750)."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep the session from adding its own."""
    return request
