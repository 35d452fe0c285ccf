"""Estimates: what is told of a run that was not run."""

import json
from dataclasses import replace

import pytest

from geodl_core.engine.estimate_run import Estimate

ESTIMATE = Estimate(
    live=30,
    tiles=40,
    pixels=12_000_000,
    overhead=1.25,
    threads=2,
    memory_bytes=900 << 20,
    pixels_per_s=2e6,
    rate_origin="at the rate of the last run",
    output_bytes=3_000_000,
    shards=8,
)


def test_for_people() -> None:
    """Each fact is one line: what is skipped, work, memory, time, output and shards."""
    assert list(ESTIMATE.lines(None)) == [
        "skipped  10 of 40 tiles (25 %)",
        "work     12.0 Mpx; the network sees 1.25 × that, with context",
        "memory   about 900 MiB with 2 tiles at a time",
        "time     about 6 s (at the rate of the last run)",
        "output   about 3.0 MB",
        "shards   8",
    ]
    assert list(ESTIMATE.lines(3))[-1] == "shards   3"


def test_without_a_rate() -> None:
    """Where no rate is known no time is told, but why."""
    unknown = replace(ESTIMATE, pixels_per_s=None, rate_origin="nothing was run yet")
    assert unknown.seconds is None
    assert "time     not known: nothing was run yet" in list(unknown.lines(None))
    assert json.loads(json.dumps(unknown.as_json()))["seconds"] is None


def test_for_machines() -> None:
    """All facts come as JSON, and the time with them."""
    facts = json.loads(json.dumps(ESTIMATE.as_json()))
    assert facts["seconds"] == ESTIMATE.seconds == 6
    assert (facts["live"], facts["pixels"], facts["shards"]) == (30, 12_000_000, 8)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (89 * 60, "89 min"), (90 * 60, "1.5 h"), (50 * 3600, "50.0 h")],
)
def test_times(seconds: int, text: str) -> None:
    """Times are told in the unit that suits them."""
    estimate = replace(ESTIMATE, pixels=seconds * 1000, pixels_per_s=1000.0)
    assert f"time     about {text} (at the rate of the last run)" in list(estimate.lines(None))
