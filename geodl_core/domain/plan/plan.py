"""The plan of a job: arithmetic over a grid, from which every tile and every shard follows."""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from geodl_core.domain.grid import Grid
from geodl_core.domain.plan.job import Pad
from geodl_core.domain.plan.placing import Kind
from geodl_core.domain.scene.masks import BitField
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.domain.window import Window, clip, grow
from geodl_core.errors import PlanError

SHARD_PIXELS = 4_000_000
"""A shard's work where the user names no number: half a minute or so on two cores, the most that a crash can lose."""
FEWEST_SHARDS = 8
"""So that a small scene with a heavy network is not lost whole."""


@dataclass(frozen=True, slots=True)
class BandSource:
    """Where one channel's pixels come from."""

    asset: str
    href: str
    index: int
    """0-based within the file."""
    dtype: str
    nodata: float | None
    ratio: int | None
    """Grid pixels along one of its pixels; None where it must be warped to the grid."""
    block_px: tuple[int, int] = (512, 512)
    """Height and width of the blocks in which the file is stored."""
    kind: Kind = "bilinear"
    """How its pixels become the grid's, where they are others."""
    shrink: float = 1.0
    """Its pixels along one of the grid's, where they are finer."""


@dataclass(frozen=True, slots=True)
class MaskSource:
    """A raster of classes, such as a scene classification, some of which are left out of the result."""

    source: BandSource
    values: tuple[int, ...]
    """Of the classes left out."""
    bits: tuple[BitField, ...] = ()
    """Fields of bits, with theirs."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One Item of a mosaic: where it lies, and its files."""

    window: Window
    """On the job's grid; sources and masks are placed on this part of it alone."""
    sources: tuple[BandSource, ...]
    """In channel order."""
    masks: tuple[MaskSource, ...] = ()
    radiometry: Radiometry | None = None
    """Applied as it is read; None where all Items share one, which the network's graph applies."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell of a plan."""

    index: int
    core: Window
    """Owned pixels, on the grid."""
    read: Window
    """Core + halo. It may reach outside the grid; with the pad `network` no further than to a full step."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a job is laid out.

    Raises:
        PlanError: a core without pixels, a negative halo, or a bitmap of another length.
    """

    job_id: str
    grid: Grid
    core_px: tuple[int, int]
    halo_px: int
    step_px: int
    """Every read window starts at a multiple of it, and is a multiple of it long: the network's total stride."""
    blend_px: int
    """Over how many pixels on either side of a core's border scores are blended with the neighbours'; 0: not at all."""
    pad: Pad
    sources: tuple[BandSource, ...]
    """In channel order; of a mosaic the first Item's, as are the masks."""
    chip_dtype: str
    """NumPy's name of the type that the network's input graph takes."""
    live: bytes
    """One bit a tile, row-major, most significant first: whether it may hold valid pixels."""
    masks: tuple[MaskSource, ...] = ()
    area: str | None = None
    """GeoJSON (`domain.area.area`): outside it the result is nodata. None: the whole scene."""
    panel_cols: int = 0
    """Tiles are taken panel by panel, each of so many columns of tiles, row by row within it; 0: one panel. It keeps
    what must be held of the rows above small in wide scenes, and does not change the result."""
    layers: tuple[Layer, ...] = ()
    """Of a mosaic: every Item, in the order in which a pixel is looked for."""

    def __post_init__(self) -> None:
        if min(self.core_px) < 1 or self.halo_px < 0:
            raise PlanError(f"the halo of {self.halo_px} pixels leaves a core of {self.core_px}: expected 1 or more")
        if self.blend_px > self.halo_px or 2 * self.blend_px > min(self.core_px):
            raise PlanError(f"blending over {self.blend_px} pixels needs as much halo and twice as much core")
        if len(self.live) != (tile_count(self.grid, self.core_px) + 7) // 8:
            raise PlanError("the plan's bitmap does not fit its tiles")


@dataclass(frozen=True, slots=True)
class Shard:
    """The n-th of `of` equal ranges of live tiles; n counts from 0.

    Raises:
        PlanError: n outside 0 to of - 1.
    """

    n: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.n < self.of:
            raise PlanError(f"shard {self.n} of {self.of}: expected 0 to {self.of - 1}")


