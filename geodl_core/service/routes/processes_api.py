"""OGC API – Processes, Part 1: core, job list and dismiss, over the model registry and the ledger of runs.

Beside the standard: retry, rerun, history and logs of a job, and filters of the list of jobs by what a run is.
"""

from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path, Query
from stac_fastapi.types.requests import get_base_url
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from geodl_core.catalog.api.documents import read_json
from geodl_core.catalog.api.links import GEOJSON, item_url, served_item
from geodl_core.catalog.model_files import properties_of
from geodl_core.catalog.model_versions import name_of, reference
from geodl_core.catalog.models import find_model, list_models
from geodl_core.domain.model.arguments import arguments_of
from geodl_core.errors import InputError, ModelError
from geodl_core.service.jobs.model_source import open_model
from geodl_core.service.ledger.leases import log_lines
from geodl_core.service.ledger.runs import (
    MOST_SEQ,
    Run,
    cancel_run,
    history,
    list_runs,
    place_orders,
    read_run,
    retry_run,
)
from geodl_core.service.routes.execution import read_execution
from geodl_core.service.routes.job_query import JobQuery, run_filter
from geodl_core.service.routes.problems import ProblemError, ProblemRoute
from geodl_core.service.routes.process_documents import job_status, process_description, process_summary
from geodl_core.service.runs.access import RunPage, page_of
from geodl_core.service.runs.facts import event_facts, line_facts, run_facts
from geodl_core.service.runs.remote import before_text
from geodl_core.service.services import Services

MOST_EVENTS = 10_000
CLASSIFIERS = frozenset({"classification"})
"""Tasks (MLM) of models that classify given objects: they are run over files of objects, not over Items."""
JobId = Annotated[str, Path(max_length=200)]
After = Annotated[int, Query(ge=0, le=MOST_SEQ)]
_EXECUTE = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["inputs"], "title": "What to run over what"}}
        },
    }
}


def processes_router(services: Services) -> APIRouter:
    """Return the routes below `/processes` and `/jobs`, those of events apart."""
    router = APIRouter(route_class=ProblemRoute, tags=["Processes"])
    _add_processes(router, services)
    _add_jobs(router, services)
    _add_changes(router, services)
    return router


def _add_processes(router: APIRouter, services: Services) -> None:
    @router.get("/processes", summary="Models that can be run")
    def list_processes(request: Request) -> dict[str, Any]:
        """List the registered models, each by its latest version."""
        base = get_base_url(request)
        latest: dict[str, dict[str, Any]] = {}
        for model in list_models(services.catalog):
            if not CLASSIFIERS & set(properties_of(model).get("mlm:tasks") or ()):
                latest.setdefault(name_of(model), model)
        links = [{"rel": "self", "href": f"{base}processes", "type": "application/json"}]
        return {"processes": [process_summary(model, base) for model in latest.values()], "links": links}

    @router.get("/processes/{process_id}", summary="One model")
    def describe_process(process_id: JobId, request: Request) -> dict[str, Any]:
        """Describe a model, `NAME` or `NAME@VERSION`, with what can be chosen for a run of it."""
        model = _model(services, process_id)
        _, loaded = open_model(reference(model), services.ledger.location)
        return process_description(model, arguments_of(loaded), get_base_url(request))

    @router.post("/processes/{process_id}/execution", status_code=201, summary="Run a model", openapi_extra=_EXECUTE)
    async def execute(process_id: JobId, request: Request) -> Response:
        """Order a run; it is begun as soon as a worker is free. The same order again is the same job."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # A page of another site cannot send this type without leave.
        if kind != "application/json":
            raise HTTPException(415, f"Content-Type: expected application/json, found {kind[:40]!r}")
        return await run_in_threadpool(_execute, services, process_id, await request.body(), request)


def _execute(services: Services, process_id: str, body: bytes, request: Request) -> Response:
    model = _model(services, process_id)
    order = read_execution(services, model, read_json(body))
    (placed,) = place_orders(services.ledger, [order])
    base = get_base_url(request)
    headers = {"Location": f"{base}jobs/{placed.run_id}"}
    if "respond-async" in request.headers.get("prefer", "").lower():
        headers["Preference-Applied"] = "respond-async"
    return JSONResponse(job_status(run_facts(read_run(services.ledger, placed.run_id)), base), 201, headers)


def _add_jobs(router: APIRouter, services: Services) -> None:
    @router.get("/jobs", summary="Runs")
    def list_jobs(request: Request, query: Annotated[JobQuery, Query()]) -> dict[str, Any]:
        """List runs, newest first."""
        asked = run_filter(query)
        if asked is None:
            return _job_list(RunPage([], None), request)
        found = list_runs(services.ledger, replace(asked, limit=asked.limit + 1))
        return _job_list(page_of(found, asked.limit), request)

    @router.get("/jobs/{job_id}", summary="One run")
    def read_job(job_id: JobId, request: Request) -> dict[str, Any]:
        """Tell how far a run is."""
        return job_status(run_facts(_run(services, job_id)), get_base_url(request))

    @router.get("/jobs/{job_id}/results", summary="The result of a run")
    def read_results(job_id: JobId, request: Request) -> dict[str, Any]:
        """Return the STAC Item of a result, and its address."""
        return _results(services, _run(services, job_id), get_base_url(request))

    @router.get("/jobs/{job_id}/history", summary="What happened to a run")
    def read_history(job_id: JobId, after: After = 0) -> dict[str, Any]:
        """List what happened to a run, behind the `seq` that was seen last."""
        run = _run(services, job_id)
        return {"events": [event_facts(event) for event in history(services.ledger, run.id, after, MOST_EVENTS)]}

    @router.get("/jobs/{job_id}/logs", summary="What a run's workers said")
    def read_logs(job_id: JobId, after: After = 0) -> dict[str, Any]:
        """List what a run's workers said, behind the `seq` that was seen last."""
        run = _run(services, job_id)
        return {"lines": [line_facts(line) for line in log_lines(services.ledger, run.id, after)]}


