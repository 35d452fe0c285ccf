"""What a run says of itself: its plan before, its classes after."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from geodl_core.domain.grid import cell_size
from geodl_core.domain.naming import safe_name
from geodl_core.domain.plan.plan import tile_count
from geodl_core.domain.result.detected_item import halo_warning
from geodl_core.domain.result.result import main_asset

if TYPE_CHECKING:
    from geodl_core.engine.plan_scene import ScenePlan
    from geodl_core.engine.run_scene import RunResult


LABELS = {"classification": "classes", "detections": "objects", "preview": "preview"}
"""What the files of an asset are called, by the first word of its key."""


def plan_lines(planned: "ScenePlan", live: int) -> Iterator[str]:
    """Yield the decisions of a plan, one a line."""
    model, plan, radiometry = planned.model, planned.plan, planned.radiometry
    pairs = zip(model.bands, planned.bands, plan.sources, strict=True)
    chosen = ", ".join(f"{wanted} ← {_band_label(band, source.ratio)}" for wanted, band, source in pairs)
    height, width = plan.grid.shape
    x_size, _ = cell_size(plan.grid)
    tiles = tile_count(plan.grid, plan.core_px)
    read = [side + 2 * plan.halo_px for side in plan.core_px]
    name = f"{model.name} {model.version}" if model.version else model.name
    yield f"model    {name} ({model.digest[:8]}), {len(model.classes)} classes"
    yield f"bands    {chosen}"
    scale = "" if radiometry.source_range is None else f", {radiometry.source_range} → {model.scaling.data_range}"
    rule = f": {planned.rule}" if planned.rule else ""
    yield f"values   {radiometry.kind}{scale}{rule}"
    yield f"grid     {width} × {height} pixels (width × height) of {x_size:g}, {plan.grid.crs[:40]}"
    yield (
        f"tiles    {live} of {tiles} live, {read[0]} × {read[1]} pixels read, "
        f"halo {plan.halo_px} (from {model.halo.origin}), padding at the scene's border: {plan.pad}"
    )
    for mask in plan.masks:
        values = ", ".join(map(str, mask.values)) or "as its bits say"
        yield f"mask     nodata where {mask.source.asset} is {values}"
    if plan.area:
        yield "area     nodata outside of the area of interest"
    for note in planned.notes:
        yield f"note     {note}"
    for warning in planned.warnings:
        yield f"warning  {warning}"


def print_result(result: "RunResult", catalog: str) -> None:
    """Print the classes with their areas or objects, and where everything lies."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    item, properties = result.item, result.item["properties"]
    classes = main_asset(item)["classification:classes"]
    if "geodl:detections" in properties:
        if properties["geodl:detections"]:
            console.print(_object_table(classes))
        for line in object_lines(properties):
            console.print(line)
    else:
        console.print(_class_table(classes, properties.get("geodl:pixel_area_m2", 0) / 1e6))
    state = "computed" if result.is_computed else "present already, nothing was computed"
    console.print(f"status   {state}")
    for key, asset in item["assets"].items():
        label = LABELS.get(key.partition("_")[0])
        if label:
            console.print(f"{label:<8} {result.folder / Path(asset['href']).name}")
    console.print(f"item     {item_path(result)}")
    console.print(f"catalog  {catalog}: {item['collection']}/{item['id']}")


def object_lines(properties: Mapping[str, Any]) -> Iterator[str]:
    """Yield how many objects an Item tells of, how large they are, and whether tiles may have cut some."""
    count, halo = properties["geodl:detections"], properties.get("geodl:halo_px")
    if not count:
        yield "found    no objects"
        return
    seen = "within one tile" if halo is None else f"halo {halo}"
    yield f"found    {count:,} objects, the largest {properties['geodl:largest_object_px']:g} pixels long, {seen}"
    warning = halo_warning(properties)
    if warning:
        yield f"warning  {warning}"


def item_path(result: "RunResult") -> Path:
    """Return where the Item of a result lies."""
    return result.folder / f"{safe_name(result.item['id'])}.json"


def _object_table(classes: list[dict[str, Any]]) -> Table:
    """Return the classes of which there are objects, the commonest first."""
    table = _empty_table("objects", "share")
    for entry in sorted((entry for entry in classes if entry["count"]), key=lambda entry: -entry["count"]):
        table.add_row(*_cells(entry))
    return table


def _class_table(classes: list[dict[str, Any]], pixel_km2: float) -> Table:
    table = _empty_table("pixels", "share", "km²")
    for entry in classes:
        table.add_row(*_cells(entry), f"{entry['count'] * pixel_km2:,.3f}" if pixel_km2 else "–")
    return table


def _empty_table(*numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("", "left"), ("value", "right"), ("class", "left"), *((name, "right") for name in numbers)):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    return table


def _cells(entry: Mapping[str, Any]) -> tuple[Text | str, ...]:
    swatch = Text("██", style=f"#{entry['color_hint']}")
    return (
        *(swatch, str(entry["value"]), Text(entry["title"])),
        *(f"{entry['count']:,}", f"{entry['percentage']:.2f} %"),
    )


def _band_label(band: Any, ratio: int | None) -> str:
    place = f"{band.asset}:{band.index + 1}"
    if ratio == 1:
        return place
    return f"{place} (warped)" if ratio is None else f"{place} (×{ratio} bilinear)"
