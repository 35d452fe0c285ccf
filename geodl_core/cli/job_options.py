"""Options of the commands that lay out a job, and what they mean."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from geodl_core.errors import InputError
from geodl_core.settings import CATALOG_NAME, Settings

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _help_model(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Print the arguments of a model and leave."""
    if value is None or context.resilient_parsing:
        return
    from geodl_core.domain.model.arguments import arguments_of, describe_argument
    from geodl_core.service.jobs.model_source import open_model

    _, model = open_model(value, Settings.from_env().catalog)
    arguments = arguments_of(model)
    said = "given as --arg NAME=VALUE:" if arguments else "there are none: its graph leaves nothing to choose"
    click.echo(f"Arguments of the model {model.name}, {said}")
    for argument in arguments:
        click.echo(f"  {describe_argument(argument)}")
    context.exit()


def read_bytes(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a memory such as 512M, 2G or 1.5GiB in bytes."""
    if value is None:
        return None
    text = value.strip().upper().removesuffix("IB").removesuffix("B")
    unit = text[-1:] if text[-1:] in UNITS else ""
    try:
        return int(float(text.removesuffix(unit)) * UNITS[unit])
    except (ValueError, OverflowError):
        raise click.BadParameter(f"expected bytes such as 512M or 2G, found {value}") from None


PROVIDERS = ["auto", "cpu", "cuda", "tensorrt", "openvino"]


def read_provider(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    """Return what was asked for, else what the environment says."""
    chosen = value or Settings.from_env().provider
    if chosen not in PROVIDERS:
        raise InputError(f"GEODL_PROVIDER: expected one of {', '.join(PROVIDERS)}, found {chosen}")
    return chosen


PAD_HELP = "What the network sees beyond the scene.  [default: its own padding if it takes any size, else reflect]"
RADIOMETRY_HELP = "Values as stored, Sentinel-2's without the offset of 1000, or unscaled.  [default: by the model]"
FORMAT_HELP = "Of objects that are found, beside GeoParquet; repeatable."
RESAMPLING_HELP = "Between pixels; finer ones are averaged.  [default: bilinear]"
JOB_OPTIONS = (
    click.option(
        "-m", "--model", required=True, metavar="MODEL", help="A .emd, a .dlpk, an EMD's JSON text, or NAME[@VERSION]."
    ),
    click.option(
        "-o", "--out", type=click.Path(path_type=Path), help="Folder of results.  [default: geodl-out; env: GEODL_OUT]"
    ),
    click.option("--catalog", metavar="PATH|URL", help="Where results are registered.  [default: catalog.db in --out]"),
    click.option("--collection", metavar="ID", help="Output Collection.  [default: geodl-<model name>]"),
    click.option("--band", "bands", multiple=True, metavar="WANTED=ASSET", help="Where a band lies; repeatable."),
    click.option("--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="See --help-model; repeatable."),
    click.option("--aoi", metavar="FILE|W,S,E,N", help="GeoJSON or degrees: only there, nodata elsewhere."),
    click.option(
        "--mask", "masks", multiple=True, metavar="ASSET=CLASSES", help="Nodata there: scl=3,8 or qa_pixel:cloud."
    ),
    click.option("--mosaic", type=click.Choice(["first", "cloud"]), help="Several Items as one, in this order."),
    click.option("--pad", type=click.Choice(["network", "reflect", "edge", "constant"]), help=PAD_HELP),
    click.option("--radiometry", type=click.Choice(["raw", "dn_harmonised", "reflectance"]), help=RADIOMETRY_HELP),
    click.option("--source-range", metavar="MIN,MAX", help="Pixel values that the model's DataRange is mapped from."),
    click.option("--cell-size", metavar="SIZE", help="Of the result: 20 in units of its CRS, or 20m."),
    click.option("--crs", metavar="CODE|WKT", help="Of the result, as EPSG:3857; of objects also: scene."),
    click.option("--snap", metavar="RASTER", help="CRS, cells and pixel lines of the result are this raster's."),
    click.option("--resampling", type=click.Choice(["nearest", "bilinear", "cubic"]), help=RESAMPLING_HELP),
    click.option("--max-object", metavar="SIZE", help="Longest side of objects to find, as 64 (pixels) or 30m."),
    click.option(
        "--format", "formats", multiple=True, type=click.Choice(["parquet", "gpkg", "geojson", "fgb"]), help=FORMAT_HELP
    ),
    click.option("--compress", type=click.Choice(["deflate", "zstd", "lzw"]), help="Of the COG.  [default: deflate]"),
    click.option("--precision", type=click.Choice(["fp32", "fp16"]), help="fp16 is compared first.  [default: fp32]"),
    click.option(
        "--tile-memory", callback=read_bytes, metavar="BYTES", help="Of a tile in the network.  [default: 512M]"
    ),
    click.option("--shards", type=click.IntRange(min=1), help="Parts that a stopped run can go on from."),
    click.option(
        "--help-model",
        metavar="MODEL",
        is_eager=True,
        expose_value=False,
        callback=_help_model,
        help="Print the arguments that a model takes.",
    ),
    click.option("--strict", is_flag=True, help="Refuse a definition to be repaired, a scene that does not fit."),
)
PROVIDER_OPTION = click.option(
    "--provider", type=click.Choice(PROVIDERS), callback=read_provider, help="What networks run on.  [default: auto]"
)
MEANS_OPTIONS = (
    click.option("--threads", type=click.IntRange(min=1), help="Tiles computed at a time.  [default: one a core]"),
    click.option("--max-memory", callback=read_bytes, metavar="BYTES", help="Of the process, about; as 4G."),
    PROVIDER_OPTION,
)


def with_options(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    """Return a decorator that adds groups of options to a command, in order."""

    def add(command: Any) -> Any:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


def places_of(options: dict[str, Any]) -> tuple[Path, str]:
    """Return the folder of results, and the catalog's path or URL."""
    settings = Settings.from_env()
    out = options["out"] or settings.out
    return out, options["catalog"] or (str(out / CATALOG_NAME) if out != settings.out else settings.catalog)