def _add_changes(router: APIRouter, services: Services) -> None:
    @router.delete("/jobs/{job_id}", summary="Stop a run")
    def dismiss(job_id: JobId, request: Request) -> dict[str, Any]:
        """Cancel a run; one that has ended is left as it is."""
        run = cancel_run(services.ledger, _run(services, job_id).id)
        return job_status(run_facts(run), get_base_url(request))

    @router.post("/jobs/{job_id}/retry", summary="Try a run once more")
    def retry(job_id: JobId, request: Request) -> dict[str, Any]:
        """Queue a run that failed; what is there of it is used."""
        return _again(services, job_id, request, is_forced=False)

    @router.post("/jobs/{job_id}/rerun", summary="Compute a run anew")
    def rerun(job_id: JobId, request: Request) -> dict[str, Any]:
        """Queue a run that ended; nothing that is there of it is used."""
        return _again(services, job_id, request, is_forced=True)


def _again(services: Services, job_id: str, request: Request, *, is_forced: bool) -> dict[str, Any]:
    run = _run(services, job_id)
    try:
        again = retry_run(services.ledger, run.id, is_forced)
    except InputError as error:
        raise ProblemError(None, 409, error.message) from error
    return job_status(run_facts(again), get_base_url(request))


def _run(services: Services, job_id: str) -> Run:
    try:
        return read_run(services.ledger, job_id)
    except InputError as error:
        raise ProblemError("no-such-job", 404, error.message) from error


def _model(services: Services, process_id: str) -> dict[str, Any]:
    try:
        return find_model(services.catalog, process_id)
    except ModelError as error:
        raise ProblemError("no-such-process", 404, error.message) from error


def _results(services: Services, run: Run, base: str) -> dict[str, Any]:
    if run.state in ("failed", "invalid"):
        error = run.error or {"class": "unknown", "message": run.state}
        status = 400 if run.state == "invalid" else 500
        raise ProblemError(None, status, f"the run has {run.state}: {error['class']}: {error['message']}")
    if run.state != "succeeded" or run.result_collection is None or run.result_id is None:
        raise ProblemError("result-not-ready", 404, f"run {run.id[:8]}: it is {run.state}")
    stored = services.catalog.read_item(run.result_collection, run.result_id)
    if stored is None:
        raise ProblemError(
            None, 410, f"the catalog no longer has {run.result_collection}/{run.result_id}: rerun computes it anew"
        )
    link = {"href": item_url(base, run.result_collection, run.result_id), "rel": "item", "type": GEOJSON}
    return {"item": {"value": served_item(stored.content, base), "mediaType": GEOJSON}, "link": link}


def _job_list(page: RunPage, request: Request) -> dict[str, Any]:
    base = get_base_url(request)
    given = [(name, value) for name, value in request.query_params.multi_items() if name != "before"]
    links = [_list_link("self", base, request.query_params.multi_items())]
    if page.next is not None:
        links.append(_list_link("next", base, [*given, ("before", before_text(page.next))]))
    return {"jobs": [job_status(facts, base) for facts in page.runs], "links": links}


def _list_link(rel: str, base: str, query: list[tuple[str, str]]) -> dict[str, str]:
    text = urlencode(query, quote_via=quote)
    return {"rel": rel, "href": f"{base}jobs?{text}" if text else f"{base}jobs", "type": "application/json"}
