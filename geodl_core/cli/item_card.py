"""The card of an Item: what it has, or what a model makes of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from geodl_core.domain.grid import bbox_wgs84, cell_size, outline_wgs84
from geodl_core.domain.place.href import hide_secrets
from geodl_core.domain.plan.plan import live_tiles, tile_count
from geodl_core.domain.scene.item import Band, read_scene
from geodl_core.io.scene.raster import is_remote, raster_facts

if TYPE_CHECKING:
    from geodl_core.domain.plan.plan import BandSource
    from geodl_core.engine.plan_scene import ScenePlan
    from geodl_core.io.scene.raster import RasterFacts

LABEL_WIDTH = 10
RIGHT = ("cell", "scale", "offset", "nodata")
"""Columns of numbers."""
FOR_MACHINES = ("roles", "file")
"""Columns that would make the table too wide."""
WIDTH = 120
"""Of the table where it does not go to a terminal."""


@dataclass(frozen=True, slots=True)
class ItemCard:
    """What there is to say of an Item."""

    lines: dict[str, str]
    """Label → text."""
    rows: list[dict[str, Any]]
    """Of the table of bands, by column."""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """For machines, beyond the lines."""

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {**self.lines, **self.facts, "bands": self.rows, "notes": self.notes, "warnings": self.warnings}


def item_card(item: Mapping[str, Any]) -> ItemCard:
    """Return what an Item has. Local rasters are asked for what it does not say of them."""
    scene = read_scene(item)
    lines = dict(_item_lines(item))
    facts: dict[str, RasterFacts] = {}
    for band in scene.bands:
        if band.asset not in facts and not is_remote(band.href):
            facts[band.asset] = raster_facts(band.href, band.asset)
    rows = [_band_row(band, item["assets"][band.asset], facts.get(band.asset)) for band in scene.bands]
    others = [key for key in item["assets"] if key not in {band.asset for band in scene.bands}]
    if others:
        lines["no raster"] = ", ".join(others)
    return ItemCard(lines, rows, [] if rows else ["the Item has no raster that a model could read"])


def scene_card(items: Sequence[Mapping[str, Any]], planned: "ScenePlan") -> ItemCard:
    """Return what a model makes of an Item, or of a mosaic of several; the bands are those of the first."""
    plan, radiometry, model = planned.plan, planned.radiometry, planned.model
    outline = outline_wgs84(plan.grid)
    live, tiles = len(live_tiles(plan)), tile_count(plan.grid, plan.core_px)
    height, width = plan.grid.shape
    x, y = cell_size(plan.grid)
    scale = "" if radiometry.source_range is None else "; {:g}–{:g} is mapped to ".format(*radiometry.source_range)
    scale += "{:g}–{:g}".format(*model.scaling.data_range) if scale and model.scaling.data_range else ""
    lines = {
        **dict(_item_lines(items[0])),
        **({"mosaic": ", ".join(str(item["id"]) for item in items)} if len(items) > 1 else {}),
        "model": f"{model.name} {model.version or ''}".strip(),
        "grid": f"{width} × {height} pixels (width × height) of {x:g} × {y:g}, {plan.grid.crs[:60]}",
        "footprint": _box(bbox_wgs84(outline)),
        "values": f"{radiometry.kind}{f': {planned.rule}' if planned.rule else ''}{scale}",
        "tiles": f"{live} of {tiles} live, {tiles - live} skipped ({100 * (tiles - live) / tiles:.0f} %)",
    }
    rows = [
        _source_row(str(wanted), band, source, planned, at)
        for at, (wanted, band, source) in enumerate(zip(model.bands, planned.bands, plan.sources, strict=True))
    ]
    facts = {
        "geometry": outline,
        "shape": [height, width],
        "cell_size": [x, y],
        "crs": plan.grid.crs,
        "radiometry": radiometry.kind,
        "source_range": list(radiometry.source_range) if radiometry.source_range else None,
        "live_tiles": live,
        "skipped_tiles": tiles - live,
        "job_id": plan.job_id,
    }
    return ItemCard(lines, rows, list(planned.notes), list(planned.warnings), facts)


def print_card(card: ItemCard) -> None:
    """Print a card."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for label, text in card.lines.items():
        console.print(Text(f"{label:<{LABEL_WIDTH}}{text}"))
    if card.rows:
        table = Table(box=None, pad_edge=False, header_style="bold")
        columns = [column for column in card.rows[0] if column not in FOR_MACHINES]
        for column in columns:
            table.add_column(column, justify="right" if column in RIGHT else "left", overflow="fold")
        for row in card.rows:
            table.add_row(*(Text(_cell(row[column])) for column in columns))
        console.print(table, width=None if console.is_terminal else WIDTH)
    for label, texts in (("note", card.notes), ("warning", card.warnings)):
        for text in texts:
            console.print(Text(f"{label:<{LABEL_WIDTH}}{text}"))


def _item_lines(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    properties = item.get("properties") or {}
    yield "item", f"{item['collection']}/{item['id']}" if item.get("collection") else str(item["id"])
    times = [properties.get(key) for key in ("datetime", "start_datetime", "end_datetime")]
    yield "time", str(times[0]) if times[0] else f"{times[1]} to {times[2]}"
    if item.get("bbox"):
        yield "bbox", _box(item["bbox"])


def _band_row(band: Band, asset: Mapping[str, Any], facts: "RasterFacts | None") -> dict[str, Any]:
    """Return a band as the Item has it."""
    described = asset.get("bands") or [{}] * (band.index + 1)
    dtype = described[band.index].get("data_type") if band.index < len(described) else None
    cell, crs = band.cell_size, asset.get("proj:code")
    nodata = band.nodata
    if facts is not None and band.index < len(facts.dtypes):
        dtype, crs, cell = facts.dtypes[band.index], facts.grid.crs[:20], cell_size(facts.grid)[0]
        nodata = nodata if facts.nodata[band.index] is None else facts.nodata[band.index]
    return {
        "band": f"{band.asset}:{band.index + 1}",
        "names": ", ".join(band.names),
        "type": dtype,
        "cell": cell,
        "scale": band.scale,
        "offset": band.offset,
        "nodata": nodata,
        "CRS": crs,
        "media type": band.media_type.partition(";")[0] or None,
        "roles": ", ".join(band.roles),
    }


def _source_row(wanted: str, band: Band, source: "BandSource", planned: "ScenePlan", at: int) -> dict[str, Any]:
    """Return what is read for a band of the model, and by which scale and offset the network gets it."""
    how = {None: f"warped, {source.kind}", 1: "as it is"}.get(source.ratio, f"{source.kind} × {source.ratio}")
    return {
        "model": wanted,
        "band": f"{band.asset}:{band.index + 1}",
        "names": ", ".join(band.names),
        "type": source.dtype,
        "cell": None if source.ratio is None else cell_size(planned.plan.grid)[0] * source.ratio,
        "how": how,
        "scale": planned.radiometry.scale[at],
        "offset": planned.radiometry.offset[at],
        "nodata": source.nodata,
        "file": hide_secrets(source.href),
    }


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _box(edges: Any) -> str:
    return ", ".join(f"{float(edge):.5f}" for edge in edges) + " (west, south, east, north)"
