"""Scenes of 100,000 × 100,000 pixels: planned at once, run in a small one's memory, written and read as BigTIFF."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from commands import geodl
from geodl_core.cli.main import geodl as command_line
from geodl_core.cli.main import guarded
from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.plan.plan import live_tiles, plan_digest, shard_count, tile_count
from geodl_core.engine import merge_scene, plan_scene
from geodl_core.engine.load_model import load_model
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from items import write_item
from networks import conv_network, write_emd
from scenes import ORIGIN, smooth, write_raster

SIDES = {"small": 4_000, "huge": 100_000}
LIVE_PX = 1024
"""Side of a place that has pixels."""
PLACES = {"small": ((0, 0), (2048, 2048)), "huge": ((0, 0), (51_200, 51_200))}
TILES = ("--arg", "tile_size=512", "--threads", "2")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of the module's own, in this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEODL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pixels(seed):
    """Return the two bands of a place that has pixels."""
    return (1 + smooth((LIVE_PX, LIVE_PX), seed) // 16).astype("uint8")[None].repeat(2, 0)


def sparse(path, name):
    """Write a GeoTIFF of two bands with pixels in two places, and no blocks elsewhere."""
    profile = {
        "driver": "GTiff", "count": 2, "height": SIDES[name], "width": SIDES[name], "dtype": "uint8", "nodata": 0,
        "crs": "EPSG:32633", "transform": from_origin(*ORIGIN, 1, 1), "tiled": True, "blockxsize": 512,
        "blockysize": 512, "compress": "deflate", "SPARSE_OK": True,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        for seed, (top, left) in enumerate(PLACES[name]):
            dataset.write(pixels(seed), window=Window(left, top, LIVE_PX, LIVE_PX))
    return path


def virtual(path, name):
    """Write a VRT with overviews over the two places' files."""
    sources = [
        f'<SimpleSource><SourceFilename relativeToVRT="1">live{seed}.tif</SourceFilename><SourceBand>%d</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="{LIVE_PX}" ySize="{LIVE_PX}"/>'
        f'<DstRect xOff="{left}" yOff="{top}" xSize="{LIVE_PX}" ySize="{LIVE_PX}"/></SimpleSource>'
        for seed, (top, left) in enumerate(PLACES[name])
    ]
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><NoDataValue>0</NoDataValue>'
        + "".join(source % band for source in sources)
        + "</VRTRasterBand>"
        for band in (1, 2)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{SIDES[name]}" rasterYSize="{SIDES[name]}"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>{ORIGIN[0]}, 1, 0, {ORIGIN[1]}, 0, -1</GeoTransform>"
        f'<OverviewList resampling="nearest">2 4 8</OverviewList>{bands}</VRTDataset>'
    )
    return path


def area(name):
    """Return GeoJSON within the two places."""
    polygons = []
    for top, left in PLACES[name]:
        x, y = ORIGIN[0] + left, ORIGIN[1] - top
        west, south, east, north = transform_bounds("EPSG:32633", "EPSG:4326", x + 60, y - 900, x + 900, y - 60)
        polygons.append([[[west, south], [east, south], [east, north], [west, north], [west, south]]])
    return json.dumps({"type": "MultiPolygon", "coordinates": polygons})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("huge")
    conv_network(folder / "net.onnx")
    write_emd(folder)
    for seed in (0, 1):
        write_raster(folder / f"live{seed}.tif", pixels(seed), nodata=0, cell=1.0)
    for name in SIDES:
        write_item(folder, {"image": {"href": sparse(folder / f"{name}.tif", name)}}, item_id=f"sparse-{name}")
        write_item(folder, {"image": {"href": virtual(folder / f"{name}.vrt", name)}}, item_id=f"virtual-{name}")
    return folder


@pytest.mark.parametrize("kind", ["sparse", "virtual"])
def test_planned_at_once(folder, monkeypatch, kind):
    """A plan of 600,000 tiles takes less than a second apart from the pre-scan, which takes less than 20."""
    model = load_model(load_package(str(folder / "net.emd")))
    item = read_item(str(folder / f"{kind}-huge.json"))
    prescan_s = 0.0
    live_tiles_of = plan_scene.live_tiles_of

    def timed(*arguments):
        nonlocal prescan_s
        started = time.perf_counter()
        found = live_tiles_of(*arguments)
        prescan_s = time.perf_counter() - started
        return found

    monkeypatch.setattr(plan_scene, "live_tiles_of", timed)
    started = time.perf_counter()
    plan = plan_scene.plan_scene(item, model, Arguments(tile_size_px=144)).plan
    assert tile_count(plan.grid, plan.core_px) > 600_000
    assert shard_count(plan) >= 1
    plan_digest(plan)
    whole_s = time.perf_counter() - started
    assert whole_s - prescan_s < 1, f"and {prescan_s:.2f} s of pre-scan"
    assert prescan_s < 20
    if kind == "virtual":
        assert len(live_tiles(plan)) < 500


