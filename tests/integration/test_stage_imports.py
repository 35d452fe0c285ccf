"""What each stage of a run imports, in a process of its own: the functions on AWS have room for no more."""

from typing import Any

import pytest

from layers import read_table
from stages import STAGES, make_works, run_here, run_stage

FUNCTIONS = {function.name: function for function in read_table().functions}

CASES = [
    ("ingest", "pixels", "ingest"),
    ("load", "pixels", "plan"),
    ("plan", "pixels", "plan"),
    ("plan", "objects", "plan"),
    ("plan", "unfollowed", "plan"),
    ("merge", "pixels", "merge_raster"),
    ("merge", "unfollowed", "merge_raster"),
    ("register", "unfollowed", "register"),
    ("register", "pixels", "register"),
]
LOOKED_AT = {("shard", "pixels"), ("merge", "objects"), *((stage, kind) for stage, kind, _ in CASES)}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, Any]]]:
    """The stages of class maps' runs and of a detector's that are looked at, in the order of a run."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEODL_CACHE", str(tmp_path_factory.mktemp("cache")))
        for kind in ("pixels", "objects", "unfollowed"):
            folder = make_works(tmp_path_factory.mktemp(kind), kind)
            found[kind] = {}
            for stage in STAGES:
                if (stage, kind) in LOOKED_AT:
                    found[kind][stage] = run_stage(stage, folder)
                elif stage == "shard":
                    run_here(stage, folder)  # as what follows needs its parts
    return found


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
