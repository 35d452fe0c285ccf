"""The pixels that each element of a tensor is made from, along one axis of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, gcd, lcm

MOST_PHASES = 8192
"""Beyond it a network counts as not shift-equivariant."""
MOST_TAPS = 1 << 21
"""Of all phases together; no window of a real network is as large."""
NOWHERE = 1 << 40
"""Low and minus high of an element that sees no pixel, such as those between the inputs of a sparse upsampling."""


@dataclass(frozen=True, slots=True)
class Field:
    """The receptive field of each element along one axis, far from the borders, as a periodic function.

    Element i sees pixels `low(i)` to `high(i)`, both inclusive; element i + n, with n phases, sees `period_px` further.
    """

    step: Fraction
    """Pixels from one element to the next."""
    lows: tuple[int, ...]
    """First pixel seen, by the elements of the first period."""
    highs: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.lows or len(self.lows) != len(self.highs):
            raise ValueError(f"expected as many lows as highs, found {len(self.lows)} and {len(self.highs)}")
        if (len(self.lows) * self.step).denominator != 1:
            raise ValueError(f"{len(self.lows)} elements of {self.step} pixels make no whole period")

    @property
    def period_px(self) -> int:
        """Shifting the image by it shifts the tensor by whole elements."""
        return int(len(self.lows) * self.step)

    def low(self, index: int) -> int:
        """Return the first pixel that an element sees."""
        turns, phase = divmod(index, len(self.lows))
        return self.lows[phase] + turns * self.period_px

    def high(self, index: int) -> int:
        """Return the last pixel that an element sees."""
        turns, phase = divmod(index, len(self.highs))
        return self.highs[phase] + turns * self.period_px


IMAGE = Field(Fraction(1), (0,), (0,))
"""Each pixel sees itself."""


def gather(field: Field, ratio: Fraction, taps: Callable[[int], Iterable[int]]) -> Field:
    """Return the field of a tensor whose elements are each made from some of another's.

    Args:
        field: of the tensor that is read.
        ratio: its elements per element of the result, p/q.
        taps: from an element of the result to those that it reads; assumes taps(i + q) = taps(i) + p.

    Raises:
        ValueError: the result has more than `MOST_PHASES` phases, or reads more than `MOST_TAPS` elements.
    """
    turns = len(field.lows) // gcd(ratio.numerator, len(field.lows))
    phases = ratio.denominator * turns
    if phases > MOST_PHASES:
        raise ValueError(f"the network repeats itself only every {phases * field.step * ratio} pixels")
    read: list[list[int]] = []
    for index in range(phases):
        read.append(list(taps(index)))
        if len(read[-1]) * phases > MOST_TAPS:
            raise ValueError(f"the network looks through a window of {len(read[-1])} elements")
    return Field(
        field.step * ratio,
        tuple(min((field.low(tap) for tap in taken), default=NOWHERE) for taken in read),
        tuple(max((field.high(tap) for tap in taken), default=-NOWHERE) for taken in read),
    )


def join(one: Field, other: Field) -> Field:
    """Return the field of elements that are made from both tensors' elements of the same index.

    Raises:
        ValueError: their elements are not equally far apart, or have no common period.
    """
    if one.step != other.step:
        raise ValueError(f"tensors of {one.step} and of {other.step} pixels an element meet")
    phases = lcm(len(one.lows), len(other.lows))
    if phases > MOST_PHASES:
        raise ValueError(f"the network repeats itself only every {phases * one.step} pixels")
    return Field(
        one.step,
        tuple(min(one.low(index), other.low(index)) for index in range(phases)),
        tuple(max(one.high(index), other.high(index)) for index in range(phases)),
    )


def radius(field: Field, crop_px: int = 0) -> int:
    """Return how many pixels beyond itself an element sees at most.

    Args:
        field: of the tensor.
        crop_px: pixels of the image before the tensor's first element.
    """
    farthest = 0
    for index, (low, high) in enumerate(zip(field.lows, field.highs, strict=True)):
        if low <= high:
            first = floor(field.step * index) + crop_px
            last = max(first, ceil(field.step * (index + 1)) - 1 + crop_px)
            farthest = max(farthest, first - low, high - last)
    return farthest


def detached(field: Field, crop_px: int = 0) -> Field:
    """Return a field of the same radius and period whose elements no longer lie on a grid."""
    far = radius(field, crop_px)
    indices = range(field.period_px)
    return Field(Fraction(1), tuple(index - far for index in indices), tuple(index + far for index in indices))
