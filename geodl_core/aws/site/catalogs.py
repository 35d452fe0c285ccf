"""The catalog of a deployment: a STAC API by its address, or a database whose address is a secret."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from geodl_core.aws.site.secrets import catalog_address, read_secret, with_token
from geodl_core.aws.topics.publish import Topic, publish_items, publish_outbox
from geodl_core.domain.watch.loops import Lookup
from geodl_core.errors import InputError, UnavailableError

T = TypeVar("T")
PAUSE_S = 1.0
WAKE_S = 20.0
"""An API Gateway waits 30 s for an answer; Aurora takes about 15 s to come back from rest."""


def catalog_opener(secrets: Callable[[], Any], url: str, secret: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return what opens the catalog of a deployment, each time anew: a database without connections may rest.

    Args:
        secrets: makes a client of Secrets Manager, where one is needed.
        url: address of a STAC API; empty where there is none.
        secret: name or ARN of the secret with that API's token, or with the database's address where there is no API;
            empty where there is none.

    Raises:
        InputError: neither is told.
    """
    if not (url or secret):
        raise InputError(
            "expected a STAC API or the secret of a database as catalog, found none",
            hint="GEODL_CATALOG or GEODL_CATALOG_SECRET",
        )

    def opened() -> AbstractContextManager[Any]:
        from geodl_core.catalog.open import open_catalog  # noqa: PLC0415  # a second, for those that need it

        if not secret:
            return open_catalog(url, create=False)
        text = read_secret(secrets(), secret)
        return open_catalog(with_token(url, text) if url else catalog_address(text), create=False)

    return opened


def awaken(connect: Callable[[], T], most_s: float) -> T:
    """Return what connecting gives, tried again and again where a database takes its time to wake.

    Raises:
        UnavailableError: it did not come in time.
    """
    until = time.monotonic() + most_s
    while True:
        try:
            return connect()
        except UnavailableError:
            if time.monotonic() + PAUSE_S > until:
                raise
            time.sleep(PAUSE_S)


def wake_catalog(secrets: Callable[[], Any], secret: str) -> Any:
    """Open a database's catalog for as long as this process lives; one that rests has 20 s to come.

    Args:
        secrets: makes a client of Secrets Manager.
        secret: name or ARN of the secret with the database's address.

    Raises:
        UnavailableError: it does not answer.
    """
    return awaken(catalog_opener(secrets, "", secret), WAKE_S).__enter__()


def catalog_lookup(opener: Callable[[], AbstractContextManager[Any]]) -> Lookup:
    """Return what finds the Items of a catalog by collection and id."""

    def lookup(collection: str, item_id: str) -> Mapping[str, Any] | None:
        with opener() as catalog:
            found: Mapping[str, Any] | None = catalog.get_item(collection, item_id)
        return found

    return lookup


def publish_result(topic: Topic, ledger: Any, catalog: Any, item: Mapping[str, Any]) -> int:
    """Tell a topic of an Item that was written; where the catalog keeps an outbox, of all that was.

    Returns:
        How many Items were published.
    """
    if hasattr(catalog, "outbox"):
        return publish_outbox(topic, catalog, ledger)
    return publish_items(topic, [item])
