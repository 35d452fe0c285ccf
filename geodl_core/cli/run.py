"""`geodl run`: one Item, one model, one result."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.errors import InputError
from geodl_core.settings import CATALOG_NAME, Settings

if TYPE_CHECKING:
    from geodl_core.domain.job import Arguments
    from geodl_core.domain.model.model import Model
    from geodl_core.engine.run_scene import RunResult

CATALOG_PREFIX = "catalog:"


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


@click.command()
@click.argument("item")
@click.option(
    "-m", "--model", required=True, metavar="MODEL", help="A .emd, a .dlpk, an EMD's JSON text, or NAME[@VERSION]."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder of results.  [default: geodl-out; env: GEODL_OUT]"
)
@click.option("--catalog", metavar="PATH|URL", help="Where results are registered.  [default: catalog.db in --out]")
@click.option("--collection", metavar="ID", help="Output Collection.  [default: geodl-<model name>]")
@click.option("--band", "bands", multiple=True, metavar="WANTED=ASSET", help="Which asset holds a band; repeatable.")
@click.option("--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="See --help-model; repeatable.")
@click.option(
    "--pad",
    type=click.Choice(["network", "reflect", "edge", "constant"]),
    help="What the network sees beyond the scene.  [default: its own padding if it takes any size, else reflect]",
)
@click.option("--radiometry", type=click.Choice(["raw", "reflectance"]), help="Pixel values as stored, or unscaled.")
@click.option("--source-range", metavar="MIN,MAX", help="Pixel values that the model's DataRange is mapped from.")
@click.option("--compress", type=click.Choice(["deflate", "zstd", "lzw"]), help="Of the COG.  [default: deflate]")
@click.option("--shards", type=click.IntRange(min=1), help="Parts that a stopped run can go on from.")
@click.option("--threads", type=click.IntRange(min=1), help="Tiles computed at a time.  [default: one a core]")
@click.option("--provider", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--help-model",
    metavar="MODEL",
    is_eager=True,
    expose_value=False,
    callback=_help_model,
    help="Print the arguments that a model takes.",
)
@click.option("--strict", is_flag=True, help="Refuse a model definition that needs repairs.")
@click.option("--force", is_flag=True, help="Compute anew what exists.")
@click.option("--keep-parts", is_flag=True, help="Keep the parts after registering.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, for machines.")
def run(item: str, model: str, out: Path | None, catalog: str | None, is_json: bool, **options: Any) -> None:
    """Classify the pixels of a STAC Item with a model, and register the result.

    ITEM is the path or URL of a STAC Item, or catalog:COLLECTION/ID for one of the catalog. The result is a
    cloud-optimised GeoTIFF and a STAC Item in --out, found by `geodl search`. A finished run repeated prints its
    Item and does nothing; a stopped one goes on.

    \b
    Examples:
      geodl run item.json --model landcover.emd
      geodl run https://example.com/items/S2B_32UQU.json --model model.dlpk --out results
      geodl run catalog:sentinel-2-l2a/S2B_32UQU --model water.emd --catalog results/catalog.db
      geodl run item.json -m model.emd --band NearInfrared=B8A --arg tile_size=1024
      geodl run item.json -m landcover@1f2e --arg "padding 56;batch_size 4"
    """
    from geodl_core.catalog.open import open_catalog
    from geodl_core.cli.model_source import open_model
    from geodl_core.cli.progress import RunProgress
    from geodl_core.cli.report import print_result
    from geodl_core.domain.href import hide_secrets
    from geodl_core.engine.run_scene import RunRequest, run_scene
    from geodl_core.io.stac import read_item

    settings = Settings.from_env()
    out = out or settings.out
    where = catalog or (str(out / CATALOG_NAME) if out != settings.out else settings.catalog)
    package, loaded = open_model(model, where, is_strict=options["strict"])
    given = _model_arguments(loaded, options["arguments"])
    source = None if item.startswith(CATALOG_PREFIX) else read_item(item)
    with open_catalog(where) as opened:
        request = RunRequest(
            item=source or _item_of(opened, item),
            package=package,
            model=loaded,
            arguments=_arguments(options, given),
            out=out,
            collection=options["collection"],
            shards=options["shards"],
            threads=options["threads"],
            batch_size=int(given.get("batch_size", 1)),
            provider=options["provider"],
            is_forced=options["force"],
            keeps_parts=options["keep_parts"],
        )
        with RunProgress(is_quiet=is_json) as progress:
            result = run_scene(request, opened, _now, progress.listen)
    if is_json:
        click.echo(json.dumps(_as_json(result, where)))
    else:
        print_result(result, hide_secrets(where))


def _item_of(catalog: Any, item: str) -> dict[str, Any]:
    """Return the Item that `catalog:COLLECTION/ID` means."""
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


def _model_arguments(model: "Model", texts: tuple[str, ...]) -> dict[str, float]:
    from geodl_core.domain.model.arguments import read_arguments, split_arguments

    return read_arguments(model, split_arguments(texts))


def _arguments(options: dict[str, Any], given: dict[str, float]) -> "Arguments":
    from geodl_core.domain.job import Arguments

    chosen = {name: options[name] for name in ("pad", "radiometry", "compress") if options[name]}
    return Arguments(
        tile_size_px=int(given["tile_size"]) if "tile_size" in given else None,
        padding_px=int(given["padding"]) if "padding" in given else None,
        threshold=given.get("threshold"),
        source_range=_range(options["source_range"]),
        bands=_pairs(options["bands"], "--band"),
        **chosen,
    )


def _pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InputError(f"{option} {text}: expected NAME=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError as error:
        raise InputError(f"--source-range {text}: expected MIN,MAX") from error
    return low, high


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def _as_json(result: "RunResult", catalog: str) -> dict[str, Any]:
    from geodl_core.cli.report import item_path
    from geodl_core.domain.href import hide_secrets

    item = result.item
    return {
        "status": "computed" if result.is_computed else "present",
        "id": item["id"],
        "collection": item["collection"],
        "folder": str(result.folder.absolute()),
        "item": str(item_path(result).absolute()),
        "catalog": hide_secrets(catalog),
        "assets": {key: asset["href"] for key, asset in item["assets"].items()},
        "classes": item["assets"]["classification"]["classification:classes"],
    }
