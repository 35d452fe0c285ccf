"""Messages to webhooks: made as history is followed, sent at least once, given up after some tries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import random

import sqlalchemy as sa

from geodl_core.service.ledger.cursors import move_cursor, read_cursor
from geodl_core.service.ledger.database import Ledger, insert_new
from geodl_core.service.ledger.runs import Event, Run, run_of
from geodl_core.service.ledger.tables import ASKS, HISTORY, RUNS
from geodl_core.service.webhooks.messages import body_of, check_message, run_message, signed_headers
from geodl_core.service.webhooks.post import Message, Sender, post
from geodl_core.service.webhooks.subscriptions import Webhook, read_webhook, secret_of, webhook_of
from geodl_core.service.webhooks.tables import DELIVERIES, WEBHOOKS, prepare_webhooks

CURSOR = "webhooks"
PAGE = 500
AT_ONCE = 20
"""Messages sent by one step."""
HELD_S = 120.0
"""A message that somebody is sending is left alone for so long."""
MOST_TRIES = 8
"""Over about a day; then a message is dead."""
FIRST_PAUSE_S, FACTOR, LONGEST_PAUSE_S = 5.0, 5.0, 43_200.0
DEAD_S = 30 * 86_400.0
"""A dead message is kept for so long, to be sent anew."""
STEP_S = 60.0
"""After so long a step begins no further message."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How messages are made and sent."""

    base: str | None = None
    """Address at which people reach the server, with a slash at the end."""
    sender: Sender = field(default_factory=Sender)
    chance: Callable[[], float] = random


def deliver_once(ledger: Ledger, how: Delivery | None = None) -> int:
    """Follow history a step, and send some of what is due; return how much there was to do.

    Several processes may do so at a time: each line of history is followed once, and each message is sent by one of
    them. A message whose sender dies in the middle is sent once more. Of a webhook that did not take one no other is
    tried in the same step, so that one that does not answer holds up the others no longer than one try lasts.

    Raises:
        CatalogError: the ledger does not answer.
    """
    how = how or Delivery()
    prepare_webhooks(ledger)
    followed = gather_once(ledger, how.base)
    began, sent = ledger.clock(), 0
    deaf: set[str] = set()
    while sent < AT_ONCE and ledger.clock() - began < STEP_S and _send_one(ledger, how, deaf):
        sent += 1
    return followed + sent


def gather_once(ledger: Ledger, base: str | None) -> int:
    """Make the messages of what has happened since the last step; return how many lines of history were followed."""
    position = read_cursor(ledger, CURSOR)
    events = _events(ledger, position)
    if not events:
        return 0
    with ledger.writing() as connection:
        if not move_cursor(connection, CURSOR, position, events[-1].seq):
            return 0  # another process was faster
        hooks = [(webhook_of(row), int(row["from_seq"])) for row in _rows(connection)]
        for event in events if hooks else ():
            for webhook, first in hooks:
                if event.seq > first and event.state in webhook.states:
                    _make(ledger, connection, (event, webhook), base)
    return len(events)


def try_webhook(ledger: Ledger, webhook_id: str, sender: Sender, number: str) -> tuple[bool, str]:
    """Send a webhook a message that says no more than that it is a test; return whether it was taken, and what came.

    Raises:
        InputError: there is none.
    """
    webhook = read_webhook(ledger, webhook_id)
    with ledger.reading() as connection:
        secret = secret_of(connection, webhook_id) or ""
    document = check_message(number, ledger.clock())
    return _post(ledger, (webhook, secret), (document["id"], body_of(document)), sender)


