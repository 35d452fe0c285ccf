"""The window engine gives what one look at the whole image gives, however the work is cut."""

from dataclasses import replace

import numpy as np
import pytest

from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.plan.plan import tile_shape
from geodl_core.engine import open_worker as opening
from geodl_core.engine.load_model import load_model
from geodl_core.engine.open_worker import Means, open_worker
from geodl_core.engine.origin import origin_of
from geodl_core.engine.plan_scene import plan_scene
from geodl_core.engine.result_place import shard_tasks
from geodl_core.engine.run_shard import run_shards
from geodl_core.engine.write_result import write_result
from geodl_core.errors import InputError
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from items import write_item
from networks import conv_network, mask_network, mean_network, scores_whole, softmax, stride_network, write_emd
from runs import assert_classes, data_files, raster, run_item
from scenes import smooth, write_raster, write_scene

IDS = (1, 2, 7)
MIB = 1 << 20
PAD_MODES = {"reflect": "reflect", "edge": "edge", "constant": "constant"}


def write_typed(folder, dtype, shape=(230, 310)):
    """Write a scene of a type, with nodata in a corner; return the Item, what the network sees and the validity."""
    values = np.stack([smooth(shape, 1), smooth(shape, 2)]).astype("float64")
    nodata = {"uint8": 0, "uint16": 65535, "int16": -9999, "float32": np.nan}[dtype]
    values = {"uint8": values / 16 + 1, "int16": values - 2000}.get(dtype, values)
    rows, cols = np.indices(shape)
    invalid = rows + cols < 60
    values[:, invalid] = nodata
    pixels = values.astype(dtype)
    item = write_item(folder, {"image": {"href": write_raster(folder / "scene.tif", pixels, nodata=nodata)}})
    return item, np.where(invalid, 0, pixels), ~invalid


@pytest.mark.parametrize("tile", [None, 96])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_types(tmp_path, dtype, tile):
    """Pixels of any type are classified as by the whole image, in tiles of the default size and in small ones."""
    item, pixels, valid = write_typed(tmp_path, dtype)
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    found = raster(run_item(tmp_path, item, tile_size_px=tile))[0]
    assert_classes(found, softmax(scores_whole(tmp_path / "net.onnx", pixels)), IDS, valid)


@pytest.fixture
def strided(tmp_path):
    """A network of stride 4 and its EMD."""
    stride_network(tmp_path / "net.onnx")
    write_emd(tmp_path, Padding=None)
    return tmp_path


def plain_item(folder, shape, seed=1):
    """Write a scene without nodata; return the Item and the pixels."""
    large = tuple(max(side, 64) for side in shape)
    pixels = np.stack([smooth(large, seed), smooth(large, seed + 1)])[:, : shape[0], : shape[1]]
    return write_item(folder, {"image": {"href": write_raster(folder / "scene.tif", pixels)}}), pixels


@pytest.mark.parametrize("tile", [None, 72])
@pytest.mark.parametrize("shape", [(1, 1), (3, 600), (131, 257), (258, 190)])
def test_odd_sizes(strided, shape, tile):
    """Scenes whose sides are no multiple of the stride, down to one pixel, are mirrored to the next multiple."""
    item, pixels = plain_item(strided, shape)
    more = [-side % 4 for side in shape]
    whole = np.pad(pixels, ((0, 0), (0, more[0]), (0, more[1])), "reflect")
    expected = softmax(scores_whole(strided / "net.onnx", whole))[:, : shape[0], : shape[1]]
    assert_classes(raster(run_item(strided, item, tile_size_px=tile))[0], expected, IDS)


@pytest.mark.parametrize("tile", [None, 72])
@pytest.mark.parametrize("pad", PAD_MODES)
def test_pads(strided, pad, tile):
    """What lies beyond a scene of odd size is its mirror image, its border repeated or zeros, for tiles of any size."""
    shape, around = (131, 190), 64
    item, pixels = plain_item(strided, shape)
    more = [-side % 4 for side in shape]
    widths = ((0, 0), *((around, around + extra) for extra in more))
    whole = softmax(scores_whole(strided / "net.onnx", np.pad(pixels, widths, PAD_MODES[pad])))
    expected = whole[:, around : around + shape[0], around : around + shape[1]]
    assert_classes(raster(run_item(strided, item, tile_size_px=tile, pad=pad))[0], expected, IDS)


@pytest.mark.parametrize(("pad", "batch"), [("reflect", 1), ("edge", 3), ("constant", "n")])
def test_fixed_sizes(tmp_path, pad, batch):
    """A graph that takes one size that is not square, in batches of one, three or any number, sees no seams."""
    item, pixels = plain_item(tmp_path, (149, 203))
    conv_network(tmp_path / "free.onnx")
    conv_network(tmp_path / "net.onnx", sizes=(batch, 64, 80))
    write_emd(tmp_path, ImageHeight=64, ImageWidth=80)
    whole = np.pad(pixels, ((0, 0), (8, 8), (8, 8)), PAD_MODES[pad])
    expected = softmax(scores_whole(tmp_path / "free.onnx", whole))[:, 8:-8, 8:-8]
    assert_classes(raster(run_item(tmp_path, item, pad=pad, means=Means(batch_size=4)))[0], expected, IDS)


