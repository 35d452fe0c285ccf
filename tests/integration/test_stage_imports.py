"""What each stage of a run imports, in a process of its own: the functions on AWS have room for no more."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from geodl_core.catalog.models import add_model
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.io.package.package import load_package
from layers import read_table
from networks import conv_network, write_emd
from perfect import write_detector, write_objects
from scenes import write_scene

STAGE = Path(__file__).parents[1] / "stage.py"
STAGES = ("ingest", "plan", "shard", "merge", "register")
FUNCTIONS = {function.name: function for function in read_table().functions}

Run = Callable[..., dict[str, Any]]


def run_stage(stage: str, folder: Path) -> dict[str, Any]:
    """Run a stage in a fresh interpreter; return what it prints."""
    result = subprocess.run(
        [sys.executable, str(STAGE), stage, str(folder)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def make_works(folder: Path, kind: str) -> Path:
    """Write a scene, and register a model of a kind for it."""
    if kind == "pixels":
        write_scene(folder)
        conv_network(folder / "net.onnx")
        emd = write_emd(folder)
    else:
        write_objects(folder, [(20, 20, 60, 50, 0), (250, 200, 280, 240, 1), (300, 300, 330, 330, 2)], (400, 420))
        emd = write_detector(folder)
    with SqliteCatalog(folder / "catalog.db") as catalog:
        item = add_model(catalog, folder / "models", load_package(str(emd)), datetime(2026, 1, 1, tzinfo=UTC))
    (folder / "model.json").write_text(json.dumps(item))
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, Any]]]:
    """All stages of a class map's run and of a detector's, in the order of a run."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEODL_CACHE", str(tmp_path_factory.mktemp("cache")))
        for kind in ("pixels", "objects"):
            folder = make_works(tmp_path_factory.mktemp(kind), kind)
            found[kind] = {
                stage: run_stage(stage, folder) for stage in ("ingest", "plan", "shard", "merge", "register")
            }
    return found


CASES = [
    ("ingest", "pixels", "ingest"),
    ("plan", "pixels", "plan"),
    ("plan", "objects", "plan"),
    ("merge", "pixels", "merge_raster"),
    ("register", "pixels", "register"),
]


@pytest.mark.parametrize(("stage", "kind", "function"), CASES)
def test_a_stage_imports_no_more_than_its_function_may(
    done: dict[str, dict[str, dict[str, Any]]], stage: str, kind: str, function: str
) -> None:
    """A stage does its work without the packages that its function on AWS has no room for."""
    found = done[kind][stage]
    assert found["answer"]
    assert not FUNCTIONS[function].never.intersection(found["packages"])


def test_the_check_can_fail(done: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Stages that need them do import the heavy packages: shards a runtime, a detector's merge tables and rasters."""
    assert "onnxruntime" in done["pixels"]["shard"]["packages"]
    assert {"pyarrow", "rasterio"} <= set(done["objects"]["merge"]["packages"])
    assert not {"onnxruntime", "scipy", "pandas", "geopandas"}.intersection(done["objects"]["merge"]["packages"])
    assert sum(done["objects"]["merge"]["answer"].values()) == 3


def test_functions_are_those_of_the_table() -> None:
    """Every function that runs a stage has its line in the table, five layers at most, each of them there."""
    assert {function for _, _, function in CASES} <= FUNCTIONS.keys()
    for function in FUNCTIONS.values():
        assert len(function.layers) <= read_table().most_layers
        assert len(set(function.layers)) == len(function.layers)
