"""Addresses of servers as people give them, judged before a token goes there."""

from urllib.parse import urlsplit

import requests

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def server_address(server: str, token: str | None) -> str:
    """Return the address of a server, without a slash at its end.

    Args:
        server: as somebody gave it.
        token: that goes with each request; None for a server that asks for none.

    Raises:
        InputError: the address is none, or would carry the token in the clear.
    """
    try:
        url = urlsplit(server)
        scheme, host = url.scheme, url.hostname
    except ValueError:
        scheme, host = "", None
    if scheme not in ("http", "https") or not host:
        raise InputError(f"--server {hide_secrets(server)}: expected an http(s) address")
    if token and scheme == "http" and host not in LOOPBACK:
        raise InputError(f"--server {hide_secrets(server)}: expected https, since the token would be readable")
    return server.rstrip("/")


def server_session(server: str, token: str | None) -> tuple[str, requests.Session]:
    """Return the address of a server, and connections to it that show a token.

    Raises:
        InputError: as `server_address`.
    """
    address, session = server_address(server, token), requests.Session()
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    return address, session
