"""Runs: stretches of equal pixels within a row, the stuff that regions are made of."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
NODATA = int(np.iinfo(np.int64).min)
"""Value of runs without a class."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a strip of full rows, in reading order."""

    starts: Numbers
    """(N,) first pixel, counted in reading order from the strip's first."""
    values: Numbers
    """(N,) class, or `NODATA`."""
    shape: tuple[int, int]
    """Rows and columns of the strip."""


def find_runs(values: npt.NDArray[np.integer], valid: npt.NDArray[np.bool_]) -> Runs:
    """Return the runs of a strip.

    Args:
        values: (h, w) class ids.
        valid: (h, w), False: no class.
    """
    changes = np.ones(values.shape, np.bool_)
    np.not_equal(values[:, 1:], values[:, :-1], out=changes[:, 1:])
    # Whatever is stored under nodata is no class: it neither parts nor joins.
    changes[:, 1:] &= valid[:, 1:] & valid[:, :-1]
    changes[:, 1:] |= valid[:, 1:] != valid[:, :-1]
    starts = np.flatnonzero(changes)
    classes = values.ravel()[starts].astype(np.int64)
    return Runs(starts, np.where(valid.ravel()[starts], classes, NODATA), (values.shape[0], values.shape[1]))


def with_values(runs: Runs, values: Numbers) -> Runs:
    """Return the runs with other values, those joined that have become equal."""
    is_new = np.ones(len(values), np.bool_)
    is_new[1:] = (values[1:] != values[:-1]) | (runs.starts[1:] % runs.shape[1] == 0)
    return Runs(runs.starts[is_new], values[is_new], runs.shape)


def run_lengths(runs: Runs) -> Numbers:
    """Return (N,) pixels of each run."""
    return np.diff(runs.starts, append=runs.shape[0] * runs.shape[1])


def spread(runs: Runs, values: Numbers) -> Numbers:
    """Return (h, w): for each pixel the value of its run."""
    return np.repeat(values, run_lengths(runs)).reshape(runs.shape)


def touching(numbers: Numbers, connectivity: int) -> Numbers:
    """Return (N, 2) pairs of different numbers that touch, each pair at least once.

    Args:
        numbers: (h, w), equal along a run.
        connectivity: 4: along a side; 8: or at a corner.
    """
    changes = numbers[:, 1:] != numbers[:, :-1]
    begins = np.ones(numbers.shape, np.bool_)
    begins[:, 1:] = changes
    beside = begins[1:] | begins[:-1]
    pairs = [(numbers[:, :-1][changes], numbers[:, 1:][changes]), (numbers[:-1][beside], numbers[1:][beside])]
    if connectivity == 8:
        # Where neither row changes, the diagonal neighbour is the one below.
        aslant = changes[1:] | changes[:-1]
        pairs.append((numbers[:-1, :-1][aslant], numbers[1:, 1:][aslant]))
        pairs.append((numbers[:-1, 1:][aslant], numbers[1:, :-1][aslant]))
    found = np.concatenate([np.column_stack(pair) for pair in pairs])
    return np.asarray(found[found[:, 0] != found[:, 1]])
