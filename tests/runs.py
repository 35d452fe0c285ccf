"""Runs in this process, what they leave behind, and how their classes are judged."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.plan.job import Arguments
from geodl_core.engine.load_model import load_model
from geodl_core.engine.open_worker import Means
from geodl_core.engine.run_scene import RunRequest, RunResult, run_scene
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MARGIN = 1e-4
"""Scores closer than that are a tie."""


def run_item(
    folder: Path, item: Path, out: str = "out", emd: str = "net.emd", means: Means | None = None, **more: Any
) -> RunResult:
    """Run the model `emd` over an Item into `folder / out`; `more` are arguments, and `shards`."""
    shards = more.pop("shards", None)
    package = load_package(str(folder / emd))
    request = RunRequest(
        read_item(str(item)),
        package,
        load_model(package),
        Arguments(**more),
        folder / out,
        shards=shards,
        means=means or Means(),
    )
    with SqliteCatalog(folder / f"{out}.db") as catalog:
        return run_scene(request, catalog, lambda: NOW, lambda event: None)


def raster(result: RunResult | Path, name: str = "classification.tif") -> np.ndarray:
    """Return the (bands, H, W) values of a raster of a result."""
    folder = result if isinstance(result, Path) else result.folder
    with rasterio.open(folder / name) as dataset:
        values: np.ndarray = dataset.read()
    return values


def data_files(folder: Path) -> dict[str, bytes]:
    """Return every data file of a result, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file() and _is_data(path)}


def _is_data(path: Path) -> bool:
    return path.suffix not in (".json", ".dlpk")


def assert_classes(
    found: np.ndarray, scores: np.ndarray, ids: Any, valid: Any = True, least_clear: float = 0.99
) -> None:
    """Check (H, W) class ids against (C, H, W) scores in [0, 1]: nodata where not valid, and equal away from ties."""
    valid = np.broadcast_to(valid, found.shape)
    expected = np.asarray(ids)[scores.argmax(0)]
    if len(scores) > 1:
        best = np.sort(scores, axis=0)
        is_clear = best[-1] - best[-2] > MARGIN
    else:
        is_clear = np.ones(found.shape, bool)
    wrong = valid & is_clear & (found != expected)
    assert not wrong.any(), f"{wrong.sum()} of {valid.sum()} pixels differ, the first at {np.argwhere(wrong)[0]}"
    assert is_clear[valid].mean() > least_clear or found.size < 10_000
    assert (found[~valid] == 255).all()
