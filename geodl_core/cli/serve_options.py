"""What the options of `geodl serve` mean."""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geodl_core.service.access.oidc import OidcOptions
    from geodl_core.service.access.rates import Rates
    from geodl_core.service.running.worker_processes import Staff
    from geodl_core.service.server.app import ServerOptions

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - known, not listened on
"""Hosts that are no address to be reached at."""
HOW_TO = "geodl token add NAME --scope admin makes one; --oidc-issuer names a provider of others"


def server_options(location: str, host: str, options: dict[str, Any]) -> "ServerOptions":
    """Return what the options say of a server.

    Raises:
        InputError: they would let strangers write, or make no sense.
    """
    from geodl_core.catalog.api.app import ApiOptions
    from geodl_core.domain.place.href import hide_secrets
    from geodl_core.errors import InputError
    from geodl_core.service.access.auth import Rules
    from geodl_core.service.server.app import ServerOptions

    if location.lower().startswith(("http://", "https://")):
        shown = hide_secrets(location)
        raise InputError(f"--catalog {shown}: expected a catalog file, found an address, which is served already")
    oidc = _oidc(options["oidc_issuer"], options["oidc_audience"])
    is_guarded = host not in LOOPBACK or any(options[name] for name in ("proxied", "private", "token_required"))
    names = frozenset(name.lower() for name in options["names"])
    api = ApiOptions(
        # Without a name it answers to any; by its own address a server's health is looked after.
        hosts=None if is_guarded and not names else names | frozenset(LOOPBACK),
        cors_origins=options["origins"],
        trusts_forwarded=options["proxied"],
    )
    rules = Rules(options["private"], options["proxied"]) if is_guarded or oidc else None
    if is_guarded and oidc is None:
        _require_token(location, host)
    return ServerOptions(api, rules, oidc, _rates(options["rate"], rules is not None), options["confirm_sns"])


def own_address(host: str, port: int) -> str:
    """Return the address at which a server listens."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def told_address(host: str, port: int, names: tuple[str, ...], *, is_proxied: bool) -> str | None:
    """Return the address that webhooks are told, with a slash at its end; None where it is not known.

    Args:
        host: on which it listens.
        port: on which it listens.
        names: that it answers to; the first one is told.
        is_proxied: a proxy stands in front, which has TLS and a port of its own.
    """
    if names:
        return f"https://{names[0]}/" if is_proxied else f"{own_address(names[0], port)}/"
    return None if is_proxied or host in EVERYWHERE else f"{own_address(host, port)}/"


def _require_token(location: str, host: str) -> None:
    from geodl_core.catalog.open import POSTGRES
    from geodl_core.errors import InputError
    from geodl_core.service.access.tokens import list_tokens
    from geodl_core.service.ledger.database import Ledger

    is_there = location.lower().startswith(POSTGRES) or Path(location.removeprefix("file://")).exists()
    if is_there:
        with Ledger(location) as ledger:
            now = ledger.clock()
            if any(one.expires is None or one.expires > now for one in list_tokens(ledger)):
                return
    raise InputError(f"--host {host}: a server that asks for tokens needs one, and the catalog has none", HOW_TO)


def _oidc(issuer: str | None, audience: str | None) -> "OidcOptions | None":
    from geodl_core.errors import InputError

    if issuer is None and audience is None:
        return None
    if issuer is None or audience is None:
        raise InputError("--oidc-issuer and --oidc-audience: expected both, found one")
    from geodl_core.service.access.oidc import OidcOptions

    return OidcOptions(issuer, audience)


def _rates(text: str | None, is_guarded: bool) -> "Rates | None":
    from geodl_core.errors import InputError
    from geodl_core.service.access.rates import Rates

    if text is None:
        return Rates() if is_guarded else None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"--rate {text}: expected two whole numbers, as 6000,3000; 0 does not limit")
    return Rates(int(parts[0]), int(parts[1]))


def allowed_folders(out: Path, folders: tuple[Path, ...], is_open: bool) -> tuple[Path, ...]:
    """Return the folders whose files Items may name; results are among them, so that models can follow on models."""
    everything = (Path("/"),) if is_open else ()
    return (out.absolute(), *(folder.absolute() for folder in folders), *everything)


def watched_folders(texts: tuple[str, ...]) -> tuple[tuple[Path, str | None], ...]:
    """Return the folders that --watch-folder names, and the Collection of what names none."""
    from geodl_core.errors import InputError

    found: list[tuple[Path, str | None]] = []
    for text in texts:
        collection, equals, path = text.partition("=")
        folder = Path(path if equals else text)
        if not folder.is_dir():
            raise InputError(f"--watch-folder {text}: expected a folder, found none")
        found.append((folder.absolute(), collection if equals else None))
    return tuple(found)


def staff_of(out: Path, roots: tuple[Path, ...], options: dict[str, Any]) -> "Staff | None":
    """Return how workers are started, None for none."""
    from geodl_core.engine.session import usable_cores
    from geodl_core.service.running.worker_processes import Staff

    count = int(options["workers"])
    if count == 0 and options["store"] is None:
        return None
    command = [sys.executable, "-m", "geodl_core.cli.main", "worker", "--until-eof", "--out", str(out)]
    if count == 0:
        # Workers elsewhere compute shards alone.
        command += ["--kind", "plan", "--kind", "finish"]
    if count > 1:
        # Else the first would take all shards of a run, and the others look on.
        command += ["--shards-at-once", "4"]
    threads = options["threads"] or (max(1, usable_cores() // count) if count > 1 else None)
    given = {"store": options["store"], "threads": threads, "max-memory": options["max_memory"]}
    given |= {"provider": options["provider"], "max-runs": options["max_runs"]}
    for name, value in given.items():
        if value is not None:
            command += [f"--{name}", str(value)]
    for root in roots:
        command += ["--allow-folder", str(root)]
    return Staff(tuple(command), max(count, 1), f"{socket.gethostname()}-{os.getpid()}")
