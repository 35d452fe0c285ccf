"""Watches in the table: kept, changed, paused, removed, and read again where their revision has changed.

| pk | sk | what |
|---|---|---|
| WATCH#<name> | WATCH | document, is_paused, revision, created, updated |
| WATCH#<name> | REMARK | the last Item that it passed over, and why |
| WATCH#<name> | SCAN | how far its scan is (`aws.steps.scan`) |
| WATCH#<name> | BACKFILL#<window> | a back-fill that was asked for (`aws.watches.backfills`) |
| META | WATCHES | revision of all watches, and their names |
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geodl_core.aws.ledger.ledger import DynamoLedger, answers, number, transact
from geodl_core.domain.watch.watch import Watch, read_watch, watch_json
from geodl_core.errors import AbsentError, CatalogError, InputError
from geodl_core.service.watches.verdict import Remark

META: dict[str, str] = {"pk": "META", "sk": "WATCHES"}
MOST_BYTES = 350_000
"""Of a document, packed: DynamoDB takes rows of 400 kB."""
TRIES = 50
"""Of a change while others change watches: each time one of them succeeds."""
AT_ONCE = 100
"""Rows that DynamoDB gives in one request."""


@dataclass(frozen=True, slots=True)
class CloudWatch:
    """A watch as the table keeps it. Times are seconds since 1970."""

    watch: Watch
    is_paused: bool
    revision: int
    """Of all watches the one changed last has the highest."""
    created: float
    updated: float


def put_cloud_watch(ledger: DynamoLedger, watch: Watch, *, replaces: bool) -> CloudWatch:
    """Keep a watch; one of the same name is replaced, and stays paused if it was, or refused.

    Raises:
        InputError: there is one of that name, and `replaces` is not given; or it is too large.
        CatalogError: the table does not answer.
    """
    content = zlib.compress(json.dumps(watch_json(watch), sort_keys=True).encode(), 9)
    if len(content) > MOST_BYTES:
        raise InputError(
            f"watch {watch.name}: expected at most {MOST_BYTES:,} bytes, packed; found {len(content):,}",
            hint="an area of interest with fewer vertices is smaller",
        )
    for _ in range(TRIES):
        found, now = find_cloud_watch(ledger, watch.name), ledger.clock()
        if found is not None and not replaces:
            raise InputError(f"watch {watch.name}: there is one already", hint="--replace takes its place")
        kept = CloudWatch(
            watch,
            is_paused=found is not None and found.is_paused,
            revision=revision_of_watches(ledger) + 1,
            created=now if found is None else found.created,
            updated=now,
        )
        if _write(ledger, kept, content, found):
            return kept
    raise CatalogError(f"watch {watch.name}: others change watches all the time")


def pause_cloud_watch(ledger: DynamoLedger, name: str, *, is_paused: bool) -> CloudWatch:
    """Pause a watch, or let it go on: what is published while it is paused does not start its runs.

    Raises:
        InputError: there is none.
        CatalogError: the table does not answer.
    """
    for _ in range(TRIES):
        found = read_cloud_watch(ledger, name)
        kept = CloudWatch(found.watch, is_paused, revision_of_watches(ledger) + 1, found.created, ledger.clock())
        content = zlib.compress(json.dumps(watch_json(found.watch), sort_keys=True).encode(), 9)
        if _write(ledger, kept, content, found):
            return kept
    raise CatalogError(f"watch {name}: others change watches all the time")


def remove_cloud_watch(ledger: DynamoLedger, name: str) -> int:
    """Forget a watch, and how far its scan is; its runs and results stay.

    Returns:
        The revision of all watches from then on.

    Raises:
        InputError: there is none.
        CatalogError: the table does not answer.
    """
    for _ in range(TRIES):
        found = read_cloud_watch(ledger, name)
        delete = {
            "TableName": ledger.table.name,
            "Key": _key(name),
            "ConditionExpression": "revision = :seen",
            "ExpressionAttributeValues": {":seen": found.revision},
        }
        keys = ({"pk": f"WATCH#{name}", "sk": each} for each in ("REMARK", "SCAN"))
        forget = [{"Delete": {"TableName": ledger.table.name, "Key": key}} for key in keys]
        revision = revision_of_watches(ledger)
        if transact(ledger, [{"Delete": delete}, *forget, _counted(ledger, "DELETE", name, revision)]):
            return revision + 1
    raise CatalogError(f"watch {name}: others change watches all the time")


def read_cloud_watch(ledger: DynamoLedger, name: str) -> CloudWatch:
    """Return a watch by its name.

    Raises:
        InputError: there is none.
        CatalogError: the table does not answer.
    """
    found = find_cloud_watch(ledger, name)
    if found is None:
        names = ", ".join(_names(_meta(ledger))[:20])
        raise AbsentError(f"no watch {name}; there are: {names or 'none at all'}")
    return found


def find_cloud_watch(ledger: DynamoLedger, name: str) -> CloudWatch | None:
    """Return a watch by its name, None where there is none.

    Raises:
        CatalogError: the table does not answer.
    """
    with answers(ledger):
        row = ledger.table.get_item(Key=_key(name), ConsistentRead=True).get("Item")
    return None if row is None else _watch(row)


def list_cloud_watches(ledger: DynamoLedger) -> list[CloudWatch]:
    """Return all watches, by name.

    Raises:
        CatalogError: the table does not answer.
    """
    rows = read_rows(ledger, [_key(name) for name in _names(_meta(ledger))])
    return sorted((_watch(row) for row in rows), key=lambda kept: kept.watch.name)


def revision_of_watches(ledger: DynamoLedger) -> int:
    """Return a number that changes whenever a watch is added, changed, paused or removed."""
    return int(_meta(ledger).get("revision", 0))


def keep_remark(ledger: DynamoLedger, remark: Remark) -> None:
    """Keep what a watch passed over last, and count how often it did.

    Raises:
        CatalogError: the table does not answer.
    """
    with answers(ledger):
        ledger.table.update_item(
            Key={"pk": f"WATCH#{remark.watch}", "sk": "REMARK"},
            UpdateExpression="SET #at = :at, #item = :item, #text = :text ADD #count :one",
            ExpressionAttributeNames={f"#{name}": name for name in ("at", "item", "text", "count")},
            ExpressionAttributeValues={
                ":at": number(ledger.clock()),
                ":item": remark.item[:1_000],
                ":text": remark.text[:2_000],
                ":one": 1,
            },
        )


def read_remark(ledger: DynamoLedger, name: str) -> dict[str, Any] | None:
    """Return what a watch passed over last: at, count, item and text; None where there was nothing."""
    with answers(ledger):
        row = ledger.table.get_item(Key={"pk": f"WATCH#{name}", "sk": "REMARK"}).get("Item")
    if row is None:
        return None
    return {"at": float(row["at"]), "count": int(row["count"]), "item": row["item"], "text": row["text"]}


def read_scan(ledger: DynamoLedger, name: str) -> dict[str, Any] | None:
    """Return how far a watch's scan is: is_open, touched, last_end, found, matched, ordered; None before the first."""
    found = read_rows(ledger, [{"pk": f"WATCH#{name}", "sk": "SCAN"}])
    if not found:
        return None
    standing = json.loads(found[0]["standing"])
    marks = {"is_open": bool(found[0].get("is_open")), "touched": float(found[0].get("touched", 0))}
    return {**marks, "last_end": standing["last_end"], **standing.get("counts", {})}


