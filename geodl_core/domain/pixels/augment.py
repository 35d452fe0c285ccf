"""Test-time augmentation: a network looks at a chip turned and mirrored, and its scores are merged."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

MergePolicy = Literal["mean", "max", "min"]
MERGE_POLICIES: tuple[MergePolicy, ...] = ("mean", "max", "min")


@dataclass(frozen=True, slots=True)
class Turn:
    """One way to look at a chip."""

    quarters: int
    """Counter-clockwise quarter turns, first."""
    is_mirrored: bool
    """Left and right exchanged, then."""


AS_IT_IS = (Turn(0, False),)
FLIPS = (Turn(0, False), Turn(2, True), Turn(0, True), Turn(2, False))
"""Those that leave height and width as they are: for tiles that are not square."""
DIHEDRAL = tuple(Turn(quarters, is_mirrored) for is_mirrored in (False, True) for quarters in range(4))
"""All eight symmetries of a square."""


def turn(pixels: npt.NDArray[Any], way: Turn) -> npt.NDArray[Any]:
    """Return (…, H, W) pixels as they are looked at; (…, W, H) after an odd number of quarter turns."""
    turned = np.rot90(pixels, way.quarters, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if way.is_mirrored else turned)


def turn_back(scores: npt.NDArray[Any], way: Turn) -> npt.NDArray[Any]:
    """Return (…, h, w) scores as the chip lies; the inverse of `turn`."""
    straight = scores[..., ::-1] if way.is_mirrored else scores
    return np.rot90(straight, -way.quarters, axes=(-2, -1))


def merge_scores(every: Iterable[npt.NDArray[np.float32]], policy: MergePolicy) -> npt.NDArray[np.float32]:
    """Merge scores of the same pixels, taken in the order given."""
    step = {"mean": np.add, "max": np.maximum, "min": np.minimum}[policy]
    total: npt.NDArray[np.float32] | None = None
    count = 0
    for scores in every:
        count += 1
        total = scores.copy() if total is None else step(total, scores, out=total)
    if total is None:
        raise ValueError("expected scores to merge")
    return total / np.float32(count) if policy == "mean" else total
