"""What was taken for what: true objects by the class as which they were found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.matching import FREE, Integers, Objects, match_greedily, take_objects


@dataclass(frozen=True, slots=True)
class FoundAs:
    """How many true objects of a class were found as one of a class."""

    truth: str | None
    """None: there was nothing."""
    found: str | None
    """None: it was missed."""
    count: int


def count_found_as(
    found: Objects, truth: Objects, matched: npt.NDArray[np.int32], names: Sequence[str], least: float
) -> tuple[FoundAs, ...]:
    """Return what was found as what, so that a class with itself has its true positives.

    Objects that match none of their class take, in their order and by the same rule, a true object of another class
    that is left over; the others were found where nothing is.

    Args:
        found: by falling score.
        truth: true objects.
        matched: (N,) the row of truth that each was matched with in its class, or `FREE`.
        names: of the classes.
        least: IoU above 0.
    """
    left, missed = np.flatnonzero(matched == FREE), np.ones(len(truth), np.bool_)
    missed[matched[matched != FREE]] = False
    free = np.flatnonzero(missed)
    mixed_up = match_greedily(_classless(found, left), _classless(truth, free), (least,))[0]
    others = matched.astype(np.int64)
    others[left[mixed_up != FREE]] = free[mixed_up[mixed_up != FREE]]
    missed[others[others != FREE]] = False
    nothing = len(names)
    pairs = np.concatenate(
        [
            np.append(truth.classes, nothing)[others] * (nothing + 1) + found.classes,  # FREE is the last: nothing
            truth.classes[missed] * (nothing + 1) + nothing,
        ]
    )
    labels = (*names, None)
    cells, counts = np.unique(pairs, return_counts=True)
    return tuple(
        FoundAs(labels[cell // (nothing + 1)], labels[cell % (nothing + 1)], count)
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True)
    )


def _classless(objects: Objects, rows: Integers) -> Objects:
    some = take_objects(objects, rows)
    return Objects(some.boxes, np.zeros_like(some.classes), some.outlines)
