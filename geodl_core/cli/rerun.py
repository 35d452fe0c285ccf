"""`geodl rerun`: compute a result again from its Item alone, and compare."""

import json
import shlex
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click

from geodl_core.cli.job_options import MEANS_OPTIONS, with_options
from geodl_core.cli.run import now, read_means, run
from geodl_core.cli.stack_option import meant_stack, stack_option
from geodl_core.errors import DataError, ItemError
from geodl_core.settings import CATALOG_NAME, Settings

COMMAND = "geodl:rerun"


@click.command()
@click.argument("output_item")
@with_options(MEANS_OPTIONS)
@click.option("--catalog", metavar="PATH|URL", help="Of Items and models that are named by id.  [env: GEODL_CATALOG]")
@stack_option
@click.option("--item", metavar="PLACE", help="Where the source Item lies now.  [default: where the Item says]")
@click.option("-m", "--model", metavar="MODEL", help="Where the model lies now.  [default: where the Item says]")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Keep what is computed here.  [default: nowhere]")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, for machines.")
def rerun(output_item: str, out: Path | None, is_json: bool, **options: Any) -> None:
    """Compute the result that an Item describes once more, and say for each asset whether the bytes are the same.

    OUTPUT_ITEM is the path or URL of the Item of a result, or catalog:COLLECTION/ID. Nothing is registered in your
    catalog. The exit code is 0 where all checksums in the Items are equal, else 3. Another processor or version of
    onnxruntime may round otherwise.

    With --stack, of a result of a deployment on AWS: the model comes from the deployment's bucket, the source Item from
    the order that it kept, and catalog:COLLECTION/ID is looked for in its bucket. Pixels are computed here.

    \b
    Examples:
      geodl rerun geodl-out/geodl-water/scene_water_0f3a1b2c/scene_water_0f3a1b2c.json
      geodl rerun catalog:geodl-water/scene_water_0f3a1b2c --model moved/water.emd
      geodl rerun result.json --item moved/scene.json
      geodl rerun https://stac.example.com/collections/geodl-water/items/scene_water_0f3a1b2c --stack geodl
    """
    from geodl_core.catalog.open import open_catalog
    from geodl_core.cli.progress import RunProgress
    from geodl_core.cli.rerun_job import Whereabouts, find_result, job_again
    from geodl_core.engine.run_scene import RunRequest, run_scene

    stack = meant_stack(options["stack"], catalog=options["catalog"])
    catalog = options["catalog"] or Settings.from_env().catalog
    found = find_result(output_item, catalog, stack)
    params = {**_command(found).params, "catalog": catalog, "out": out}
    scratch: AbstractContextManager[str] = (
        nullcontext(str(out)) if out else tempfile.TemporaryDirectory(prefix="geodl-rerun-")
    )
    with scratch as place:
        folder = Path(place)
        asked = job_again(found, params, Whereabouts(options["item"], options["model"], stack))
        request = RunRequest(
            item=asked.item,
            package=asked.package,
            model=asked.model,
            arguments=asked.arguments,
            out=folder,
            collection=params["collection"],
            means=read_means(options, asked.batch_size),
            others=asked.others,
        )
        _require_elsewhere(found, folder)
        with open_catalog(str(folder / CATALOG_NAME)) as opened, RunProgress(is_quiet=is_json) as progress:
            again = run_scene(request, opened, now, progress.listen).item
    _report(found, again, is_json)


def _command(item: Mapping[str, Any]) -> click.Context:
    """Return what the Item says that computes it; anything but a `geodl run` is refused."""
    text = item["properties"].get(COMMAND)
    try:
        words = shlex.split(text) if isinstance(text, str) else []
    except ValueError:
        words = []
    if words[:2] != ["geodl", "run"]:
        raise ItemError(f"Item {item['id']}: expected a result of geodl run ({COMMAND}), found none")
    eager = {"-h", "--help", "--help-model"}
    if any(word.split("=")[0] in eager for word in words):
        raise ItemError(f"Item {item['id']}: expected a run ({COMMAND}), found a question for help")
    try:
        return run.make_context("geodl run", words[2:], resilient_parsing=False)
    except (click.ClickException, click.exceptions.Exit) as error:
        reason = error.format_message() if isinstance(error, click.ClickException) else "it runs nothing"
        raise ItemError(f"Item {item['id']}: {COMMAND} is not understood: {reason}") from error


def _require_elsewhere(item: Mapping[str, Any], folder: Path) -> None:
    """Make sure that a result is not compared with itself."""
    from geodl_core.domain.naming import safe_name
    from geodl_core.errors import InputError

    there = folder / safe_name(str(item.get("collection"))) / safe_name(str(item["id"]))
    if there.exists():
        raise InputError(f"--out {folder}: it holds the result {item['id']} already", hint="name another folder")


def _report(found: Mapping[str, Any], again: Mapping[str, Any], is_json: bool) -> None:
    checksums = {
        key: tuple(item["assets"].get(key, {}).get("file:checksum") for item in (found, again))
        for key in {**found["assets"], **again["assets"]}
    }
    jobs = [item["properties"].get("geodl:job_id") for item in (found, again)]
    different = [key for key, (before, after) in checksums.items() if before != after or before is None]
    if is_json:
        facts = {key: {"equal": key not in different, "checksum": pair[1]} for key, pair in checksums.items()}
        click.echo(json.dumps({"job_equal": jobs[0] == jobs[1], "assets": facts}))
    else:
        click.echo(f"job      {'the same' if jobs[0] == jobs[1] else f'{jobs[0]} is now {jobs[1]}'}")
        for key in checksums:
            click.echo(f"{'differs' if key in different else 'equal':<8} {key}")
    if different:
        hint = None if jobs[0] == jobs[1] else "it is another job: the source, the model or geodl itself changed"
        raise DataError(f"{len(different)} of {len(checksums)} assets differ: {', '.join(different)}", hint)