def pause_s(tries: int, chance: float) -> float:
    """Return how long to wait before the next try of a message: between half and all of 5 s, 25 s, 2 min, … 12 h."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * FACTOR ** (tries - 1)) * (0.5 + 0.5 * chance)


def _events(ledger: Ledger, after: int) -> list[Event]:
    """Return lines of history; those in which nothing changed, by which a worker tells of a failed try, among them."""
    query = sa.select(HISTORY).where(HISTORY.c.seq > after).order_by(HISTORY.c.seq).limit(PAGE)
    with ledger.reading() as connection:
        return [Event(**row) for row in connection.execute(query).mappings()]


def _rows(connection: sa.Connection) -> Sequence[sa.RowMapping]:
    return connection.execute(sa.select(WEBHOOKS)).mappings().all()


def _make(ledger: Ledger, connection: sa.Connection, about: tuple[Event, Webhook], base: str | None) -> None:
    event, webhook = about
    if not _is_change(connection, event) or not _is_asked(connection, event, webhook):
        return
    if connection.execute(sa.select(RUNS.c.id).where(RUNS.c.id == event.run_id)).first() is None:
        return  # forgotten since
    run: Run = run_of(connection, event.run_id)
    document = run_message(event, run, base)
    row = {
        "id": f"{document['id']}-{webhook.id}",
        "webhook": webhook.id,
        "body": body_of(document),
        "state": "open",
        "tries": 0,
        "not_before": 0.0,
        "created": ledger.clock(),
    }
    insert_new(ledger, connection, DELIVERIES, row)


def _is_change(connection: sa.Connection, event: Event) -> bool:
    """Say whether a line is a step from one state to another, and no mere note."""
    query = (
        sa.select(HISTORY.c.state, HISTORY.c.attempt)
        .where(HISTORY.c.run_id == event.run_id, HISTORY.c.seq < event.seq)
        .order_by(HISTORY.c.seq.desc())
        .limit(1)
    )
    before = connection.execute(query).first()
    return before is None or (before.state, before.attempt) != (event.state, event.attempt)


def _is_asked(connection: sa.Connection, event: Event, webhook: Webhook) -> bool:
    if not webhook.watches:
        return True
    query = sa.select(ASKS.c.run_id).where(ASKS.c.run_id == event.run_id, ASKS.c.watch.in_(webhook.watches))
    return connection.execute(query.limit(1)).first() is not None


def _send_one(ledger: Ledger, how: Delivery, deaf: set[str]) -> bool:
    """Send the message that is due longest, of all webhooks but deaf ones; return whether there was one."""
    due = (DELIVERIES.c.state == "open", DELIVERIES.c.not_before <= ledger.clock(), DELIVERIES.c.webhook.not_in(deaf))
    query = sa.select(DELIVERIES).where(*due).order_by(DELIVERIES.c.not_before, DELIVERIES.c.id).limit(1)
    with ledger.reading() as connection:
        if connection.execute(query).first() is None:
            return False
    with ledger.writing() as connection:
        row = connection.execute(query).mappings().first()
        if row is None:
            return False
        hook = connection.execute(sa.select(WEBHOOKS).where(WEBHOOKS.c.id == row["webhook"])).mappings().first()
        this = DELIVERIES.c.id == row["id"]
        if hook is None:
            connection.execute(DELIVERIES.delete().where(this))
            return True
        connection.execute(DELIVERIES.update().where(this).values(not_before=ledger.clock() + HELD_S))
    webhook = webhook_of(hook)
    is_taken, said = _post(ledger, (webhook, hook["secret"]), (row["id"], row["body"]), how.sender)
    if not is_taken:
        deaf.add(webhook.id)
    _note(ledger, (webhook.id, row["id"], int(row["tries"]) + 1), (is_taken, said), how.chance())
    return True


def _post(ledger: Ledger, to: tuple[Webhook, str], what: tuple[str, str], sender: Sender) -> tuple[bool, str]:
    webhook, secret = to
    message_id, body = what
    headers = signed_headers(secret, message_id, body, ledger.clock())
    return post(sender, Message(webhook.url, webhook.is_private, headers, body.encode()))


def _note(ledger: Ledger, about: tuple[str, str, int], came: tuple[bool, str], chance: float) -> None:
    """Write down what came of a try."""
    webhook_id, delivery_id, tries = about
    is_taken, said = came
    this = DELIVERIES.c.id == delivery_id
    with ledger.writing() as connection:
        now = ledger.clock()
        values = {"last_at": now, "last_said": said}
        if is_taken:
            connection.execute(DELIVERIES.delete().where(this))
            values["delivered"] = WEBHOOKS.c.delivered + 1
        else:
            state = "dead" if tries >= MOST_TRIES else "open"
            later = {"state": state, "tries": tries, "said": said, "not_before": now + pause_s(tries, chance)}
            connection.execute(DELIVERIES.update().where(this).values(**later))
            forgotten = (DELIVERIES.c.state == "dead", DELIVERIES.c.not_before < now - DEAD_S)
            connection.execute(DELIVERIES.delete().where(*forgotten))
        connection.execute(WEBHOOKS.update().where(WEBHOOKS.c.id == webhook_id).values(**values))
