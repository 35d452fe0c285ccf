"""Options of the commands that lay out a job, and what they mean."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.errors import InputError
from geodl_core.settings import CATALOG_NAME, Settings

if TYPE_CHECKING:
    from geodl_core.domain.model.model import Model
    from geodl_core.domain.plan.job import Arguments
    from geodl_core.io.package.package import ModelPackage

CATALOG_PREFIX = "catalog:"
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
FLAGS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class AskedJob:
    """What a command line asks for."""

    item: dict[str, Any]
    """Source Item with absolute hrefs; of a mosaic the first."""
    package: "ModelPackage"
    model: "Model"
    arguments: "Arguments"
    batch_size: int
    out: Path
    catalog: str
    """Path or URL."""
    others: tuple[dict[str, Any], ...] = ()
    """Further Items of a mosaic, in order."""


def _help_model(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Print the arguments of a model and leave."""
    if value is None or context.resilient_parsing:
        return
    from geodl_core.cli.model_source import open_model
    from geodl_core.domain.model.arguments import arguments_of, describe_argument

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
PROVIDERS = ["auto", "cpu", "cuda", "tensorrt", "openvino"]
MEANS_OPTIONS = (
    click.option("--threads", type=click.IntRange(min=1), help="Tiles computed at a time.  [default: one a core]"),
    click.option("--max-memory", callback=read_bytes, metavar="BYTES", help="Of the process, about; as 4G."),
    click.option("--provider", type=click.Choice(PROVIDERS), default="auto", show_default=True),
)


