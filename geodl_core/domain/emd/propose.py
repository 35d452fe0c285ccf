"""A first EMD for a network that has none: what its graph tells, what its user says, and what is still open."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geodl_core.domain.classes import default_color
from geodl_core.domain.model.agreement import PIXELS
from geodl_core.domain.model.tensors import DEFAULT_CHIP_PX, Layout, class_count, image_tensors, output_of, sizes_of
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.network.reach import Reach, halo_for
from geodl_core.errors import ModelError

VALUES_QUESTION = "values: are they as stored, or does the network want a range (--data-range 0,1)?"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A definition, and what somebody should still say about it."""

    document: dict[str, Any]
    """The keys of an EMD, in the documented order."""
    open_questions: tuple[str, ...]


def guess_layout(source: Tensor) -> Layout:
    """Return the layout of an image input: an image has fewer channels than rows or columns."""
    first, last = source.shape[1], source.shape[3]
    return "NHWC" if last is not None and (first is None or last < first) else "NCHW"


def propose_emd(graph: Graph, model_file: str, reach: Reach | None, said: Mapping[str, Any]) -> Proposal:
    """Propose a definition of a network that classifies pixels.

    Args:
        graph: of the network.
        model_file: its file's name, for `ModelFile`.
        reach: how far an answer reaches, None where it is not known.
        said: keys of the EMD that the user gave; they stand above what is guessed.

    Raises:
        ModelError: the graph has no image input, or its channels are open and no bands were said.
    """
    source, result = image_tensors(graph)
    layout: Layout = said.get("ModelFormat") or guess_layout(source)
    questions: list[str] = []
    height, width = (side or DEFAULT_CHIP_PX for side in sizes_of(source, layout))
    output = output_of(result)
    document: dict[str, Any] = {
        "Framework": "Onnx",
        "ModelFile": model_file,
        "ModelType": PIXELS,
        "ImageHeight": height,
        "ImageWidth": width,
        "ExtractBands": said.get("ExtractBands") or guess_bands(source.shape[layout.index("C")], questions),
        "Classes": said.get("Classes") or _classes(class_count(result, layout, output), questions),
        **(
            {}
            if {"Padding", "ModelPadding"} & set(said)
            else _overlap(sizes_of(source, layout), sizes_of(result, layout), reach, questions)
        ),
        "ModelName": name_of(model_file),
        "ModelFormat": layout,
        "SupportsVariableTileSize": None in sizes_of(source, layout),
    }
    if "DataRange" not in said:
        questions.append(VALUES_QUESTION)
    return Proposal({**document, **said}, tuple(questions))


def name_of(model_file: str) -> str:
    """Return a model's name by its network's file."""
    return model_file.rsplit("/", 1)[-1].removesuffix(".onnx")


def guess_bands(channels: int | None, questions: list[str]) -> list[int]:
    """Return the first bands, as many as the network takes; which they are is added to the questions.

    Raises:
        ModelError: the graph does not tell how many it takes.
    """
    if channels is None:
        raise ModelError("the graph leaves its channels open", hint="say which bands it takes with --bands")
    questions.append(f"bands: which are the {channels} channels, by number or name (--bands Red,Green,…)?")
    return list(range(channels))


def _classes(count: int | None, questions: list[str]) -> list[dict[str, Any]]:
    questions.append("classes: what are they called (--class VALUE:NAME[:#RRGGBB], one each)?")
    if count == 2:
        return [{"Value": 1, "Name": "Class 1", "Color": list(default_color(0))}]
    return [
        {"Value": value, "Name": f"Class {value}", "Color": list(default_color(value))} for value in range(count or 2)
    ]


def _overlap(
    before: tuple[int | None, int | None],
    after: tuple[int | None, int | None],
    reach: Reach | None,
    questions: list[str],
) -> dict[str, int]:
    """Return `ModelPadding` where the network leaves off its border, else `Padding` where the reach is known."""
    step = reach.coarsening if reach is not None else None
    lost = [a - b * (step or 1) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    is_even = len(lost) == 2 and lost[0] == lost[1] > 0 and lost[0] % 2 == 0
    is_multiple = all(a is not None and b and a % b == 0 for a, b in zip(before, after, strict=True))
    if is_even and (step == 1 or not is_multiple):
        return {"ModelPadding": lost[0] // 2}
    if is_even and step is None:
        questions.append(
            f"size: {before[0]} rows give {after[0]}. Is that half the resolution and the like, or does the network "
            f"leave off a border (--model-padding {lost[0] // 2})?"
        )
    if reach is not None and reach.radius_px is not None:
        return {"Padding": halo_for(reach)}
    if reach is None or not reach.is_global:
        questions.append("padding: how many pixels of context does an answer need (--padding)?")
    return {}
