"""The sub-benchmarks of detectors: merging what shards found, what seams cost of it, and a real detector."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.figures import Bench, Figure, in_pairs, slope
from benchmarks.process import Cost, median, python, ratio
from benchmarks.yardstick import warm

COUNTS, QUICK_COUNTS = (250_000, 500_000, 1_000_000), (10_000, 20_000)
STARTUP_COUNT = 1000
SHARDS, QUICK_SHARDS = (1, 16, 128), (1, 4)
MOSAIC_PX, QUICK_MOSAIC_PX = 4096, 2048
CELL_PX = 43
"""Of a scene, for each object: about as dense as parked cars. No tile's side is a multiple of it."""
FOLDER, NETWORK, NAMES = "dior_yolov5n", "yolov5n-diorall-nchw.onnx", "classes.json"
IMAGE = "oam_manila_cars/5b90f92da0d7280005fab355_4310.tif"
YARDSTICK = ("-m", "scripts.benchmarks.object_yardstick")
BOUND = Path(__file__).with_name("detector_bound.py")
GEODL = ("-m", "geodl_core.cli.main")


def objects(bench: Bench) -> list[Figure]:
    """What shards found merged and written, by the number of objects; in as many shards as `geodl run` makes."""
    counts = QUICK_COUNTS if bench.is_quick else COUNTS
    startup, *costs = ([*_merges(bench, count)] for count in (STARTUP_COUNT, *counts))
    startup_s, cpu_s = median(startup, "cpu_s"), np.array([median(each, "cpu_s") for each in costs])
    targets = [None] * (len(counts) - 1) + [5.0]
    rising = np.log(counts)
    return [
        Figure("objects", f"start-up: CPU time of {STARTUP_COUNT:,}", startup_s, "s"),
        *(
            Figure("objects", f"CPU time of {count:,}", float(value), "s", target)
            for count, value, target in zip(counts, cpu_s, targets, strict=True)
        ),
        Figure("objects", f"wall time of {counts[-1]:,}", median(costs[-1], "wall_s"), "s"),
        Figure("objects", f"peak memory of {counts[-1]:,}", median(costs[-1], "peak_mb"), "MB", 1500),
        Figure("objects", "exponent of CPU time over objects", slope(rising, np.log(cpu_s))),
        Figure("objects", "the same less the start-up", slope(rising, np.log(cpu_s - startup_s)), target=1.05),
    ]


def seams(bench: Bench) -> list[Figure]:
    """The same by the number of shards: what they leave open lies at their seams, and that is what merging costs."""
    count = (QUICK_COUNTS if bench.is_quick else COUNTS)[-1]
    figures, cpu_s = [], []
    with _planned(bench, count) as plan:
        for shards in QUICK_SHARDS if bench.is_quick else SHARDS:
            told = _write_parts(plan, count, shards)
            costs = [_merge(bench, plan, f"shards: {shards}", shards) for _ in range(bench.pairs)]
            cpu_s.append(median(costs, "cpu_s"))
            share = 100 * told["open"] / told["candidates"]
            figures += [
                Figure("seams", f"CPU time, shards: {shards}", cpu_s[-1], "s"),
                Figure("seams", f"candidates left open, shards: {shards}", share, "%"),
            ]
    return [*figures, Figure("seams", "CPU time, most shards / one", cpu_s[-1] / cpu_s[0], target=1.25)]


