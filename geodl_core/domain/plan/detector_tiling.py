"""How tiles of a detector lie: of the size that it was trained on, overlapping by as much as an object needs."""

from math import ceil

from geodl_core.domain.detection.choice import object_px
from geodl_core.domain.detection.detector import MARGIN_PX
from geodl_core.domain.grid import Grid, shortest_side_m
from geodl_core.domain.model.model import Model
from geodl_core.domain.plan.job import Arguments, Pad
from geodl_core.domain.plan.tiling import Tiling
from geodl_core.errors import PlanError


def detector_tiling(model: Model, arguments: Arguments, grid: Grid) -> Tiling:
    """Return how a detector's tiles lie.

    An object is whole in the tile whose core holds its centre, if half of it and a margin fit into the halo. Where the
    network's size allows, everything is a multiple of its stride, so that every tile starts at the same phase; unless
    that leaves no core.

    Args:
        model: a detector.
        arguments: the user's choices; the halo is `padding`, else what `max_object` needs, else the model's.
        grid: of the job.

    Raises:
        PlanError: the halo leaves no core, or the network cannot do what is asked for.
    """
    _require_choices(model, arguments)
    read = tile_px(model, arguments)
    stride = model.halo.stride_px
    step = 1 if any(side % stride for side in read) or is_resized(model, read) else stride
    least = ceil(_halo(model, arguments, grid, read))
    halo = ceil(least / step) * step
    if not model.is_size_fixed and arguments.tile_size_px is None:
        # Narrower cores spend most of the work on what neighbours see too.
        height, width = (max(side, 4 * halo) for side in read)
        read = (height, width)
    if min(read) - 2 * halo < step:
        step, halo = 1, least
    height, width = ((side - 2 * halo) // step * step for side in read)
    if min(height, width) < 1:
        raise PlanError(
            f"a halo of {halo} pixels leaves no core of a tile of {read[0]} × {read[1]}",
            hint="choose a smaller padding or --max-object, or a larger tile_size, which shows smaller objects",
        )
    return Tiling((height, width), halo, step, 0, _pad(arguments))


def tile_px(model: Model, arguments: Arguments) -> tuple[int, int]:
    """Return height and width of a read window: `tile_size` is the longer side, of the proportions of the network."""
    longer = arguments.tile_size_px
    if longer is None:
        return model.chip_px
    if not model.is_size_fixed:
        stride = model.halo.stride_px
        return (ceil(longer / stride) * stride,) * 2
    height, width = (max(1, round(longer * side / max(model.chip_px))) for side in model.chip_px)
    return height, width


def is_resized(model: Model, read: tuple[int, int]) -> bool:
    """Say whether a read window has another size than the network takes."""
    return model.is_size_fixed and read != model.chip_px


def _halo(model: Model, arguments: Arguments, grid: Grid, read: tuple[int, int]) -> float:
    largest = arguments.detection.max_object
    if arguments.padding_px is not None:
        return arguments.padding_px
    if largest is None:
        # The model's is in pixels of what it sees: a larger tile is shown to it smaller, its context too.
        return model.halo.px * (read[0] / model.chip_px[0] if model.is_size_fixed else 1)
    return object_px(largest, shortest_side_m(grid)) / 2 + MARGIN_PX


def _require_choices(model: Model, arguments: Arguments) -> None:
    """Make sure that a detector can do what is asked for.

    Raises:
        PlanError: fp16, or a look at a larger size than the network takes.
    """
    if arguments.precision == "fp16":
        raise PlanError("precision fp16: detectors run in fp32")
    asked = arguments.test_time_augmentation
    largest = max(arguments.detection.tta_scales)
    if (model.is_augmented if asked is None else asked) and model.is_size_fixed and largest > 1:
        height, width = model.chip_px
        raise PlanError(
            f"tta_scales: {largest:g} is larger than the {height} × {width} pixels that the network takes",
            hint="scales up to 1, or a smaller tile_size, which shows the network larger objects",
        )


def _pad(arguments: Arguments) -> Pad:
    if arguments.pad == "network":
        raise PlanError("pad network: a detector's tiles have one size; expected constant, reflect or edge")
    return arguments.pad or "constant"
