"""`POST /publish`: Items in any envelope that services send, into the catalog."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from geodl_core.catalog.api.documents import read_json
from geodl_core.domain.watch.envelopes import SUBSCRIPTIONS
from geodl_core.service.services import Services
from geodl_core.service.triggers.fetch import confirm_subscription
from geodl_core.service.triggers.publish import Published, publish

MOST_BYTES = 32 << 20
"""Of a body, where nothing before this route is stricter."""
SNS_HEADER = "x-amz-sns-message-type"
"""SNS sends JSON as text/plain; a page of another site could not add this header without leave."""


def publish_router(services: Services, *, confirms_sns: bool = False) -> APIRouter:
    """Return the route that takes what publishers send.

    Signatures of SNS are not verified: whoever may publish shows that as everybody does, by the server's own
    authentication.

    Args:
        services: with the catalog.
        confirms_sns: whether subscriptions that Amazon SNS asks about are confirmed.
    """
    router = APIRouter(tags=["Publish"])

    @router.post("/publish", summary="Publish Items", openapi_extra=_DESCRIPTION)
    async def publish_items(
        request: Request, collection: Annotated[str | None, Query(max_length=1024)] = None
    ) -> Response:
        """Put Items into the catalog.

        The body is an Item, a FeatureCollection, {"href": …}, {"collection": …, "id": …}, or an envelope of SNS, SQS,
        Lambda, EventBridge or CloudEvents. The answer has the outcome of each message.
        """
        _require_json(request)
        document = read_json(await _body(request))
        return await run_in_threadpool(_answer, services, document, collection, confirms_sns)

    return router


def _answer(services: Services, document: Any, collection: str | None, confirms_sns: bool) -> Response:
    if isinstance(document, dict) and document.get("Type") in SUBSCRIPTIONS:
        if not confirms_sns:
            raise HTTPException(403, "this server confirms no subscriptions of SNS")
        return JSONResponse({"confirmed": confirm_subscription(document)})
    results = publish(services, document, "body", collection)
    return JSONResponse({"results": [asdict(one) for one in results]}, _status(results))


def _status(results: Sequence[Published]) -> int:
    """Return 200 where something was published, 503 where another try may help, 400 where nothing serves."""
    outcomes = {one.outcome for one in results}
    if "unavailable" in outcomes:
        return 503
    return 200 if outcomes & {"published", "unchanged"} else 400


def _require_json(request: Request) -> None:
    """Make sure that a body says that it is JSON: a page of another site cannot send one without leave."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json and SNS_HEADER not in request.headers:
        raise HTTPException(415, f"Content-Type: expected application/json, found {kind[:40]!r}")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"body: expected {MOST_BYTES:,} bytes at most, found more")
    return bytes(body)


_DESCRIPTION = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "title": "Item or envelope"}}},
    }
}