@pytest.mark.parametrize("tile", [None, 96])
@pytest.mark.parametrize("threshold", [None, 0.7])
def test_masks(tmp_path, tile, threshold):
    """A mask's class is where the whole image's score lies above the threshold."""
    item, pixels, valid = write_typed(tmp_path, "int16")
    mask_network(tmp_path / "net.onnx")
    write_emd(tmp_path, Classes=[{"Value": 0, "Name": "no"}, {"Value": 5, "Name": "yes"}])
    found = raster(run_item(tmp_path, item, tile_size_px=tile, threshold=threshold))[0]
    score = scores_whole(tmp_path / "net.onnx", pixels)[0]
    is_clear = np.abs(score - (threshold or 0.5)) > 1e-4
    expected = np.where(score > (threshold or 0.5), 5, 0)
    assert np.array_equal(found[valid & is_clear], expected[valid & is_clear])
    assert set(np.unique(found[valid])) == {0, 5}
    assert (found[~valid] == 255).all()


@pytest.mark.parametrize("kind", ["scores", "mask"])
@pytest.mark.parametrize("batch", [1, 4])
def test_batches(tmp_path, batch, kind):
    """Tiles given to the network one by one or four at a time, the smaller ones at the edge too, give the same."""
    item, pixels = write_scene(tmp_path, (230, 331))
    network, classes = {
        "scores": (conv_network, [{"Value": value, "Name": f"c{value}"} for value in IDS]),
        "mask": (mask_network, [{"Value": 0, "Name": "no"}, {"Value": 5, "Name": "yes"}]),
    }[kind]
    network(tmp_path / "net.onnx")
    write_emd(tmp_path, Classes=classes)
    found = raster(run_item(tmp_path, item, tile_size_px=80, means=Means(batch_size=batch, threads=2)))[0]
    whole = scores_whole(tmp_path / "net.onnx", pixels)
    scores = softmax(whole) if kind == "scores" else np.concatenate([1 - whole, whole])
    assert_classes(found, scores, IDS if kind == "scores" else (0, 5), (pixels != 0).all(0))


def test_little_memory(tmp_path):
    """A memory in which few tiles fit changes no byte; in one in which none fits it is said what it takes."""
    item, _ = write_scene(tmp_path, (300, 700))
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    free = run_item(tmp_path, item, "free", tile_size_px=96, means=Means(threads=2), probabilities="uint8")
    tight = Means(threads=8, max_memory_bytes=400 * MIB)
    other = run_item(tmp_path, item, "tight", tile_size_px=96, means=tight, probabilities="uint8")
    assert data_files(other.folder) == data_files(free.folder)
    with pytest.raises(InputError, match="MiB"):
        run_item(tmp_path, item, "none", means=Means(max_memory_bytes=MIB))


@pytest.fixture
def wide(tmp_path):
    """A scene of several blocks of the result, with holes, a network with any reach, and what plans it."""
    pixels = np.stack([smooth((620, 1180), 1), smooth((620, 1180), 2)])
    pixels[:, 100:330, 40:420] = 0
    pixels[:, 560:, 900:] = 0
    item = write_item(tmp_path, {"image": {"href": write_raster(tmp_path / "scene.tif", pixels, nodata=0)}})

    def plan(network, **more):
        network(tmp_path / "net.onnx")
        write_emd(tmp_path, Padding=more.pop("padding", 8), ImageHeight=128, ImageWidth=128)
        package = load_package(str(tmp_path / "net.emd"))
        arguments = Arguments(probabilities="uint8", **more)
        planned = plan_scene(read_item(str(item)), load_model(package), arguments)
        return planned, package, origin_of([read_item(str(item))], package, arguments, "results")

    return tmp_path, plan


def run_stages(planned, package, origin, folder, of=1, order=None):
    """Run shards in an order, in one process, and write the result; return the data files."""
    tasks = shard_tasks(planned.plan, of, folder / "parts")
    with open_worker(planned, package, Means(), lambda count: None) as worker:
        run_shards(planned.plan, [tasks[n] for n in order or range(of)], worker)
    write_result(planned, origin, tasks, folder)
    return data_files(folder)


def with_panels(planned, columns):
    return replace(planned, plan=replace(planned.plan, panel_cols=columns))


@pytest.mark.parametrize("network", [conv_network, mean_network], ids=["local", "blended"])
def test_panels_and_shards(wide, network):
    """Panels of any width, and shards of any number run in any order, give the same bytes of every data file."""
    folder, plan = wide
    if network is mean_network:
        planned, *rest = plan(network, padding=None)
        assert planned.plan.blend_px > 0
    else:
        planned, *rest = plan(network, tile_size_px=136)
        assert planned.plan.blend_px == 0
    assert tile_shape(planned.plan.grid, planned.plan.core_px)[1] > 7
    first = run_stages(planned, *rest, folder / "first")
    assert {"classification.tif", "probabilities.tif"} <= set(first)
    cases = [(0, 3, (2, 0, 1)), (2, 1, (0,)), (3, 7, (6, 1, 3, 0, 5, 2, 4))]
    for number, (columns, of, order) in enumerate(cases):
        found = run_stages(with_panels(planned, columns), *rest, folder / str(number), of, order)
        assert found == first, (columns, of)


