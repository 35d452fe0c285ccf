"""Back-fills of a deployment: one execution for a watch and a window, however often it is asked for.

`WATCH#<name>`/`BACKFILL#<key>` has the window, how often it was begun, and when; `SCAN#<execution>` what was found.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from geodl_core.aws.ledger.ledger import DAY_S, DynamoLedger, answers, number, query_pages
from geodl_core.aws.ledger.watches import read_cloud_watch, read_rows
from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.executions import execution_arn
from geodl_core.aws.site.model_index import resolve_model
from geodl_core.aws.steps.causes import read_failure
from geodl_core.aws.watches.controls import Controls
from geodl_core.domain.scan.windows import Window, stamp
from geodl_core.errors import AbsentError, InputError

KEEP_S = 400 * DAY_S
MOST = 50
"""Back-fills that are told of: those asked for last."""
ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
COUNTS = ("found", "matched", "ordered")


@dataclass(frozen=True, slots=True)
class CloudBackfill:
    """A back-fill. Times are seconds since 1970."""

    name: str
    """Of its execution."""
    window: Window
    asked: float
    """When it was begun."""
    status: str
    """As Step Functions has it: RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED; UNKNOWN where it has forgotten."""
    stopped: float | None
    cause: str | None
    """Of what went wrong."""
    counts: Mapping[str, int]
    """Items found, those wanted, and runs ordered, so far."""


def backfill_key_of(watch: str, window: Window) -> str:
    """Return what tells a back-fill from others: a part of the watch's name, the days, a hash of both whole."""
    content = json.dumps([watch, float(window.start), float(window.end)]).encode()
    days = (datetime.fromtimestamp(moment, UTC).strftime("%Y%m%d") for moment in (window.start, window.end))
    safe = re.sub(r"[^a-z0-9-]", "-", watch)[:30]
    return "-".join([safe, *days, hashlib.sha256(content).hexdigest()[:12]])


def start_backfill(controls: Controls, name: str, window: Window, *, again: bool = False) -> CloudBackfill:
    """Start the back-fill of a watch for a window of time; one that there is already is left as it is.

    Args:
        controls: of the deployment.
        name: of the watch, which may be paused.
        window: when Items were taken.
        again: begin anew where it has ended: what was run is not run again; what was stopped with it, what it had
            listed and not started, and what has appeared since is.

    Raises:
        InputError: no such watch, it cannot be scanned for, or there is no state machine for back-fills.
        ModelError: its model is not registered.
        UnavailableError: something does not answer.
    """
    deployment = controls.deployment
    _require_machine(controls)
    watch = read_cloud_watch(deployment.ledger, name).watch
    if watch.mode != "schedule":
        raise InputError(f"watch {name}: expected one of mode schedule, found one of what is published")
    resolve_model(deployment.s3, deployment.bucket, watch.model)
    row = _begun(deployment.ledger, name, window)
    found = _told(controls, row)
    if again and found is not None and found.status in ENDED:
        row = _begun_again(deployment.ledger, row)
        found = _told(controls, row)
    if found is None:
        _start(controls, name, window, _execution(row))
        found = _told(controls, row)
    return found or _unknown(row)


def stop_backfill(controls: Controls, name: str, window: Window) -> CloudBackfill:
    """Stop the back-fill of a watch for a window of time, and with it the scenes that it runs; one that ended stays so.

    What it had listed and not started waits until the back-fill is begun again: nobody else starts that by himself.

    Args:
        controls: of the deployment.
        name: of the watch, which may be gone by now.
        window: as the back-fill was asked for.

    Raises:
        InputError: there is none for this window, or no state machine for back-fills.
        UnavailableError: something does not answer.
    """
    _require_machine(controls)
    key = {"pk": f"WATCH#{name}", "sk": f"BACKFILL#{backfill_key_of(name, window)}"}
    rows = read_rows(controls.deployment.ledger, [key])
    if not rows:
        days = f"{stamp(window.start)} to {stamp(window.end)}"
        raise AbsentError(
            f"watch {name}: no back-fill of {days}", hint=f"geodl watch show {name} tells which there are"
        )
    found = _told(controls, rows[0])
    if found is None or found.status in ENDED:
        return found or _unknown(rows[0])
    with account_errors(f"back-fill {found.name}"):
        arn = execution_arn(controls.backfill_machine, found.name)
        controls.deployment.states.stop_execution(executionArn=arn, error="Cancelled", cause="stopped by hand")
    return _told(controls, rows[0]) or found


def list_backfills(controls: Controls, name: str) -> list[CloudBackfill]:
    """Return the back-fills of a watch, the one begun last first; of very many the last ones.

    Raises:
        InputError: no such watch.
        UnavailableError: something does not answer.
    """
    ledger = controls.deployment.ledger
    read_cloud_watch(ledger, name)
    asked = {":pk": f"WATCH#{name}", ":kind": "BACKFILL#"}
    condition = "pk = :pk AND begins_with(sk, :kind)"
    pages = query_pages(ledger, KeyConditionExpression=condition, ExpressionAttributeValues=asked)
    rows: list[Mapping[str, Any]] = [row for page in pages for row in page["Items"]]
    rows.sort(key=lambda row: float(row["asked"]), reverse=True)
    return [_told(controls, row) or _unknown(row) for row in rows[:MOST]]


