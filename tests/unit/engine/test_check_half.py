"""fp16 is checked against fp32 before it is used."""

import numpy as np
import pytest

from fused import fused_network, stored_values
from geodl_core.engine.check_half import HalfCheck, check_half, require_half
from geodl_core.engine.session import open_session
from geodl_core.errors import InferenceError
from geodl_core.io.network.half import to_half

CHIPS = [stored_values((2, 64, 64), seed=seed) for seed in range(3)]


class Scores:
    """A session that gives the same score everywhere; the CPU computes fp16 in 32 bits, and does not overflow."""

    def __init__(self, value: float) -> None:
        self.value = value

    def infer(self, pixels: np.ndarray, crop: object = None) -> np.ndarray:
        return np.full((1, 1, 4, 4), self.value, "float32")


def test_what_is_counted() -> None:
    """All pixels of all tiles are compared; scores also by their largest difference."""
    for answer in ("uint8", "float32"):
        fused = fused_network(answer=answer)
        check = check_half(open_session(fused, "cpu"), open_session(to_half(fused), "cpu"), CHIPS)
        assert (check.tiles, check.pixels) == (3, 3 * 64 * 64)
        assert 0.99 <= check.agreement <= 1
        assert (check.score_difference is None) == (answer == "uint8")


def test_a_graph_agrees_with_itself() -> None:
    """The same graph twice agrees on every pixel and differs in no score."""
    session = open_session(fused_network(answer="float32"), "cpu")
    check = check_half(session, session, CHIPS)
    assert (check.agreement, check.score_difference) == (1, 0)
    require_half(check)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_overflow_is_found(value: float) -> None:
    """Scores that fp16 cannot hold are an infinite difference, which is refused."""
    check = check_half(Scores(0.7), Scores(value), CHIPS)
    assert check.score_difference == np.inf
    with pytest.raises(InferenceError, match="inf"):
        require_half(check)


@pytest.mark.parametrize("agreeing", [998, 0])
def test_too_little_agreement(agreeing: int) -> None:
    """Less than 99.9 % is an InferenceError with the numbers and the way out."""
    with pytest.raises(InferenceError, match=rf"{agreeing / 1000:.4%} of 1000 pixels in 2 tiles") as caught:
        require_half(HalfCheck(2, 1000, agreeing, None))
    assert "without fp16" in (caught.value.hint or "")


def test_enough_agreement() -> None:
    """99.9 % is enough."""
    require_half(HalfCheck(2, 1000, 999, 0.01))


def test_nothing_looked_at() -> None:
    """Without a tile nothing is known, so fp16 is refused."""
    session = open_session(fused_network(), "cpu")
    with pytest.raises(InferenceError, match="0 tiles"):
        require_half(check_half(session, session, []))


def test_masks_agree_by_their_threshold() -> None:
    """One channel of scores is compared by which side of the threshold it lies on."""
    assert check_half(Scores(0.4), Scores(0.6), CHIPS[:1]).agreement == 0
    assert check_half(Scores(0.4), Scores(0.6), CHIPS[:1], threshold=0.7).agreement == 1