def detector(bench: Bench) -> list[Figure]:
    """A real detector over an image of a city, against its network alone on as many tiles."""
    raster = _mosaic(bench, QUICK_MOSAIC_PX if bench.is_quick else MOSAIC_PX)
    warm(raster)
    with tempfile.TemporaryDirectory(dir=bench.folder) as name:
        folder = Path(name)
        job = (raster, "--model", _definition(bench, folder), "--json")
        tiles = json.loads(python(*GEODL, "plan", *job, "--dry-run")[1])["live"]

        def ours() -> Cost:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                return bench.note("detector, geodl", python(*GEODL, "run", *job, "--out", out)[0])

        def alone() -> Cost:
            return bench.note("detector, bound", python(BOUND, folder / NETWORK, tiles)[0])

        pairs = in_pairs(bench.pairs, ours, alone)
    first = [each for each, _ in pairs]
    return [
        Figure("detector", "tiles of 800 px", tiles),
        Figure("detector", "CPU time", median(first, "cpu_s"), "s"),
        Figure("detector", "wall time", median(first, "wall_s"), "s"),
        Figure("detector", "CPU time, geodl / bound", ratio(pairs, "cpu_s"), target=1.0),
        Figure("detector", "wall time, geodl / bound", ratio(pairs, "wall_s"), target=1.0),
        Figure("detector", "peak memory", median(first, "peak_mb"), "MB"),
    ]


BENCHMARKS: dict[str, Callable[[Bench], list[Figure]]] = {"objects": objects, "seams": seams, "detector": detector}


@contextmanager
def _planned(bench: Bench, count: int) -> Iterator[Path]:
    """Give the folder of a plan for a scene of so many objects."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as name:
        folder = Path(name)
        raster, plan = folder / "scene.tif", folder / "plan"
        python(*YARDSTICK, "blank", int(np.ceil(count**0.5)) * CELL_PX, raster)
        python(*GEODL, "plan", raster, "--model", _definition(bench, folder), "--to", plan)
        yield plan


def _merges(bench: Bench, count: int) -> Iterator[Cost]:
    """Merge a scene of so many objects, in as many shards as it is planned in, several times."""
    with _planned(bench, count) as plan:
        shards = _write_parts(plan, count, None)["shards"]
        for _ in range(bench.pairs):
            yield _merge(bench, plan, f"{count:,} objects, {shards} shards")


def _write_parts(plan: Path, count: int, shards: int | None) -> dict[str, int]:
    """Write what the shards of a plan would; return how many shards and candidates, and how many of these are open."""
    shutil.rmtree(plan / "parts", ignore_errors=True)
    told: dict[str, int] = json.loads(python(*YARDSTICK, "parts", plan, count, CELL_PX, shards or 0)[1])
    return told


def _merge(bench: Bench, plan: Path, label: str, shards: int | None = None) -> Cost:
    """Merge the parts anew."""
    (plan / "merged.json").unlink(missing_ok=True)
    words = () if shards is None else ("--shards", shards)
    return bench.note(f"merge, {label}", python(*GEODL, "merge", plan, "--keep-parts", *words)[0])


def _mosaic(bench: Bench, size_px: int) -> Path:
    """Return the image of a city, repeated to a size."""
    path = bench.yardstick.folder / f"city{size_px}.tif"
    if not path.exists():
        part = path.with_suffix(".part.tif")
        python(*YARDSTICK, "mosaic", _data(bench) / IMAGE, size_px, part)
        part.rename(path)
    return path


def _definition(bench: Bench, folder: Path) -> Path:
    """Write the detector's definition beside a copy of its network; return its path."""
    shutil.copyfile(_data(bench) / FOLDER / NETWORK, folder / NETWORK)
    names = enumerate(json.loads((_data(bench) / FOLDER / NAMES).read_text()))
    definition = {
        "Framework": "ONNX",
        "ModelType": "ObjectDetection",
        "ModelFile": NETWORK,
        "ImageHeight": 800,
        "ImageWidth": 800,
        "ExtractBands": [0, 1, 2],
        "DataRange": [0, 1],
        "Threshold": 0.25,
        "Classes": [{"Value": value, "Name": name, "Color": [10 * value, 99, 199]} for value, name in names],
    }
    path = folder / "city.emd"
    path.write_text(json.dumps(definition))
    return path


def _data(bench: Bench) -> Path:
    """Return the folder of real models and images."""
    return bench.yardstick.shared.parent / "data"
