"""The card of a model: everything that a person wants to know of it at a glance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from geodl_core.domain.classes import default_color
from geodl_core.domain.detection.detector import MARGIN_PX
from geodl_core.domain.emd.definition import Emd, EmdReading, missing_for_run, read_emd, task_of
from geodl_core.domain.emd.propose import guess_layout
from geodl_core.domain.model.agreement import fitting_type
from geodl_core.domain.model.object_classifier import ObjectClassifier
from geodl_core.domain.model.tensors import Layout, image_tensors, layout_of, sizes_of
from geodl_core.domain.network.graph import Graph
from geodl_core.domain.network.outputs import describe_outputs
from geodl_core.domain.network.reach import Reach, is_unknown, join_reaches, why_global
from geodl_core.engine.load_any import Loaded, load_any, model_in
from geodl_core.engine.load_model import probe_of
from geodl_core.errors import ModelError
from geodl_core.io.network.cost import graph_cost
from geodl_core.io.network.graph import GraphFile, read_graph_file
from geodl_core.io.network.reach import walk_reach
from geodl_core.service.jobs.model_source import open_package

LABEL_WIDTH = 10


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a model."""

    lines: dict[str, str]
    """Label → text."""
    classes: list[dict[str, Any]]
    notes: list[str]


def card_of(model: str, catalog: str, is_probed: bool) -> Card:
    """Return the card of whatever a MODEL argument means; a definition without its network has one too.

    Args:
        model: a file, JSON text, NAME[@VERSION], or an ONNX file.
        catalog: path or URL of the catalog.
        is_probed: whether the network is run to find its reach.

    Raises:
        ModelError: there is no such model.
    """
    is_text = model.lstrip().startswith("{")
    if not is_text and Path(model).suffix.lower() == ".onnx":
        file = read_graph_file(Path(model))
        return Card(dict(_graph_lines(file, None, is_probed)), [], [])
    if not is_text and Path(model).suffix.lower() == ".emd" and Path(model).is_file():
        reading = read_emd(Path(model).read_bytes(), model)
        if reading.placeholders or missing_for_run(reading.emd) or not _network(reading.emd, Path(model)).is_file():
            return _definition_card(reading, Path(model))
    package = open_package(model, catalog)
    lines = {**dict(_emd_lines(package.emd)), **dict(_graph_lines(package.file, package.emd, is_probed))}
    notes: list[str] = []
    try:
        loaded = load_any(package, is_probed or None)
        lines |= {**dict(_kind_lines(loaded)), "identity": model_in(loaded).digest[:12]}
        notes += model_in(loaded).notes
    except ModelError as error:
        notes += [*package.repairs, error.message, *([error.hint] if error.hint else [])]
    return Card(lines, _classes(package.emd), notes)


def print_card(card: Card) -> None:
    """Print a card."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for label, text in card.lines.items():
        console.print(Text(f"{label:<{LABEL_WIDTH}}{text}"))
    if card.classes:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for label in ("", "value", "class"):
            table.add_column(label, justify="right" if label == "value" else "left")
        for entry in card.classes:
            table.add_row(Text("██", style=entry["color"]), str(entry["value"]), Text(entry["name"]))
        console.print(table)
    for note in card.notes:
        console.print(Text(f"{'note':<{LABEL_WIDTH}}{note}"))


def _kind_lines(loaded: Loaded) -> Iterator[tuple[str, str]]:
    """Yield what a run of a model's kind depends on."""
    if isinstance(loaded, ObjectClassifier):
        yield from _chip_lines(loaded)
        return
    if loaded.detector is None:
        yield "halo", f"{loaded.halo.px} pixels, from {loaded.halo.origin}"
        return
    decoder, overlap = loaded.detector.decoder, loaded.detector.nms_overlap
    share = " (shares of the image)" if decoder.coordinates == "normalised" else ""
    yield "form", f"{decoder.form}: {', '.join(decoder.tensors)}"
    yield "boxes", f"{decoder.coordinates}{share}"
    yield "labels", _label_text(loaded.detector.labels)
    yield "threshold", f"{loaded.threshold:g}"
    own = "none: the network leaves no overlapping boxes"
    yield "overlap", own if overlap >= 1 else f"nms_overlap {overlap:g}: above it the lesser of two boxes goes"
    whole = max(0, 2 * (loaded.halo.px - MARGIN_PX))
    yield "halo", f"{loaded.halo.px} pixels, from {loaded.halo.origin}: objects up to {whole} pixels are seen whole"


