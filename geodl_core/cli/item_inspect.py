"""`geodl item inspect`: what an Item has, and what a model makes of it."""

import json
from typing import Any

import click

from geodl_core.cli.job_options import JOB_OPTIONS, places_of, with_options
from geodl_core.errors import InputError

MODEL_OPTION = click.option("-m", "--model", metavar="MODEL", help="What geodl run would make of the Item with it.")
# The first of the options that lay out a job is the model, which a run must have.
OTHER_OPTIONS = JOB_OPTIONS[1:]


@click.command("inspect", short_help="Show what an Item has, and what a model makes of it.")
@click.argument("items", nargs=-1, required=True, metavar="ITEM...")
@with_options((MODEL_OPTION, *OTHER_OPTIONS))
@click.option("--json", "is_json", is_flag=True, help="Print JSON, for machines.")
def inspect(items: tuple[str, ...], model: str | None, is_json: bool, **options: Any) -> None:
    """Show what an Item has: its rasters, their bands, by which names geodl knows them, cell sizes and CRS.

    With --model: which band is read for each of the model's, the grid, what is done to the values and by which rule,
    the footprint, what is skipped, and what there is to note. ITEM is what `geodl run` takes, folders apart; several
    make a mosaic. Nothing is written.

    \b
    Examples:
      geodl item inspect item.json
      geodl item inspect orchard.tif
      geodl item inspect item.json --model landcover.emd --aoi 12.9,47.7,13.3,48.0 --mask scl=3,8,9,10
      geodl item inspect item.json -m net.dlpk --band NearInfrared=B8A --json
    """
    from geodl_core.cli.item_card import item_card, print_card, scene_card
    from geodl_core.service.jobs.read_job import area_of, read_job, source_of

    if model is None:
        if len(items) > 1:
            raise InputError(f"expected one Item, found {len(items)}", hint="--model and --mosaic put them together")
        card = item_card(source_of(items[0], places_of(options)[1], area_of(options["aoi"])))
    else:
        from geodl_core.engine.plan_mosaic import plan_items

        asked = read_job(items, model, options, places_of(options))
        sources = (asked.item, *asked.others)
        card = scene_card(sources, plan_items(sources, asked.model, asked.arguments))
    if is_json:
        click.echo(json.dumps(card.as_json(), ensure_ascii=False))
    else:
        print_card(card)
