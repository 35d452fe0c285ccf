"""What the environment says; read once, by the command line or a handler, and by nothing else."""

import atexit
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from geodl_core.domain.place.access import Access
from geodl_core.domain.place.address import read_allowed

DEFAULT_OUT = "geodl-out"
CATALOG_NAME = "catalog.db"
_HELD = ExitStack()
"""Closed where the process ends by itself; a function's is frozen or ended from outside."""
atexit.register(_HELD.close)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that hold where a command's own options say nothing."""

    out: Path
    """`GEODL_OUT`: folder of results."""
    catalog: str
    """`GEODL_CATALOG`: path or URL of the catalog; by default `catalog.db` in `out`."""
    cache: Path
    """`GEODL_CACHE`: folder of what may be made anew at any time; by default `geodl` where the system keeps caches."""
    provider: str
    """`GEODL_PROVIDER`: what networks run on; by default `auto`."""
    is_debugging: bool
    """`GEODL_DEBUG`: show where an unexpected error came from."""
    token: str | None = field(default=None, repr=False)
    """`GEODL_TOKEN`: shown to the server that a command talks to."""
    stack: str | None = None
    """`GEODL_STACK`: deployment on AWS that `--stack` names otherwise."""
    access: Access = field(default_factory=Access)
    """`GEODL_SERVICE`, `GEODL_ALLOW_HOSTS`, `GEODL_REQUESTER_PAYS`, `GEODL_ANONYMOUS`, `GEODL_ASSET_SCHEMES`,
    `GEODL_PC_URL`, `GEODL_PC_KEY`: how assets are reached."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read the `GEODL_*` variables."""
        out = Path(env.get("GEODL_OUT") or DEFAULT_OUT)
        return cls(
            out=out,
            catalog=env.get("GEODL_CATALOG") or str(out / CATALOG_NAME),
            cache=Path(env.get("GEODL_CACHE") or _user_cache(env) / "geodl"),
            provider=env.get("GEODL_PROVIDER") or "auto",
            is_debugging=_is_on(env, "GEODL_DEBUG"),
            token=env.get("GEODL_TOKEN") or None,
            stack=env.get("GEODL_STACK") or None,
            access=_access(env),
        )


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """What the functions of a deployment on AWS are told; empty where one is not told of something."""

    bucket: str
    """`GEODL_BUCKET`: `s3://bucket` or `s3://bucket/prefix`."""
    table: str
    """`GEODL_TABLE`: name of the ledger's table."""
    machine: str
    """`GEODL_SCENE_MACHINE`: ARN of the state machine for scenes."""
    topic: str
    """`GEODL_TOPIC`: ARN of the topic of Items."""
    catalog: str
    """`GEODL_CATALOG`: address of a STAC API, where results are not registered in a database."""
    catalog_secret: str
    """`GEODL_CATALOG_SECRET`: name or ARN of the secret with the database's address."""
    tokens_secret: str
    """`GEODL_TOKENS_SECRET`: name or ARN of the secret with the hashes of tokens; without it nobody may write."""
    is_private: bool
    """`GEODL_PRIVATE`: reading needs a token, too."""
    batch_logs: str
    """`GEODL_BATCH_LOGS`: log group of Batch's jobs."""
    shard_s: float
    """`GEODL_SHARD_SECONDS`: of work that a job should have."""
    at_once: int = 256
    """`GEODL_MAP_CONCURRENCY`: jobs of one scene that are submitted at the same time."""
    machine_usd: float = 0.0
    """`GEODL_MACHINE_USD`: price of an hour of a machine that computes shards; 0 where it is not known."""
    schedule_group: str = ""
    """`GEODL_SCHEDULE_GROUP`: name of the group with the schedules of watches; without it there are none."""
    schedule_role: str = ""
    """`GEODL_SCHEDULE_ROLE`: ARN of the role that schedules call the function of scans by."""
    scan_function: str = ""
    """`GEODL_SCAN_FUNCTION`: ARN of the function that scans."""
    backfill_machine: str = ""
    """`GEODL_BACKFILL_MACHINE`: ARN of the state machine for back-fills."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "AwsSettings":
        """Read the `GEODL_*` variables."""
        return cls(
            bucket=env.get("GEODL_BUCKET", "").rstrip("/"),
            table=env.get("GEODL_TABLE", ""),
            machine=env.get("GEODL_SCENE_MACHINE", ""),
            topic=env.get("GEODL_TOPIC", ""),
            catalog=env.get("GEODL_CATALOG", ""),
            catalog_secret=env.get("GEODL_CATALOG_SECRET", ""),
            tokens_secret=env.get("GEODL_TOKENS_SECRET", ""),
            is_private=_is_on(env, "GEODL_PRIVATE"),
            batch_logs=env.get("GEODL_BATCH_LOGS", ""),
            shard_s=float(env.get("GEODL_SHARD_SECONDS") or 300),
            at_once=int(env.get("GEODL_MAP_CONCURRENCY") or 256),
            machine_usd=float(env.get("GEODL_MACHINE_USD") or 0),
            schedule_group=env.get("GEODL_SCHEDULE_GROUP", ""),
            schedule_role=env.get("GEODL_SCHEDULE_ROLE", ""),
            scan_function=env.get("GEODL_SCAN_FUNCTION", ""),
            backfill_machine=env.get("GEODL_BACKFILL_MACHINE", ""),
        )


def hold_access(access: Access) -> None:
    """Let an access hold for the rest of this process, as functions need it, which nobody ends."""
    from geodl_core.io.remote.access import access_in_force, proxy_options  # noqa: PLC0415  # for those that read

    if access.is_service:
        forget_ways_past_proxies()
    way = _HELD.enter_context(access_in_force(access))
    if way.proxy:
        put_in_environment(proxy_options(way.proxy))


def forget_ways_past_proxies() -> None:
    """Take NO_PROXY out of this process's environment, where libcurl looks for it whatever it was told."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ.pop(name, None)


