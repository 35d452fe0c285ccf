"""A run stopped by a person: in the ledger and in Step Functions."""

from geodl_core.aws.ledger.ledger import CloudRun, move_run, read_run
from geodl_core.aws.site.executions import Deployment, stop_run
from geodl_core.domain.run.state import FINAL, State
from geodl_core.errors import InputError

CANCELLED: State = "cancelled"


def cancel_cloud_run(deployment: Deployment, run: CloudRun) -> CloudRun:
    """Stop a run, and return it as it is then; one that has ended is left as it is.

    The execution of one that was cancelled before is stopped again: Step Functions may not have answered then.

    Args:
        deployment: where.
        run: as it was seen.

    Raises:
        UnavailableError: Step Functions does not answer; the run is cancelled, and its execution goes on for now.
        CatalogError: the ledger does not answer.
    """
    after = run if run.state in FINAL else _cancelled(deployment, run)
    if after.state == CANCELLED:
        stop_run(deployment, after, CANCELLED)
    return after


def _cancelled(deployment: Deployment, run: CloudRun) -> CloudRun:
    # Before the execution is stopped: what that tells of it is no failure then.
    try:
        return move_run(deployment.ledger, run.id, CANCELLED, CANCELLED)
    except InputError:
        after = read_run(deployment.ledger, run.id)
        if after is None or after.state not in FINAL:
            raise
        # It has ended by itself since it was seen.
        return after