def _label_text(labels: Mapping[int, int]) -> str:
    """Return which of the network's labels are which class ids."""
    first, last = min(labels), max(labels)
    named = f"{first} to {last}" if last - first == len(labels) - 1 else ", ".join(map(str, sorted(labels)))
    if all(label == value for label, value in labels.items()):
        return f"{named}, by Value"
    return f"{named}, by position: {', '.join(map(str, (labels[label] for label in sorted(labels))))}"


def _chip_lines(classifier: ObjectClassifier) -> Iterator[tuple[str, str]]:
    """Yield how the chips of objects are cut."""
    (height, width), seen = classifier.crop_px, classifier.model.chip_px
    how = "centred on the object" if classifier.is_crop_fixed else "as large as the object, that at most"
    is_as_is = classifier.is_crop_fixed and seen == classifier.crop_px
    yield "chips", f"{height} × {width} pixels, {how}" + ("" if is_as_is else f"; seen as {seen[0]} × {seen[1]}")
    yield "around", "0 outside of the object" if classifier.is_blackened else "what lies around the object is seen too"
    yield "upright", "north above (MAP_SPACE)" if classifier.is_map_space else "as the raster lies"
    least = classifier.threshold
    yield "threshold", "none: the best class counts" if least is None else f"{least:g}: below it an object has no class"


def _definition_card(reading: EmdReading, path: Path) -> Card:
    """Return the card of a definition whose network is not there."""
    emd = reading.emd
    there = "" if emd.ModelFile and _network(emd, path).is_file() else ", which is not there"
    network = f"{emd.ModelFile}{there}" if emd.ModelFile else "none is named"
    notes = [f"line {repair.line}: {repair.message}" for repair in reading.repairs]
    if reading.placeholders:
        notes.append(f"still to be filled in: {', '.join(reading.placeholders)}")
    if missing := missing_for_run(emd):
        notes.append(f"a run needs the missing {', '.join(missing)}")
    if "ModelType" in missing:
        notes += _type_note(_network(emd, path))
    lines = {"name": emd.ModelName or path.stem, **dict(_emd_lines(emd)), "network": network}
    return Card(lines, _classes(emd), notes)


def _type_note(network: Path) -> list[str]:
    """Return which ModelType a network would have; nothing where it is not there, or like nothing that is known."""
    try:
        fitting = fitting_type(read_graph_file(network).graph)
    except ModelError:
        return []
    return [f"ModelType {fitting} fits"] if fitting else []


def _network(emd: Emd, path: Path) -> Path:
    return path.parent / (emd.ModelFile or "").replace("\\", "/")


