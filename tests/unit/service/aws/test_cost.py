"""What runs cost: by hand for a scene, and for a hundred thousand."""

from dataclasses import replace

import pytest

from geodl_core.service.aws.cost import SceneUse, backfill_cost, count_scene, scene_cost
from geodl_core.service.aws.prices import LIST

SCENE = SceneUse(shards=2, job_s=300.0, result_bytes=40e6)
"""A Sentinel-2 tile: two jobs of five minutes, a result of 40 MB kept for a year."""


def test_a_scene_by_hand():
    """Each line is what a person counts from the architecture and the price list.

    Messages: 2 publishes at 0.5 $ and 4 SQS requests at 0.4 $ a million: 1.0e-6 + 1.6e-6 = 2.6e-6.
    Functions: 5 calls (2 ingest, plan, merge, register) at 0.2 $ a million = 1.0e-6; 2 × 0.25 + 12 + 60 + 4 = 76.5 GB·s
    at 16.6667e-6 = 1.275003e-3.
    State machine: 8 + 2 = 10 transitions at 25e-6 = 2.5e-4.
    Ledger: 23 writes at 0.625e-6 + 14 reads at 0.125e-6 = 1.4375e-5 + 1.75e-6 = 1.6125e-5.
    S3: 13 puts at 5e-6 = 6.5e-5; 5 + 2 × 4 + 2 × 2 + 1 = 18 gets at 0.4e-6 = 7.2e-6.
    GPU: 600 s × 1.15 = 690 s at 0.8048 × 0.4 $ an hour = 690 / 3600 × 0.32192 = 6.170133e-2.
    Logs: 60 kB at 0.5 $/GB = 3e-5. Storage: 0.04 GB × 12 × 0.023 = 1.104e-2.
    """
    expected = {
        "messages": 2.6e-6,
        "functions": 1.0e-6 + 1.27500255e-3,
        "state machine": 2.5e-4,
        "ledger": 1.6125e-5,
        "requests to S3": 7.22e-5,
        "GPU": 0.0617013333,
        "merge jobs": 0.0,
        "logs": 3e-5,
        "storage": 0.01104,
    }
    cost = scene_cost(SCENE)
    assert dict(cost.lines) == pytest.approx(expected, rel=1e-6)
    assert cost.total == pytest.approx(0.0743883, rel=1e-4)


def test_a_backfill_by_hand():
    """A hundred thousand scenes: GPUs are most of it; 12 transitions a scene, no message but the result's.

    GPU 6,170.13; storage 1,104; functions: per scene 4 calls (no ingest but the result's) 0.8e-6 and 76.25 + 0.6 =
    76.85 GB·s = 1.28083e-3 → 128.16; state machine 12 × 25e-6 × 1e5 = 30; S3 7.22; ledger 1.6125; logs 3; messages:
    one publish and two requests, 0.5e-6 + 0.8e-6 → 0.13.
    """
    lines = backfill_cost(SCENE, 100_000).lines
    expected = {
        "messages": 0.13 + 0.0,
        "functions": 128.1633,
        "state machine": 30.0,
        "ledger": 1.6125,
        "requests to S3": 7.22,
        "GPU": 6170.13333,
        "merge jobs": 0.0,
        "logs": 3.0,
        "storage": 1104.0,
    }
    assert dict(lines) == pytest.approx(expected, rel=1e-4)
    assert sum(lines.values()) == pytest.approx(7444.26, rel=1e-4)


def test_what_makes_it_dearer():
    """On demand, merged by a job, with duplicates: each adds to its own line alone."""
    base = scene_cost(SCENE).lines

    def changed(**more):
        lines = scene_cost(replace(SCENE, **more)).lines
        return {name for name in lines if abs(lines[name] - base[name]) > 1e-12}

    assert changed(is_spot=False) == {"GPU"}
    assert changed(merge_gb_s=0.0, merge_job_s=600.0) == {"functions", "merge jobs"}
    assert changed(wakes=49) == {"messages", "functions", "ledger"}
    assert changed(message_bytes=150_000) == {"messages"}
    assert changed(kept_months=1) == {"storage"}
    job = scene_cost(replace(SCENE, merge_gb_s=0.0, merge_job_s=3600.0)).lines["merge jobs"]
    assert job == pytest.approx(4 * 0.04048 + 16 * 0.004445)


def test_counts_grow_with_shards():
    """Five thousand shards: a transition and a part for each."""
    counts = count_scene(replace(SCENE, shards=5_000))
    assert counts.transitions == 5_008
    assert counts.s3_puts == 5_011


def test_the_table_has_a_date_and_a_region():
    """Prices are somebody's, of some day."""
    assert (LIST.region, LIST.as_of) == ("us-east-1", "2026-11")
