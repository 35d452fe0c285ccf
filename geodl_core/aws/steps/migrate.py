"""The schema of a deployment's catalog as a resource of CloudFormation, which waits an hour for an answer.

Format: requests and responses of custom resources, CloudFormation's template reference ("Custom resource request
objects", "Custom resource response objects").
"""

import ipaddress
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from geodl_core.aws.site.catalogs import awaken
from geodl_core.domain.place.href import scrub
from geodl_core.errors import GeodlError, InputError, StoreError

ANSWER_S = 15.0
"""Kept free for telling CloudFormation."""
WAKE_S = 90.0
"""A database that rests takes so long to wake, at most."""
SEND_TRIES = 3
MOST_REASON = 600
"""Of the 4,096 bytes that an answer may have."""


def migrate_stage(event: Mapping[str, Any], read: Callable[[], str], left_s: float) -> dict[str, str]:
    """Bring the catalog's schema up to date as CloudFormation asks, and answer it, also where that fails.

    What is done already is left as it is; a request to delete does nothing, since the catalog outlives the resource.

    Args:
        event: RequestType, ResponseURL, StackId, RequestId, LogicalResourceId, PhysicalResourceId where there is one.
        read: returns the database's address.
        left_s: until this process is ended.

    Returns:
        status and reason, as they were answered.

    Raises:
        InputError: there is no address to answer to.
        StoreError: the answer cannot be sent.
    """
    url = _checked_url(str(event.get("ResponseURL") or ""))
    said, failure = _within(left_s - ANSWER_S, str(event.get("RequestType")), read)
    told = {"status": "FAILED" if failure else "SUCCESS", "reason": (failure or "; ".join(said))[:MOST_REASON]}
    logical = str(event.get("LogicalResourceId"))
    answer = {
        "Status": told["status"],
        "Reason": told["reason"],
        # The same for ever: another one would make CloudFormation delete the first.
        "PhysicalResourceId": str(event.get("PhysicalResourceId") or f"geodl-{logical}"),
        "StackId": str(event.get("StackId")),
        "RequestId": str(event.get("RequestId")),
        "LogicalResourceId": logical,
        "NoEcho": False,
        "Data": {},
    }
    send_answer(url, answer)
    return told


def _within(seconds: float, kind: str, read: Callable[[], str]) -> tuple[list[str], str]:
    """Do what is asked for so long at most; return what was done, and why it failed (empty where it did not)."""
    said: list[str] = []
    ended: list[str] = []
    thread = threading.Thread(target=lambda: ended.append(_attempt(kind, read, said.append)), daemon=True)
    thread.start()
    thread.join(max(seconds, 0.0))
    if not ended:
        last = f"; the last step done: {said[-1]}" if said else ""
        return said, f"it took longer than the {max(seconds, 0.0):.0f} s that there were{last}"
    return said, ended[0]


def _attempt(kind: str, read: Callable[[], str], tell: Callable[[str], None]) -> str:
    """Do what is asked; return why it failed, or nothing."""
    address = ""
    if kind == "Delete":
        tell("the catalog is left as it is")
        return ""
    if kind not in ("Create", "Update"):
        return f"expected Create, Update or Delete, found {kind[:40]}"
    try:
        address = read()
        # Imported here: that a layer lacks them is told CloudFormation, too, instead of an hour of silence.
        from geodl_core.catalog.pgstac.bootstrap import init  # noqa: PLC0415
        from geodl_core.catalog.pgstac.connections import connect  # noqa: PLC0415

        awaken(lambda: connect(address).close(), WAKE_S)
        init(address, tell)
    except BaseException as error:  # noqa: BLE001  # whatever it is, CloudFormation has to hear of it
        hint = f" (hint: {error.hint})" if isinstance(error, GeodlError) and error.hint else ""
        return f"{type(error).__name__}: {_without(address, str(error))}{hint}"
    return ""


def _without(address: str, text: str) -> str:
    """Return a text without a database's address and password."""
    password = urlsplit(address).password or ""
    for secret in filter(None, (address, password, unquote(password))):
        text = text.replace(secret, "…")
    return scrub(" ".join(text.split()))


def _checked_url(url: str) -> str:
    """Return an address to answer to: HTTPS, or HTTP on this machine, as emulators have it."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname or "")):
        return url
    raise InputError(f"ResponseURL: expected https://…, found {parts.scheme[:20] or 'none'}")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def send_answer(url: str, answer: Mapping[str, Any]) -> None:
    """Put an answer to where CloudFormation waits for it.

    Raises:
        StoreError: it cannot be sent; the address, which is a permission, is not told.
    """
    # A type of content would be signed, and this one is not.
    request = urllib.request.Request(  # noqa: S310  # the scheme was checked
        url, json.dumps(answer, ensure_ascii=False).encode(), {"Content-Type": ""}, method="PUT"
    )
    reason = ""
    for attempt in range(SEND_TRIES):
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S / SEND_TRIES) as reply:  # noqa: S310
                reply.read()
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}"
            error.close()
        except OSError as error:
            reason = type(error).__name__
        else:
            return
        time.sleep(0.2 * 2**attempt)
    raise StoreError(f"CloudFormation's ResponseURL: the answer cannot be sent ({reason})")
