"""A STAC API over real HTTP that misbehaves as public ones do, on purpose; for tests and scripts/bench_scans."""

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import cql2
from shapely.geometry import box, shape

STAC = "https://api.stacspec.org/v1.0.0"
EARTH_SEARCH = (f"{STAC}/core", f"{STAC}/item-search", f"{STAC}/item-search#query", f"{STAC}/item-search#sort")
PLANETARY_COMPUTER = (f"{STAC}/core", f"{STAC}/item-search", "https://api.stacspec.org/v1.0.0-rc.2/item-search#filter")
PLAIN = (f"{STAC}/core", f"{STAC}/item-search")
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda found, asked: found == asked,
    "neq": lambda found, asked: found != asked,
    "lt": lambda found, asked: found < asked,
    "lte": lambda found, asked: found <= asked,
    "gt": lambda found, asked: found > asked,
    "gte": lambda found, asked: found >= asked,
    "in": lambda found, asked: found in asked,
}


@dataclass(slots=True)
class Manners:
    """What a service does; the defaults are good ones."""

    conforms_to: tuple[str, ...] = EARTH_SEARCH
    most_items: int = 10_000
    """A larger limit is answered by 502."""
    fails_every: int = 0
    """Each n-th search is answered by 502."""
    is_down: bool = False
    status: int = 502
    """Of what fails."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of what fails."""
    repeats_every: int = 0
    """Each n-th page is given twice, by a link of its own."""
    drops: tuple[str, ...] = ()
    """Parameters that are not looked at: query, filter, intersects, bbox, datetime, collections."""
    refuses: tuple[str, ...] = ()
    """Parameters that are answered by 400."""
    is_shuffled: bool = False
    """Items of a page come in any order."""
    forgets: bool = False
    """The follow-up carries a token alone, and then nothing of what was asked is looked at."""
    goes_in_circle: bool = False
    has_post: bool = True
    next_host: str | None = None
    """To which next links lead."""
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Search:
    """A search that came in."""

    method: str
    body: dict[str, Any]
    status: int
    items: int


