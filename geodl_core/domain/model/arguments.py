"""Arguments of a model: what may be chosen for a run of it, and how a choice is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from geodl_core.domain.model.model import Model
from geodl_core.errors import InputError

MOST_PX = 1 << 14
"""Of a tile's side; what fits the network and the machine is checked when the run is planned."""


@dataclass(frozen=True, slots=True)
class ModelArgument:
    """One argument, by Esri's name."""

    name: str
    kind: Literal["whole number", "number"]
    default: float
    low: float
    high: float
    help: str


def arguments_of(model: Model) -> tuple[ModelArgument, ...]:
    """Return the arguments that a model takes."""
    side = min(model.chip_px)
    arguments = []
    if not model.halo.is_cropping:
        text = f"pixels of context cut off each side of a tile (default from {model.halo.origin})"
        arguments.append(ModelArgument("padding", "whole number", model.halo.px, 0, max(MOST_PX, model.halo.px), text))
    if not model.is_size_fixed:
        text = "side of a tile in pixels, context included; larger tiles waste less context and need more memory"
        arguments.append(ModelArgument("tile_size", "whole number", side, 1, max(MOST_PX, side), text))
    if model.batch is None:
        arguments.append(ModelArgument("batch_size", "whole number", 1, 1, 256, "tiles given to the network at a time"))
    if model.output == "mask":
        text = "score above which a pixel is of the class"
        arguments.append(ModelArgument("threshold", "number", model.threshold, 0, 1, text))
    return tuple(arguments)


def split_arguments(texts: Iterable[str]) -> dict[str, str]:
    """Split `name=value` texts, and ArcGIS's `name value;name value`, into names and values.

    Raises:
        InputError: a text is neither.
    """
    given: dict[str, str] = {}
    for text in texts:
        for piece in filter(None, map(str.strip, text.split(";"))):
            name, separator, value = piece.partition("=" if "=" in piece else " ")
            if not (name.strip() and separator and value.strip()):
                raise InputError(
                    f"--arg {piece}: expected NAME=VALUE", hint='or ArcGIS\'s form, "NAME VALUE;NAME VALUE"'
                )
            given[name.strip()] = value.strip()
    return given


def read_arguments(model: Model, given: Mapping[str, str]) -> dict[str, float]:
    """Return the given arguments as numbers; all that is wrong with them is said at once.

    Raises:
        InputError: a name that the model does not take, or a value outside its domain.
    """
    known = {argument.name: argument for argument in arguments_of(model)}
    there = f"only {', '.join(known)}" if known else "nor any other"
    problems = [f"{name}: the model {model.name} has no such argument, {there}" for name in given if name not in known]
    values: dict[str, float] = {}
    for name, text in given.items():
        if name in known:
            value = _number(known[name], text)
            if value is None:
                problems.append(f"{name}: expected {_domain(known[name])}, found {text}")
            else:
                values[name] = value
    if problems:
        raise InputError(f"--arg {'; '.join(problems)}", hint="geodl run --help-model MODEL lists them")
    return values


def describe_argument(argument: ModelArgument) -> str:
    """Return one line on an argument: name, domain, default, meaning."""
    return f"{argument.name}  {_domain(argument)}, default {argument.default:g}: {argument.help}"


def _domain(argument: ModelArgument) -> str:
    return f"a {argument.kind} from {argument.low:g} to {argument.high:g}"


def _number(argument: ModelArgument, text: str) -> float | None:
    try:
        value = int(text) if argument.kind == "whole number" else float(text)
    except ValueError:
        return None
    return value if argument.low <= value <= argument.high else None
