"""`geodl deploy`: the project's template as a stack on AWS, over the `sam` command line."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.aws_options import STACK_OPTIONS, require_boto3, say, tell
from geodl_core.cli.job_options import with_options
from geodl_core.errors import InputError

if TYPE_CHECKING:
    from geodl_core.aws.deploy.change_set import Event
    from geodl_core.aws.deploy.sam import Wanted
    from geodl_core.aws.deploy.source import Source

NAMED = {"image": "Image", "cpu_image": "CpuImage", "catalog_url": "CatalogUrl", "catalog_secret": "CatalogDsnSecret"}
"""Options → the parameters of the template that they set."""
WHAT_OPTIONS = (
    click.option(
        "--source",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        metavar="DIR",
        help="Checkout of the project.  [default: the one that the current folder lies in]",
    ),
    click.option("--image", metavar="URI", help="Container of shards, in ECR: the parameter Image."),
    click.option("--cpu-image", metavar="URI", help="Container of merges, in ECR: the parameter CpuImage."),
    click.option("--catalog-url", metavar="URL", help="A STAC API of your own that has the results."),
    click.option("--catalog-secret", metavar="ARN", help="Secret with the address of a PostgreSQL of your own."),
    click.option("--parameter", "parameters", multiple=True, metavar="KEY=VALUE", help="Of the template; repeatable."),
    click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Of all resources; repeatable."),
    click.option(
        "-m", "--model", "models", multiple=True, metavar="DEFINITION", help="Register a model afterwards; repeatable."
    ),
)


@click.command("deploy", short_help="Deploy to AWS.")
@with_options(STACK_OPTIONS, WHAT_OPTIONS)
@click.option("--no-build", is_flag=True, help="Deploy what was built before.")
@click.option("--plan", "is_plan", is_flag=True, help="Print what would change, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--allow-dirty", is_flag=True, help="Although the checkout is not as committed.")
@click.option("--remove", "is_removal", is_flag=True, help="Delete the deployment, unless it holds data.")
@click.option("--with-data", is_flag=True, help="With --remove: delete its data, too.")
def deploy(stack: str, is_removal: bool, with_data: bool, **options: Any) -> None:
    """Deploy the project's template to AWS, over the `sam` command line.

    From a checkout of the project: builds what is missing or stale, prints what would change, asks, and waits for the
    end. Parameters that are not given stay as they are. Needs credentials for AWS, and the images in ECR.

    \b
    Examples:
      geodl deploy --cpu-image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/geodl:cpu --parameter ShardCompute=fargate
      geodl deploy --plan
      geodl deploy --parameter MaxGpuVcpus=256 --yes
      geodl deploy --catalog-url https://stac.example.com/v1 --model landcover.emd
      geodl deploy --remove
    """
    require_boto3()
    if is_removal:
        from geodl_core.cli.deploy_remove import remove_stack

        remove_stack(stack, with_data=with_data, is_asked=not options["yes"])
        return
    if with_data:
        raise InputError("--with-data: it is for --remove alone")
    _deploy(stack, options)


def _deploy(name: str, options: Mapping[str, Any]) -> None:
    """Check, build, plan, ask, execute; then register models and print what one needs.

    Raises:
        InputError: something is missing, or the deployment failed; says what and why.
        UnavailableError: AWS does not answer.
    """
    from geodl_core.aws.deploy.sam import build, find_sam, lay_out

    source = _source(options)
    _require_models(options["models"])
    sam = find_sam()
    wanted, is_new = _wanted(source, name, options)
    if not options["no_build"]:
        build(source, sam, sys.executable, tell)
    change_set = lay_out(source, sam, wanted, tell)
    if change_set is None:
        say(f"stack {name}: nothing to change")
    elif not _execute(name, change_set, options, is_new=is_new):
        return
    if not options["is_plan"]:
        _finish(name, options["models"], is_new=is_new)


def _source(options: Mapping[str, Any]) -> "Source":
    """Return the checkout, which is as committed unless that does not matter.

    Raises:
        InputError: there is none, or it is not.
    """
    from geodl_core.aws.deploy.source import find_source, require_clean

    place = options["source"]
    source = find_source((place or Path.cwd()).resolve(), is_exact=place is not None)
    if not options["allow_dirty"] and not require_clean(source.folder):
        tell(f"note: {source.folder} is no git tree: what is deployed cannot be told later")
    return source


def _require_models(models: tuple[str, ...]) -> None:
    """See that models are there, before a deployment is made for them."""
    for model in models:
        if not model.lstrip().startswith("{") and not Path(model).exists():
            raise InputError(f"--model {model}: there is no such file")


def _wanted(source: "Source", name: str, options: Mapping[str, Any]) -> tuple["Wanted", bool]:
    """Return what the stack is to be, and whether it is a new one.

    Raises:
        InputError: something is missing in the account, or is not as the template wants it.
    """
    from geodl_core.aws.deploy.deploy import (
        choose_parameters,
        choose_tags,
        read_account,
        read_pairs,
        require_images,
        require_ready,
    )
    from geodl_core.aws.deploy.sam import Wanted

    given = read_pairs(options["parameters"], "--parameter")
    for option, parameter in NAMED.items():
        if options[option] is not None:
            if parameter in given:
                raise InputError(f"--parameter {parameter}: --{option.replace('_', '-')} says the same")
            given[parameter] = options[option]
    if given.get("CatalogUrl") and given.get("CatalogDsnSecret"):
        raise InputError("--catalog-url and --catalog-secret exclude one another: expected one of them")
    tags = choose_tags(name, read_pairs(options["tags"], "--tag"))
    account = read_account()
    tell(f"account  {account.id}, {account.region}, as {account.caller}")
    told = require_ready(name)
    wanted = Wanted(name, choose_parameters(source, given, told), tags, account.repository(name))
    for image in require_images(wanted.parameters):
        tell(f"note: whether {image} is there cannot be told: it does not lie in ECR")
    return wanted, told is None


def _execute(name: str, change_set: str, options: Mapping[str, Any], *, is_new: bool) -> bool:
    """Show a change set, and execute it if that is wanted; say whether it was."""
    from geodl_core.aws.deploy.change_set import discard, execute, read_changes
    from geodl_core.cli.deploy_tables import print_plan

    is_wanted = False
    try:
        print_plan(name, read_changes(change_set), is_new=is_new)
        is_wanted = not options["is_plan"] and (options["yes"] or click.confirm(f"deploy this to stack {name}?"))
    finally:
        if not is_wanted:
            discard(name, change_set)
    if is_wanted:
        execute(name, change_set, print_event)
    else:
        say("nothing was changed")
    return is_wanted


def print_event(event: "Event") -> None:
    """Print what happened to a resource, once it is done with."""
    from geodl_core.aws.deploy.change_set import STACK

    if event.kind != STACK and event.status.endswith(("_COMPLETE", "_FAILED")):
        why = f": {event.reason}" if event.is_failure else ""
        tell(f"  {event.status.lower().replace('_', ' '):<16} {event.logical_id} ({short_kind(event.kind)}){why}")


def short_kind(kind: str) -> str:
    """Return the type of a resource without what all have in common."""
    return kind.removeprefix("AWS::")


def _finish(name: str, models: tuple[str, ...], *, is_new: bool) -> None:
    """Register models, and print what one needs of the deployment; of a new one also what to do next."""
    from geodl_core.aws.deploy.deploy import next_steps
    from geodl_core.aws.site.stack import read_stack
    from geodl_core.cli.deploy_tables import print_outputs
    from geodl_core.cli.model_add import add

    stack = read_stack(name)
    for model in models:
        click.get_current_context().invoke(add, model=model, catalog=None, store=f"s3://{stack.bucket}", is_json=False)
    print_outputs(stack, next_steps(stack, models) if is_new else ())