def backfill_facts(one: CloudBackfill) -> dict[str, Any]:
    """Return a back-fill for JSON."""
    times = {"since": stamp(one.window.start), "until": stamp(one.window.end), "asked": stamp(one.asked)}
    stopped = None if one.stopped is None else stamp(one.stopped)
    return {"name": one.name, **times, "status": one.status, "stopped": stopped, "cause": one.cause, **one.counts}


def _require_machine(controls: Controls) -> None:
    if not controls.backfill_machine:
        raise InputError("expected a state machine for back-fills, found none", hint="GEODL_BACKFILL_MACHINE names it")


def _begun(ledger: DynamoLedger, name: str, window: Window) -> Mapping[str, Any]:
    """Write down that a back-fill was asked for, once; return its row."""
    key = {"pk": f"WATCH#{name}", "sk": f"BACKFILL#{backfill_key_of(name, window)}"}
    sets = {"since": number(window.start), "until": number(window.end), "begun": 1, **_now(ledger)}
    terms = ", ".join(f"#{each} = if_not_exists(#{each}, :{each})" for each in sets)
    with answers(ledger):
        row: Mapping[str, Any] = ledger.table.update_item(
            Key=key,
            UpdateExpression=f"SET {terms}",
            ExpressionAttributeNames={f"#{each}": each for each in sets},
            ExpressionAttributeValues={f":{each}": value for each, value in sets.items()},
            ReturnValues="ALL_NEW",
        )["Attributes"]
    return row


def _begun_again(ledger: DynamoLedger, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Count a back-fill that begins anew, of several at once only one; return its row as it is then."""
    key = {"pk": row["pk"], "sk": row["sk"]}
    sets = {"begun": int(row["begun"]) + 1, **_now(ledger)}
    with answers(ledger):
        try:
            ledger.table.update_item(
                Key=key,
                UpdateExpression="SET " + ", ".join(f"#{each} = :{each}" for each in sets),
                ConditionExpression="#begun = :seen",
                ExpressionAttributeNames={f"#{each}": each for each in sets},
                ExpressionAttributeValues={**{f":{each}": v for each, v in sets.items()}, ":seen": row["begun"]},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
        return dict(ledger.table.get_item(Key=key, ConsistentRead=True)["Item"])


def _now(ledger: DynamoLedger) -> dict[str, Any]:
    now = ledger.clock()
    return {"asked": number(now), "expires": int(now + KEEP_S)}


def _execution(row: Mapping[str, Any]) -> str:
    return f"{str(row['sk']).removeprefix('BACKFILL#')}-{int(row['begun'])}"


def _start(controls: Controls, watch: str, window: Window, name: str) -> None:
    asked = {"watch": watch, "backfill": name, "since": window.start, "until": window.end, "number": 0}
    with account_errors(f"back-fill {name}"):
        try:
            controls.deployment.states.start_execution(
                stateMachineArn=controls.backfill_machine, name=name, input=json.dumps(asked, sort_keys=True)
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise


def _told(controls: Controls, row: Mapping[str, Any]) -> CloudBackfill | None:
    """Return a back-fill with what Step Functions says of it, None where it knows nothing."""
    name = _execution(row)
    with account_errors(f"back-fill {name}"):
        try:
            told = controls.deployment.states.describe_execution(
                executionArn=execution_arn(controls.backfill_machine, name)
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            return None
    stopped = told["stopDate"].timestamp() if told.get("stopDate") else None
    kind, cause = str(told.get("error") or ""), str(told.get("cause") or "")
    failure = read_failure(kind, cause) if kind or cause else None
    return CloudBackfill(
        name,
        _window(row),
        float(row["asked"]),
        str(told["status"]),
        stopped,
        None if failure is None else ": ".join(filter(None, (failure.kind, failure.message))),
        _counts(controls.deployment.ledger, row, name),
    )


def _unknown(row: Mapping[str, Any]) -> CloudBackfill:
    return CloudBackfill(_execution(row), _window(row), float(row["asked"]), "UNKNOWN", None, None, {})


def _window(row: Mapping[str, Any]) -> Window:
    return Window(float(row["since"]), float(row["until"]))


def _counts(ledger: DynamoLedger, row: Mapping[str, Any], name: str) -> dict[str, int]:
    found = read_rows(ledger, [{"pk": row["pk"], "sk": f"SCAN#{name}"}])
    counts = json.loads(found[0]["standing"]).get("counts", {}) if found else {}
    return {each: int(counts.get(each, 0)) for each in COUNTS}
