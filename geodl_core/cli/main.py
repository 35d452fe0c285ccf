"""The `geodl` command: its subcommands, and errors as a person wants to read them."""

import sys
from collections.abc import Callable

import click

from geodl_core.cli.lazy import LazyGroup
from geodl_core.domain.place.href import scrub
from geodl_core.errors import GeodlError, InferenceError, InputError
from geodl_core.settings import Settings, forget_ways_past_proxies, put_in_environment

COMMANDS = {
    "run": "geodl_core.cli.run:run",
    "plan": "geodl_core.cli.stages:plan",
    "shard": "geodl_core.cli.stages:shard",
    "merge": "geodl_core.cli.stages:merge",
    "register": "geodl_core.cli.stages:register",
    "rerun": "geodl_core.cli.rerun:rerun",
    "search": "geodl_core.cli.search:search",
    "scan": "geodl_core.cli.scan:scan",
    "backfill": "geodl_core.cli.backfill:backfill",
    "serve": "geodl_core.cli.serve:serve",
    "worker": "geodl_core.cli.worker:worker",
    "token": "geodl_core.cli.token:token",
    "catalog": "geodl_core.cli.catalog:catalog",
    "runs": "geodl_core.cli.runs:runs",
    "webhook": "geodl_core.cli.webhook:webhook",
    "publish": "geodl_core.cli.publish:publish",
    "watch": "geodl_core.cli.watch:watch",
    "item": "geodl_core.cli.item:item",
    "model": "geodl_core.cli.model:model",
    "detections": "geodl_core.cli.detections:detections",
    "vectorize": "geodl_core.cli.vectorize:vectorize",
    "deploy": "geodl_core.cli.deploy:deploy",
    "aws": "geodl_core.cli.aws:aws",
}
INTERRUPTED = 130


@click.group(
    cls=LazyGroup,
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="geodl", prog_name="geodl", message="%(prog)s %(version)s")
@click.pass_context
def geodl(context: click.Context) -> None:
    """Run Esri model definitions (.emd, .dlpk) over STAC scenes; get results as STAC Items.

    \b
    Examples:
      geodl run item.json --model landcover.emd
      geodl search --bbox 12.9,47.7,13.3,48.0
    """
    from geodl_core.io.remote.access import access_in_force, proxy_options

    access = Settings.from_env().access
    if access.is_service:
        forget_ways_past_proxies()
    way = context.with_resource(access_in_force(access))
    if way.proxy:
        put_in_environment(proxy_options(way.proxy))


def main() -> None:
    """Run the command line; exit with the code of the error, after one plain line about it."""
    sys.exit(guarded(lambda: geodl.main(standalone_mode=False)))


def guarded(run: Callable[[], object]) -> int:
    """Run a command and return its exit code, errors reported on standard error."""
    try:
        run()
    except GeodlError as error:
        click.echo(f"error: {printable(error.message)}", err=True)
        if error.hint:
            click.echo(f"hint: {printable(error.hint)}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        return _stopped(stop)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except MemoryError:
        click.echo("error: out of memory", err=True)
        click.echo(
            "hint: --threads 1, a lower --max-memory or --tile-memory, or a smaller batch_size needs less", err=True
        )
        return InferenceError.exit_code
    except BrokenPipeError:
        return 0
    except Exception as error:  # the adapter: whatever else happens must not be a wall of text
        if Settings.from_env().is_debugging:
            raise
        click.echo(f"error: unexpected: {type(error).__name__}: {scrub(str(error)).splitlines()[:1]}", err=True)
        click.echo("hint: this is a fault in geodl; GEODL_DEBUG=1 shows where it came from", err=True)
        return 1
    return 0


def _stopped(stop: BaseException) -> int:
    """Say that somebody stopped a command, or that nobody answered its question; return the exit code."""
    if isinstance(stop.__context__, EOFError):
        click.echo("error: expected an answer, found the end of the input; nothing was done", err=True)
        click.echo("hint: --yes does not ask", err=True)
        return InputError.exit_code
    click.echo("interrupted; the same command goes on where this one stopped", err=True)
    return INTERRUPTED


def printable(text: str) -> str:
    """Return a text as one line, without secrets: names from outside may hold line ends and what steers a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in scrub(text))


if __name__ == "__main__":
    main()