def tile_shape(grid: Grid, core_px: tuple[int, int]) -> tuple[int, int]:
    """Return how many (rows, columns) of tiles cover the grid."""
    return -(-grid.height // core_px[0]), -(-grid.width // core_px[1])


def tile_count(grid: Grid, core_px: tuple[int, int]) -> int:
    """Return how many tiles cover the grid."""
    rows, cols = tile_shape(grid, core_px)
    return rows * cols


def tile_at(plan: Plan, index: int) -> Tile:
    """Return the tile of that row-major index; the cores of all tiles partition the grid."""
    _, cols = tile_shape(plan.grid, plan.core_px)
    row, col = divmod(index, cols)
    height, width = plan.core_px
    cell = Window(row * height, col * width, (row + 1) * height, (col + 1) * width)
    read = grow(cell, plan.halo_px)
    if plan.pad == "network":
        inside = clip(read, *plan.grid.shape)
        bottom, right = (-(-end // plan.step_px) * plan.step_px for end in (inside.bottom, inside.right))
        read = Window(inside.top, inside.left, bottom, right)
    return Tile(index, clip(cell, *plan.grid.shape), read)


def live_bits(plan: Plan) -> npt.NDArray[np.uint8]:
    """Return 1 for each live tile, 0 for each dead one, by index."""
    return np.unpackbits(np.frombuffer(plan.live, np.uint8), count=tile_count(plan.grid, plan.core_px))


def live_tiles(plan: Plan) -> npt.NDArray[np.int64]:
    """Return the indices of the live tiles in the order in which they are taken: panel by panel, row by row."""
    tiles = np.flatnonzero(live_bits(plan))
    if not plan.panel_cols:
        return tiles
    _, cols = tile_shape(plan.grid, plan.core_px)
    return tiles[np.argsort(tiles % cols // plan.panel_cols, kind="stable")]


def shard_tiles(plan: Plan, shard: Shard) -> npt.NDArray[np.int64]:
    """Return the indices of a shard's tiles, in order; the shards of one `of` partition the live tiles."""
    tiles = live_tiles(plan)
    return tiles[len(tiles) * shard.n // shard.of : len(tiles) * (shard.n + 1) // shard.of]


def shard_count(plan: Plan, asked: int | None = None) -> int:
    """Return how many shards to run: as asked, else one for each `SHARD_PIXELS`; never more than live tiles."""
    tiles = len(live_tiles(plan))
    work = -(-tiles * plan.core_px[0] * plan.core_px[1] // SHARD_PIXELS)
    wanted = asked if asked is not None else max(work, FEWEST_SHARDS)
    if wanted < 1 and asked is not None:
        raise PlanError(f"shards: expected 1 or more, found {asked}")
    return max(1, min(wanted, tiles))


def plan_digest(plan: Plan) -> str:
    """Return the content hash of a plan, where its files lie apart."""
    facts = asdict(plan)
    for layer in (facts, *facts["layers"]):
        for source in (*layer["sources"], *(mask["source"] for mask in layer["masks"])):
            del source["href"]
    facts["live"] = plan.live.hex()
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def pack_live(live: npt.NDArray[np.bool_]) -> bytes:
    """Return the bitmap of a (tile rows, tile columns) array."""
    return np.packbits(live).tobytes()


def live_cells(valid: npt.NDArray[np.bool_], grid: Grid, core_px: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Say for each tile whether its core may hold a valid pixel.

    Args:
        valid: (h, w) validity of the whole grid, decimated or whole; True = valid.
        grid: the grid it stands for.
        core_px: height and width of a core.

    Returns:
        (tile rows, tile columns); a tile counts as dead only if no pixel of `valid` that touches its core, nor
        any within two beside those, is valid.
    """
    rows, cols = tile_shape(grid, core_px)
    total = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int64)
    total[1:, 1:] = valid.cumsum(0, dtype=np.int64).cumsum(1)
    top, bottom = _decimated_range(rows, core_px[0], grid.height, valid.shape[0])
    left, right = _decimated_range(cols, core_px[1], grid.width, valid.shape[1])
    lower = total[np.ix_(bottom, right)] - total[np.ix_(bottom, left)]
    upper = total[np.ix_(top, right)] - total[np.ix_(top, left)]
    return np.asarray(lower > upper)


def _decimated_range(
    count: int, step: int, full: int, decimated: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    starts = np.arange(count) * step
    stops = np.minimum(starts + step, full)
    # Decimated and coarse rasters round their size up, which shifts far positions by up to one pixel each.
    first = starts * decimated // full - 2
    last = -(-stops * decimated // full) + 2
    return np.clip(first, 0, decimated), np.clip(last, 0, decimated)
