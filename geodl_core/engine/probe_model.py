"""How far a network's answer reaches, found by changing single pixels and shifting the image."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor, lcm

import numpy as np

from geodl_core.domain.network.reach import Reach
from geodl_core.engine.probe_network import Array, Network, ProbeSpec, Scene, changed, draw, open_network, with_steps

ORIGIN = "probe"
STRIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
FIRST_PX = 192
"""A multiple of all strides that are tried."""
SHIFT_TOLERANCE = 1e-4
"""Of the answers' range: more than summing in another order makes, far less than a real change."""
CLASS_TOLERANCE = 1e-3
"""Of the pixels of a class map, for ties."""
CHANGES = (1, -8, 64)
"""Of a pixel, in ranges of its channel; the strong ones show through where weights are small."""

TOO_SMALL = "the tile is too small to tell the stride"


@dataclass(slots=True)
class Sight:
    """How far changes were seen, upwards, downwards, left and right."""

    inside: list[int] = field(default_factory=lambda: [-1] * 4)
    """Farthest where the change ended before the border."""
    cut: list[int] = field(default_factory=lambda: [-1] * 4)
    """Farthest where it did not."""

    @property
    def is_bounded(self) -> bool:
        """Whether the change ended before the border on every side, wherever there was more room."""
        return all(inside >= cut for inside, cut in zip(self.inside, self.cut, strict=True))

    @property
    def radius_px(self) -> int:
        """The farthest of all sides."""
        return max(0, *self.inside, *self.cut)


def probe_reach(content: bytes, spec: ProbeSpec) -> Reach:
    """Find how far a network's answer reaches by running it.

    Single pixels are changed, at all phases of the stride, and the farthest change of the answer is looked for; the
    stride is the smallest shift of the image that only shifts the answer. A probe cannot see what vanishing weights,
    saturation or a class map hide, so it is a lower bound; a bounded time makes it a lower one still, which it notes.

    Args:
        content: the ONNX model.
        spec: what to probe it with.

    Raises:
        ModelError: onnxruntime refuses the model, or it takes more than an image.
        InferenceError: the network fails.
    """
    network = open_network(content, spec)
    random = np.random.default_rng(spec.seed)
    side = [known or FIRST_PX for known in network.sides]
    scene = draw(network, random, side)
    if not scene.answers:
        return Reach(None, 1, False, ORIGIN, ("the answer is no raster, so it cannot be probed",))
    scene = with_steps(network, scene)
    sight = _look(network, scene)
    while not sight.is_bounded and _can_grow(network, scene):
        scene = _grown(network, random, scene)
        sight = _look(network, scene)
    if not sight.is_bounded:
        return _unbounded(network, scene, sight)
    if max(sight.inside) < 0:
        return Reach(None, 1, False, ORIGIN, ("no change of a pixel changes the answer to noise",))
    stride = _stride(network, scene, sight.radius_px)
    while stride is None and TOO_SMALL in network.notes and _can_grow(network, scene):
        del network.notes[TOO_SMALL]
        scene = _grown(network, random, scene)
        stride = _stride(network, scene, sight.radius_px)
    if stride == 0:
        network.notes["no shift of up to 64 pixels only shifts the answer: it depends on the place"] = None
        return Reach(None, 1, True, ORIGIN, tuple(network.notes))
    _refine(network, random, scene, sight, stride or 1)
    if not sight.is_bounded:
        return _unbounded(network, scene, sight)
    return Reach(sight.radius_px, stride or 1, False, ORIGIN, tuple(network.notes))


def _can_grow(network: Network, scene: Scene) -> bool:
    """Return whether a tile of twice the side can be tried: four times the work, and more than one run."""
    return None in network.sides and 2 * max(scene.pixels.shape[1:]) <= network.spec.most_px and network.can_run(8)


def _grown(network: Network, random: np.random.Generator, scene: Scene) -> Scene:
    side = [known or 2 * old for known, old in zip(network.sides, scene.pixels.shape[1:], strict=True)]
    return with_steps(network, draw(network, random, side), scene.steps)


