"""Rates of earlier runs: kept, found by what they hold for, done without where they cannot be kept."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from geodl_core.domain.grid import Grid
from geodl_core.domain.plan.job import Job
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.rates import MOST_RATES, RATES_NAME, rate_key, record_rate, recorded_rate

JOB = Job(
    collection="c",
    item_id="i",
    inputs=(),
    model_digest="ab" * 32,
    grid=Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 120, 180),
    radiometry=Radiometry("raw", (1.0,), (0.0,), None),
    pad="reflect",
    core_px=(192, 128),
    halo_px=32,
    blend_px=0,
    threshold=0.5,
    compress="deflate",
)


def key_of(threads: int = 2, provider: str = "cpu", **changes: Any) -> str:
    planned = ScenePlan(replace(JOB, **changes), SimpleNamespace(), None, (), JOB.radiometry, ())  # type: ignore[arg-type]
    return rate_key(planned, threads, provider)


def test_what_a_rate_holds_for() -> None:
    """Model, tile, turns, precision, threads and provider are in the key; the scene and its place are not."""
    changes: list[dict[str, Any]] = [
        {"model_digest": "cd" * 32},
        {"core_px": (128, 192)},
        {"halo_px": 0},
        {"test_time_augmentation": True},
        {"precision": "fp16"},
        {"threads": 1},
        {"provider": "cuda"},
    ]
    keys = [key_of(), *(key_of(**change) for change in changes)]
    assert len(set(keys)) == len(keys)
    for change in ({"item_id": "j"}, {"grid": replace(JOB.grid, height=9)}, {"threshold": 0.1}):
        assert key_of(**change) == key_of()  # type: ignore[arg-type]


def test_recorded_then_found(tmp_path: Path) -> None:
    """The last rate of a key is found, others are not touched; nothing is known of a key that never ran."""
    assert recorded_rate(tmp_path, "a") is None
    record_rate(tmp_path, "a", 1234567.8)
    record_rate(tmp_path, "b", 2e6)
    record_rate(tmp_path, "a", 3e6)
    assert (recorded_rate(tmp_path, "a"), recorded_rate(tmp_path, "b"), recorded_rate(tmp_path, "c")) == (
        3e6,
        2e6,
        None,
    )


def test_the_newest_are_kept(tmp_path: Path) -> None:
    """No more than so many are kept, and those recorded longest ago go first."""
    for number in range(MOST_RATES):
        record_rate(tmp_path, str(number), 10.0)
    record_rate(tmp_path, "0", 20.0)
    record_rate(tmp_path, "new", 30.0)
    kept = json.loads((tmp_path / RATES_NAME).read_bytes())
    assert len(kept) == MOST_RATES
    assert "1" not in kept
    assert (kept["0"], kept["new"]) == (20, 30)


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_rates_that_are_none(tmp_path: Path, rate: float) -> None:
    """Nothing is recorded of a run that computed nothing."""
    record_rate(tmp_path, "a", rate)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": "fast"}', b'{"a": null}'),
        *(b'{"a": 0}', b'{"a": -1}', b'{"a": NaN}', b'{"a": []}'),
    ],
)
def test_damaged_rates(tmp_path: Path, content: bytes) -> None:
    """What is no rate is not taken for one, and the next run puts it right."""
    (tmp_path / RATES_NAME).write_bytes(content)
    assert recorded_rate(tmp_path, "a") is None
    record_rate(tmp_path, "a", 5.0)
    assert recorded_rate(tmp_path, "a") == 5


def test_without_a_cache(tmp_path: Path) -> None:
    """Without a cache, or with one that cannot be written, nothing is known and nothing is said."""
    record_rate(None, "a", 5.0)
    assert recorded_rate(None, "a") is None
    (tmp_path / "file").write_bytes(b"")
    record_rate(tmp_path / "file", "a", 5.0)
    assert recorded_rate(tmp_path / "file", "a") is None