class EarthSearch:
    """Serves Items at `/v1`, newest first, paged by POST links with `merge` false. A context manager.

    Args:
        items: what it has.
        manners: how it behaves; may be changed while it serves.
    """

    def __init__(self, items: Sequence[dict[str, Any]], manners: Manners | None = None) -> None:
        self.items: list[dict[str, Any]] = []
        self.manners = manners or Manners()
        self.searches: list[Search] = []
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.texts: dict[int, str] = {}
        self.shapes: dict[int, Any] = {}
        self.add(items)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.search = self  # type: ignore[attr-defined]
        self._http.daemon_threads = False
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def add(self, items: Sequence[dict[str, Any]]) -> None:
        """Have more Items from now on."""
        self.texts |= {id(item): json.dumps(item) for item in items}
        self.shapes |= {id(item): shape(item["geometry"]) for item in items}
        both = (*self.items, *items)
        self.items = sorted(both, key=lambda item: (item["properties"]["datetime"], item["id"]), reverse=True)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def url(self) -> str:
        """Address of the landing page."""
        return f"{self.origin}/v1"

    def landing(self) -> dict[str, Any]:
        """Return the landing page."""
        methods = ("GET", "POST") if self.manners.has_post else ("GET",)
        links = [{"rel": "search", "type": "application/geo+json", "href": f"{self.url}/search"}]
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "earth-search",
            "description": "A STAC API",
            "conformsTo": list(self.manners.conforms_to),
            "links": [{**link, "method": method} for link in links for method in methods],
        }

    def found(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the Items that match, in order."""
        heeded = {name: value for name, value in asked.items() if name not in self.manners.drops}
        return [item for item in self.items if self._matches(item, heeded)]

    def _matches(self, item: dict[str, Any], asked: dict[str, Any]) -> bool:
        if "collections" in asked and item.get("collection") not in asked["collections"]:
            return False
        if "datetime" in asked and not _is_within(item["properties"]["datetime"], asked["datetime"]):
            return False
        area = box(*asked["bbox"]) if "bbox" in asked else shape(asked["intersects"]) if "intersects" in asked else None
        if area is not None and not self.shapes[id(item)].intersects(area):
            return False
        for name, conditions in asked.get("query", {}).items():
            value = item["properties"].get(name)
            if value is None or not all(OPERATORS[operator](value, each) for operator, each in conditions.items()):
                return False
        if "filter" in asked:
            try:
                return bool(cql2.parse_json(json.dumps(asked["filter"])).matches(item))
            except Exception:  # noqa: BLE001  # the library raises nothing finer
                return False
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 5

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.close_connection = True  # closing waits for no client that keeps its connection
        url = urlsplit(self.path)
        api = self._api
        if url.path.rstrip("/") == "/v1":
            self._send(200, json.dumps(api.landing()))
        elif url.path == "/v1/search":
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            for name, read in (("limit", int), ("collections", _words), ("bbox", _numbers), ("next", str)):
                if name in query:
                    query[name] = read(query[name])
            for name in ("query", "filter", "intersects"):
                if name in query:
                    query[name] = json.loads(query[name])
            self._search(query)
        else:
            self._send(404, "{}")

    def do_POST(self) -> None:
        self.close_connection = True
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._search(body) if self.path == "/v1/search" else self._send(404, "{}")

    @property
    def _api(self) -> EarthSearch:
        return self.server.search  # type: ignore[attr-defined,no-any-return]

    def _search(self, asked: dict[str, Any]) -> None:
        api, manners = self._api, self._api.manners
        api.closing.wait(manners.delay_s)
        with api.lock:
            number = len(api.searches) + 1
            limit = asked.get("limit", 10)
            is_failing = manners.is_down or limit > manners.most_items
            is_failing |= manners.fails_every > 0 and number % manners.fails_every == 0
            status = manners.status if is_failing else 400 if set(asked) & set(manners.refuses) else 200
            forgotten = manners.forgets and "next" in asked
            start = int(asked.get("next", "0").partition(",")[0])
            found = api.items if forgotten else api.found(asked) if status == 200 else []
            page = found[start : start + limit]
            api.searches.append(Search(self.command, asked, status, len(page) if status == 200 else 0))
        if status != 200:
            self._send(status, '{"message": "Internal server error"}', manners.headers if is_failing else {})
            return
        links = []
        if start + limit < len(found) or (manners.goes_in_circle and found):
            links.append(self._next(asked, found, page, start + limit))
        if manners.is_shuffled:
            page = random.Random(number).sample(page, len(page))
        features = ",".join(api.texts[id(item)] for item in page)
        head = {"type": "FeatureCollection", "numberReturned": len(page), "links": links}
        self._send(200, json.dumps(head)[:-1] + f', "features": [{features}]}}')

    def _next(
        self, asked: dict[str, Any], found: list[dict[str, Any]], page: list[dict[str, Any]], start: int
    ) -> dict[str, Any]:
        api, manners = self._api, self._api.manners
        mark = "" if start < len(found) else "0"
        if manners.forgets:
            # A position in everything that there is.
            start = 1 + next(at for at, item in enumerate(api.items) if item is page[-1])
        limit = asked.get("limit", 10)
        again = manners.repeats_every and not str(asked.get("next", "")).endswith("again")
        if again and (start // limit) % manners.repeats_every == 0:
            token = f"{start - limit},again"
        else:
            token = mark or str(start)
        href = f"{manners.next_host or api.origin}/v1/search"
        if self.command == "GET":
            words = {
                name: value if isinstance(value, str | int) else json.dumps(value) for name, value in asked.items()
            }
            words |= {name: ",".join(map(str, asked[name])) for name in ("collections", "bbox") if name in asked}
            return {"rel": "next", "method": "GET", "href": f"{href}?{urlencode({**words, 'next': token})}"}
        body = {"next": token} if manners.forgets else {**asked, "next": token}
        return {"rel": "next", "method": "POST", "merge": False, "href": href, "body": body}

    def _send(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        body = text.encode()
        try:
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/geo+json",
                "Connection": "close",
                **(headers or {}),
            }.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            pass  # a client that was killed


def _is_within(moment: str, interval: str) -> bool:
    start, _, end = interval.partition("/")
    at = datetime.fromisoformat(moment)
    is_late = start in ("", "..") or at >= datetime.fromisoformat(start)
    return is_late and (end in ("", "..") or at <= datetime.fromisoformat(end or start))


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]