def _emd_lines(emd: Emd) -> Iterator[tuple[str, str]]:
    if emd.ModelName:
        yield "name", f"{emd.ModelName} {emd.Version or emd.ModelVersion or ''}".strip()
    yield "task", task_of(emd) or "not named"
    if emd.Description:
        yield "about", emd.Description
    if emd.Framework or emd.ModelConfiguration:
        configuration = emd.ModelConfiguration
        name = configuration.get("Name") if isinstance(configuration, dict) else configuration
        yield "framework", " ".join(str(part) for part in (emd.Framework, name) if part)
    if emd.ImageHeight or emd.ImageWidth:
        variable = ", or any other size" if emd.SupportsVariableTileSize else ""
        yield "tile", f"{emd.ImageHeight or '?'} × {emd.ImageWidth or '?'} pixels{variable}"
    if emd.ExtractBands is not None:
        yield "bands", ", ".join(map(str, emd.ExtractBands))
    if emd.DataRange:
        yield "values", f"mapped to {emd.DataRange[0]:g}–{emd.DataRange[1]:g}"
    if emd.NormalizationStats:
        yield "values", "min-max scaled and standardised, band by band"
    overlap = [f"{key} {getattr(emd, key)}" for key in ("ModelPadding", "Padding") if getattr(emd, key) is not None]
    if overlap:
        yield "padding", ", ".join(overlap)
    sizes = [f"{cell.x:g} × {cell.y:g}{_unit(cell)}" for cell in (emd.MinCellSize, emd.MaxCellSize) if cell]
    if sizes:
        yield "cell size", " to ".join(dict.fromkeys(sizes))


def _unit(cell: Any) -> str:
    reference = cell.spatialReference
    code = (reference.latestWkid or reference.wkid) if reference is not None else None
    return f" (units of EPSG/ESRI:{code})" if code else " (units unknown)"


def _graph_lines(file: GraphFile, emd: Emd | None, is_probed: bool) -> Iterator[tuple[str, str]]:
    graph = file.graph
    kind = describe_outputs(graph)
    yield "input", "; ".join(map(str, graph.inputs))
    yield "output", "; ".join(map(str, graph.outputs))
    yield "gives", f"{kind.kind}{f' ({kind.form})' if kind.form else ''}: {kind.why}"
    layout = _layout(graph, emd)
    if layout is not None:
        source = next(tensor for tensor in graph.inputs if len(tensor.shape) == 4)
        sides = sizes_of(source, layout)
        yield (
            "layout",
            f"{layout}, {_size(sides)}, {'any batch' if source.shape[0] is None else f'batches of {source.shape[0]}'}",
        )
        if kind.kind in ("scores", "mask", "class map"):
            yield "reach", _reach_text(_reach(file, emd, is_probed))
        chip = (sides[0] or (emd and emd.ImageHeight) or 512, sides[1] or (emd and emd.ImageWidth) or 512)
        cost = graph_cost(file.proto, chip, layout)
        yield "cost", f"{cost.flops_per_mpx / 1e9:,.1f} GFLOP a megapixel"
        yield "weights", f"{cost.parameters:,} parameters"
    yield "format", f"ONNX opset {graph.opset}, sha256 {graph.digest[:12]}"


def _layout(graph: Graph, emd: Emd | None) -> Layout | None:
    images = [tensor for tensor in graph.inputs if len(tensor.shape) == 4]
    if len(images) != 1:
        return None
    return guess_layout(images[0]) if emd is None else layout_of(emd, images[0])


def _size(sides: tuple[int | None, int | None]) -> str:
    return "any size" if None in sides else f"{sides[0]} × {sides[1]} pixels alone"


def _reach(file: GraphFile, emd: Emd | None, is_probed: bool) -> Reach | None:
    layout = _layout(file.graph, emd)
    if layout is None:
        return None
    source, _ = image_tensors(file.graph)
    walked = walk_reach(file.proto, source.name, layout)
    if not is_probed:
        return walked
    return join_reaches(walked, probe_of(file, emd, layout))


def _reach_text(reach: Reach | None) -> str:
    if reach is None or (is_unknown(reach) and not reach.is_global):
        return "unknown; --probe runs the network to find out"
    if reach.is_global:
        return f"the whole tile: {why_global(reach)}"
    return f"{reach.radius_px} pixels, stride {reach.stride_px} (by {reach.origin})"


def _classes(emd: Emd) -> list[dict[str, Any]]:
    rows = []
    for position, entry in enumerate(emd.Classes):
        color = entry.Color if entry.Color is not None and min(entry.Color) >= 0 else default_color(position)
        rows.append({"value": entry.Value, "name": entry.Name, "color": "#{:02x}{:02x}{:02x}".format(*color)})
    return rows
