"""Where a run is merged: in a function while it fits there, as a job where it does not."""

from dataclasses import replace

import numpy as np
import pytest

from geodl_core.aws.ledger.rates import shard_pixels, shards_for
from geodl_core.aws.steps.estimate import estimate_merge, merge_way
from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.plan.plan import pack_live, tile_shape
from geodl_core.engine.load_model import load_model
from geodl_core.engine.plan_scene import plan_scene
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from networks import conv_network, write_emd
from scenes import write_scene


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A class map of a small scene."""
    folder = tmp_path_factory.mktemp("scene")
    path, _ = write_scene(folder)
    conv_network(folder / "net.onnx")
    model = load_model(load_package(str(write_emd(folder))))
    return plan_scene(read_item(str(path)), model, Arguments(bands={"0": "image:1", "1": "image:2"}, tile_size_px=96))


def of_size(planned, height, width, is_live=True):
    """Return the plan laid out over a larger grid."""
    grid = replace(planned.plan.grid, height=height, width=width)
    core = (1024, 1024)
    live = pack_live(np.full(tile_shape(grid, core), is_live))
    return replace(planned, plan=replace(planned.plan, grid=grid, core_px=core, live=live))


@pytest.mark.parametrize(
    ("side", "way"), [(2_000, "raster"), (10_980, "raster"), (60_000, "raster"), (200_000, "batch")]
)
def test_the_size_decides(planned, side, way):
    """A tile of Sentinel-2 is merged by a function, a country at once by a job."""
    assert merge_way(of_size(planned, side, side)) == way


def test_scores_are_heavier_than_classes(planned):
    """A raster of scores takes more of everything."""
    plain = of_size(planned, 30_000, 30_000)
    scored = replace(plain, job=replace(plain.job, probabilities="float32"))
    small, large = estimate_merge(plain), estimate_merge(scored)
    assert large.seconds > 5 * small.seconds
    assert large.disk_bytes > 5 * small.disk_bytes
    assert merge_way(replace(of_size(planned, 60_000, 60_000), job=scored.job)) == "batch"


def test_an_empty_plan_is_for_a_function(planned):
    """However large it is: there is no part, which only the functions make."""
    assert merge_way(of_size(planned, 200_000, 200_000, is_live=False)) == "raster"


@pytest.mark.parametrize("rate", [1e5, 1e6, 1e7])
def test_jobs_last_as_long_as_asked(planned, rate):
    """The faster a model, the fewer shards; each has about five minutes of work."""
    plan = of_size(planned, 100_000, 100_000).plan
    of = shards_for(plan, None, rate, 300.0)
    assert shard_pixels(plan, of) / rate == pytest.approx(300, rel=0.25)
    assert shards_for(plan, 7, rate, 300.0) == 7
    assert 1 <= shards_for(plan, None, 1.0, 300.0) <= 10_000
