"""Requests of a paged search, and the next one that a page names."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import DataError

NUMBERS = ("page", "offset", "skip", "startindex", "start")
"""Parameters that count pages or Items: another limit would make them mean other ones."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be kept and sent again."""

    method: str
    """GET or POST."""
    href: str
    body: Mapping[str, Any] | None = None


def request_json(request: Request) -> dict[str, Any]:
    """Return a request as a document that `read_request` takes."""
    return {"method": request.method, "href": request.href, "body": request.body}


def read_request(document: Mapping[str, Any]) -> Request:
    """Return a request that `request_json` wrote."""
    return Request(document["method"], document["href"], document["body"])


def fingerprint(request: Request) -> str:
    """Return what tells one request from another, 16 hexadecimal digits."""
    text = json.dumps([request.method, request.href, request.body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def at_home(href: str, api: str) -> str:
    """Return an href of an API under the API's own scheme.

    Services behind a proxy often write http where they are asked by https.

    Args:
        href: from a document of the API.
        api: address of its landing page.

    Raises:
        DataError: it leads to another host: whoever answers may not choose whom geodl asks.
    """
    try:
        home, there = urlsplit(api), urlsplit(urljoin(api, href))
        is_home = (there.hostname, _port(there, home)) == (home.hostname, home.port) and not there.username
    except ValueError:
        is_home = False
    if not is_home or there.scheme not in ("http", "https"):
        raise DataError(
            f"{hide_secrets(api)}: expected links to the same host, found one to {hide_secrets(str(href))[:120]!r}",
            hint="the API's address is perhaps not the one by which it calls itself",
        )
    return there._replace(scheme=home.scheme, netloc=home.netloc.rpartition("@")[2], fragment="").geturl()


def next_request(page: Mapping[str, Any], asked: Request, api: str) -> Request | None:
    """Return the request of the next page, exactly as the link says; None where there is none.

    A POST link with `merge` false carries its whole body, which may be a token alone
    (https://github.com/radiantearth/stac-api-spec, item-search, "Pagination").

    Raises:
        DataError: the link leads to another host.
    """
    links = page.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == "next" and isinstance(link.get("href"), str):
            href = at_home(urljoin(asked.href, link["href"]), api)
            if str(link.get("method", "GET")).upper() != "POST":
                return Request("GET", href)
            body = link.get("body")
            given = dict(body) if isinstance(body, Mapping) else {}
            return Request("POST", href, {**(asked.body or {}), **given} if link.get("merge") is True else given)
    return None


def with_limit(request: Request, limit: int) -> Request | None:
    """Return a request for smaller pages, None where the link does not allow for it.

    Where no limit stands, the request stays as it is: it is the service's own choice.
    """
    if request.body is not None:
        if _counts(request.body):
            return None
        return replace(request, body={**request.body, "limit": limit}) if "limit" in request.body else request
    parts = urlsplit(request.href)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if _counts(dict(pairs)):
        return None
    query = urlencode([(name, str(limit) if name == "limit" else value) for name, value in pairs])
    return replace(request, href=parts._replace(query=query).geturl())


def _counts(parameters: Mapping[str, Any]) -> bool:
    return any(name.lower() in NUMBERS for name in parameters)


def _port(there: Any, home: Any) -> int | None:
    """Return a port, None for the usual one of either scheme where home has none."""
    return None if home.port is None and there.port in (80, 443) else there.port