def with_options(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    """Return a decorator that adds groups of options to a command, in order."""

    def add(command: Any) -> Any:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


def read_job(items: Sequence[str], model: str, options: dict[str, Any], is_typed: bool = True) -> AskedJob:
    """Return what a command line asks for.

    Args:
        items: path or URL of an Item or a raster, a service, or `catalog:COLLECTION/ID`; several for a mosaic.
        model: as `--model` takes it.
        options: those of `JOB_OPTIONS`, by name.
        is_typed: whether a user wrote the items; what documents name may not be a service.

    Raises:
        InputError: as their parts; or several Items, and nothing says how to put them together.
    """
    if len(items) > 1 and not options["mosaic"]:
        raise InputError(
            f"expected one Item, found {len(items)}", hint="--mosaic first puts them together; geodl run runs each"
        )
    asked = read_itemless_job(model, options)
    if len(items) == 1:
        return with_item(asked, items[0], is_typed)
    from geodl_core.domain.scene.mosaic import order_items

    sources = [source_of(item, asked.catalog, asked.arguments.area, is_typed) for item in items]
    first, *others = map(dict, order_items(sources, options["mosaic"]))
    return replace(asked, item=first, others=tuple(others))


def read_itemless_job(model: str, options: dict[str, Any]) -> AskedJob:
    """Return what a command line asks for, its Item apart; see `read_job`."""
    from geodl_core.cli.model_source import open_model
    from geodl_core.domain.model.arguments import read_arguments, split_arguments

    out, catalog = places_of(options)
    package, loaded = open_model(model, catalog, is_strict=options["strict"])
    given = read_arguments(loaded, split_arguments(options["arguments"]))
    arguments = _arguments(options, given, loaded)
    return AskedJob({}, package, loaded, arguments, int(given.get("batch_size", 1)), out, catalog)


def places_of(options: dict[str, Any]) -> tuple[Path, str]:
    """Return the folder of results, and the catalog's path or URL."""
    settings = Settings.from_env()
    out = options["out"] or settings.out
    return out, options["catalog"] or (str(out / CATALOG_NAME) if out != settings.out else settings.catalog)


def with_item(asked: AskedJob, item: str, is_typed: bool = True) -> AskedJob:
    """Return a job with its Item; see `read_job`."""
    return replace(asked, item=source_of(item, asked.catalog, asked.arguments.area, is_typed))


def source_of(item: str, catalog: str, area: str | None, is_typed: bool = True) -> dict[str, Any]:
    """Return the Item that ITEM means; `area` is of interest, as GeoJSON."""
    from geodl_core.catalog.open import open_catalog
    from geodl_core.domain.area.area import Area
    from geodl_core.io.scene.source import read_source
    from geodl_core.io.services.services import is_service

    if item.startswith(CATALOG_PREFIX):
        with open_catalog(catalog) as opened:
            return _reachable(item_of(opened, item), is_local="://" not in catalog)
    found = read_source(item, None if area is None else Area(area), is_typed)
    return _reachable(found, is_local="://" not in item or is_service(item))


def _reachable(item: dict[str, Any], is_local: bool) -> dict[str, Any]:
    """Return an Item by whose hrefs its assets are read under the access in force.

    Args:
        item: with absolute hrefs.
        is_local: by the place that the user named; what the Item says of itself is not believed.

    Raises:
        ItemError: it comes from elsewhere, or service mode is on, and a raster's href is no public URL.
    """
    from geodl_core.domain.scene.item_hrefs import reachable_item
    from geodl_core.io.remote.access import way

    return reachable_item(item, way().access, is_local=is_local)


def item_of(catalog: Any, item: str) -> dict[str, Any]:
    """Return the Item that `catalog:COLLECTION/ID` means.

    Raises:
        ItemError: there is none.
    """
    from geodl_core.errors import ItemError
    from geodl_core.io.stac import parse_item

    collection, slash, item_id = item.removeprefix(CATALOG_PREFIX).partition("/")
    if not (collection and slash and item_id):
        raise InputError(f"{item}: expected catalog:COLLECTION/ID")
    found = catalog.get_item(collection, item_id)
    if found is None:
        raise ItemError(f"the catalog has no Item {item_id} in the collection {collection}")
    location = next((link["href"] for link in found["links"] if link["rel"] == "self"), f"./{item_id}.json")
    return parse_item(found, location)


def _arguments(options: dict[str, Any], given: dict[str, Any], model: "Model") -> "Arguments":
    from geodl_core.cli.detection_options import detection_choice, require_classifier
    from geodl_core.domain.plan.job import Arguments

    names = ("pad", "radiometry", "compress", "precision", "cell_size", "crs", "resampling")
    chosen = {name: options[name] for name in names if options[name]}
    if model.detector is None:
        require_classifier(model, options)
    else:
        chosen["detection"] = detection_choice(options, given)
        chosen.pop("crs", None)  # of the polygons: the pixels stay as they are
        least = sorted({given[name] for name in ("threshold", "score_threshold") if name in given})
        if len(least) > 1:
            raise InputError(f"--arg: threshold and score_threshold mean the same, found {least[0]} and {least[1]}")
        given = {**given, "threshold": least[0]} if least else given
    if options["tile_memory"] is not None:
        chosen["tile_memory_bytes"] = options["tile_memory"]
    same = ("threshold", "merge_policy", "predict_background")
    chosen |= {name: given[name] for name in same if name in given}
    scores = given.get("return_probability_raster", "false")
    return Arguments(
        tile_size_px=given.get("tile_size"),
        padding_px=given.get("padding"),
        source_range=value_range(options["source_range"]),
        bands=pairs(options["bands"], "--band"),
        snap=_snap(options["snap"]),
        area=area_of(options["aoi"]),
        masks=_masks(options["masks"]),
        probabilities={"false": None, "true": "uint8"}.get(scores, scores),
        test_time_augmentation=given.get("test_time_augmentation"),
        is_strict=options["strict"],
        **chosen,
    )


def _snap(raster: str | None) -> str | None:
    """Return a raster's path in full, so that the result's Item says it for every folder."""
    return str(Path(raster).resolve()) if raster is not None and Path(raster).exists() else raster


def area_of(text: str | None) -> str | None:
    """Return what --aoi means, as GeoJSON."""
    from geodl_core.domain.area.area import read_area

    if text is None:
        return None
    if Path(text).suffix.lower() in (".json", ".geojson") and not Path(text).is_file():
        raise InputError(f"--aoi {text}: expected a GeoJSON file, found none")
    if text.lstrip().startswith("{") or not Path(text).is_file():
        return read_area(text).geojson
    try:
        return read_area(Path(text).read_text(encoding="utf-8-sig")).geojson
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--aoi {text}: expected GeoJSON, found a file that cannot be read as text") from error
    except InputError as error:
        raise InputError(f"--aoi {text}: {error.message}", error.hint) from error


def _masks(texts: tuple[str, ...]) -> dict[str, tuple[int | str, ...]]:
    """Return asset → values and names of classes; either of `=` and `:` may stand between them."""
    masks: dict[str, tuple[int | str, ...]] = {}
    for text in texts:
        asset, sign, words = re.fullmatch(r"([^=:]*)([=:]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        found = [word.strip() for word in words.split(",")]
        if not (asset.strip() and sign and all(re.fullmatch(r"-?\d+|[^\W\d][\w. -]*", word) for word in found)):
            raise InputError(f"--mask {text}: expected ASSET=VALUE,VALUE of whole numbers, or ASSET:NAME,NAME")
        values = tuple(int(word) if re.fullmatch(r"-?\d+", word) else word for word in found)
        masks[asset.strip()] = masks.get(asset.strip(), ()) + values
    return masks


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Return name → value of `NAME=VALUE` texts."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InputError(f"{option} {text}: expected NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def value_range(text: str | None) -> tuple[float, float] | None:
    """Return what --source-range means."""
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError as error:
        raise InputError(f"--source-range {text}: expected MIN,MAX") from error
    return low, high
