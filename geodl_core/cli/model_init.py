"""`geodl model init`: a definition for a network that has none."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import click

from geodl_core.errors import InputError

TYPES = ("ImageClassification", "ObjectDetection", "InstanceDetection", "ObjectClassification")


@click.command("init", short_help="Propose an EMD for an ONNX network.")
@click.argument("network", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The EMD.  [default: NETWORK with .emd]")
@click.option("--name", help="ModelName.  [default: the file's]")
@click.option("--version", help="Version, such as 2026.11.")
@click.option("--description", help="Description.")
@click.option("--bands", metavar="B,B,…", help="ExtractBands: names or 0-based numbers, in channel order.")
@click.option("--class", "classes", multiple=True, metavar="VALUE:NAME[:#RRGGBB]", help="A class; repeatable.")
@click.option("--data-range", metavar="MIN,MAX", help="DataRange: what pixel values are mapped to.")
@click.option("--padding", type=click.IntRange(min=0), help="Padding: pixels of context.  [default: by the graph]")
@click.option(
    "--model-padding", type=click.IntRange(min=0), help="ModelPadding: what the network leaves off each side."
)
@click.option("--tile-size", type=click.IntRange(min=1), help="ImageHeight and ImageWidth of a network of any size.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Threshold of a mask, or of objects.")
@click.option("--type", "type_", type=click.Choice(TYPES), help="ModelType.  [default: by the graph]")
@click.option(
    "--architecture", metavar="NAME", help="Of a detector, as YOLOv8, RT-DETR, SSD.  [default: by its answer]"
)
@click.option(
    "--config", metavar="KEY=VALUE", multiple=True, help="Of a detector's answer: form, anchors, …; repeatable."
)
@click.option("--layout", type=click.Choice(["NCHW", "NHWC"]), help="ModelFormat.  [default: by the graph]")
@click.option("--force", is_flag=True, help="Replace an EMD that exists.")
def init(network: Path, output: Path | None, force: bool, **options: Any) -> None:
    """Look at an ONNX network and propose an EMD that describes it.

    What the graph cannot tell is guessed, said, and answered by options: repeat the command with --force. A network
    that finds objects is run once, to see how its answer holds them.

    \b
    Examples:
      geodl model init net.onnx
      geodl model init net.onnx --bands Blue,Green,Red,NearInfrared --data-range 0,1 \\
          --class 1:Water:#4169E1 --class 2:Forest:#226E32 --class 3:Crops
      geodl model init yolo.onnx --data-range 0,1 --class 0:Car --class 1:Ship --threshold 0.3
      geodl model init ssd.onnx --class 1:Face --config 'min_sizes=[[10,16,24],[32,48]]' --config 'strides=[8,16]'
    """
    from geodl_core.domain.emd.definition import read_emd
    from geodl_core.domain.emd.write import write_emd
    from geodl_core.engine.propose_model import propose_model
    from geodl_core.io.network.graph import read_graph_file
    from geodl_core.io.store import write_bytes

    target = output or network.with_suffix(".emd")
    if target.exists() and not force:
        raise InputError(f"{target} exists", hint="--force replaces it")
    model_file = Path(os.path.relpath(network.absolute(), target.absolute().parent)).as_posix()
    # What was said must fit what the graph takes and gives; a definition that cannot run is not written.
    proposal = propose_model(read_graph_file(network), model_file, _said(options))
    proposed = read_emd(json.dumps(proposal.document), "the proposed definition").emd
    write_bytes(target, write_emd(proposed).encode())
    click.echo(f"wrote {target}")
    for question in proposal.open_questions:
        click.echo(f"open  {question}")
    click.echo(f"look at it with: geodl model inspect {target}")


def _said(options: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of the EMD that the options give."""
    keys = {"name": "ModelName", "version": "Version", "description": "Description", "padding": "Padding"}
    keys["model_padding"] = "ModelPadding"
    keys |= {"threshold": "Threshold", "layout": "ModelFormat", "type_": "ModelType"}
    said = {key: options[option] for option, key in keys.items() if options[option] is not None}
    if options["tile_size"]:
        said |= {"ImageHeight": options["tile_size"], "ImageWidth": options["tile_size"]}
    if options["bands"]:
        names = [name.strip() for name in options["bands"].split(",") if name.strip()]
        said["ExtractBands"] = [int(name) if name.isdecimal() else name for name in names]
    if options["classes"]:
        said["Classes"] = [_class(text, position) for position, text in enumerate(options["classes"])]
    if options["data_range"]:
        said["DataRange"] = _range(options["data_range"])
    config = dict(key_value(text, "--config") for text in options["config"])
    if config or options["architecture"]:
        named = {"Name": options["architecture"]} if options["architecture"] else {}
        said["ModelConfiguration"] = {**named, **({"Config": config} if config else {})}
    return said


def _range(text: str) -> list[float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError as error:
        raise InputError(f"--data-range {text}: expected MIN,MAX") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"--data-range {text}: expected two numbers, the first below the second")
    return [low, high]


def _class(text: str, position: int) -> dict[str, Any]:
    from geodl_core.domain.classes import default_color

    value, _, rest = text.partition(":")
    name, _, color = rest.partition(":#")
    if not re.fullmatch(r"-?\d+:[^:]+(:#[0-9A-Fa-f]{6})?", text):
        raise InputError(f"--class {text}: expected VALUE:NAME or VALUE:NAME:#RRGGBB")
    rgb = list(bytes.fromhex(color)) if color else list(default_color(position))
    return {"Value": int(value), "Name": name, "Color": rgb}


def key_value(text: str, option: str = "--set") -> tuple[str, Any]:
    """Return the key and value of a `KEY=JSON` text; what is not JSON is taken as text."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise InputError(f"{option} {text}: expected KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
