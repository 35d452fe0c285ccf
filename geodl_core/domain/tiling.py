"""How a model's tiles are laid out: core, halo, what lies beyond the scene, and where scores are blended."""

from dataclasses import dataclass

from geodl_core.domain.job import Arguments, Pad
from geodl_core.domain.model.model import Model
from geodl_core.errors import PlanError


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


def choose_tiling(model: Model, arguments: Arguments) -> Tiling:
    """Return how a model's tiles lie.

    Raises:
        PlanError: no core is left of a fixed size, or something is asked for that the network cannot.
    """
    core, halo = choose_tile(model, arguments)
    return Tiling(core, halo, step_of(model), choose_blend(model, core, halo), choose_pad(model, arguments))


def choose_tile(model: Model, arguments: Arguments) -> tuple[tuple[int, int], int]:
    """Return core (height, width) and halo.

    Where the network takes any size, halo and core become multiples of its total stride, so that every read
    window starts at the same phase as the whole scene would: else networks that halve the image answer differently.
    A tile too small for that is enlarged, unless its size was asked for.

    Raises:
        PlanError: no core is left of a fixed size, or the size is not to be chosen.
    """
    if arguments.tile_size_px is not None and model.is_size_fixed and model.chip_px != (arguments.tile_size_px,) * 2:
        raise PlanError(f"tile_size: the network takes only {model.chip_px[0]} × {model.chip_px[1]} pixels")
    if arguments.padding_px is not None and model.halo.is_cropping:
        raise PlanError(f"padding: the network itself leaves off {model.halo.px} pixels; leave it out")
    read = model.chip_px if arguments.tile_size_px is None else (arguments.tile_size_px,) * 2
    halo = model.halo.px if arguments.padding_px is None else arguments.padding_px
    step = step_of(model)
    halo = -(-halo // step) * step
    height, width = ((side - 2 * halo) // step * step for side in read)
    if model.is_size_fixed and min(height, width) < 1:
        raise PlanError(
            f"a halo of {halo} pixels leaves no core of a tile of {read[0]} × {read[1]}",
            hint="choose a smaller padding",
        )
    # A core narrower than its halo on either side spends most of the work on what is thrown away.
    least = step if arguments.tile_size_px is not None else -(-max(2 * halo, 1) // step) * step
    if model.is_size_fixed:
        return (height, width), halo
    return (max(height, least), max(width, least)), halo


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
