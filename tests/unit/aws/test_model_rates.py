"""How fast a model is taken to be, by the job that was noted last."""

from types import SimpleNamespace

import pytest

from geodl_core.aws.ledger.ledger import DynamoLedger
from geodl_core.aws.ledger.rates import FIRST_RATE, LEAST_S, read_rate


def rate_of(**row):
    """The rate by a row; None where there is no row."""
    answer = {"Item": {"pk": "RATE#m@1", "sk": "RATE", **row}} if row else {}
    table = SimpleNamespace(name="table", get_item=lambda Key: answer if Key["pk"] == "RATE#m@1" else {})
    return read_rate(DynamoLedger(table, lambda: 0.0), "m@1")


@pytest.mark.parametrize(
    ("pixels", "seconds", "rate"),
    [
        (90_000_000, 300, 300_000.0),
        (3_000_000_000, 300, 10_000_000.0),
        (123_000, 3, 41_000.0),
        (FIRST_RATE * 300, 4, FIRST_RATE * 300 / LEAST_S),
        (1_000_000, 1, FIRST_RATE),
    ],
    ids=["slow", "fast", "a small scene", "a part that was there", "a small part that was there"],
)
def test_a_job_of_seconds_makes_no_model_fast(pixels, seconds, rate):
    """What is noted counts; of a job of seconds, which may have computed nothing, only as if it had taken longer."""
    assert rate_of(pixels=int(pixels), started_ms=1_000, stopped_ms=1_000 + seconds * 1000) == pytest.approx(rate)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"pixels": 1},
        {"pixels": 1, "started_ms": 5, "stopped_ms": 5},
        {"pixels": 0, "started_ms": 0, "stopped_ms": 9},
    ],
)
def test_what_says_nothing_is_no_rate(row):
    """Without a row, or with one that cannot be right, the rate is not known."""
    assert rate_of(**row) is None
