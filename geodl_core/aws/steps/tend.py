"""What is looked after beside runs: schedules that do not agree with watches, scans that stopped before their end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from geodl_core.aws.ledger.ledger import DynamoLedger, answers, number
from geodl_core.aws.ledger.watches import list_cloud_watches, read_rows
from geodl_core.aws.watches.controls import Controls, scan_now
from geodl_core.aws.watches.schedules import heal_schedules

STALLED_S = 1_200.0
"""Nobody works on a scan that was not heard of for so long: a function runs for 900 s at most."""
MOST_RESUMED = 20
"""Times that a scan is called again without getting on; then its next firing does."""


@dataclass(frozen=True, slots=True)
class Tended:
    """What was put right."""

    scheduled: int
    """Watches whose schedules were other than they were to be."""
    resumed: int
    """Scans that were called again."""


def tend(controls: Controls) -> Tended:
    """Make schedules agree with watches, and let scans go on that ran out of time, or whose API was away.

    Raises:
        InputError: Scheduler or Lambda refuse it.
        UnavailableError: something does not answer.
    """
    ledger = controls.deployment.ledger
    scheduled = 0 if controls.scheduling is None else heal_schedules(controls.scheduling, ledger)
    return Tended(scheduled, resume_scans(controls) if controls.scan_function else 0)


def resume_scans(controls: Controls) -> int:
    """Call the function for scans that were begun and that nobody works on; return how many.

    Raises:
        InputError: Lambda refuses it.
        UnavailableError: table or Lambda do not answer.
    """
    ledger = controls.deployment.ledger
    kept = [one for one in list_cloud_watches(ledger) if one.watch.mode == "schedule" and not one.is_paused]
    rows = read_rows(ledger, [{"pk": f"WATCH#{one.watch.name}", "sk": "SCAN"} for one in kept])
    resumed = 0
    for row in rows:
        if _is_stalled(row, ledger.clock()) and _is_mine(ledger, row):
            scan_now(controls, str(row["pk"]).removeprefix("WATCH#"))
            resumed += 1
    return resumed


def _is_stalled(row: Mapping[str, Any], now: float) -> bool:
    is_late = float(row.get("touched", 0)) <= now - STALLED_S
    return bool(row.get("is_open")) and is_late and int(row.get("resumed", 0)) < MOST_RESUMED


def _is_mine(ledger: DynamoLedger, row: Mapping[str, Any]) -> bool:
    """Note that a scan is called again; False where it has got on, or somebody else was faster."""
    with answers(ledger):
        try:
            ledger.table.update_item(
                Key={"pk": row["pk"], "sk": row["sk"]},
                UpdateExpression="SET touched = :now ADD resumed :one",
                ConditionExpression="touched = :seen AND is_open = :open",
                ExpressionAttributeValues={
                    ":now": number(ledger.clock()),
                    ":one": 1,
                    ":seen": row["touched"],
                    ":open": True,
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
    return True
