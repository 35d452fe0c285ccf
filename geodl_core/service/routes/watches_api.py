"""`/watches`: the watches of a catalog, and which of them an Item matches."""

import json
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Body
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from geodl_core.domain.watch.watch import Watch, watch_json
from geodl_core.errors import InputError, ItemError
from geodl_core.service.ledger.watches import (
    StoredWatch,
    list_watches,
    pause_watch,
    read_stored_watch,
    remove_watch,
)
from geodl_core.service.services import Services
from geodl_core.service.watches.check import examine, keep_watch, runs_today
from geodl_core.service.watches.remarks import forget_remarks, last_remarks
from geodl_core.service.watches.tested import told_tests

_Item = Body(description="A STAC Item.")
_Document = Body(description="As in YAML; `aoi` may be GeoJSON.")


def watches_router(services: Services) -> APIRouter:
    """Return the routes of watches."""
    router = APIRouter(prefix="/watches", tags=["Watches"])
    _add_documents(router, services)
    _add_actions(router, services)
    return router


def told_watches(services: Services, stored: list[StoredWatch]) -> list[dict[str, Any]]:
    """Return watches for JSON: the document, and what is known of them beside it."""
    counts, remarks = runs_today(services.ledger), last_remarks(services.ledger)
    told = []
    for one in stored:
        name = one.watch.name
        remark = remarks.get(name)
        facts: dict[str, Any] = {"is_paused": one.is_paused, "runs_today": counts.get(name, 0)}
        facts |= {"created": one.created, "updated": one.updated, "next_at": one.next_at}
        told.append({"watch": _document(one.watch), **facts, "last_problem": remark and asdict(remark)})
    return told


def _add_documents(router: APIRouter, services: Services) -> None:
    @router.get("", summary="List Watches")
    def list_all() -> Response:
        """Return all watches, by name."""
        return JSONResponse({"watches": told_watches(services, list_watches(services.ledger))})

    @router.post("", summary="Add Watch")
    def add(document: Any = _Document) -> Response:
        """Keep a new watch."""
        name = document.get("name") if isinstance(document, dict) else None
        if isinstance(name, str) and _find(services, name) is not None:
            raise HTTPException(409, f"watch {name}: there is one already")
        return _told(services, keep_watch(services, document, "watch", replaces=False), 201)

    @router.get("/{name}", summary="Read Watch")
    def read(name: str) -> Response:
        """Return a watch."""
        return _told(services, _require(services, name))

    @router.put("/{name}", summary="Put Watch")
    def put(name: str, document: Any = _Document) -> Response:
        """Keep a watch, in place of one of this name where there is one; that one stays paused if it is."""
        if not isinstance(document, dict) or document.get("name", name) != name:
            raise InputError(f"watch: expected a document with the name {name!r}")
        is_new = _find(services, name) is None
        stored = keep_watch(services, {**document, "name": name}, f"watch {name}", replaces=True)
        return _told(services, stored, 201 if is_new else 200)

    @router.delete("/{name}", summary="Remove Watch")
    def remove(name: str) -> Response:
        """Forget a watch; its runs and results stay."""
        _require(services, name)
        remove_watch(services.ledger, name)
        forget_remarks(services.ledger, name)
        return Response(status_code=204)


def _add_actions(router: APIRouter, services: Services) -> None:
    @router.post("/{name}/pause", summary="Pause Watch")
    def pause(name: str) -> Response:
        """Pause a watch: what is published meanwhile does not start its runs."""
        _require(services, name)
        return _told(services, pause_watch(services.ledger, name, is_paused=True))

    @router.post("/{name}/resume", summary="Resume Watch")
    def resume(name: str) -> Response:
        """Let a paused watch go on."""
        _require(services, name)
        return _told(services, pause_watch(services.ledger, name, is_paused=False))

    @router.post("/test", summary="Test an Item against all Watches")
    def test_all(item: Any = _Item) -> Response:
        """Say which watches an Item matches, and why others do not; nothing is run."""
        _require_item(item)
        return JSONResponse({"results": told_tests(examine(services, list_watches(services.ledger), item))})

    @router.post("/{name}/test", summary="Test an Item against a Watch")
    def test_one(name: str, item: Any = _Item) -> Response:
        """Say whether an Item matches a watch, and why not; nothing is run."""
        _require_item(item)
        return JSONResponse(told_tests(examine(services, [_require(services, name)], item))[0])


def _document(watch: Watch) -> dict[str, Any]:
    document = watch_json(watch)
    return document if watch.aoi is None else {**document, "aoi": json.loads(watch.aoi)}


def _told(services: Services, stored: StoredWatch, status: int = 200) -> Response:
    headers = {"Location": f"/watches/{quote(stored.watch.name)}"} if status == 201 else None
    return JSONResponse(told_watches(services, [stored])[0], status, headers)


def _find(services: Services, name: str) -> StoredWatch | None:
    if not name.isprintable():
        return None
    try:
        return read_stored_watch(services.ledger, name)
    except InputError:
        return None


def _require(services: Services, name: str) -> StoredWatch:
    stored = _find(services, name)
    if stored is None:
        raise HTTPException(404, f"there is no watch {name[:80]!r}")
    return stored


def _require_item(item: Any) -> None:
    if not isinstance(item, dict) or item.get("type") != "Feature":
        raise ItemError("body: expected a STAC Item, found something else")
