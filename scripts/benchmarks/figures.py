"""The sub-benchmarks: each measures whole processes and returns figures."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process import Cost, median, python, ratio
from benchmarks.yardstick import Yardstick, warm, write_item
from servers import FileServer

TILE_PX, OVERLAP_PX = 512, 64
STARTUP_PX = 256
DELAY_S = 0.04
BYTES_PER_S = 50e6
"""Of a connection; with DELAY_S about what an object store gives."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report."""

    benchmark: str
    name: str
    value: float
    unit: str = ""
    target: float | None = None
    """At most this, or at least where `is_floor`."""
    is_floor: bool = False

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.is_floor else self.value <= self.target


@dataclass(frozen=True, slots=True)
class Bench:
    """What the sub-benchmarks share."""

    yardstick: Yardstick
    folder: Path
    """For what is thrown away."""
    emd: Path
    pairs: int
    sizes_px: tuple[int, ...]
    """For `linear`, rising; the last one is the scene."""
    crop_px: int
    is_quick: bool = False
    """Whether it is to be tried only."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    """Every process measured: its label and cost."""

    def raster(self, size_px: int) -> Path:
        """Return the raster of a size, read once."""
        is_whole = size_px == self.yardstick.scene_px
        path = self.yardstick.scene() if is_whole else self.yardstick.crop(size_px)
        warm(path)
        return path

    def note(self, label: str, cost: Cost) -> Cost:
        """Keep a cost and show it."""
        self.runs.append(
            {
                "label": label,
                "cpu_s": round(cost.cpu_s, 2),
                "wall_s": round(cost.wall_s, 2),
                "peak_mb": round(cost.peak_mb),
            }
        )
        print(f"{label}: {cost}", file=sys.stderr, flush=True)
        return cost

    def geodl(self, label: str, href: object) -> Cost:
        """Run geodl on a raster."""
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            return self.note(f"{label}, geodl", self.run_into(Path(out), href)[0])

    def run_into(self, out: Path, href: object) -> tuple[Cost, Path]:
        """Run geodl on a raster; return its cost and the class map in `out`."""
        item = write_item(str(href), out)
        words = ("run", item, "--model", self.emd, "--out", out / "out", "--json")
        cost, text = python("-m", "geodl_core.cli.main", *words)
        return cost, Path(json.loads(text)["assets"]["classification"])

    def bound(self, label: str, raster: Path) -> Cost:
        """Run the bound: inference alone over as many ready-made tiles as the raster has."""
        script = self.yardstick.shared / "bound.py"
        return self.note(f"{label}, bound", python(script, raster, self.yardstick.network, TILE_PX, OVERLAP_PX, "-")[0])


def crop(bench: Bench) -> list[Figure]:
    """A crop against the bound."""
    return _against_bound(bench, "crop", bench.crop_px, (0.80, 0.75))


def scene(bench: Bench) -> list[Figure]:
    """The whole scene against the bound; its memory against the crop's."""
    figures = _against_bound(bench, "scene", bench.sizes_px[-1], (0.90, 0.85))
    peaks = [run["peak_mb"] for run in bench.runs if run["label"] == "crop, geodl"]
    if not peaks:
        peaks = [bench.geodl("crop, geodl", bench.raster(bench.crop_px)).peak_mb]
    peak = figures.pop()
    to_crop = peak.value / float(np.median(peaks))
    figures.append(Figure("scene", peak.name, peak.value, peak.unit, target=1000))
    return [*figures, Figure("scene", "peak memory, scene / crop", to_crop, target=1.10)]


def http(bench: Bench) -> list[Figure]:
    """The crop read over a network as slow as an object store's, against the local file."""
    raster = bench.raster(bench.crop_px)
    with FileServer(raster.parent, delay_s=DELAY_S, bytes_per_s=BYTES_PER_S) as server:

        def remote() -> Cost:
            server.reset()
            return bench.geodl("http", server.url(raster.name))

        pairs = in_pairs(bench.pairs, remote, lambda: bench.geodl("local file", raster))
        return [
            Figure("http", "wall time, 40 ms and 50 MB/s / local file", ratio(pairs, "wall_s"), target=1.15),
            Figure("http", "CPU time, 40 ms and 50 MB/s / local file", ratio(pairs, "cpu_s")),
            Figure("http", "requests", len(server.requests)),
            Figure("http", "most requests in flight", server.most_in_flight),
            Figure("http", "sent / size of the file", server.bytes_sent / raster.stat().st_size),
        ]