def put_in_environment(values: Mapping[str, str]) -> None:
    """Set variables of this process, for libraries that look there."""
    os.environ.update(values)


def _is_on(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").lower() not in ("", "0", "false", "no")


def _access(env: Mapping[str, str]) -> Access:
    usual = Access()
    return Access(
        is_service=_is_on(env, "GEODL_SERVICE"),
        allowed_hosts=read_allowed(env.get("GEODL_ALLOW_HOSTS", "")),
        pays=_is_on(env, "GEODL_REQUESTER_PAYS"),
        is_anonymous=_is_on(env, "GEODL_ANONYMOUS"),
        schemes=tuple(part.strip().lower() for part in env.get("GEODL_ASSET_SCHEMES", "").split(",") if part.strip()),
        signing_url=env.get("GEODL_PC_URL") or usual.signing_url,
        signing_key=env.get("GEODL_PC_KEY") or None,
        gdal=tuple(_gdal_names(env).items()),
    )


def _gdal_names(env: Mapping[str, str]) -> dict[str, str]:
    """Return for GDAL what obstore, which takes plans and results, reads under other names."""
    names = {
        "AZURE_STORAGE_ACCOUNT_NAME": "AZURE_STORAGE_ACCOUNT",
        "AZURE_STORAGE_ACCOUNT_KEY": "AZURE_STORAGE_ACCESS_KEY",
    }
    # What a user says to GDAL itself stands above geodl's own settings for remote files.
    options = {name: value for name, value in env.items() if name.startswith(("GDAL_HTTP_", "CPL_VSIL_"))}
    options |= {gdal: env[other] for other, gdal in names.items() if env.get(other) and not env.get(gdal)}
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    if endpoint and not env.get("AWS_S3_ENDPOINT"):
        url = urlsplit(endpoint)
        options |= {"AWS_S3_ENDPOINT": url.netloc + url.path.rstrip("/"), "AWS_VIRTUAL_HOSTING": "FALSE"}
        options["AWS_HTTPS"] = "NO" if url.scheme == "http" else "YES"
    return options


def _user_cache(env: Mapping[str, str]) -> Path:
    """Return the folder of the user's caches (XDG Base Directory Specification; %LOCALAPPDATA% on Windows)."""
    return Path(env.get("XDG_CACHE_HOME") or env.get("LOCALAPPDATA") or Path.home() / ".cache")
