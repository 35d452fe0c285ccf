"""How a model's tiles are laid out: core, halo, what lies beyond the scene, and where scores are blended."""

from bisect import bisect_right
from dataclasses import dataclass
from math import exp2, isqrt, lcm, log2

from geodl_core.domain.model.model import Model
from geodl_core.domain.model.tensors import sizes_of
from geodl_core.domain.plan.job import Arguments, Pad
from geodl_core.errors import PlanError

RATES = ((256, 2.60), (512, 2.35), (1024, 2.37), (2048, 2.03))
"""Side of a read window in pixels, and megapixels that one core infers in a second.

Measured: the yardstick's U-Net (1.36 GFLOP per 256 × 256), onnxruntime on CPU, one thread; only ratios matter.
"""
ALIGNMENTS_PX = (512, 256, 128, 64, 1)
"""What cores are multiples of, at best: results have blocks of 512 × 512, which tiles should share as little as may be.
"""
MOST_CORE_PX = 4096
"""Of a core whose halo asks for no more: a tile is also the unit of work that threads share and that a stop loses."""
UNKNOWN_BYTES_PER_PX = 2400.0
"""Of a network whose graph does not tell: that of Dynamic World, the most of the networks measured."""
BAND_BYTES = 5
"""Of a pixel in a chip: a float32, the widest type that chips have, and its validity."""
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Tiling:
    """How tiles of a job lie."""

    core_px: tuple[int, int]
    """Height and width of a core."""
    halo_px: int
    step_px: int
    """Every read window starts at a multiple of it."""
    blend_px: int
    """Over how many pixels on either side of a core's border scores are blended; 0: not at all."""
    pad: Pad


def choose_tiling(model: Model, arguments: Arguments, shape: tuple[int, int] | None = None) -> Tiling:
    """Return how a model's tiles lie.

    Args:
        model: what runs.
        arguments: the user's choices.
        shape: height and width of the grid; a core whose size is free is no larger than that. None: not known.

    Raises:
        PlanError: no core is left of a fixed size or of the memory, or something is asked for that the network cannot.
    """
    core, halo = choose_tile(model, arguments, shape)
    return Tiling(core, halo, step_of(model), choose_blend(model, core, halo), choose_pad(model, arguments))


