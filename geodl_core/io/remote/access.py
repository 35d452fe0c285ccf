"""The access that holds in this process: set once by the adapter, asked wherever a file is opened.

It is held here and not passed along since files are opened in threads of readers and deep inside of planning, and since
what it guards against must not depend on a caller that forgets it.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment

from geodl_core.domain.place.access import Access
from geodl_core.domain.place.href import require_public, scrub, split_notes
from geodl_core.domain.scene.item_hrefs import REGION
from geodl_core.errors import InputError

if TYPE_CHECKING:
    from geodl_core.io.remote.egress import EgressProxy  # an HTTP server: paid by service mode alone

REMOTE_DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG")
"""Formats whose files name no other files: a VRT or HDF5 file from elsewhere could name one of this machine."""
TALKERS = (
    "rasterio",
    *(f"rasterio.{name}" for name in ("_base", "_env", "_err", "_io", "_vrt", "_warp", "env", "io", "session", "vrt")),
    "urllib3.connectionpool",
    "urllib3.util.retry",
)
"""Loggers that name URLs as they were asked for."""
ANONYMOUS = {"AWS_NO_SIGN_REQUEST": "YES", "GS_NO_SIGN_REQUEST": "YES", "AZURE_NO_SIGN_REQUEST": "YES"}


@dataclass(frozen=True, slots=True)
class Way:
    """The access, and the proxy by which all of it goes in service mode."""

    access: Access
    proxy: "EgressProxy | None"


_way = [Way(Access(), None)]
"""The last one holds."""


@contextmanager
def access_in_force(access: Access, proxy: "EgressProxy | None" = None) -> Iterator[Way]:
    """Let an access hold in this process for a while; in service mode behind a proxy of its own.

    Args:
        access: what holds.
        proxy: to be taken instead of a new one, running.

    Raises:
        InputError: in service mode, the environment names hosts that libcurl would ask past the proxy.
    """
    with ExitStack() as stack:
        if access.is_service:
            if getproxies_environment().get("no"):
                raise InputError("service mode: NO_PROXY is set, which leads past the check of addresses", "unset it")
            from geodl_core.io.remote.egress import EgressProxy  # noqa: PLC0415  # as above

            proxy = proxy or stack.enter_context(EgressProxy(access.allowed_hosts))
        way = Way(access, proxy if access.is_service else None)
        stack.enter_context(_discreet_logs())
        _way.append(way)
        try:
            yield way
        finally:
            _way.remove(way)


def way() -> Way:
    """Return what holds."""
    return _way[-1]


def require_allowed(href: str, asset: str) -> None:
    """Make sure, in service mode, that an href is a public URL; its address is judged when it is asked for.

    Raises:
        ItemError: it is not.
    """
    if way().access.is_service:
        require_public(href, asset)


def access_options(href: str) -> dict[str, Any]:
    """Return GDAL's settings for a remote raster: whose credentials, who pays, by which way."""
    held = way()
    options = dict(held.access.gdal)
    if held.access.pays:
        options["AWS_REQUEST_PAYER"] = "requester"
    if held.access.is_anonymous:
        options |= ANONYMOUS
    region = split_notes(href)[1].get(REGION)
    if region:
        options["AWS_REGION"] = region
    return options | (proxy_options(held.proxy) if held.proxy else {})


def proxy_options(proxy: "EgressProxy") -> dict[str, str]:
    """Return GDAL's settings for a proxy.

    Who runs service mode puts them into the process's environment too: settings given to GDAL here hold for the
    threads that open and read, not for those that GDAL may start by itself.
    """
    return {
        "GDAL_HTTP_PROXY": proxy.address,
        "GDAL_HTTPS_PROXY": proxy.address,
        "GDAL_HTTP_PROXYUSERPWD": proxy.url.removeprefix("http://").rpartition("@")[0],
        "GDAL_PROXY_AUTH": "BASIC",
        "GDAL_HTTP_NETRC": "NO",
    }


class _Discretion(logging.Filter):
    """Takes queries and credentials out of the URLs of a record; it stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = scrub(record.getMessage()), ()
        return True


@contextmanager
def _discreet_logs() -> Iterator[None]:
    discretion = _Discretion()
    loggers = [logging.getLogger(name) for name in TALKERS]
    for logger in loggers:
        logger.addFilter(discretion)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(discretion)
