"""The server's application: the STAC API and everything beside it, from a few values. Nothing is read from outside."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware

from geodl_core.catalog.api.app import Additions, ApiOptions, create_app
from geodl_core.io.remote.egress import EgressProxy
from geodl_core.service.access.auth import Authentication, Gate, Rules, TokenUse
from geodl_core.service.access.origins import OwnPages
from geodl_core.service.access.rates import Budgets, RateLimit, Rates
from geodl_core.service.access.tokens import prepare_tokens
from geodl_core.service.ledger.cursors import read_cursor
from geodl_core.service.numbers.metrics import LedgerNumbers, metrics_router
from geodl_core.service.numbers.more_numbers import more_numbers
from geodl_core.service.numbers.request_metrics import RequestMetrics, RequestNumbers
from geodl_core.service.pages.asset_files import asset_files_router, served_file
from geodl_core.service.pages.tiles import tile_links, tiles_router
from geodl_core.service.pages.ui_page import PageForBrowsers, ui_router
from geodl_core.service.routes.events_api import events_router
from geodl_core.service.routes.process_documents import CONFORMANCE
from geodl_core.service.routes.processes_api import processes_router
from geodl_core.service.routes.publish_api import publish_router
from geodl_core.service.routes.scans_api import scans_router
from geodl_core.service.routes.watches_api import watches_router
from geodl_core.service.routes.work_api import work_router
from geodl_core.service.running.supervisor import Supervisor
from geodl_core.service.server.follow import EndStreams, WakeOnWrite
from geodl_core.service.services import Services
from geodl_core.service.watches.dispatch import CURSOR

if TYPE_CHECKING:
    from geodl_core.service.access.oidc import Issuer, OidcOptions

JSON, HTML, TEXT = "application/json", "text/html", "text/plain"
RELATION = "http://www.opengis.net/def/rel/ogc/1.0/"
LINKS = (
    (f"{RELATION}processes", "processes", JSON, "Models that can be run"),
    (f"{RELATION}job-list", "jobs", JSON, "Runs"),
    ("watches", "watches", JSON, "Standing orders: which Items run which models"),
    ("metrics", "metrics", TEXT, "Numbers for Prometheus"),
)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What may differ from one server to the next."""

    api: ApiOptions = field(default_factory=ApiOptions)
    rules: Rules | None = None
    """What is asked of callers; None asks nothing, which is for a server that only its own machine reaches."""
    oidc: "OidcOptions | None" = None
    """Provider whose tokens are believed too."""
    rates: Rates | None = None
    """None does not limit."""
    confirms_sns: bool = False
    """Whether subscriptions that Amazon SNS asks about are confirmed."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What runs beside an application."""

    supervisor: Supervisor | None = None
    """Woken by writes, and asked whether all is well."""
    use: TokenUse = field(default_factory=TokenUse)
    """Notes when tokens were used, for somebody to write down now and then."""
    proxy: EgressProxy | None = None
    """By which rasters elsewhere are read, where strangers may publish."""


def create_server(services: Services, options: ServerOptions, beside: Beside | None = None) -> FastAPI:
    """Return the application of a whole server.

    Args:
        services: catalog, ledger and folders; they stay the caller's, to be closed afterwards.
        options: what may differ.
        beside: what runs beside it; None for nothing.
    """
    around = beside or Beside()
    additions = Additions(
        conformance=CONFORMANCE,
        links=LINKS,
        item_links=tile_links,
        # Whoever reaches a server of its own machine alone reads the files themselves, as far as that is theirs to do.
        served_file=None if options.rules is None else served_file(services),
        guards=_guards(services, options, around),
        checks=_checks(services, around.supervisor),
    )
    app = create_app(services.catalog, options.api, additions)
    registry = CollectorRegistry()
    # Before the tiles, whose grids might have the names of files.
    if options.rules is not None:
        app.include_router(asset_files_router(services))
    for router in (
        processes_router(services),
        events_router(services),
        publish_router(services, confirms_sns=options.confirms_sns),
        watches_router(services),
        work_router(services),
        scans_router(services),
        ui_router(),
        tiles_router(services, around.proxy),
        metrics_router(registry),
    ):
        app.include_router(router)
    further = around.supervisor.numbers() if around.supervisor else ()
    registry.register(LedgerNumbers(services, CURSOR, (*more_numbers(services.ledger), *further)))
    # Outermost, so that refusals are counted too.
    app.add_middleware(RequestMetrics, numbers=RequestNumbers(registry))
    return app


def _guards(services: Services, options: ServerOptions, beside: Beside) -> tuple[Middleware, ...]:
    """Return what stands before the routes, the innermost first."""
    found = [Middleware(OwnPages, origins=options.api.cors_origins)]
    supervisor = beside.supervisor
    if supervisor is not None:
        found += [
            Middleware(WakeOnWrite, wake=supervisor.wake),
            Middleware(EndStreams, is_stopping=lambda: supervisor.is_stopping),
        ]
    budgets = Budgets(options.rates) if options.rates else None
    if budgets is not None:
        found.append(Middleware(RateLimit, budgets=budgets, is_proxied=options.api.trusts_forwarded))
    if options.rules is not None:
        prepare_tokens(services.ledger)
        gate = Gate(services.ledger, options.rules, beside.use, _issuer(services, options), budgets)
        found.append(Middleware(Authentication, gate=gate))
    return (*found, Middleware(PageForBrowsers))


def _issuer(services: Services, options: ServerOptions) -> "Issuer | None":
    if options.oidc is None:
        return None
    from geodl_core.service.access.oidc import Issuer  # noqa: PLC0415  # 0.2 s to import, for such servers alone

    return Issuer(options.oidc, services.ledger.clock)


def _checks(services: Services, supervisor: Supervisor | None) -> tuple[Callable[[], None], ...]:
    def ledger() -> None:
        read_cursor(services.ledger, "ready")

    return (ledger,) if supervisor is None else (ledger, supervisor.check)
