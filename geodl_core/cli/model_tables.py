"""Registered models as tables for people."""

from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from geodl_core.catalog.model_versions import definition_version, name_of, reference, version_of

WIDTH = 100
"""Of a table where it does not go to a terminal."""
UNNAMED = "unknown"
"""What MLM calls the architecture of a network that nobody named."""
UNCOUNTED = "not counted in a deployment"


def print_list(items: list[dict[str, Any]]) -> None:
    """Print one line for each Item."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", overflow="fold", min_width=12)
    table.add_column("version", no_wrap=True)
    table.add_column("registered", no_wrap=True)
    table.add_column("task", overflow="fold")
    table.add_column("classes", justify="right")
    table.add_column("size", justify="right", no_wrap=True)
    for item in items:
        properties = item["properties"]
        own = definition_version(item)
        cells = [
            name_of(item) + (f" {own}" if own else ""),
            version_of(item),
            str(properties.get("created", ""))[:16].replace("T", " "),
            ", ".join(properties.get("mlm:tasks", ())),
            str(len(_classes(properties))),
            _size(item["assets"].get("model", {}).get("file:size")),
        ]
        # Text, not str: square brackets in a name are no markup.
        table.add_row(*map(Text, cells))
    _console().print(table)
    click.echo(f"{len(items)} model{'s' if len(items) != 1 else ''}")


def print_card(item: dict[str, Any], results: int | None) -> None:
    """Print what an Item says of its model, and how many results were made by it; None where nobody counted."""
    properties = item["properties"]
    source: dict[str, Any] = next(iter(properties.get("mlm:input", ())), {})
    newer = next((link.get("title") for link in item["links"] if link.get("rel") == "latest-version"), None)
    architecture = properties.get("mlm:architecture")
    rows = [
        ("model", reference(item) + (f"  (latest: {newer})" if newer else "  (latest)")),
        ("name", str(properties.get("title") or properties.get("mlm:name"))),
        ("its version", definition_version(item)),
        ("description", properties.get("description")),
        ("task", ", ".join(properties.get("mlm:tasks", ()))),
        ("network", None if architecture == UNNAMED else architecture),
        ("bands", ", ".join(map(str, source.get("bands", ())))),
        ("input", _tensor(source.get("input", {}))),
        ("output", "; ".join(_output(one) for one in properties.get("mlm:output", ()))),
        ("classes", ", ".join(f"{one['value']} {one.get('description')}" for one in _classes(properties))),
        ("parameters", f"{properties['mlm:total_parameters']:,}" if "mlm:total_parameters" in properties else None),
        ("registered", str(properties.get("created", ""))[:19].replace("T", " ")),
        ("results", UNCOUNTED if results is None else str(results)),
        *(
            (f"file {key}", f"{asset['href']} ({_size(asset.get('file:size'))})")
            for key, asset in item["assets"].items()
        ),
    ]
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        if value:
            table.add_row(Text(label), Text(value))
    _console().print(table)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _classes(properties: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for output in properties.get("mlm:output", ()) for one in output.get("classification:classes", ())]


def _output(output: dict[str, Any]) -> str:
    return f"{output.get('name', '')} {_tensor(output.get('result', {}))}".strip()


def _tensor(structure: dict[str, Any]) -> str:
    sizes = zip(structure.get("dim_order", ()), structure.get("shape", ()), strict=False)
    shown = ", ".join(f"{name} {'any' if size == -1 else size}" for name, size in sizes)
    return f"{structure.get('data_type', '')} {shown}".strip()


def _size(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
