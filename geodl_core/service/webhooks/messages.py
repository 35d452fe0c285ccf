"""What webhooks are told: CloudEvents 1.0 in JSON, signed as Standard Webhooks wants it.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md, https://www.standardwebhooks.com
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from standardwebhooks import Webhook as Signer

from geodl_core.service.ledger.runs import Event, Run
from geodl_core.service.runs.facts import run_facts, stamp

TYPE = "org.geodl.run"
TEST_TYPE = "org.geodl.webhook.test"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


def run_message(event: Event, run: Run, base: str | None) -> dict[str, Any]:
    """Return what is told of a run that came into a state.

    Args:
        event: its line of history.
        run: as it is when the message is made, in the same transaction that follows the history.
        base: address at which people reach the server, with a slash at the end; None where it is not known.
    """
    facts = run_facts(run)
    result = facts["result"]
    if result is not None and base is not None:
        path = f"collections/{quote(result['collection'], safe='')}/items/{quote(result['id'], safe='')}"
        result = {**result, "href": f"{base}{path}"}
    data: dict[str, Any] = {
        "status": event.state,
        "text": event.text,
        "run": run.id,
        "attempt": event.attempt,
        "watch": run.watch,
        "model": run.model,
        "item": facts["item"],
        "result": result if event.state == "succeeded" else None,
        "error": facts["error"] if event.state in ("failed", "invalid") else None,
    }
    if base is not None:
        data["job"] = f"{base}jobs/{run.id}"
    return _event(f"{run.id[:16]}-{event.seq}", f"{TYPE}.{event.state}", event.at, (base, run.id, data))


def check_message(number: str, at: float) -> dict[str, Any]:
    """Return what a webhook is told to see whether it hears."""
    return _event(f"test-{number}", TEST_TYPE, at, (None, None, {"text": "a test of this webhook"}))


def _event(event_id: str, kind: str, at: float, about: tuple[str | None, str | None, Any]) -> dict[str, Any]:
    base, subject, data = about
    document = {
        "specversion": "1.0",
        "id": event_id,
        "source": base or "/geodl",
        "type": kind,
        "subject": subject,
        "time": stamp(at),
        "datacontenttype": "application/json",
        "data": data,
    }
    return {name: value for name, value in document.items() if value is not None}


def body_of(document: Mapping[str, Any]) -> str:
    """Return a message's text as it is signed and sent, each time the same."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def signed_headers(secret: str, message_id: str, body: str, now: float) -> dict[str, str]:
    """Return the headers of a message.

    Args:
        secret: `whsec_…`.
        message_id: the same for each try.
        body: text.
        now: of this try, seconds since 1970; receivers refuse what is older than some minutes.
    """
    moment = datetime.fromtimestamp(int(now), UTC)
    return {
        "Content-Type": CONTENT_TYPE,
        "User-Agent": "geodl",
        "Connection": "close",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": Signer(secret).sign(message_id, moment, body),
    }