def _look(network: Network, scene: Scene) -> Sight:
    """Change single pixels: in the middle, and in two corners, whose effect has the whole tile to show in."""
    _, height, width = scene.pixels.shape
    sight = Sight()
    middle = (height // 2, width // 2)
    places = ((middle, CHANGES[0]), (middle, CHANGES[1]), ((0, 0), CHANGES[1]), ((height - 1, width - 1), CHANGES[1]))
    for place, change in places:
        _see(network, scene, place, change, sight)
    return sight


def _see(network: Network, scene: Scene, place: tuple[int, int], change: int, sight: Sight) -> None:
    """Change one pixel and widen the sight by what it changes.

    A run gives the same bits for the same input, so that any difference is an effect.
    """
    answers = network.run(changed(network, scene.pixels, place, change))
    for number, (before, after) in enumerate(zip(scene.answers, answers, strict=True)):
        is_changed = (before != after).any(axis=2) & ~(np.isnan(before) & np.isnan(after)).all(axis=2)
        for axis in (0, 1):
            touched = np.flatnonzero(is_changed.any(axis=1 - axis))
            if not len(touched):
                continue
            step, crop = scene.steps[number], scene.crop(number, axis)
            first, last = int(touched[0]), int(touched[-1])
            end_of_first = max(ceil(step * (first + 1)) - 1, floor(step * first)) + crop
            for way, far, is_cut in (
                (2 * axis, place[axis] - end_of_first, first == 0),
                (2 * axis + 1, floor(step * last) + crop - place[axis], last == before.shape[axis] - 1),
            ):
                found = sight.cut if is_cut else sight.inside
                found[way] = max(found[way], far)


def _unbounded(network: Network, scene: Scene, sight: Sight) -> Reach:
    """Return the reach of a network whose answer changes up to the border of the largest tile."""
    sides = scene.pixels.shape[1:]
    if None in network.sides and not network.can_run(8) and max(sides) < network.spec.most_px:
        network.notes[f"stopped after {network.spent_s:.1f} s: a tile of {sides[0]} pixels is too small to tell"] = None
        return Reach(None, 1, False, ORIGIN, tuple(network.notes))
    stride = _stride(network, scene, min(sides) // 4)
    network.notes[f"a pixel changes the answer {sight.radius_px} pixels away, up to the border of the tile"] = None
    return Reach(None, stride or 1, True, ORIGIN, tuple(network.notes))


def _stride(network: Network, scene: Scene, margin: int) -> int | None:
    """Return the smallest shift that only shifts the answer, 0 where none of them does, None where that is open."""
    if all(np.ptp(raster[len(raster) // 4 : -len(raster) // 4], axis=(0, 1)).max() == 0 for raster in scene.answers):
        network.notes["the answer to noise is the same everywhere, which tells nothing of the stride"] = None
        return None
    for stride in STRIDES:
        if any((stride / step).denominator != 1 for step in scene.steps):
            continue
        if not network.can_run():
            network.notes[f"stopped after {network.spent_s:.1f} s: no stride below {stride} pixels"] = None
            return None
        shifted = network.run(np.roll(scene.pixels, (stride, stride), (1, 2)))
        is_same = [
            _is_shifted(scene, number, shifted[number], stride, margin + stride) for number in range(len(shifted))
        ]
        if None in is_same:
            network.notes[TOO_SMALL] = None
            return None
        if all(is_same):
            return stride
    return 0


def _is_shifted(scene: Scene, number: int, after: Array, stride: int, margin: int) -> bool | None:
    """Return whether a raster only moved, away from the borders and from where the image was rolled over."""
    before, step = scene.answers[number], scene.steps[number]
    cuts: list[slice] = []
    for axis in (0, 1):
        crop = scene.crop(number, axis)
        first = ceil((margin - crop) / step)
        last = floor((scene.pixels.shape[axis + 1] - margin - stride - crop) / step)
        cuts.append(slice(max(first, 0), min(last, before.shape[axis] - int(stride / step))))
        if cuts[-1].stop - cuts[-1].start < 4:
            return None
    move = int(stride / step)
    one = before[cuts[0], cuts[1]]
    other = after[cuts[0].start + move : cuts[0].stop + move, cuts[1].start + move : cuts[1].stop + move]
    if not np.issubdtype(one.dtype, np.floating):
        return bool((one != other).mean() <= CLASS_TOLERANCE)
    return bool(np.abs(one.astype(float) - other).max() <= SHIFT_TOLERANCE * np.ptp(before.astype(float)))


def _refine(network: Network, random: np.random.Generator, scene: Scene, sight: Sight, stride: int) -> None:
    """Change pixels at all phases of the stride, weakly and strongly, before several backgrounds."""
    unit = lcm(64, stride)
    enough = -(-2 * (sight.radius_px + 2 * stride + 16) // unit) * unit
    side = [known or min(enough, network.spec.most_px) for known in network.sides]
    for number, change in enumerate(CHANGES):
        if not network.can_run(2):
            network.notes[_stopped(network, number * stride, stride)] = None
            return
        scene = with_steps(network, draw(network, random, side), scene.steps)
        for phase in range(stride):
            if not network.can_run():
                network.notes[_stopped(network, number * stride + phase, stride)] = None
                return
            row, col = (size // 2 - stride // 2 + phase for size in side)
            _see(network, scene, (row, col), change, sight)


def _stopped(network: Network, done: int, stride: int) -> str:
    return f"stopped after {network.spent_s:.1f} s, with {done} of {len(CHANGES) * stride} pixels changed"
