"""Plans: tiles partition the grid, shards partition the tiles, and nothing valid is skipped."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.domain.grid import Grid
from geodl_core.domain.plan.job import Pad
from geodl_core.domain.plan.plan import (
    SHARD_PIXELS,
    BandSource,
    Layer,
    MaskSource,
    Plan,
    Shard,
    live_bits,
    live_cells,
    live_tiles,
    pack_live,
    plan_digest,
    shard_count,
    shard_tiles,
    tile_at,
    tile_count,
    tile_shape,
)
from geodl_core.domain.scene.masks import BitField
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.domain.window import Window
from geodl_core.errors import PlanError

sides = st.integers(1, 90)
cores = st.tuples(st.integers(1, 40), st.integers(1, 40))


def grid_of(height: int, width: int) -> Grid:
    return Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), height, width)


def plan_of(
    grid: Grid,
    core: tuple[int, int],
    halo: int = 0,
    live: np.ndarray | None = None,
    step: int = 1,
    pad: Pad = "reflect",
) -> Plan:
    bitmap = np.ones(tile_shape(grid, core), np.bool_) if live is None else live
    return Plan("job", grid, core, halo, step, 0, pad, (), "uint8", pack_live(bitmap))


@given(sides, sides, cores)
def test_cores_partition_the_grid(height: int, width: int, core: tuple[int, int]) -> None:
    """Every pixel of the grid lies in the core of exactly one tile, and no core reaches outside."""
    plan = plan_of(grid_of(height, width), core)
    owners = np.zeros((height, width), np.int64)
    for index in range(tile_count(plan.grid, core)):
        window = tile_at(plan, index).core
        assert 0 <= window.top < window.bottom <= height
        assert 0 <= window.left < window.right <= width
        owners[window.top : window.bottom, window.left : window.right] += 1
    assert (owners == 1).all()


@given(sides, sides, cores, st.integers(0, 30))
def test_read_windows_have_one_size_and_phase(height: int, width: int, core: tuple[int, int], halo: int) -> None:
    """A read window is its full core cell and the halo, and starts at the same phase in every tile."""
    plan = plan_of(grid_of(height, width), core, halo)
    for index in range(tile_count(plan.grid, core)):
        tile = tile_at(plan, index)
        assert tile.index == index
        assert tile.read.shape == (core[0] + 2 * halo, core[1] + 2 * halo)
        assert (tile.read.top, tile.read.left) == (tile.core.top - halo, tile.core.left - halo)
        assert (tile.read.top + halo) % core[0] == 0
        assert (tile.read.left + halo) % core[1] == 0
        assert tile.core.bottom <= tile.read.bottom - halo
        assert tile.core.right <= tile.read.right - halo


@given(sides, sides, st.integers(1, 8), st.integers(1, 4), st.integers(0, 3))
def test_read_windows_that_end_with_the_scene(height: int, width: int, step: int, cells: int, more: int) -> None:
    """With the pad `network` a read window holds core and halo inside the scene, and ends with it at a full step."""
    grid = grid_of(height, width)
    plan = plan_of(grid, (step * cells, step * cells), step * more, step=step, pad="network")
    halo = plan.halo_px
    for index in range(tile_count(grid, plan.core_px)):
        tile = tile_at(plan, index)
        assert tile.read.top == max(tile.core.top - halo, 0)
        assert tile.read.left == max(tile.core.left - halo, 0)
        assert tile.read.bottom >= min(tile.core.bottom + halo, height)
        assert tile.read.right >= min(tile.core.right + halo, width)
        assert tile.read.bottom - height < step
        assert tile.read.right - width < step
        assert {edge % step for edge in (tile.read.top, tile.read.left, *tile.read.shape)} == {0}


@given(sides, sides, cores, st.integers(1, 300), st.data())
def test_shards_partition_the_live_tiles(
    height: int, width: int, core: tuple[int, int], of: int, data: st.DataObject
) -> None:
    """The shards of any N, one after the other, are the live tiles in order, in ranges of equal length."""
    grid = grid_of(height, width)
    seed = data.draw(st.integers(0, 1 << 30))
    live = np.random.default_rng(seed).random(tile_shape(grid, core)) < data.draw(st.floats(0, 1))
    plan = plan_of(grid, core, live=live)
    expected = np.flatnonzero(live.ravel())
    np.testing.assert_array_equal(live_tiles(plan), expected)
    shards = [shard_tiles(plan, Shard(n, of)) for n in range(of)]
    np.testing.assert_array_equal(np.concatenate(shards), expected)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    count = shard_count(plan, of)
    assert 1 <= count <= max(1, min(of, len(expected)))


def test_shard_count_from_the_work() -> None:
    """Without a number there is a shard for each `SHARD_PIXELS`, eight or more, but at most one a tile."""
    large = plan_of(grid_of(10980, 10980), (512, 512))
    tiles = len(live_tiles(large))
    assert shard_count(large) == -(-tiles * 512 * 512 // SHARD_PIXELS)
    assert shard_count(plan_of(grid_of(9, 9), (3, 3))) == 8
    assert shard_count(plan_of(grid_of(9, 9), (9, 3))) == 3
    assert shard_count(plan_of(grid_of(9, 9), (3, 3)), 100) == 9
    nothing = plan_of(grid_of(9, 9), (3, 3), live=np.zeros((3, 3), np.bool_))
    assert shard_count(nothing) == 1
    assert len(shard_tiles(nothing, Shard(0, 1))) == 0


def any_pooled(valid: np.ndarray, factor: int) -> np.ndarray:
    """Decimate with ceil sizes; a cell is valid where any of its pixels is."""
    height, width = (-(-side // factor) for side in valid.shape)
    padded = np.zeros((height * factor, width * factor), np.bool_)
    padded[: valid.shape[0], : valid.shape[1]] = valid
    return padded.reshape(height, factor, width, factor).any((1, 3))


@settings(max_examples=200)
@given(sides, sides, cores, st.integers(1, 8), st.integers(1, 6), st.integers(0, 4), st.integers(0, 1 << 30))
def test_no_tile_with_a_valid_pixel_is_dead(
    height: int, width: int, core: tuple[int, int], factor: int, ratio: int, count: int, seed: int
) -> None:
    """A tile with a valid pixel is live, however coarse the mask, be it that of a coarse band's overview."""
    rng = np.random.default_rng(seed)
    valid = np.zeros((height, width), np.bool_)
    valid[rng.integers(0, height, count), rng.integers(0, width, count)] = True
    grid = grid_of(height, width)
    live = live_cells(any_pooled(any_pooled(valid, ratio), factor), grid, core)
    assert live.shape == tile_shape(grid, core)
    for row, col in np.ndindex(live.shape):
        part = valid[row * core[0] : (row + 1) * core[0], col * core[1] : (col + 1) * core[1]]
        assert live[row, col] or not part.any()


