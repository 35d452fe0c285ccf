"""fp16 against fp32: how far the answers agree on real tiles, before anything is computed in 16 bits."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.engine.session import Session
from geodl_core.errors import InferenceError

LEAST_AGREEMENT = 0.999
"""Share of pixels whose class must be the same in fp16."""


@dataclass(frozen=True, slots=True)
class HalfCheck:
    """What a comparison of fp16 with fp32 found."""

    tiles: int
    """Looked at."""
    pixels: int
    agreeing: int
    """Pixels of the same class."""
    score_difference: float | None
    """Largest difference of a score, infinite where fp16 overflowed; None where the graphs give classes."""

    @property
    def agreement(self) -> float:
        """The share of pixels of the same class, in [0, 1]; 0 without pixels."""
        return self.agreeing / self.pixels if self.pixels else 0.0


def check_half(
    full: Session,
    half: Session,
    chips: Iterable[npt.NDArray[Any]],
    threshold: float = 0.5,
    has_class: bool = False,
) -> HalfCheck:
    """Compare a graph with its version in fp16, tile by tile.

    Assumes tiles that are nodata in no large part, where every arithmetic agrees.

    Args:
        full: a session on the graph in fp32.
        half: one on the same graph in fp16.
        chips: (C, H, W) stored values, or (N, C, H, W) for a graph of fixed batch.
        threshold: above which a score of a mask (one channel) means its class.
        has_class: whether a last channel of the scores is the class index.

    Raises:
        InferenceError: a run failed.
    """
    tiles = pixels = agreeing = 0
    largest: float | None = None
    for chip in chips:
        batch = chip if chip.ndim == 4 else chip[None]
        wanted, found = full.infer(batch), half.infer(batch)
        if wanted.dtype.kind == "f":
            scores = slice(None, -1) if has_class else slice(None)
            difference = float(np.abs(wanted[:, scores] - found[:, scores]).max(initial=0))
            largest = max(largest or 0.0, difference if np.isfinite(difference) else np.inf)
            wanted, found = (answer[:, -1] if has_class else _classes(answer, threshold) for answer in (wanted, found))
        tiles += 1
        pixels += wanted.size
        agreeing += int((wanted == found).sum())
    return HalfCheck(tiles, pixels, agreeing, largest)


def require_half(check: HalfCheck) -> None:
    """Make sure that fp16 gives the classes of fp32.

    Raises:
        InferenceError: it does not for 99.9 % of the pixels, overflows, or no tile was looked at.
    """
    is_finite = check.score_difference is None or np.isfinite(check.score_difference)
    if check.agreement >= LEAST_AGREEMENT and is_finite:
        return
    scores = "" if check.score_difference is None else f", scores differ by up to {check.score_difference:.3g}"
    raise InferenceError(
        f"fp16 gives the class of fp32 for {check.agreement:.4%} of {check.pixels} pixels in {check.tiles} tiles"
        f"{scores}; expected {LEAST_AGREEMENT:.1%}",
        hint="run this model without fp16",
    )


def _classes(scores: npt.NDArray[Any], threshold: float) -> npt.NDArray[Any]:
    """Return (N, h, w) class indices of (N, C, h, w) scores."""
    return scores.argmax(1) if scores.shape[1] > 1 else scores[:, 0] > threshold
