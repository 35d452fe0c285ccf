"""ONNX operators whose elements see a window of their input: convolution, pooling, resizing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

import numpy as np

from geodl_core.domain.network.receptive_field import gather
from geodl_core.io.network.trace import Call, Constant, Operator, Pixels, mark_global

Taps = Callable[[int], Iterable[int]]
"""From an element to those that it is made from."""
LARGEST = 1 << 16
"""Kernel or stride; anything larger is a broken file."""
FAR = Fraction(1, 1024)
"""Beyond any rounding of a sampling position, below any real difference of two."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the elements along one axis of a result are made from another tensor's; see `receptive_field.gather`."""

    ratio: Fraction
    taps: Taps
    size: int
    """Of the result's axis."""


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window along one axis."""

    kernel: int
    stride: int
    dilation: int
    before: int
    """Padding, in elements."""
    after: int

    def __post_init__(self) -> None:
        if not 0 < self.kernel <= LARGEST or min(self.stride, self.dilation) < 1 or self.stride > LARGEST:
            raise ValueError(f"a window of {self.kernel}, stride {self.stride}, dilation {self.dilation} is none")

    @property
    def span(self) -> int:
        """Elements from the first to the last that it reads."""
        return (self.kernel - 1) * self.dilation + 1


def conv(call: Call) -> list[Pixels]:
    """Conv, ConvInteger and QLinearConv."""
    weights = call.input(3 if call.operator == "QLinearConv" else 1)
    if not isinstance(weights, Constant) or weights.shape is None:
        raise call.error("computes its weights from the image or from something unknown")
    pixels = call.pixels
    if any(pixels.roles[:2]):
        raise call.error("convolves over an axis that tells the place")
    windows = [
        _window(call, axis, weights.shape[axis], pixels.shape[axis], len(weights.shape) - 2)
        for axis in range(2, len(weights.shape))
    ]
    moved = _slide(call, pixels, windows)
    return [replace(moved, shape=(moved.shape[0], weights.shape[0], *moved.shape[2:]))]


def pool(call: Call) -> list[Pixels]:
    """MaxPool, AveragePool and LpPool; where the largest stood (MaxPool's second output) is not followed."""
    kernel = call.integers("kernel_shape")
    if kernel is None:
        raise call.error("has no kernel_shape")
    pixels = call.pixels
    if any(pixels.roles[:2]):
        raise call.error("pools over an axis that tells the place")
    windows = [
        _window(call, axis, kernel[axis - 2], pixels.shape[axis], len(kernel)) for axis in range(2, len(kernel) + 2)
    ]
    return [_slide(call, pixels, windows)]


def conv_transpose(call: Call) -> list[Pixels]:
    """ConvTranspose: an element is made from those inputs whose kernel, laid out at their places, covers it."""
    weights = call.input(1)
    if not isinstance(weights, Constant) or weights.shape is None:
        raise call.error("computes its weights from the image or from something unknown")
    pixels = call.pixels
    if any(pixels.roles[:2]):
        raise call.error("convolves over an axis that tells the place")
    shape = [pixels.shape[0], weights.shape[1] * int(call.attributes.get("group", 1))]
    moved = pixels
    for axis in range(2, len(weights.shape)):
        window, size = _transposed(call, axis, weights.shape[axis], pixels.shape[axis], len(weights.shape) - 2)
        taps = _transposed_taps(window)
        moved = regather(call, moved, axis, Reading(Fraction(1, window.stride), taps, size))
        shape.append(size)
    return [replace(moved, shape=tuple(shape))]


def regather(call: Call, pixels: Pixels, axis: int, reading: Reading) -> Pixels:
    """Return the tensor after one axis was read anew; see `receptive_field.gather`.

    Raises:
        ModelError: the axis tells the place otherwise than by rows or columns.
    """
    role = pixels.roles[axis]
    shape = (*pixels.shape[:axis], reading.size, *pixels.shape[axis + 1 :])
    is_same = reading.ratio == 1 and list(reading.taps(0)) == [0]
    if not role or (is_same and reading.size == pixels.shape[axis]):
        return replace(pixels, shape=shape)
    if role not in ("row", "col"):
        raise call.error("reads neighbours along an axis of flattened places")
    try:
        moved = gather(pixels.rows if role == "row" else pixels.cols, reading.ratio, reading.taps)
    except ValueError as error:
        raise call.error(str(error)) from error
    height, width = pixels.grid
    if role == "row":
        return replace(pixels, shape=shape, rows=moved, grid=(reading.size, width), unflat=None)
    return replace(pixels, shape=shape, cols=moved, grid=(height, reading.size), unflat=None)


def resize(call: Call) -> list[Pixels]:
    """Resize and Upsample."""
    pixels = call.pixels
    sizes, ratios = _resized(call, pixels)
    moved = pixels
    for axis, (size, ratio) in enumerate(zip(sizes, ratios, strict=True)):
        if size != pixels.shape[axis] or ratio != 1:
            moved = _resample(call, moved, axis, ratio, size)
    return [moved]


def _window(call: Call, axis: int, kernel: int, size: int, rank: int) -> Window:
    stride = (call.integers("strides") or [1] * rank)[axis - 2]
    dilation = (call.integers("dilations") or [1] * rank)[axis - 2]
    pads = call.integers("pads") or [0] * (2 * rank)
    before, after = pads[axis - 2], pads[axis - 2 + rank]
    automatic = call.attributes.get("auto_pad", "NOTSET")
    if automatic == "VALID":
        before = after = 0
    elif automatic in ("SAME_UPPER", "SAME_LOWER"):
        total = max((ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        before = total // 2 if automatic == "SAME_UPPER" else total - total // 2
        after = total - before
        if stride > 1:
            call.notes["assumes tiles whose sides are multiples of the stride (auto_pad)"] = None
    return Window(kernel, stride, dilation, before, after)


def _slide(call: Call, pixels: Pixels, windows: Sequence[Window]) -> Pixels:
    is_ceil = bool(call.attributes.get("ceil_mode", 0))
    for axis, window in enumerate(windows, 2):
        room = pixels.shape[axis] + window.before + window.after - window.span
        if room < 0:
            raise call.error(f"has a window larger than its input {pixels.shape}")
        size = (-(-room // window.stride) if is_ceil else room // window.stride) + 1
        pixels = regather(call, pixels, axis, Reading(Fraction(window.stride), _window_taps(window), size))
    return pixels


def _window_taps(window: Window) -> Taps:
    def taps(index: int) -> list[int]:
        start = index * window.stride - window.before
        return [start + tap * window.dilation for tap in range(window.kernel)]

    return taps


def _transposed(call: Call, axis: int, kernel: int, size: int, rank: int) -> tuple[Window, int]:
    stride = (call.integers("strides") or [1] * rank)[axis - 2]
    dilation = (call.integers("dilations") or [1] * rank)[axis - 2]
    pads = call.integers("pads") or [0] * (2 * rank)
    extra = (call.integers("output_padding") or [0] * rank)[axis - 2]
    before, after = pads[axis - 2], pads[axis - 2 + rank]
    full = (size - 1) * stride + extra + (kernel - 1) * dilation + 1
    automatic = call.attributes.get("auto_pad", "NOTSET")
    wanted = call.integers("output_shape")
    if wanted is not None or automatic.startswith("SAME"):
        total = full - (wanted[axis - 2 - rank] if wanted is not None else size * stride)
        total = max(total, 0)
        before = total // 2 if automatic == "SAME_UPPER" else total - total // 2
        after = total - before
    elif automatic == "VALID":
        before = after = 0
    return Window(kernel, stride, dilation, before, after), full - before - after


def _transposed_taps(window: Window) -> Taps:
    def taps(index: int) -> list[int]:
        places = (index + window.before - tap * window.dilation for tap in range(window.kernel))
        return [place // window.stride for place in places if place % window.stride == 0]

    return taps


def _resized(call: Call, pixels: Pixels) -> tuple[list[int], list[Fraction]]:
    """Return the sizes after resizing, and old elements per new one."""
    is_old = call.operator == "Upsample" or call.opset < 11
    axes = call.integers("axes") or list(range(len(pixels.shape)))
    scales = call.attributes.get("scales")
    if scales is None:
        scales = call.constant(1 if is_old else 2)
    sizes = list(pixels.shape)
    ratios = [Fraction(1)] * len(sizes)
    if scales is not None and np.size(scales):
        for axis, scale in zip(axes, np.ravel(scales).tolist(), strict=True):
            exact = Fraction(scale).limit_denominator(64)
            sizes[axis] = floor(sizes[axis] * exact)
            ratios[axis] = 1 / exact
        return sizes, ratios
    wanted = None if is_old else call.constant(3)
    if wanted is None:
        raise call.error("has neither scales nor sizes")
    if call.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.error("keeps the aspect ratio, which is not followed")
    for axis, size in zip(axes, np.ravel(wanted).tolist(), strict=True):
        ratios[axis] = Fraction(sizes[axis], max(int(size), 1))
        sizes[axis] = int(size)
    return sizes, ratios


def _resample(call: Call, pixels: Pixels, axis: int, ratio: Fraction, size: int) -> Pixels:
    is_old = call.operator == "Upsample" or call.opset < 11
    kind = call.attributes.get("mode", "nearest")
    place = "asymmetric" if is_old else call.attributes.get("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if is_old else call.attributes.get("nearest_mode", "round_prefer_floor")
    if place == "align_corners" and pixels.roles[axis]:
        pixels = mark_global(call, pixels, "aligns corners, so what it samples depends on the size of the tile")
        place = "half_pixel"
    shifts = {"asymmetric": Fraction(0), "tf_half_pixel_for_nn": ratio / 2}
    shifts |= dict.fromkeys(
        ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "align_corners"), ratio / 2 - Fraction(1, 2)
    )
    if place not in shifts:
        raise call.error(f"has the coordinate mode {place}, which is not followed")
    if kind == "nearest":
        taps = _nearest(ratio, shifts[place], rounding)
    else:
        reach = {"linear": 1, "cubic": 2}.get(kind)
        if reach is None:
            raise call.error(f"has the mode {kind}, which is not followed")
        is_smoothed = bool(call.attributes.get("antialias", 0)) and ratio > 1
        taps = _interpolated(ratio, shifts[place], reach * (ratio if is_smoothed else Fraction(1)), is_smoothed)
    return regather(call, pixels, axis, Reading(ratio, taps, size))


def _nearest(ratio: Fraction, shift: Fraction, rounding: str) -> Taps:
    """Return taps; where a rounding error could tip the balance, both sides of it."""
    rounds: dict[str, Callable[[Fraction], int]] = {
        "floor": floor,
        "ceil": ceil,
        "round_prefer_floor": lambda place: ceil(place - Fraction(1, 2)),
        "round_prefer_ceil": lambda place: floor(place + Fraction(1, 2)),
    }
    is_exact = ratio.denominator & (ratio.denominator - 1) == 0 and ratio.numerator & (ratio.numerator - 1) == 0
    doubt = Fraction(0) if is_exact else FAR

    def taps(index: int) -> set[int]:
        place = index * ratio + shift
        return {rounds[rounding](place - doubt), rounds[rounding](place + doubt)}

    return taps


def _interpolated(ratio: Fraction, shift: Fraction, wide: Fraction, is_smoothed: bool) -> Taps:
    """Return taps nearer to the place than `wide`; without smoothing a place on an element reads it alone."""

    def taps(index: int) -> list[int]:
        place = index * ratio + shift
        if place.denominator == 1 and not is_smoothed:
            return [int(place)]
        return list(range(floor(place - wide) + 1, ceil(place + wide)))

    return taps


WINDOWS: dict[str, Operator] = {
    "Conv": conv,
    "ConvInteger": conv,
    "QLinearConv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": pool,
    "AveragePool": pool,
    "LpPool": pool,
    "Resize": resize,
    "Upsample": resize,
}