def read_rows(ledger: DynamoLedger, keys: Sequence[Mapping[str, str]]) -> list[Mapping[str, Any]]:
    """Return rows by their keys, in no order; those that there are not are left out.

    Raises:
        CatalogError: the table does not answer.
    """
    client, name = ledger.table.meta.client, ledger.table.name
    rows: list[Mapping[str, Any]] = []
    for start in range(0, len(keys), AT_ONCE):
        asked: Any = {name: {"Keys": list(keys[start : start + AT_ONCE]), "ConsistentRead": True}}
        while asked:
            with answers(ledger):
                given = client.batch_get_item(RequestItems=asked)
            rows += given["Responses"].get(name, ())
            asked = given.get("UnprocessedKeys")
    return rows


def _write(ledger: DynamoLedger, kept: CloudWatch, content: bytes, seen: CloudWatch | None) -> bool:
    """Store a watch and count the change; False where somebody else changed watches at the same time."""
    row = {
        **_key(kept.watch.name),
        "document": content,
        "is_paused": kept.is_paused,
        "revision": kept.revision,
        "created": number(kept.created),
        "updated": number(kept.updated),
    }
    put: dict[str, Any] = {"TableName": ledger.table.name, "Item": row}
    if seen is None:
        put["ConditionExpression"] = "attribute_not_exists(pk)"
    else:
        put |= {"ConditionExpression": "revision = :seen", "ExpressionAttributeValues": {":seen": seen.revision}}
    return transact(ledger, [{"Put": put}, _counted(ledger, "ADD", kept.watch.name, kept.revision - 1)])


def _counted(ledger: DynamoLedger, verb: str, name: str, seen: int) -> dict[str, Any]:
    """Return the step that counts a change of watches, where nobody else has made one since."""
    update = {
        "TableName": ledger.table.name,
        "Key": META,
        "UpdateExpression": f"SET revision = :next {verb} watches :name",
        "ConditionExpression": "revision = :seen" if seen else "attribute_not_exists(revision)",
        "ExpressionAttributeValues": {":next": seen + 1, ":name": {name}, **({":seen": seen} if seen else {})},
    }
    return {"Update": update}


def _meta(ledger: DynamoLedger) -> Mapping[str, Any]:
    with answers(ledger):
        row: Mapping[str, Any] = ledger.table.get_item(Key=META, ConsistentRead=True).get("Item") or {}
    return row


def _names(meta: Mapping[str, Any]) -> list[str]:
    return sorted(map(str, meta.get("watches") or ()))


def _watch(row: Mapping[str, Any]) -> CloudWatch:
    name = str(row["pk"]).removeprefix("WATCH#")
    # boto3 wraps what is binary; both forms turn into bytes.
    watch = read_watch(json.loads(zlib.decompress(bytes(row["document"]))), f"watch {name}")
    return CloudWatch(watch, bool(row["is_paused"]), int(row["revision"]), float(row["created"]), float(row["updated"]))


def _key(name: str) -> dict[str, str]:
    return {"pk": f"WATCH#{name}", "sk": "WATCH"}
