"""What is followed through an ONNX graph: tensors that carry pixels, and constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from geodl_core.domain.network.receptive_field import Field, detached, join
from geodl_core.errors import ModelError

Role = Literal["", "row", "col", "both", "list"]
"""What an index along an axis tells of the place: nothing, its row, its column, both (row-major), or something else."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor without pixels."""

    shape: tuple[int, ...] | None
    """None where it is not known."""
    value: npt.NDArray[Any] | None = None
    """None where it is large or not known."""
    is_uniform: bool = False
    """Whether all its elements are known to be equal."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """A tensor that depends on the image."""

    shape: tuple[int, ...]
    roles: tuple[Role, ...]
    """What each axis tells of the place in the image."""
    rows: Field
    cols: Field
    grid: tuple[int, int]
    """Height and width; they stay when the two axes are flattened."""
    is_global: bool = False
    """Whether its elements see the whole image."""
    is_placed: bool = False
    """Whether its elements depend on their place."""
    unflat: Pixels | None = None
    """The tensor before it was reshaped beyond recognition; elements still stand in its order."""

    def axis(self, role: Role) -> int | None:
        """Return the axis that has a role."""
        return self.roles.index(role) if role in self.roles else None


Traced = Pixels | Constant


@dataclass(slots=True)
class Call:
    """One node at work."""

    operator: str
    name: str
    attributes: dict[str, Any]
    inputs: list[Traced | None]
    """None for those left out."""
    opset: int
    notes: dict[str, None] = field(default_factory=dict)
    """What must be known about the walk, in order, each once."""

    @property
    def pixels(self) -> Pixels:
        """The first input, which must carry pixels."""
        first = self.inputs[0]
        if not isinstance(first, Pixels):
            raise self.error("computes its main input without pixels")
        return first

    def input(self, index: int) -> Traced | None:
        """Return an input, None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int) -> npt.NDArray[Any] | None:
        """Return an input's value, None where it is left out.

        Raises:
            ModelError: its value is not known.
        """
        found = self.input(index)
        if found is None:
            return None
        if not isinstance(found, Constant) or found.value is None:
            raise self.error(f"takes its input {index} from something that cannot be computed beforehand")
        return found.value

    def integers(self, attribute: str, index: int | None = None) -> list[int] | None:
        """Return integers from an attribute, or else from an input."""
        if attribute in self.attributes:
            found = self.attributes[attribute]
            return [int(number) for number in found] if isinstance(found, list | tuple) else [int(found)]
        value = None if index is None else self.constant(index)
        return None if value is None else [int(number) for number in np.ravel(value)]

    def error(self, reason: str) -> ModelError:
        """Return the error that the graph cannot be followed past this node."""
        return ModelError(f"the node {self.name or '(without name)'}, {self.operator}: {reason}")


Operator = Callable[[Call], Sequence[Traced]]


def listed(pixels: Pixels, shape: tuple[int, ...], roles: tuple[Role, ...]) -> Pixels:
    """Return a tensor of the same reach whose place is no longer told by rows and columns."""
    is_list = "list" in pixels.roles
    rows, cols = (pixels.rows, pixels.cols) if is_list else (detached(pixels.rows), detached(pixels.cols))
    return replace(pixels, shape=shape, roles=roles, rows=rows, cols=cols, unflat=pixels.unflat or pixels)


def as_list(pixels: Pixels) -> Pixels:
    """Return the tensor with all its places as lists."""
    if "list" in pixels.roles:
        return pixels
    return listed(pixels, pixels.shape, tuple("list" if role else "" for role in pixels.roles))


def merge(call: Call, tensors: Sequence[Pixels], shape: tuple[int, ...], roles: tuple[Role, ...]) -> Pixels:
    """Return the tensor made from the same elements of several."""
    placed = [tensor for tensor in tensors if any(tensor.roles)] or list(tensors)
    if "list" in roles:
        placed = [as_list(tensor) for tensor in placed]
    first, rows, cols = placed[0], placed[0].rows, placed[0].cols
    for other in placed[1:]:
        try:
            rows, cols = join(rows, other.rows), join(cols, other.cols)
        except ValueError as error:
            raise call.error(str(error)) from error
    origin = first.unflat if first.unflat is not None and prod(shape) == prod(first.unflat.shape) else None
    return Pixels(
        shape,
        roles,
        rows,
        cols,
        first.grid,
        any(tensor.is_global for tensor in tensors),
        any(tensor.is_placed for tensor in tensors),
        origin if len(placed) == 1 and origin is not None else None,
    )


def common_role(call: Call, roles: Sequence[Role]) -> Role:
    """Return the role of an axis where tensors of these roles meet."""
    found = {role for role in roles if role}
    if len(found) > 1 and "list" in found | {"both"} & found:
        return "list"
    if len(found) > 1:
        raise call.error("lets rows meet columns")
    return found.pop() if found else ""


def normal_axes(call: Call, axes: Sequence[int], rank: int) -> list[int]:
    """Return axes counted from the front."""
    if any(not -rank <= axis < rank for axis in axes):
        raise call.error(f"names axes {list(axes)} of a tensor of {rank}")
    return [axis % rank for axis in axes]


def mark_global(call: Call, pixels: Pixels, what: str) -> Pixels:
    """Return the tensor as one that sees the whole image, noting what makes it so."""
    call.notes[f"{call.operator} {call.name} {what}".replace("  ", " ")] = None
    return replace(pixels, is_global=True)