@given(sides, sides, cores)
def test_tiles_without_valid_pixels_are_dead(height: int, width: int, core: tuple[int, int]) -> None:
    """Of a whole mask, a tile is dead where none of its pixels nor those within two beside it are valid."""
    rng = np.random.default_rng(height * 100 + width)
    valid = rng.random((height, width)) < 3 / (height * width)
    live = live_cells(valid, grid_of(height, width), core)
    for row, col in np.ndindex(live.shape):
        top, left = max(row * core[0] - 2, 0), max(col * core[1] - 2, 0)
        assert live[row, col] == valid[top : (row + 1) * core[0] + 2, left : (col + 1) * core[1] + 2].any()


def test_live_cells_of_a_fully_invalid_scene() -> None:
    """A scene without a valid pixel has no live tile, a wholly valid one has only live tiles."""
    grid = grid_of(100, 77)
    assert not live_cells(np.zeros((13, 10), np.bool_), grid, (16, 16)).any()
    assert live_cells(np.ones((13, 10), np.bool_), grid, (16, 16)).all()


@pytest.mark.parametrize(("n", "of"), [(-1, 3), (3, 3), (0, 0), (1, 0), (0, -1)])
def test_shards_outside_the_plan(n: int, of: int) -> None:
    """A shard that its number does not allow is a PlanError."""
    with pytest.raises(PlanError, match=f"shard {n} of {of}"):
        Shard(n, of)


@pytest.mark.parametrize("asked", [0, -1])
def test_fewer_than_one_shard(asked: int) -> None:
    """Asking for no shards is a PlanError."""
    with pytest.raises(PlanError, match="expected 1 or more"):
        shard_count(plan_of(grid_of(9, 9), (3, 3)), asked)


@pytest.mark.parametrize(("core", "halo"), [((0, 4), 1), ((4, 0), 1), ((-2, -2), 3), ((4, 4), -1)])
def test_halos_that_leave_no_core(core: tuple[int, int], halo: int) -> None:
    """A plan without a core or with a negative halo is a PlanError."""
    with pytest.raises(PlanError, match="halo"):
        Plan("job", grid_of(9, 9), core, halo, 1, 0, "reflect", (), "uint8", b"\xff\xff")


@pytest.mark.parametrize(("core", "halo", "blend"), [((8, 8), 3, 4), ((8, 8), 5, 5), ((8, 3), 4, 2)])
def test_blending_that_does_not_fit(core: tuple[int, int], halo: int, blend: int) -> None:
    """Scores are blended no further than the halo reaches and not beyond half a core; else it is a PlanError."""
    with pytest.raises(PlanError, match=f"blending over {blend} pixels"):
        Plan("job", grid_of(2, 2), core, halo, 1, blend, "reflect", (), "uint8", b"\xff")


