"""`geodl aws replay-dlq`: messages that nobody could take, once more."""

from typing import TYPE_CHECKING

import click

from geodl_core.cli.aws_options import STACK_OPTIONS, opened_stack, say, tell
from geodl_core.cli.job_options import with_options
from geodl_core.errors import InputError

if TYPE_CHECKING:
    from geodl_core.aws.operate.dead_letters import Letter, Reason
    from geodl_core.aws.site.executions import Deployment
    from geodl_core.aws.site.stack import Stack


@click.command("replay-dlq", short_help="Replay dead letters.")
@click.option("--dry-run", is_flag=True, help="Show them only; they stay where they are.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="So many at most.  [default: all]")
@click.option("--purge", is_flag=True, help="Delete them instead, for ever.")
@click.option("-y", "--yes", is_flag=True, help="With --purge: do not ask.")
@with_options(STACK_OPTIONS)
def replay_dlq(dry_run: bool, limit: int | None, purge: bool, yes: bool, stack: str) -> None:
    """Send dead letters, messages that failed three times, to the queue again; each with why it failed.

    A letter is sent first and deleted after that: none is lost, and a crash in between sends one twice, which starts
    nothing twice. Letters that fail again come back.

    \b
    Examples:
      geodl aws replay-dlq --dry-run
      geodl aws replay-dlq --limit 1
      geodl aws replay-dlq --purge --limit 10
    """
    if dry_run and purge:
        raise InputError("--dry-run and --purge exclude one another: expected one of them")
    with opened_stack(stack) as (found, deployment):
        if not found.ingest_dead_letters or not found.ingest_queue:
            raise InputError(f"stack {stack}: it has no queue of dead letters (output IngestDeadLetters)")
        if purge and not yes:
            click.confirm("delete dead letters, for ever?", abort=True)
        _go_through(found, deployment, limit, "look" if dry_run else "purge" if purge else "replay")


def _go_through(stack: "Stack", deployment: "Deployment", limit: int | None, mode: str) -> None:
    """Show dead letters, and replay or delete them."""
    from geodl_core.aws.operate.dead_letters import delete, letters_of, replay, show_again, why_dead
    from geodl_core.aws.steps.ingest import Known

    known, looked_at, lasting, count = Known(), [], 0, 0
    try:
        for letter in letters_of(stack, limit):
            reason = why_dead(deployment, known, letter)
            count, lasting = count + 1, lasting + reason.is_lasting
            _show(letter, reason)
            if mode == "replay":
                replay(stack, letter)
            elif mode == "purge":
                delete(stack, letter)
            else:
                # Only at the end: it would be received again.
                looked_at.append(letter)
    finally:
        for letter in looked_at:
            show_again(stack, letter)
    verb = {"replay": "sent again", "purge": "deleted", "look": "there"}[mode]
    say(f"{count} dead letter{'s' if count != 1 else ''} {verb}")
    if lasting and mode != "purge":
        say(f"{lasting} of them will fail again as they are; --purge deletes instead")


def _show(letter: "Letter", reason: "Reason") -> None:
    from geodl_core.aws.operate.dead_letters import shortened_body
    from geodl_core.domain.scan.windows import stamp

    say(f"{letter.id[:8]}  {stamp(letter.sent_s)[:19].replace('T', ' ')}  {reason.text}")
    if reason.is_lasting:
        tell(f"          {shortened_body(letter)}")
