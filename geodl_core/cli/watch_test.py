"""`geodl watch test|apply`: what watches say of an Item, and of those that are in the catalog."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from geodl_core.cli.stack_option import meant_stack, opened_controls, stack_option
from geodl_core.cli.watch_options import catalog_option, json_option, services_of
from geodl_core.settings import Settings

if TYPE_CHECKING:  # heavy: paid by a command, not by --help
    from geodl_core.aws.site.stack import Stack
    from geodl_core.catalog.stac_api import StacApiCatalog
    from geodl_core.service.watches.existing import Applied
    from geodl_core.service.watches.tested import Tested

SHOWN = 200
"""Items that are listed one by one."""


@click.command("test", short_help="Say which watches an Item matches, and why not.")
@click.argument("item")
@click.option("--watch", "names", multiple=True, metavar="NAME", help="Only this one; repeatable.")
@click.option("--exit-code", "tells", is_flag=True, help="1 where no watch matches, for scripts.")
@catalog_option
@stack_option
@json_option
def test(item: str, names: tuple[str, ...], tells: bool, catalog: str | None, stack: str | None, is_json: bool) -> None:
    """Say which watches an Item matches, and the outcome of each check; nothing is run.

    ITEM is the path or URL of an Item, or catalog:COLLECTION/ID; of a deployment on AWS the catalog is the one that its
    results go to.

    \b
    Examples:
      geodl watch test scene.json
      geodl watch test catalog:sentinel-2-l2a/S2B_32TQS_20260514 --watch crops
      geodl watch test scene.json --exit-code > /dev/null && echo matches
      geodl watch test scene.json --stack geodl
    """
    from geodl_core.service.watches.tested import told_tests

    where = meant_stack(stack, catalog=catalog)
    tested = _tested_here(catalog, names, item) if where is None else _tested_there(where, names, item)
    if is_json:
        click.echo(json.dumps({"results": told_tests(tested)}, ensure_ascii=False))
    else:
        for one in tested:
            click.echo(f"{one.name}: {'matches' if one.matches else 'does not match'}")
            for check in one.checks:
                click.echo(f"  {'yes' if check.passed else 'NO ':<4}{check.name:<11}{check.text}")
        if not tested:
            click.echo("no watches")
    if tells and not any(one.matches for one in tested):
        raise SystemExit(1)


@click.command("apply", short_help="Order a watch's runs for Items that are there already.")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only say which.")
@catalog_option
@stack_option
@json_option
def apply(name: str, dry_run: bool, catalog: str | None, stack: str | None, is_json: bool) -> None:
    """Order a watch's runs for the Items that are in the catalog already and match.

    What was ordered before is not ordered again. The watch may be paused; its brake holds. Of a deployment on AWS the
    catalog is the one that its results go to.

    \b
    Examples:
      geodl watch apply crops --dry-run
      geodl watch apply crops
      geodl watch apply crops --stack geodl
    """
    from dataclasses import asdict

    counts = {"ordered": 0, "there": 0, "passed over": 0}
    stack = meant_stack(stack, catalog=catalog)
    for one in _applied_here(catalog, name, dry_run) if stack is None else _applied_there(stack, name, dry_run):
        word = "passed over" if one.run_id is None else "ordered" if one.is_new else "there"
        counts[word] += 1
        if is_json:
            click.echo(json.dumps(asdict(one), ensure_ascii=False))
        elif sum(counts.values()) <= SHOWN:
            shown = one.why_not if one.run_id is None else one.run_id[:8]
            said = "would be ordered" if dry_run and word == "ordered" else word
            click.echo(f"{said:<17}{one.item}  {shown}")
    if not is_json:
        words = "to be ordered" if dry_run else "ordered"
        click.echo(f"{counts['ordered']} {words}, {counts['there']} there before, {counts['passed over']} passed over")


def _tested_here(catalog: str | None, names: tuple[str, ...], item: str) -> "list[Tested]":
    from geodl_core.io.stac import read_item
    from geodl_core.service.jobs.read_job import CATALOG_PREFIX, item_of
    from geodl_core.service.ledger.watches import list_watches, read_stored_watch
    from geodl_core.service.watches.check import examine

    with services_of(catalog) as services:
        found = item_of(services.catalog, item) if item.startswith(CATALOG_PREFIX) else read_item(item)
        stored = [read_stored_watch(services.ledger, name) for name in names] or list_watches(services.ledger)
        return examine(services, stored, found)


def _tested_there(name: str, names: tuple[str, ...], item: str) -> "list[Tested]":
    from geodl_core.aws.ledger.watches import list_cloud_watches, read_cloud_watch
    from geodl_core.aws.watches.told_watches import examine_on_stack
    from geodl_core.io.stac import read_item
    from geodl_core.service.jobs.read_job import CATALOG_PREFIX, item_of

    stack, controls = opened_controls(name)
    if item.startswith(CATALOG_PREFIX):
        with _results_of(stack) as catalog:
            found = item_of(catalog, item)
    else:
        found = read_item(item)
    deployment = controls.deployment
    kept = [read_cloud_watch(deployment.ledger, each) for each in names] or list_cloud_watches(deployment.ledger)
    return examine_on_stack(deployment, kept, found)


def _applied_here(catalog: str | None, name: str, is_dry: bool) -> "Iterator[Applied]":
    from geodl_core.service.watches.existing import apply_watch

    with services_of(catalog) as services:
        yield from apply_watch(services, name, is_dry=is_dry)


def _applied_there(name: str, watch: str, is_dry: bool) -> "Iterator[Applied]":
    from geodl_core.aws.watches.stack_watches import apply_on_stack

    stack, controls = opened_controls(name)
    with _results_of(stack) as catalog:
        yield from apply_on_stack(controls, catalog, watch, is_dry=is_dry)


@contextmanager
def _results_of(stack: "Stack") -> "Iterator[StacApiCatalog]":
    """Give the catalog that the results of a deployment go to; its own API is shown GEODL_TOKEN.

    Raises:
        InputError: it has none that is a STAC API.
    """
    from geodl_core.aws.site.secrets import with_token
    from geodl_core.catalog.stac_api import StacApiCatalog
    from geodl_core.errors import InputError

    address = stack.catalog_url or stack.stac_api
    if not address:
        raise InputError(f"stack {stack.name}: expected a STAC API, found none (outputs StacApi, CatalogUrl)")
    token = Settings.from_env().token if address == stack.stac_api else None
    with StacApiCatalog(with_token(address, token) if token else address) as catalog:
        yield catalog
