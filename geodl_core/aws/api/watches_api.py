"""Watches over HTTP: kept, paused, removed, scanned and back-filled for."""

from collections.abc import Mapping
from typing import Any

from geodl_core.aws.api.asked import Asked, is_said
from geodl_core.aws.ledger.watches import CloudWatch, list_cloud_watches, read_cloud_watch, read_remark, read_scan
from geodl_core.aws.watches.backfills import backfill_facts, list_backfills, start_backfill
from geodl_core.aws.watches.controls import (
    Controls,
    keep_cloud_watch,
    pause_kept_watch,
    remove_kept_watch,
    scan_now,
)
from geodl_core.domain.scan.windows import Window, read_moment, stamp
from geodl_core.domain.watch.watch import watch_json
from geodl_core.errors import InputError


def list_watches(controls: Controls, _: Asked) -> dict[str, Any]:
    """Return all watches."""
    return {"watches": [watch_facts(kept) for kept in list_cloud_watches(controls.deployment.ledger)]}


def show_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Return a watch, what it passed over last, and how far its scan is."""
    ledger = controls.deployment.ledger
    kept = read_cloud_watch(ledger, asked.path["name"])
    name = kept.watch.name
    return {**watch_facts(kept), "remark": read_remark(ledger, name), "scan": read_scan(ledger, name)}


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
    return watch_facts(keep_cloud_watch(controls, document, "watch", replaces=True))


def pause_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Pause a watch; with `paused=false` let it go on."""
    is_paused = is_said(asked, "paused", usual=True)
    return watch_facts(pause_kept_watch(controls, asked.path["name"], is_paused=is_paused))


def resume_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Let a paused watch go on."""
    return watch_facts(pause_kept_watch(controls, asked.path["name"], is_paused=False))


def delete_watch(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Forget a watch."""
    remove_kept_watch(controls, asked.path["name"])
    return {"removed": asked.path["name"]}


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


def watch_facts(kept: CloudWatch) -> dict[str, Any]:
    """Return a watch for JSON."""
    times = {"created": stamp(kept.created), "updated": stamp(kept.updated)}
    return {"name": kept.watch.name, "is_paused": kept.is_paused, **times, "document": watch_json(kept.watch)}


def _moment(value: Any, name: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11:
        return float(value)
    return read_moment(value if isinstance(value, str) else str(value)[:40], name)
