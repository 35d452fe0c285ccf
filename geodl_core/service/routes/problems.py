"""Errors of OGC API – Processes: as `application/problem+json`, with OGC's types."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from geodl_core.errors import GeodlError, InputError, UnavailableError
from geodl_core.service.routes.process_documents import exception

PROBLEM = "application/problem+json"


class ProblemError(Exception):
    """One of OGC's exceptions.

    Args:
        kind: its name, such as `no-such-job`; None where OGC has none.
        status: of the answer.
        detail: a line that says what was asked and what was found.
    """

    def __init__(self, kind: str | None, status: int, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.status, self.detail = kind, status, detail


class ProblemRoute(APIRoute):
    """A route whose errors are problem documents."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with errors caught."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except (ProblemError, HTTPException, RequestValidationError, GeodlError) as error:
                return _problem(*_told(error))

        return guarded


def _told(error: Exception) -> tuple[str | None, int, str]:
    """Return OGC's name of an error, the status, and a line about it."""
    if isinstance(error, ProblemError):
        return error.kind, error.status, error.detail
    if isinstance(error, HTTPException):
        return None, error.status_code, str(error.detail)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        return None, 400, f"{place}: {first['msg']}"
    assert isinstance(error, GeodlError)
    text = error.message if error.hint is None else f"{error.message} ({error.hint})"
    return None, 400 if isinstance(error, InputError) else 503 if isinstance(error, UnavailableError) else 500, text


def _problem(kind: str | None, status: int, detail: str) -> Response:
    title = kind or HTTPStatus(status).phrase
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(exception(kind, status, title, detail), status, headers, media_type=PROBLEM)
