"""Work for workers on other machines: shards are lent, kept, and told to be done or failed."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from geodl_core.service.ledger import leases
from geodl_core.service.ledger.leases import Crew
from geodl_core.service.services import Services
from geodl_core.service.workers.messages import Beat, Failed, HandBack, LeaseRequest, failure_of, work_json

LeaseId = Annotated[str, Path(min_length=8, max_length=64, pattern=r"^[\w-]+$")]


def work_router(services: Services) -> APIRouter:
    """Return the routes below `/leases`; the scope `worker` guards them.

    Only shards are lent, and only of runs whose plans lie in an object store: others could not be reached from there.
    """
    router, ledger = APIRouter(prefix="/leases", tags=["Workers"]), services.ledger

    @router.post("", responses={204: {"description": "nothing to do"}})
    def lease(asked: LeaseRequest) -> Response:
        """Lend shards of the most urgent run."""
        if services.store is None:
            raise HTTPException(409, "this server lends no work: it was started without --store")
        crew = Crew(asked.worker, ("shard",), asked.most_shards, is_elsewhere=True)
        work = leases.lease_work(ledger, crew)
        return Response(status_code=204) if work is None else JSONResponse(work_json(work))

    @router.post("/{lease}/beat")
    def beat(lease: LeaseId, told: Beat) -> dict[str, Any]:
        """Keep a lease."""
        return {"is_mine": leases.beat(ledger, lease, told.tiles, told.lines)}

    @router.post("/{lease}/done")
    def done(lease: LeaseId) -> dict[str, Any]:
        """All shards of a lease have their parts."""
        return {"is_mine": leases.shards_done(ledger, lease)}

    @router.post("/{lease}/failed")
    def failed(lease: LeaseId, told: Failed) -> dict[str, Any]:
        """The work failed."""
        return {"is_mine": leases.failed(ledger, lease, failure_of(told))}

    @router.post("/{lease}/hand-back")
    def hand_back(lease: LeaseId, told: HandBack) -> dict[str, Any]:
        """The work is given back."""
        leases.hand_back(ledger, lease, told.text)
        return {"is_mine": True}

    return router
