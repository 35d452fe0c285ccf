"""Arguments of a model: what may be chosen for a run of it, and how a choice is read."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from geodl_core.domain.model.argument import FLAGS, ModelArgument, Value
from geodl_core.domain.model.detector_arguments import detector_arguments
from geodl_core.domain.model.model import Model
from geodl_core.domain.pixels.augment import MERGE_POLICIES
from geodl_core.domain.pixels.product import SCORE_TYPES
from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.plan.tiling import choose_tile, is_size_free
from geodl_core.errors import InputError, PlanError

MOST_PX = 1 << 14
"""Of a tile's side; what fits the network and the machine is checked when the run is planned."""


def arguments_of(model: Model) -> tuple[ModelArgument, ...]:
    """Return the arguments that a model takes."""
    if model.detector is not None:
        return detector_arguments(model)
    arguments = []
    if not model.halo.is_cropping:
        text = f"pixels of context cut off each side of a tile (default from {model.halo.origin})"
        most = max(MOST_PX, model.halo.px)
        arguments.append(ModelArgument("padding", "whole number", model.halo.px, text, 0, most))
    if not model.is_size_fixed:
        side = _tile_side(model)
        text = "side of a tile in pixels, context included; larger tiles waste less context and need more memory"
        if is_size_free(model):
            text += " (default: the fastest that fits the usual tile memory)"
        arguments.append(ModelArgument("tile_size", "whole number", side, text, 1, max(MOST_PX, side)))
    if model.batch is None:
        text = "tiles given to the network at a time"
        arguments.append(ModelArgument("batch_size", "whole number", 1, text, 1, 256))
    if model.output == "mask":
        text = "score above which a pixel is of the class"
        arguments.append(ModelArgument("threshold", "number", model.threshold, text, 0, 1))
    return (*arguments, *_score_arguments(model))


def _score_arguments(model: Model) -> Iterator[ModelArgument]:
    """Yield the arguments of networks that give scores."""
    if model.output == "class map":
        return
    text = "look at each tile turned and mirrored too, and merge the scores; eight times the work"
    yield ModelArgument("test_time_augmentation", "flag", model.is_augmented, text)
    yield ModelArgument("merge_policy", "choice", "mean", "of these scores", choices=MERGE_POLICIES)
    if model.output == "scores" and any(entry.value == 0 for entry in model.classes):
        text = "whether the class of value 0 may be chosen"
        yield ModelArgument("predict_background", "flag", True, text)
    text = "also write a raster of scores, one band a class; true means uint8"
    yield ModelArgument("return_probability_raster", "choice", "false", text, choices=("false", "true", *SCORE_TYPES))


def _tile_side(model: Model) -> int:
    """Return the side of a tile, context included, where the user chooses nothing."""
    try:
        core, halo = choose_tile(model, Arguments())
    except PlanError:
        return min(model.chip_px)  # planning says what is wrong
    return min(core) + 2 * halo


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


def read_arguments(model: Model, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the given arguments as values; all that is wrong with them is said at once.

    Raises:
        InputError: a name that the model does not take, or a value outside its domain.
    """
    known = {argument.name: argument for argument in arguments_of(model)}
    there = f"only {', '.join(known)}" if known else "nor any other"
    problems = [f"{name}: the model {model.name} has no such argument, {there}" for name in given if name not in known]
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name in known:
            value = _value(known[name], text)
            if value is None:
                problems.append(f"{name}: expected {_domain(known[name])}, found {text}")
            else:
                values[name] = value
    if problems:
        raise InputError(f"--arg {'; '.join(problems)}", hint="geodl run --help-model MODEL lists them")
    return values


def describe_argument(argument: ModelArgument) -> str:
    """Return one line on an argument: name, domain, default, meaning."""
    default = f"{argument.default:g}" if argument.kind in ("whole number", "number") else str(argument.default).lower()
    return f"{argument.name}  {_domain(argument)}, default {default}: {argument.help}"


def _domain(argument: ModelArgument) -> str:
    if argument.kind == "flag":
        return "true or false"
    if argument.kind == "numbers":
        return f"numbers above {argument.low:g}, up to {argument.high:g}, with commas between"
    if argument.kind == "choice":
        return f"one of {', '.join(argument.choices)}"
    return f"a {argument.kind} from {argument.low:g} to {argument.high:g}"


def _value(argument: ModelArgument, text: str) -> Value | None:
    if argument.kind == "flag":
        return FLAGS.get(text.lower())
    if argument.kind == "choice":
        return text.lower() if text.lower() in argument.choices else None
    if argument.kind == "numbers":
        return _numbers(argument, text)
    try:
        value = int(text) if argument.kind == "whole number" else float(text)
    except ValueError:
        return None
    return value if argument.low <= value <= argument.high else None


def _numbers(argument: ModelArgument, text: str) -> str | None:
    try:
        values = [float(piece) for piece in text.split(",")]
    except ValueError:
        return None
    is_within = all(argument.low < value <= argument.high for value in values)
    return ",".join(f"{value:g}" for value in values) if is_within else None