def choose_tile(
    model: Model, arguments: Arguments, shape: tuple[int, int] | None = None
) -> tuple[tuple[int, int], int]:
    """Return core (height, width) and halo.

    Where the network takes any size, halo and core become multiples of its total stride, so that every read
    window starts at the same phase as the whole scene would: else networks that halve the image answer differently.
    If besides its reach is known to be bounded, tiles of any size agree, and the fastest core within the tile memory
    is taken. Else the definition's size is: what answers depend on must be as it was in training.

    Args:
        model: what runs.
        arguments: the user's choices.
        shape: as for `choose_tiling`.

    Raises:
        PlanError: no core is left of a fixed size or of the memory, or the size is not to be chosen.
    """
    _require_choices(model, arguments)
    step = step_of(model)
    halo = _round_up(model.halo.px if arguments.padding_px is None else arguments.padding_px, step)
    if arguments.tile_size_px is None and is_size_free(model):
        core = fastest_core(bytes_per_tile_px(model), arguments.tile_memory_bytes, halo, step)
        if shape is None:
            return (core, core), halo
        return (min(core, _round_up(shape[0], step)), min(core, _round_up(shape[1], step))), halo
    read = model.chip_px if arguments.tile_size_px is None else (arguments.tile_size_px,) * 2
    height, width = ((side - 2 * halo) // step * step for side in read)
    if not model.is_size_fixed:
        # A core narrower than its halo on either side spends most of the work on what is thrown away.
        least = step if arguments.tile_size_px is not None else _round_up(max(2 * halo, 1), step)
        return (max(height, least), max(width, least)), halo
    if min(height, width) < 1:
        raise PlanError(
            f"a halo of {halo} pixels leaves no core of a tile of {read[0]} × {read[1]}",
            hint="choose a smaller padding",
        )
    return (height, width), halo


def is_size_free(model: Model) -> bool:
    """Return whether tiles may have any size: the graph takes it on both sides, and its answers are the same."""
    return model.is_bounded and sizes_of(model.source, model.layout) == (None, None)


def bytes_per_tile_px(model: Model) -> float:
    """Return the memory that the tiles of one run of a network take for each pixel of a read window."""
    activations = UNKNOWN_BYTES_PER_PX if model.bytes_per_px is None else model.bytes_per_px
    return (activations + BAND_BYTES * len(model.bands)) * (model.batch or 1)


def fastest_core(bytes_per_px: float, memory_bytes: int, halo: int, step: int) -> int:
    """Return the side of the core that gives the most useful pixels a second within a tile's memory.

    It is a multiple of the step, and of 512 pixels; where no such core fits, of 256, 128, 64, or of the step alone. It
    is at least twice the halo where memory allows, since else most of the work is thrown away. More memory never makes
    it smaller.

    Args:
        bytes_per_px: memory for each pixel of a read window.
        memory_bytes: of a tile.
        halo: in pixels, a multiple of the step.
        step: what core and read window must be multiples of.

    Raises:
        PlanError: not even a core of one step fits.
    """
    most = (isqrt(int(memory_bytes / bytes_per_px)) - 2 * halo) // step * step
    if most < step:
        read = step + 2 * halo
        needed = -(-int(read * read * bytes_per_px + 1) // MIB)
        raise PlanError(
            f"tile_memory: the smallest tile, {read} × {read} pixels, needs {needed} MiB, "
            f"the budget is {memory_bytes // MIB} MiB",
            hint=f"run with --tile-memory {needed}MiB or more, or with a smaller padding",
        )
    least = _round_up(max(2 * halo, 1), step)
    most = min(most, max(MOST_CORE_PX, least + ALIGNMENTS_PX[0]))
    for low in (least, step):
        for alignment in ALIGNMENTS_PX:
            unit = lcm(step, alignment)
            cores = range(_round_up(low, unit), most + 1, unit)
            if cores:
                return max(cores, key=lambda core: _useful_rate(core, halo))
    raise AssertionError("a core of one step fits")


def _useful_rate(core: int, halo: int) -> float:
    """Return the megapixels of cores that are inferred in a second; rounded, so that machines agree on the best."""
    read = core + 2 * halo
    return round(_rate(read) * (core / read) ** 2, 9)


def _rate(read: int) -> float:
    """Return the megapixels of read windows that are inferred in a second, along straight lines in log-log.

    Below the smallest side that was measured it stays; beyond the largest it goes on falling.
    """
    sides = [side for side, _ in RATES]
    index = min(max(bisect_right(sides, read) - 1, 0), len(RATES) - 2)
    (side, rate), (next_side, next_rate) = RATES[index], RATES[index + 1]
    share = max(log2(read / side) / log2(next_side / side), 0.0)
    return rate * exp2(share * log2(next_rate / rate))


def _require_choices(model: Model, arguments: Arguments) -> None:
    if arguments.tile_size_px is not None and model.is_size_fixed and model.chip_px != (arguments.tile_size_px,) * 2:
        raise PlanError(f"tile_size: the network takes only {model.chip_px[0]} × {model.chip_px[1]} pixels")
    if arguments.padding_px is not None and model.halo.is_cropping:
        raise PlanError(f"padding: the network itself leaves off {model.halo.px} pixels; leave it out")


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def step_of(model: Model) -> int:
    """Return what halo, core and read windows are multiples of; 1 where a fixed size leaves no choice."""
    stride = model.halo.stride_px
    is_free = not model.is_size_fixed or (
        not model.halo.is_cropping and all(side % stride == 0 for side in model.chip_px)
    )
    return stride if is_free else 1


def choose_blend(model: Model, core: tuple[int, int], halo: int) -> int:
    """Return over how many pixels on either side of a core's border scores are blended.

    Only where an answer depends on the whole tile, so that no halo makes tiles agree; and not where the network
    crops its border, since its tiles then do not overlap.
    """
    is_blended = model.halo.is_global and not model.halo.is_cropping and model.output != "class map"
    return min(halo, min(core) // 2) if is_blended else 0


def choose_pad(model: Model, arguments: Arguments) -> Pad:
    """Return what the network sees beyond the scene.

    Raises:
        PlanError: the network cannot go without pixels there.
    """
    takes_any_shape = not model.is_size_fixed and not model.halo.is_cropping and (model.batch or 1) == 1
    if arguments.pad == "network" and not takes_any_shape:
        raise PlanError("pad network: needs a network that takes any size, loses no border and runs tiles one by one")
    return arguments.pad or ("network" if takes_any_shape else "reflect")