def test_shards_by_other_workers(wide):
    """Shards run by workers of their own, with other threads, batches and memories, give the bytes of one run."""
    folder, plan = wide
    planned, package, origin = plan(conv_network, tile_size_px=136)
    first = run_stages(planned, package, origin, folder / "first")
    tasks = shard_tasks(planned.plan, 3, folder / "apart" / "parts")
    ways = (Means(threads=3), Means(threads=1), Means(max_memory_bytes=400 * MIB))
    for task, means in zip(reversed(tasks), ways, strict=True):
        with open_worker(planned, package, means, lambda count: None) as worker:
            run_shards(planned.plan, [task], worker)
    write_result(planned, origin, tasks, folder / "apart")
    assert data_files(folder / "apart") == first


def test_little_held(wide, monkeypatch):
    """Where next to nothing of what was decoded may be held, it is decoded again, to the same bytes."""
    folder, plan = wide
    planned, *rest = plan(conv_network, tile_size_px=136)
    first = run_stages(planned, *rest, folder / "first")
    monkeypatch.setattr(opening, "READ_BYTES", 1)
    assert run_stages(with_panels(planned, 2), *rest, folder / "held", 2, (1, 0)) == first


def test_blended_equals_oracle(tmp_path):
    """Blended scores are those of the tiles, weighted by a raised cosine, in a scene of odd size with a dead region."""
    shape = (219, 305)
    pixels = np.stack([smooth(shape, 1), smooth(shape, 2)])
    pixels[:, 60:, :100] = 0
    item = write_item(tmp_path, {"image": {"href": write_raster(tmp_path / "scene.tif", pixels, nodata=0)}})
    mean_network(tmp_path / "net.onnx")
    write_emd(tmp_path, Padding=None)
    result = run_item(tmp_path, item, probabilities="float32")
    planned = plan_scene(read_item(str(item)), load_model(load_package(str(tmp_path / "net.emd"))), Arguments())
    halo, (height, width) = planned.plan.halo_px, planned.plan.core_px
    assert planned.plan.blend_px == halo
    total, weight = np.zeros((3, *shape)), np.zeros(shape)
    for top in range(0, shape[0], height):
        for left in range(0, shape[1], width):
            rows = slice(max(top - halo, 0), min(top + height + halo, shape[0]))
            cols = slice(max(left - halo, 0), min(left + width + halo, shape[1]))
            core = pixels[:, top : top + height, left : left + width]
            if not core.any():
                continue
            share = np.outer(_ramp(rows, top, height, halo), _ramp(cols, left, width, halo))
            total[:, rows, cols] += softmax(scores_whole(tmp_path / "net.onnx", pixels[:, rows, cols])) * share
            weight[rows, cols] += share
    valid = pixels.any(0)
    expected = total / np.where(weight > 0, weight, 1)
    assert_classes(raster(result)[0], expected, IDS, valid)
    found = raster(result, "probabilities.tif")
    assert np.abs(found - expected)[:, valid].max() < 1e-4
    assert np.isnan(found[:, ~valid]).all()


def _ramp(span, start, length, margin):
    centres = np.arange(span.start, span.stop) + 0.5
    rise, fall = ((centres - start) / margin, (start + length - centres) / margin)
    return np.prod([0.5 * (1 + np.sin(np.pi / 2 * np.clip(t, -1, 1))) for t in (rise, fall)], axis=0)


LAYOUTS = {
    "strips": {"tiled": False, "blockxsize": None, "blockysize": 7},
    "rows": {"tiled": False, "blockxsize": None, "blockysize": 1, "interleave": "band"},
    "one strip": {"tiled": False, "blockxsize": None, "blockysize": 1000, "compress": "lzw"},
    "pixel": {"interleave": "pixel"},
    "band": {"interleave": "band", "compress": "zstd"},
    "oblong": {"blockxsize": 256, "blockysize": 16, "compress": "none"},
    "large": {"blockxsize": 1024, "blockysize": 1024},
}


def test_layouts_of_files(tmp_path):
    """Strips or tiles of any form, band by band or pixel by pixel, give the same bytes of every data file."""
    pixels = np.stack([smooth((250, 1300), 1), smooth((250, 1300), 2)])
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    expected = None
    for number, layout in enumerate(LAYOUTS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        href = write_raster(folder / "scene.tif", pixels, **layout)
        item = write_item(folder, {"image": {"href": href}})
        found = data_files(run_item(tmp_path, item, f"out{number}", tile_size_px=136).folder)
        expected = expected or found
        assert found == expected, layout
    found = raster(tmp_path / next((tmp_path / "out0").rglob("classification.tif")).parent)[0]
    assert_classes(found, softmax(scores_whole(tmp_path / "net.onnx", pixels)), IDS)