@pytest.mark.parametrize("live", [b"", b"\xff", b"\xff\xff\xff"])
def test_bitmaps_of_another_length(live: bytes) -> None:
    """A bitmap that does not fit the tiles is a PlanError."""
    with pytest.raises(PlanError, match="bitmap"):
        Plan("job", grid_of(9, 9), (3, 3), 0, 1, 0, "reflect", (), "uint8", live)


@given(sides, sides, cores, st.integers(1, 12), st.integers(1, 20), st.integers(0, 1 << 30))
def test_panels_order_the_tiles(height: int, width: int, core: tuple[int, int], panel: int, of: int, seed: int) -> None:
    """Panels take the same tiles in another order, panel by panel, row by row; shards partition them still."""
    grid = grid_of(height, width)
    live = np.random.default_rng(seed).random(tile_shape(grid, core)) < 0.7
    plan = replace(plan_of(grid, core, live=live), panel_cols=panel)
    tiles = live_tiles(plan)
    _, cols = tile_shape(grid, core)
    assert tiles.tolist() == sorted(np.flatnonzero(live), key=lambda tile: (tile % cols // panel, tile))
    assert np.flatnonzero(live_bits(plan)).tolist() == sorted(tiles)
    shards = [shard_tiles(plan, Shard(n, of)) for n in range(of)]
    np.testing.assert_array_equal(np.concatenate(shards), tiles)


def test_panels_as_wide_as_the_scene() -> None:
    """A panel of all columns or more is none."""
    plan = plan_of(grid_of(90, 70), (8, 8))
    for panel in (0, 9, 100):
        np.testing.assert_array_equal(live_tiles(replace(plan, panel_cols=panel)), np.arange(12 * 9))


RED = BandSource("red", "/there/red.tif", 0, "uint16", 0.0, 1)
SCENE = MaskSource(BandSource("scl", "/there/scl.tif", 0, "uint8", None, 2, (256, 256)), (3, 8))
FULL = replace(plan_of(grid_of(9, 9), (4, 4), 2), sources=(RED,), masks=(SCENE,), area="{}", panel_cols=2)
CHANGES = [
    {"job_id": "other"},
    {"grid": grid_of(9, 10)},
    {"core_px": (4, 3)},
    {"halo_px": 3},
    {"step_px": 2},
    {"blend_px": 1},
    {"pad": "edge"},
    {"sources": (RED, RED)},
    {"sources": (replace(RED, asset="nir"),)},
    {"sources": (replace(RED, index=1),)},
    {"sources": (replace(RED, dtype="uint8"),)},
    {"sources": (replace(RED, nodata=None),)},
    {"sources": (replace(RED, nodata=float("nan")),)},
    {"sources": (replace(RED, ratio=None),)},
    {"sources": (replace(RED, ratio=2),)},
    {"chip_dtype": "float32"},
    {"live": b"\xff\x00"},
    {"masks": ()},
    {"masks": (replace(SCENE, values=(3,)),)},
    {"masks": (replace(SCENE, source=replace(SCENE.source, ratio=1)),)},
    {"area": None},
    {"area": "{ }"},
    {"panel_cols": 0},
    {"masks": (replace(SCENE, bits=(BitField(3, 1, (1,)),)),)},
    {"layers": (Layer(Window(0, 0, 9, 9), (RED,)),)},
    {"layers": (Layer(Window(0, 0, 9, 9), (RED,), (SCENE,)),)},
    {"layers": (Layer(Window(0, 1, 9, 9), (RED,)),)},
    {"layers": (Layer(Window(0, 0, 9, 9), (RED,), (), Radiometry("raw", (1.0,), (0.0,), None)),)},
]


def test_the_digest_is_of_all_that_matters() -> None:
    """Each change gives another digest, and no two the same; an equal plan gives the same."""
    digests = [plan_digest(FULL), *(plan_digest(replace(FULL, **change)) for change in CHANGES)]
    assert len(set(digests)) == len(digests)
    assert plan_digest(replace(FULL)) == digests[0]
    assert {name for change in CHANGES for name in change} == set(Plan.__slots__)


def test_the_digest_is_not_of_where_files_lie() -> None:
    """Where bands and masks lie is not in the digest, so that signed links may change."""
    moved = replace(SCENE, source=replace(SCENE.source, href="/elsewhere/scl.tif"))
    elsewhere = replace(FULL, sources=(replace(RED, href="https://x/red.tif?sig=1"),), masks=(moved,))
    assert plan_digest(elsewhere) == plan_digest(FULL)