def nodata(bench: Bench) -> list[Figure]:
    """The crop with one half nodata against the full one."""
    full, half = bench.raster(bench.crop_px), bench.yardstick.half(bench.crop_px)
    warm(half)
    pairs = in_pairs(bench.pairs, lambda: bench.geodl("half nodata", half), lambda: bench.geodl("full", full))
    return [
        Figure("nodata", "CPU time, half nodata / full", ratio(pairs, "cpu_s"), target=0.60),
        Figure("nodata", "wall time, half nodata / full", ratio(pairs, "wall_s")),
    ]


def linear(bench: Bench) -> list[Figure]:
    """CPU time over size: the slope of its logarithm over that of the pixels, 1 where it is proportional."""
    small = bench.raster(STARTUP_PX)
    startup_s = median([bench.geodl("start-up", small) for _ in range(bench.pairs)], "cpu_s")
    costs = [bench.geodl(f"{size} px", bench.raster(size)) for size in bench.sizes_px]
    pixels = np.log(np.square(bench.sizes_px, dtype=float))
    cpu_s = np.array([cost.cpu_s for cost in costs])
    sizes = zip(bench.sizes_px, cpu_s, strict=True)
    return [
        Figure("linear", f"start-up: CPU time of {STARTUP_PX} px", startup_s, "s"),
        *(Figure("linear", f"CPU time of {size} px", float(value), "s") for size, value in sizes),
        Figure("linear", "exponent of CPU time over pixels", slope(pixels, np.log(cpu_s))),
        Figure("linear", "the same less the start-up", slope(pixels, np.log(cpu_s - startup_s)), target=1.05),
    ]


def agreement(bench: Bench) -> list[Figure]:
    """The result's pixels that have the class of whole-image inference."""
    raster, reference = bench.raster(bench.crop_px), bench.yardstick.reference(bench.crop_px)
    script = bench.yardstick.shared / "agreement.py"
    with tempfile.TemporaryDirectory(dir=bench.folder) as out:
        _, classes = bench.run_into(Path(out), raster)
        _, text = python(script, "cmp", classes, reference)
    differing = re.search(r"differing px (\d+)", text)
    if not differing or "SHAPE" in text:
        raise SystemExit(f"agreement.py says: {text}")
    share = 100 * (1 - int(differing[1]) / bench.crop_px**2)
    return [
        Figure("agreement", "pixels as in whole-image inference", share, "%", target=99.999, is_floor=True),
        Figure("agreement", "pixels that differ", int(differing[1])),
    ]


BENCHMARKS: dict[str, Callable[[Bench], list[Figure]]] = {
    "crop": crop,
    "scene": scene,
    "http": http,
    "nodata": nodata,
    "linear": linear,
    "agreement": agreement,
}


def _against_bound(bench: Bench, name: str, size_px: int, targets: tuple[float, float]) -> list[Figure]:
    """Return the ratios to the bound and, last, the peak."""
    raster = bench.raster(size_px)
    pairs = in_pairs(bench.pairs, lambda: bench.geodl(name, raster), lambda: bench.bound(name, raster))
    ours = [first for first, _ in pairs]
    return [
        Figure(name, f"CPU time of {size_px} px", median(ours, "cpu_s"), "s"),
        Figure(name, f"wall time of {size_px} px", median(ours, "wall_s"), "s"),
        Figure(name, "CPU time, geodl / bound", ratio(pairs, "cpu_s"), target=targets[0]),
        Figure(name, "wall time, geodl / bound", ratio(pairs, "wall_s"), target=targets[1]),
        Figure(name, "peak memory", median(ours, "peak_mb"), "MB"),
    ]


def in_pairs(count: int, first: Callable[[], Cost], second: Callable[[], Cost]) -> list[tuple[Cost, Cost]]:
    """Run the two in turn, so that what the machine does beside hits both."""
    return [(first(), second()) for _ in range(count)]


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Return that of the line through points."""
    return float(np.polyfit(x, y, 1)[0])
