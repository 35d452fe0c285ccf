"""How fast models ran on this machine: kept after each run, read by the next plan."""

import json
from pathlib import Path

from geodl_core.domain.plan.job import Job
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.errors import StoreError
from geodl_core.io.store import write_bytes

RATES_NAME = "rates.json"
MOST_RATES = 200


def rate_key(planned: ScenePlan, threads: int, provider: str) -> str:
    """Return what a rate holds for."""
    job: Job = planned.job
    looks = "augmented" if job.test_time_augmentation else "plain"
    side = "x".join(map(str, job.core_px))
    return (
        f"{job.model_digest[:16]} {provider} {job.precision} {looks} core {side} halo {job.halo_px} threads {threads}"
    )


def recorded_rate(cache: Path | None, key: str) -> float | None:
    """Return useful pixels a second of earlier runs, None where there were none."""
    rate = _read(cache).get(key)
    return float(rate) if isinstance(rate, int | float) and rate > 0 else None


def record_rate(cache: Path | None, key: str, pixels_per_s: float) -> None:
    """Keep the rate of a run; a cache that cannot be written is done without."""
    if cache is None or pixels_per_s <= 0:
        return
    rates = _read(cache)
    rates.pop(key, None)
    rates[key] = round(pixels_per_s)
    kept = dict(list(rates.items())[-MOST_RATES:])
    try:
        write_bytes(cache / RATES_NAME, json.dumps(kept, indent=1).encode())
    except StoreError:
        return


def _read(cache: Path | None) -> dict[str, float]:
    if cache is None:
        return {}
    try:
        rates = json.loads((cache / RATES_NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return rates if isinstance(rates, dict) else {}