def test_a_plan_is_small(folder):
    """`geodl plan` of a huge scene takes seconds, and writes less than a megabyte beside the model."""
    started = time.monotonic()
    done = geodl(
        "plan", folder / "virtual-huge.json", "-m", folder / "net.emd", "--arg", "tile_size=144", "--to", folder / "job"
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 20
    assert (folder / "job" / "plan.json").stat().st_size < 1 << 20


def measured(folder, item, out, *more):
    """Run geodl; return the most memory that its process held, in bytes, and the class map's path."""
    command = [sys.executable, "-W", "ignore", "-c", "from geodl_core.cli.main import main; main()", "run"]
    words = [folder / f"{item}.json", "-m", folder / "net.emd", *TILES, *more, "-o", out]
    with (out.parent / f"{out.name}.log").open("w+") as log:
        process = subprocess.Popen([*command, *map(str, words)], stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        assert process.returncode == 0, log.read()
    (cog,) = out.rglob("classification.tif")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), cog


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="measures memory as POSIX systems do")
@pytest.mark.parametrize("kind", ["sparse", "virtual"])
def test_the_memory_of_a_small_one(folder, tmp_path, kind):
    """A huge scene runs in the memory of a small one with as many live tiles, and gives the same pixels there."""
    memory, found = {}, {}
    for name, side in SIDES.items():
        more = ("--aoi", area(name)) if kind == "sparse" else ()
        memory[name], cog = measured(folder, f"{kind}-{name}", tmp_path / name, *more)
        with rasterio.open(cog) as dataset:
            assert dataset.shape == (side, side)
            found[name] = [dataset.read(1, window=Window(left, top, LIVE_PX, LIVE_PX)) for top, left in PLACES[name]]
    assert memory["huge"] <= 1.25 * memory["small"]
    for small, huge in zip(found["small"], found["huge"], strict=True):
        inside = (small != 255) & (huge != 255)
        assert inside.mean() > 0.6
        # The scene's own border and the area's, which is drawn in degrees, may differ by a pixel.
        assert np.array_equal(small[inside], huge[inside])
        assert (small != huge).mean() < 0.02


@pytest.mark.parametrize("is_big", [False, True])
def test_big_tiff_reads_the_same(folder, tmp_path, monkeypatch, capsys, is_big):
    """A class map that is written as BigTIFF holds the same pixels, colours and overviews as a classic one."""

    class Spec(merge_scene.CogSpec):
        def __new__(cls, **facts):
            return SPEC(**facts, is_big=is_big)

    SPEC = merge_scene.CogSpec
    monkeypatch.setattr(merge_scene, "CogSpec", Spec)
    words = ["run", folder / "virtual-small.json", "-m", folder / "net.emd", *TILES, "-o", tmp_path / "out"]
    assert guarded(lambda: command_line.main(list(map(str, words)), standalone_mode=False)) == 0, capsys.readouterr()
    (cog,) = (tmp_path / "out").rglob("classification.tif")
    assert cog.read_bytes()[:4] == (b"II+\x00" if is_big else b"II*\x00")
    monkeypatch.undo()
    _, plain = measured(folder, "virtual-small", tmp_path / "plain")
    for level in (None, 0, 1):
        more = {} if level is None else {"overview_level": level}
        with rasterio.open(cog, **more) as one, rasterio.open(plain, **more) as other:
            assert np.array_equal(one.read(), other.read())
            assert one.colormap(1) == other.colormap(1)
            assert one.nodata == other.nodata


def test_a_big_tiff_as_input(folder, tmp_path):
    """A scene that lies in a BigTIFF gives the pixels of the same scene in a classic file."""
    expected = None
    for big in ("NO", "YES"):
        place = tmp_path / big
        place.mkdir()
        copy(folder / "live0.tif", place / "scene.tif", driver="GTiff", tiled=True, BIGTIFF=big)
        write_item(place, {"image": {"href": place / "scene.tif"}})
        done = geodl("run", place / "scene.json", "-m", folder / "net.emd", *TILES, "-o", place / "out")
        assert done.returncode == 0, done.stderr
        (cog,) = (place / "out").rglob("classification.tif")
        expected = expected or cog.read_bytes()
        assert cog.read_bytes() == expected


def test_wide_strips(folder, tmp_path):
    """A scene of long strips runs in bounded memory, and gives the bytes of the same scene in tiles."""
    height, width = 600, 20_000
    band = np.tile(smooth((height, 1_000), 1), (1, width // 1_000))
    values = np.stack([band, band[::-1]])
    results, memory = [], []
    for kind, more in (("tiles", {}), ("strips", {"tiled": False, "blockysize": 8, "blockxsize": width})):
        place = tmp_path / kind
        place.mkdir()
        write_item(place, {"image": {"href": write_raster(place / "scene.tif", values, **more)}})
        (place / "net.emd").write_bytes((folder / "net.emd").read_bytes())
        (place / "net.onnx").write_bytes((folder / "net.onnx").read_bytes())
        # A little of it suffices: strips are decoded in full width whatever is wanted of them.
        x, y = ORIGIN[0] + 99_000, ORIGIN[1]
        box = transform_bounds("EPSG:32633", "EPSG:4326", x, y - 6_000, x + 12_000, y)
        most, cog = measured(place, "scene", place / "out", "--aoi", ",".join(map(str, box)))
        results.append(cog.read_bytes())
        memory.append(most)
    assert results[0] == results[1]
    assert memory[1] < memory[0] + (256 << 20)
