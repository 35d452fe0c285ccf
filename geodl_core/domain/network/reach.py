"""How far a network's answer for one pixel reaches, and by what shifts of its input its answer only shifts."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm


@dataclass(frozen=True, slots=True)
class Reach:
    """What a tile must hold so that its core comes out as in the whole image."""

    radius_px: int | None
    """Pixels beyond its own that an answer depends on, the most of all sides and phases; None: no bound is known."""
    stride_px: int
    """Shifting the input by it only shifts the answer; 1 also where nothing is known."""
    is_global: bool
    """Whether an answer depends on the whole tile, or on its place in it: tiles then need blending."""
    origin: str
    """What it was found by."""
    notes: tuple[str, ...]
    coarsening: int | None = None
    """Input pixels along one of the answer; None where that is not known."""

    def __post_init__(self) -> None:
        if self.stride_px < 1:
            raise ValueError(f"expected a stride of at least 1 pixel, found {self.stride_px}")
        if self.radius_px is not None and self.radius_px < 0:
            raise ValueError(f"expected a radius of at least 0 pixels, found {self.radius_px}")


def halo_for(reach: Reach) -> int:
    """Return the halo that makes tiles seamless: the radius, rounded up to a multiple of the stride.

    Raises:
        ValueError: the reach has no radius.
    """
    if reach.radius_px is None:
        raise ValueError("no halo follows from a network whose reach has no bound")
    return -(-reach.radius_px // reach.stride_px) * reach.stride_px


def join_reaches(walked: Reach | None, probed: Reach | None) -> Reach:
    """Join what the graph says with what the network does: the larger radius, a stride that suits both.

    A probe sees less than the graph allows where weights vanish; more means that the graph was misread.

    Args:
        walked: from the graph, None where it could not be followed.
        probed: from the network's answers, None where it was not run.

    Raises:
        ValueError: both are None.
    """
    if walked is None or probed is None:
        known = walked or probed
        if known is None:
            raise ValueError("expected a walked or a probed reach, found none")
        return known
    origin = f"{walked.origin} and {probed.origin}"
    notes = (*walked.notes, *probed.notes)
    if is_unknown(probed) or is_unknown(walked):
        known = walked if is_unknown(probed) else probed
        stride = lcm(walked.stride_px, probed.stride_px)
        return Reach(known.radius_px, stride, known.is_global, known.origin, notes)
    stride, stride_notes = _stride(walked, probed)
    radius, radius_notes = _radius(walked, probed)
    is_global = walked.is_global or probed.is_global
    return Reach(radius, stride, is_global, origin, (*notes, *radius_notes, *stride_notes))


def why_global(reach: Reach) -> str:
    """Say by which operation an answer depends on the whole tile; one where there are several."""
    more = f", and {len(reach.notes) - 1} more" if len(reach.notes) > 1 else ""
    return f"{reach.notes[0] if reach.notes else reach.origin}{more}"


def is_unknown(reach: Reach) -> bool:
    """Return whether a reach tells nothing of the radius, not even that there is none."""
    return reach.radius_px is None and not reach.is_global


def _radius(walked: Reach, probed: Reach) -> tuple[int | None, tuple[str, ...]]:
    if walked.is_global != probed.is_global:
        ways = ("the graph", "the probe") if walked.is_global else ("the probe", "the graph")
        return None, (f"{ways[0]} says that an answer depends on the whole tile, {ways[1]} does not",)
    if walked.radius_px is None or probed.radius_px is None:
        return None, ()
    notes: tuple[str, ...] = ()
    if walked.radius_px != probed.radius_px:
        notes = (f"by its graph an answer reaches {walked.radius_px} pixels, by the probe {probed.radius_px}",)
    return max(walked.radius_px, probed.radius_px), notes


def _stride(walked: Reach, probed: Reach) -> tuple[int, tuple[str, ...]]:
    stride = lcm(walked.stride_px, probed.stride_px)
    if walked.stride_px == probed.stride_px or probed.is_global:
        return stride, ()
    return stride, (f"the stride is {walked.stride_px} pixels by the graph, {probed.stride_px} by the probe",)
