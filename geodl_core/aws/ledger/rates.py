"""How fast models run on the machines of Batch: the state machine notes what the first shard of a run took.

It notes jobs of first attempts that needed one try: another may have found its part there, and computed nothing.
"""

from typing import TYPE_CHECKING

from geodl_core.domain.plan.plan import Plan, live_tiles, shard_count

if TYPE_CHECKING:
    from geodl_core.aws.ledger.ledger import DynamoLedger

FIRST_RATE = 500_000.0
"""Pixels a second of a model that was never run here: on the cautious side, so that first shards are short."""
LEAST_S = 30.0
"""A job that took less says little: the model is taken to be no faster than if it had taken so long."""
MOST_SHARDS = 10_000
"""Children of a Distributed Map that run at a time, by default; more only wait."""


def read_rate(ledger: "DynamoLedger", model: str) -> float | None:
    """Return pixels a second of a model's last noted shard, its container's start included; None where there is none.

    A job of seconds makes a model fast by a step only, not at once: from it no shard is cut that could not end in time.
    The row is `RATE#<model>`/`RATE` with pixels, started_ms and stopped_ms, as the state machine writes it from the
    job that Batch describes.

    Args:
        ledger: with the row.
        model: `NAME@VERSION`.
    """
    from geodl_core.aws.ledger.ledger import answers  # noqa: PLC0415  # boto3: not for those who only count shards

    with answers(ledger):
        row = ledger.table.get_item(Key={"pk": f"RATE#{model}", "sk": "RATE"}).get("Item")
    if row is None:
        return None
    try:
        seconds = (int(row["stopped_ms"]) - int(row["started_ms"])) / 1000
        pixels = int(row["pixels"])
    except (KeyError, ValueError, TypeError):
        return None
    if pixels <= 0 or seconds <= 0:
        return None
    return min(pixels / seconds, max(FIRST_RATE, pixels / LEAST_S))


def shards_for(plan: Plan, asked: int | None, rate: float | None, shard_s: float) -> int:
    """Return in how many shards a plan is run, so that a job lasts about so long.

    Args:
        plan: of the scene.
        asked: by the order; None leaves it to the rate.
        rate: pixels a second.
        shard_s: seconds of work that a job should have.
    """
    if asked is not None:
        return shard_count(plan, asked)
    pixels = len(live_tiles(plan)) * plan.core_px[0] * plan.core_px[1]
    wanted = round(pixels / ((rate or FIRST_RATE) * shard_s))
    return shard_count(plan, min(MOST_SHARDS, max(1, wanted)))


def shard_pixels(plan: Plan, of: int) -> int:
    """Return about how many pixels a shard computes."""
    return -(-len(live_tiles(plan)) * plan.core_px[0] * plan.core_px[1] // of)
