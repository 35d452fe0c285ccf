"""Watches over HTTP: kept, paused, removed, scanned and back-filled for."""

from collections.abc import Mapping
from typing import Any

from geodl_core.aws.api.asked import Asked, is_said
from geodl_core.aws.ledger.watches import CloudWatch, list_cloud_watches, read_cloud_watch, read_scan
from geodl_core.aws.watches.backfills import backfill_facts, list_backfills, start_backfill
from geodl_core.aws.watches.controls import (
    Controls,
    keep_cloud_watch,
    pause_kept_watch,
    remove_kept_watch,
    scan_now,
)
from geodl_core.aws.watches.told_watches import examine_on_stack, told_cloud_watches
from geodl_core.domain.scan.windows import Window, read_moment
from geodl_core.errors import InputError, ItemError
from geodl_core.service.watches.tested import told_tests


def list_watches(controls: Controls, _: Asked) -> dict[str, Any]:
    """Return all watches."""
    ledger = controls.deployment.ledger
    return {"watches": told_cloud_watches(ledger, list_cloud_watches(ledger))}


def show_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Return a watch, what it passed over last, and how far its scan is."""
    ledger = controls.deployment.ledger
    kept = read_cloud_watch(ledger, asked.path["name"])
    return {**_told(controls, kept), "scan": read_scan(ledger, kept.watch.name)}


def add_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Keep the watch in the body, if there is none of its name.

    Raises:
        InputError: it cannot be read or does not serve, or there is one of its name.
        ModelError: its model is not registered.
    """
    return _told(controls, keep_cloud_watch(controls, asked.body, "watch", replaces=False))


def put_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Keep the watch in the body, in place of one of the same name.

    Raises:
        InputError: it cannot be read or does not serve, or its name is not that of the address.
        ModelError: its model is not registered.
    """
    name, document = asked.path["name"], asked.body
    if isinstance(document, Mapping):
        document = {"name": name, **document}
        if document["name"] != name:
            raise InputError(f"watch: expected the name of the address, {name!r}, found {document['name']!r}")
    return _told(controls, keep_cloud_watch(controls, document, "watch", replaces=True))


def check_item(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Return which watches the Item in the body matches, or what the one in the address says; nothing is run.

    Raises:
        ItemError: it is none.
    """
    if not isinstance(asked.body, Mapping) or asked.body.get("type") != "Feature":
        raise ItemError("body: expected a STAC Item (a GeoJSON Feature), found something else")
    ledger, name = controls.deployment.ledger, asked.path.get("name")
    kept = list_cloud_watches(ledger) if name is None else [read_cloud_watch(ledger, name)]
    results = told_tests(examine_on_stack(controls.deployment, kept, asked.body))
    return {"results": results} if name is None else results[0]


def pause_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Pause a watch; with `paused=false` let it go on."""
    is_paused = is_said(asked, "paused", usual=True)
    return _told(controls, pause_kept_watch(controls, asked.path["name"], is_paused=is_paused))


def resume_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Let a paused watch go on."""
    return _told(controls, pause_kept_watch(controls, asked.path["name"], is_paused=False))


def delete_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Forget a watch."""
    remove_kept_watch(controls, asked.path["name"])
    return {}


def scan_for_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Have a scheduled watch scanned for now; whoever asks does not wait for it.

    Raises:
        InputError: no such watch, or it looks at what is published.
    """
    watch = read_cloud_watch(controls.deployment.ledger, asked.path["name"]).watch
    if watch.mode != "schedule":
        raise InputError(f"watch {watch.name}: expected one of mode schedule, found one of what is published")
    scan_now(controls, watch.name)
    return {"watch": watch.name, "asked": True}


def backfill_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Start a back-fill over the body's `since` and `until`, which is not a part of it; with `again` once more.

    Raises:
        InputError: the window cannot be read, no such watch, or it cannot be scanned for.
    """
    body = asked.body
    if not isinstance(body, Mapping) or not {"since", "until"} <= body.keys() <= {"since", "until", "again"}:
        raise InputError("body: expected since and until, and perhaps again")
    window = Window(_moment(body["since"], "since"), _moment(body["until"], "until"))
    return backfill_facts(start_backfill(controls, asked.path["name"], window, again=body.get("again") is True))


def show_backfills(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Return the back-fills of a watch, the last one first."""
    return {"backfills": [backfill_facts(one) for one in list_backfills(controls, asked.path["name"])]}


def _told(controls: Controls, kept: CloudWatch) -> dict[str, Any]:
    return told_cloud_watches(controls.deployment.ledger, [kept])[0]


def _moment(value: Any, name: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11:
        return float(value)
    return read_moment(value if isinstance(value, str) else str(value)[:40], name)
