"""Webhooks: who wants to be told of which runs."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from geodl_core.domain.place.href import hide_secrets
from geodl_core.domain.run.state import FINAL, STATES, State
from geodl_core.errors import InputError
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.tables import HISTORY
from geodl_core.service.webhooks.tables import DELIVERIES, WEBHOOKS, prepare_webhooks

SECRET_BYTES = 32
MOST_URL = 2_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a webhook is to be told."""

    url: str
    watches: tuple[str, ...] = ()
    """Names; none: of all runs."""
    states: tuple[State, ...] = FINAL
    is_private: bool = False
    """It may lie on this machine or in a private network, and be asked by plain http."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as the ledger keeps it, its secret apart. Times are seconds since 1970."""

    id: str
    url: str
    watches: tuple[str, ...]
    states: tuple[State, ...]
    is_private: bool
    created: float
    delivered: int
    last_at: float | None
    last_said: str | None
    waiting: int = 0
    """Messages that are still to be delivered."""
    dead: int = 0
    """Messages that were given up."""

    @property
    def shown_url(self) -> str:
        """The address without what may be secret in it."""
        return hide_secrets(self.url)


def add_webhook(ledger: Ledger, asked: Asked) -> tuple[Webhook, str]:
    """Keep a webhook; return it and its secret, which is not told again.

    Raises:
        InputError: the address does not serve.
    """
    require_address(asked)
    prepare_webhooks(ledger)
    secret = "whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    with ledger.writing() as connection:
        row = {
            "id": secrets.token_hex(4),
            "url": asked.url,
            "secret": secret,
            "watches": list(asked.watches),
            "states": list(asked.states),
            "is_private": asked.is_private,
            "created": ledger.clock(),
            "from_seq": connection.execute(sa.select(sa.func.max(HISTORY.c.seq))).scalar() or 0,
            "delivered": 0,
        }
        connection.execute(WEBHOOKS.insert().values(**row))
    return read_webhook(ledger, str(row["id"])), secret


def require_address(asked: Asked) -> None:
    """Make sure that a webhook may be kept.

    Raises:
        InputError: its address is none, or may not be asked; a state that there is not.
    """
    shown = hide_secrets(asked.url)[:200]
    try:
        url = urlsplit(asked.url)
        is_url = url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        is_url = False
    if not is_url or not asked.url.isprintable() or " " in asked.url or len(asked.url) > MOST_URL:
        raise InputError(f"webhook {shown}: expected an http(s) address")
    if url.username or url.password or url.fragment:
        raise InputError(f"webhook {shown}: expected an address without user, password and #")
    if url.scheme == "http" and not asked.is_private:
        raise InputError(
            f"webhook {shown}: expected https, since others could read and change what is sent",
            hint="--allow-private takes http for this machine and private networks",
        )
    unknown = [state for state in asked.states if state not in STATES]
    if unknown or not asked.states:
        raise InputError(f"webhook {shown}: expected states of {', '.join(STATES)}, found {unknown}")


def list_webhooks(ledger: Ledger) -> list[Webhook]:
    """Return all webhooks, the oldest first, with how many messages wait or were given up."""
    prepare_webhooks(ledger)
    with ledger.reading() as connection:
        rows = connection.execute(sa.select(WEBHOOKS).order_by(WEBHOOKS.c.created, WEBHOOKS.c.id)).mappings().all()
        query = sa.select(DELIVERIES.c.webhook, DELIVERIES.c.state, sa.func.count())
        found = connection.execute(query.group_by(DELIVERIES.c.webhook, DELIVERIES.c.state)).all()
    counts = {(row[0], row[1]): int(row[2]) for row in found}
    return [webhook_of(row, counts.get((row["id"], "open"), 0), counts.get((row["id"], "dead"), 0)) for row in rows]


def read_webhook(ledger: Ledger, webhook_id: str) -> Webhook:
    """Return a webhook.

    Raises:
        InputError: there is none.
    """
    found = [webhook for webhook in list_webhooks(ledger) if webhook.id == webhook_id]
    if not found:
        raise InputError(f"no webhook {webhook_id[:80]}", hint="geodl webhook list shows them")
    return found[0]


def remove_webhook(ledger: Ledger, webhook_id: str) -> int:
    """Forget a webhook; return how many messages to it are given up by that.

    Raises:
        InputError: there is none.
    """
    read_webhook(ledger, webhook_id)
    with ledger.writing() as connection:
        connection.execute(WEBHOOKS.delete().where(WEBHOOKS.c.id == webhook_id))
        return connection.execute(DELIVERIES.delete().where(DELIVERIES.c.webhook == webhook_id)).rowcount


def redeliver(ledger: Ledger, webhook_id: str) -> int:
    """Try the messages to a webhook anew that were given up; return how many.

    Raises:
        InputError: there is no such webhook.
    """
    read_webhook(ledger, webhook_id)
    again = DELIVERIES.update().where(DELIVERIES.c.webhook == webhook_id, DELIVERIES.c.state == "dead")
    with ledger.writing() as connection:
        return connection.execute(again.values(state="open", tries=0, not_before=0.0)).rowcount


def secret_of(connection: sa.Connection, webhook_id: str) -> str | None:
    """Return what signs the messages to a webhook; None where it is gone."""
    found = connection.execute(sa.select(WEBHOOKS.c.secret).where(WEBHOOKS.c.id == webhook_id)).scalar()
    return None if found is None else str(found)


def webhook_of(row: Any, waiting: int = 0, dead: int = 0) -> Webhook:
    """Return a webhook from its row."""
    same = ("id", "url", "is_private", "created", "delivered", "last_at", "last_said")
    lists: dict[str, Sequence[Any]] = {"watches": tuple(row["watches"]), "states": tuple(row["states"])}
    return Webhook(**{name: row[name] for name in same}, **lists, waiting=waiting, dead=dead)  # type: ignore[arg-type]
