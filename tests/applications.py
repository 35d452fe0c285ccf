"""The server's application over a catalog file, in this process."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.testclient import TestClient

from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.service.access.tokens import add_token
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.server.app import Beside, ServerOptions, create_server
from geodl_core.service.services import Services
from stac_documents import make_collection, make_item

BASE = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Application:
    """A server to be asked."""

    app: Any
    api: TestClient
    services: Services

    def token(self, *scopes: str) -> dict[str, str]:
        """Return the header of a new token."""
        name = "-".join(scopes) + f"-{len(self.services.ledger.location)}-{self.services.ledger.clock()}"
        return {"Authorization": f"Bearer {add_token(self.services.ledger, name, scopes)[0]}"}


@contextmanager
def application(folder, options=None, beside: Beside | None = None, name="catalog.db"):
    """A server with a Collection `c` and an Item `i` in it."""
    place = str(folder / name)
    with SqliteCatalog(place) as catalog, Ledger(place) as ledger:
        if catalog.get_collection("c") is None:
            catalog.put_collection(make_collection("c"))
            catalog.put_item(make_item("i") | {"collection": "c"})
        services = Services(catalog, ledger, folder / "out", local_roots=(folder / "out",))
        app = create_server(services, options or ServerOptions(), beside)
        with TestClient(app, base_url=BASE, raise_server_exceptions=False) as api:
            yield Application(app, api, services)
