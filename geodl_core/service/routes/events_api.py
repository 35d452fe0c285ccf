"""Server-sent events: what happens to a run, or to all of them, as it happens.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from geodl_core.domain.run.state import FINAL
from geodl_core.errors import InputError
from geodl_core.service.ledger.runs import MOST_SEQ, Event, history, read_run
from geodl_core.service.routes.news import LOOK_S, News, NewsRooms, Progress, last_seq
from geodl_core.service.routes.problems import ProblemError, ProblemRoute
from geodl_core.service.runs.facts import event_facts
from geodl_core.service.services import Services

ALIVE_S = 15.0
"""After so long without an event a comment is sent: proxies keep the connection, and one that is gone is noticed."""
RETRY_MS = 2_000
"""Before a client that lost its connection comes back."""
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {EventSourceResponse.media_type: {}}}}
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
LastEvent = Annotated[str | None, Header(alias="Last-Event-ID", max_length=40)]
After = Annotated[
    int | None, Query(ge=0, le=MOST_SEQ, description="As the header Last-Event-ID, for those that cannot set one.")
]


def events_router(services: Services, look_s: float = LOOK_S, alive_s: float = ALIVE_S) -> APIRouter:
    """Return the routes of server-sent events.

    Events are `state` (a line of history, its `seq` as id) and `progress` (tiles). A client that comes back with the
    last id it has seen gets what it has missed. The stream of a run ends with the run; one that was seen to its end is
    answered 204, which tells a browser not to come again.

    Args:
        services: for the ledger.
        look_s: between two looks into the ledger, of which there is one for all listeners.
        alive_s: between two comments where nothing happens.
    """
    router, rooms = APIRouter(route_class=ProblemRoute, tags=["Processes"]), NewsRooms(services.ledger, look_s)

    @router.get("/jobs/{job_id}/events", responses=STREAM, summary="What happens to a run")
    async def of_run(
        job_id: Annotated[str, Path(max_length=200)], last: LastEvent = None, after: After = None
    ) -> Response:
        """Tell the whole history of a run, and then what happens to it until it has ended."""
        try:
            run = await run_in_threadpool(read_run, services.ledger, job_id)
        except InputError as error:
            raise ProblemError("no-such-job", 404, error.message) from error
        seen, news = _seen(last, after) or 0, rooms.here()
        # Asked of the ledger itself: the news may be half a second old.
        if run.state in FINAL and not await run_in_threadpool(history, services.ledger, run.id, seen, 1):
            return Response(status_code=204)
        return EventSourceResponse(_told(news, (run.id, seen), alive_s), headers=HEADERS)

    @router.get("/events", responses=STREAM, summary="What happens to all runs")
    async def of_all(last: LastEvent = None, after: After = None) -> Response:
        """Tell what happens to all runs, from now on or behind what was seen last."""
        seen, news = _seen(last, after), rooms.here()
        if seen is None:
            seen = await run_in_threadpool(last_seq, services.ledger)
        return EventSourceResponse(_told(news, (None, seen), alive_s), headers=HEADERS)

    return router


def _seen(last: str | None, after: int | None) -> int | None:
    """Return the `seq` that a client has seen last, None where it says none."""
    if last is None or not last.isdecimal():
        return after
    return min(int(last), MOST_SEQ)


async def _told(news: News, about: tuple[str | None, int], alive_s: float) -> AsyncIterator[bytes]:
    """Yield what happens to a run (None: to all) behind a `seq`."""
    run_id, seen = about
    told: dict[str, Progress] = {}
    last: Event | None = None
    yield format_sse_event(retry=RETRY_MS, comment="runs of geodl")
    with news.listening():
        while True:
            waiting = news.changed()
            while True:
                events, seen = await news.lines(seen, run_id)
                for event in events:
                    last = event
                    yield _state(event)
                if not events:
                    break
            if run_id is not None and last is not None and last.state in FINAL:
                return
            for each, now in _news_of(news, run_id):
                if told.get(each) != now:
                    yield _progress(each, now)
            told = dict(_news_of(news, run_id))
            if not await waiting(alive_s):
                yield KEEPALIVE_COMMENT


def _news_of(news: News, run_id: str | None) -> list[tuple[str, Progress]]:
    if run_id is None:
        return list(news.progress.items())
    return [(run_id, news.progress[run_id])] if run_id in news.progress else []


def _state(event: Event) -> bytes:
    return format_sse_event(data_str=_json(event_facts(event)), event="state", id=str(event.seq))


def _progress(run_id: str, now: Progress) -> bytes:
    return format_sse_event(data_str=_json({"run_id": run_id, **asdict(now)}), event="progress")


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
