"""A network as it is probed: run on images of noise, its rasters told from its other answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor, log
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.model.tensors import Layout
from geodl_core.engine.session import open_session
from geodl_core.errors import InferenceError, ModelError

STEPS = tuple(Fraction(2) ** power for power in range(-3, 6))
"""Pixels an element of an answer may have."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """What a network is probed with."""

    layout: Layout
    low: tuple[float, ...]
    """Plausible least value of each channel, as the network takes it."""
    high: tuple[float, ...]
    seed: int
    input_name: str | None = None
    """None takes the only one."""
    budget_s: float = 5.0
    """Processor time after which no further run is begun."""
    most_px: int = 1152
    """Side of the largest tile that is tried where the network takes any size."""

    def __post_init__(self) -> None:
        if not self.low or len(self.low) != len(self.high):
            raise ValueError(
                f"expected a least and a greatest value a channel, found {len(self.low)}, {len(self.high)}"
            )


@dataclass(slots=True)
class Network:
    """A network that is being probed."""

    spec: ProbeSpec
    runtime: Any
    failures: tuple[type[Exception], ...]
    name: str
    dtype: str
    sides: tuple[int | None, int | None]
    """Height and width that it takes, None for any."""
    spent_s: float = 0.0
    last_s: float = 0.0
    notes: dict[str, None] = field(default_factory=dict)

    def run(self, pixels: Array) -> list[Array]:
        """Return the rasters that the network answers a (C, H, W) image with, each as (rows, columns, values).

        Raises:
            InferenceError: it fails.
        """
        chip = _cast(pixels, self.dtype)[None]
        if self.spec.layout == "NHWC":
            chip = chip.transpose(0, 2, 3, 1)
        started = time.thread_time()
        try:
            answers = self.runtime.run(None, {self.name: np.ascontiguousarray(chip)})
        except self.failures as error:
            reason = str(error).splitlines()[0]
            raise InferenceError(f"the network failed on an input {chip.shape} {self.dtype}: {reason}") from error
        self.last_s = time.thread_time() - started
        self.spent_s += self.last_s
        rasters = [_raster(answer, pixels.shape[1:], self.spec.layout) for answer in answers]
        return [raster for raster in rasters if raster is not None]

    def can_run(self, times: float = 1.0) -> bool:
        """Return whether the budget allows a run that takes that many times the last one."""
        return self.spent_s + times * self.last_s <= self.spec.budget_s


@dataclass(frozen=True, slots=True)
class Scene:
    """A background, the answer to it, and where each element of the answer lies."""

    pixels: Array
    answers: list[Array]
    steps: tuple[Fraction, ...]
    """Pixels an element, of each raster."""

    def crop(self, number: int, axis: int) -> int:
        """Return the pixels before the first element of a raster."""
        side, size = int(self.pixels.shape[axis + 1]), int(self.answers[number].shape[axis])
        return floor((side - size * self.steps[number]) / 2)


def open_network(content: bytes, spec: ProbeSpec) -> Network:
    """Open a network for probing.

    Raises:
        ModelError: onnxruntime refuses the model, or it takes more than an image.
    """
    session = open_session(content, "cpu")
    inputs = session.runtime.get_inputs()
    chosen = [entry for entry in inputs if spec.input_name in (None, entry.name)]
    if len(inputs) != 1 or len(chosen) != 1 or len(chosen[0].shape) != 4:
        raise ModelError(f"the ONNX graph: expected an image as its only input, found {[e.name for e in inputs]}")
    shape = [size if isinstance(size, int) and size > 0 else None for size in chosen[0].shape]
    channels = shape[spec.layout.index("C")]
    if channels not in (None, len(spec.low)):
        raise ModelError(
            f"the ONNX input {chosen[0].name} takes {channels} channels, values are given for {len(spec.low)}"
        )
    kind = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}.get(chosen[0].type)
    dtype = kind or chosen[0].type.removeprefix("tensor(").removesuffix(")")
    sides = (shape[spec.layout.index("H")], shape[spec.layout.index("W")])
    return Network(spec, session.runtime, session.failures, chosen[0].name, dtype, sides)


def draw(network: Network, random: np.random.Generator, side: Sequence[int]) -> Scene:
    """Return a background of noise and the answer to it."""
    low, high = (np.asarray(values)[:, None, None] for values in (network.spec.low, network.spec.high))
    pixels = random.uniform(low, high, (len(low), *side))
    return Scene(pixels, network.run(pixels), ())


def with_steps(network: Network, scene: Scene, known: tuple[Fraction, ...] = ()) -> Scene:
    """Return the scene with the pixels an element; where sizes leave it open, from how far a change moves."""
    if known:
        return Scene(scene.pixels, scene.answers, known)
    _, height, width = scene.pixels.shape
    if all(raster.shape[:2] == (height, width) for raster in scene.answers):
        return Scene(scene.pixels, scene.answers, (Fraction(1),) * len(scene.answers))
    rows = (height // 2 - height // 8, height // 2 + height // 8)
    seen = [network.run(changed(network, scene.pixels, (row, width // 2), 1)) for row in rows]
    steps = []
    for number, before in enumerate(scene.answers):
        first, second = (_centre(np.abs(answers[number].astype(float) - before)) for answers in seen)
        moved = second - first
        ratio = Fraction(height, before.shape[0])
        if moved <= 0:
            steps.append(ratio)
            continue
        found = (rows[1] - rows[0]) / moved
        steps.append(min({*STEPS, ratio}, key=lambda step: (abs(log(step) - log(found)), step)))
    return Scene(scene.pixels, scene.answers, tuple(steps))


def _centre(change: Array) -> float:
    weights = (change**2).sum(axis=(1, 2))
    return float((weights * np.arange(len(weights))).sum() / max(weights.sum(), 1e-30))


def changed(network: Network, pixels: Array, place: tuple[int, int], change: int) -> Array:
    """Return the image with all channels of one pixel changed, by some of their ranges up or down."""
    image = pixels.copy()
    image[:, place[0], place[1]] += change * np.subtract(network.spec.high, network.spec.low)
    return image


def _cast(pixels: Array, dtype: str) -> Array:
    kind = np.dtype(dtype)
    if np.issubdtype(kind, np.integer):
        limits = np.iinfo(kind)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    return pixels.astype(kind)


def _raster(answer: Any, sides: tuple[int, ...], layout: Layout) -> Array | None:
    """Return an answer as (rows, columns, values), None where it is no raster of the tile."""
    array = np.asarray(answer)
    if array.ndim == 3 and len(array) == 1:
        array = array[..., None]
        orders: list[tuple[int, int]] = [(1, 2)]
    else:
        orders = [(1, 2), (2, 3)] if layout == "NHWC" else [(2, 3), (1, 2)]
    if array.ndim != 4:
        return None
    for row, col in orders:
        height, width = array.shape[row], array.shape[col]
        is_scaled = height * sides[1] == width * sides[0]
        if min(height, width) > 1 and (is_scaled or sides[0] - height == sides[1] - width):
            raster: Array = np.moveaxis(array[0], (row - 1, col - 1), (0, 1))
            return raster
    return None
