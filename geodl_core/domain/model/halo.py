"""How tiles of a model must overlap: halo, stride, what the network crops or coarsens by itself."""

from dataclasses import dataclass

from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.model.tensors import Layout, sizes_of
from geodl_core.domain.network.graph import Tensor
from geodl_core.domain.network.reach import Reach, halo_for, is_unknown, why_global
from geodl_core.errors import ModelError

USUAL_STRIDE_PX = 32
"""Five halvings, the deepest of the usual encoders; a phase that is a multiple of it suits every shallower one."""


@dataclass(frozen=True, slots=True)
class Halo:
    """How tiles of a model must overlap."""

    px: int
    origin: str
    """Where it comes from, for the run report."""
    is_cropping: bool
    """Whether the result lacks the halo already (`ModelPadding`)."""
    stride_px: int
    """The network's total stride, or a multiple of it: shifting its input by that much only shifts its answer."""
    coarsening: int
    """Input pixels along one pixel of the result."""
    is_global: bool
    """Whether an answer depends on the whole tile."""


def halo_of(
    emd: Emd, chip: tuple[int, int], tensors: tuple[Tensor, Tensor, Layout], reach: Reach | None, notes: list[str]
) -> Halo:
    """Return how tiles must overlap: by the definition, else by what the graph reaches, else by a quarter of the tile.

    Args:
        emd: the definition.
        chip: height and width of a tile.
        tensors: the image input, the result, and their layout.
        reach: what is known of the graph, None where it was not looked at.
        notes: what was decided is added.

    Raises:
        ModelError: the definition and the graph disagree.
    """
    known = reach if reach is not None and not is_unknown(reach) else None
    is_fixed = None not in sizes_of(tensors[0], tensors[2])
    stride = known.stride_px if known else (1 if is_fixed else USUAL_STRIDE_PX)
    is_global = known is not None and known.is_global
    if known is not None and known.is_global:
        notes.append(f"the network sees its whole tile: {why_global(known)}")
    cropped, coarsening = _lost(emd, tensors, reach.coarsening if reach is not None else None, notes)
    if cropped:
        origin = "ModelPadding" if emd.ModelPadding else "the graph, which leaves off its border"
        if is_global:
            notes.append("its tiles do not overlap, so their scores are not blended: seams may show where they meet")
        return Halo(cropped, origin, True, stride, 1, is_global)
    if is_global and emd.Padding == 0:
        notes.append("with a Padding of 0 its tiles do not overlap: seams may show where they meet")
    if emd.Padding is not None:
        if known and known.radius_px is not None and known.radius_px > emd.Padding:
            notes.append(f"Padding is {emd.Padding}, but an answer reaches {known.radius_px} pixels: seams may show")
        return Halo(emd.Padding, "Padding", False, stride, coarsening, is_global)
    if known and known.radius_px is not None:
        reached = f"{known.origin}: an answer reaches {known.radius_px} pixels, the stride is {known.stride_px}"
        return Halo(halo_for(known), reached, False, stride, coarsening, is_global)
    quarter = min(chip) // 4
    why = "a quarter of the tile, as nothing else is known"
    return Halo(quarter - quarter % min(stride, max(quarter, 1)), why, False, stride, coarsening, is_global)


def _lost(emd: Emd, tensors: tuple[Tensor, Tensor, Layout], step: int | None, notes: list[str]) -> tuple[int, int]:
    """Return what the network leaves off each side, and how much coarser its result is: (0, 1) for neither.

    Half the size may be half the resolution or a border left off; `ModelPadding` decides, else the step that the
    graph is known to take, else it is taken as resolution.
    """
    source, result, layout = tensors
    before, after = sizes_of(source, layout), sizes_of(result, layout)
    if None in before or None in after:
        return emd.ModelPadding or 0, step or 1
    pairs = [(int(a or 0), int(b or 0)) for a, b in zip(before, after, strict=True)]
    if emd.ModelPadding:
        if any(a - b != 2 * emd.ModelPadding for a, b in pairs):
            wanted = " × ".join(str(a - 2 * emd.ModelPadding) for a, _ in pairs)
            found = " × ".join(str(b) for _, b in pairs)
            raise ModelError(
                f"ModelPadding is {emd.ModelPadding}, so a tile of {' × '.join(str(a) for a, _ in pairs)} "
                f"should give {wanted}, but it gives {found}: {result}"
            )
        return emd.ModelPadding, 1
    ratios = {a // b if b and a % b == 0 else 0 for a, b in pairs}
    if step is None and len(ratios) == 1 and 0 not in ratios:
        step = ratios.pop()
        if step > 1:
            (rows, _), _ = pairs
            notes.append(
                f"the result is taken to be {step} times coarser than the tile; "
                f"if the network leaves off its border instead, say ModelPadding {(rows - rows // step) // 2}"
            )
    borders = {a - b * (step or 1) for a, b in pairs}
    border = borders.pop()
    if not borders and border >= 0 and border % 2 == 0 and (border == 0 or (step or 1) == 1):
        return border // 2, step or 1
    raise ModelError(
        f"the ONNX output {result} does not fit the input {source}",
        hint="if the network leaves off its border, say so with ModelPadding: (input - output) / 2",
    )
