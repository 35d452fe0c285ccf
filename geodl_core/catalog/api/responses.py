"""Answers over HTTP: documents with their etags, refusals and errors as status codes with one plain line."""

import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from geodl_core.catalog.answers import Refusal
from geodl_core.errors import GeodlError, InputError, UnavailableError

GEOJSON = "application/geo+json"
_STATUS = {"missing": 404, "taken": 409, "changed": 412}


def geojson(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a GeoJSON answer."""
    return JSONResponse(document, status_code=status, headers=headers, media_type=GEOJSON)


def quoted(etag: str) -> str:
    """Return an etag as the header wants it."""
    return f'"{etag}"'


def read_etags(header: str | None) -> frozenset[str] | None:
    """Return the etags of an If-Match or If-None-Match header; None where it is absent or names any.

    Weak ones are left out: they promise no equal bytes (RFC 9110, 13.1.1).

    Raises:
        HTTPException: the header cannot be read.
    """
    if header is None or header.strip() == "*":
        return None
    tags = re.findall(r'\s*(W/)?"([^"]*)"\s*(?:,|$)', header)
    if not tags:
        raise HTTPException(400, f'If-Match: expected "etag", found {header[:40]!r}')
    return frozenset(tag for weak, tag in tags if not weak)


def refused(refusal: Refusal) -> HTTPException:
    """Return a catalog's refusal as a status: 404, 409 or 412."""
    return HTTPException(_STATUS[refusal.reason], refusal.message)


def answer_errors(app: FastAPI) -> None:
    """Have an application answer errors as `{"code": …, "description": …}`, as the STAC API wants them."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(GeodlError, _ours)
    app.add_exception_handler(UnicodeEncodeError, _no_text)
    app.add_exception_handler(Exception, _unexpected)


def problem(status: int, description: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error's answer."""
    code = HTTPStatus(status).phrase.title().replace(" ", "")
    return JSONResponse({"code": code, "description": description}, status_code=status, headers=headers)


def _http(_: Request, err: Exception) -> Response:
    assert isinstance(err, HTTPException)
    return problem(err.status_code, str(err.detail), dict(err.headers or {}))


def _invalid(_: Request, err: Exception) -> Response:
    assert isinstance(err, RequestValidationError)
    first = err.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
    return problem(400, f"{place}: {first['msg']}".removeprefix(": "))


def _ours(_: Request, err: Exception) -> Response:
    assert isinstance(err, GeodlError)
    text = err.message if err.hint is None else f"{err.message} ({err.hint})"
    if isinstance(err, InputError):
        return problem(400, text)
    if isinstance(err, UnavailableError):
        return problem(503, text, {"Retry-After": "1"})
    return problem(500, text)


def _no_text(_: Request, __: Exception) -> Response:
    return problem(400, "expected Unicode text, found half of a surrogate pair")


def _unexpected(_: Request, __: Exception) -> Response:
    return problem(500, "unexpected: this is a fault in geodl; the server's log shows where it came from")
