"""Files of Items for whoever does not share the server's disk: those in the folders whose files Items may name."""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from geodl_core.catalog.api.links import ServedFile, local_path
from geodl_core.catalog.api.responses import quoted, read_etags
from geodl_core.catalog.sqlite_schema import APPLICATION_ID
from geodl_core.service.pages.tile_source import read_item
from geodl_core.service.services import Services

PATH = "/collections/{collection_id}/items/{item_id}/assets/{key}/file/{name}"
HEADERS = {
    # Publishers choose what an asset is: a page among them may neither act nor load anything.
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    # The same address has other bytes after a run is computed anew.
    "Cache-Control": "no-cache",
}
UNKNOWN_TYPE = "application/octet-stream"
_WORD = r"[\w!#$%&'*+.^`|~-]+"
MEDIA_TYPE = re.compile(rf'{_WORD}/{_WORD}( *; *{_WORD}=({_WORD}|"[ !#-\[\]-~]*"))*', re.ASCII)
"""RFC 9110, 8.3.1."""
_SQLITE, _AT_ID = b"SQLite format 3\0", slice(68, 72)
"""Magic of a database file, and where its application id stands (SQLite's file format, 1.3)."""
_BESIDE = re.compile(r"-(wal|shm|journal)$")


def asset_files_router(services: Services) -> APIRouter:
    """Return the route `…/items/{item_id}/assets/{key}/file/{name}`: the file that an asset's href is.

    Only files of this machine are handed out, whose hrefs are paths or `file:///…` and lead, links followed, into one
    of the folders that Items may name. `name` must be the file's own, so that an address ends as the file does.
    Catalogs are not: they hold hashes of tokens and addresses of webhooks.

    Args:
        services: catalog, and the folders.
    """
    router, places = APIRouter(tags=["Files"]), _places(services)

    @router.get(PATH, summary="The file of an asset", response_class=Response, responses=_DESCRIPTION)
    def read_file(request: Request, collection_id: str, item_id: str, key: str, name: str) -> Response:
        """Return an asset's file, or the ranges of it that are asked for."""
        asset = (read_item(services, collection_id, item_id).get("assets") or {}).get(key)
        href = asset.get("href") if isinstance(asset, dict) else None
        named = _named_file(places, href) if isinstance(href, str) else None
        missing = HTTPException(404, f"asset {key}: there is no such file")
        if not isinstance(asset, dict) or named is None or named[0] != name:
            raise missing
        try:
            if os.access(named[1], os.R_OK) and not _is_catalog(named[1], places.catalog):
                return _answer(request, asset.get("type"), *named)
        except OSError as error:  # it went just now
            raise missing from error
        raise missing

    return router


def served_file(services: Services) -> ServedFile:
    """Return what tells the name of a file that the route hands out, None for all other hrefs."""
    places = _places(services)

    def name_of(href: str) -> str | None:
        named = _named_file(places, href)
        return None if named is None else named[0]

    return name_of


@dataclass(frozen=True, slots=True)
class _Places:
    """With links followed, once: a page of Items may name thousands of files."""

    roots: tuple[Path, ...]
    catalog: Path | None
    """None in PostgreSQL."""


def _places(services: Services) -> _Places:
    location = services.ledger.location.removeprefix("file://")
    roots = tuple(root.resolve() for root in services.local_roots)
    return _Places(roots, None if "://" in location else Path(location).resolve())


def _named_file(places: _Places, href: str) -> tuple[str, Path] | None:
    """Return a file's own name and its path with links followed, None where it is not to be handed out."""
    path = local_path(href)
    if path is None:
        return None
    try:
        found = Path(path).resolve()
        is_allowed = any(found.is_relative_to(root) for root in places.roots) and found.is_file()
    except (OSError, ValueError, RuntimeError):  # too long a name, a zero byte, links in a circle
        return None
    return (PurePosixPath(path).name, found) if is_allowed and not _is_beside(found, places.catalog) else None


def _is_beside(found: Path, catalog: Path | None) -> bool:
    """Say whether a file is the server's own catalog, or what SQLite or a person keeps beside it by its name."""
    return catalog is not None and found.name.startswith(catalog.name) and found.parent == catalog.parent


def _is_catalog(found: Path, catalog: Path | None) -> bool:
    """Say whether a file is the server's catalog by another name, any other one, or what SQLite keeps beside it."""
    if catalog is not None and catalog.exists() and found.samefile(catalog):
        return True
    base = found.with_name(_BESIDE.sub("", found.name))
    if not base.is_file():
        return False
    with base.open("rb") as file:
        head = file.read(_AT_ID.stop)
    return head.startswith(_SQLITE) and int.from_bytes(head[_AT_ID]) == APPLICATION_ID


def _answer(request: Request, kind: object, name: str, path: Path) -> Response:
    answer = FileResponse(
        path,
        headers=HEADERS,
        media_type=kind if isinstance(kind, str) and MEDIA_TYPE.fullmatch(kind) else UNKNOWN_TYPE,
        filename=name,
        content_disposition_type="inline",
        stat_result=path.stat(),
    )
    known = read_etags(request.headers.get("if-none-match")) or ()
    if answer.headers["etag"] in map(quoted, known):
        kept = {name: answer.headers[name] for name in ("etag", "last-modified", "cache-control")}
        return Response(status_code=304, headers=kept)
    # Nothing is read that would not be sent; ranges are for GET alone (RFC 9110, 14.2).
    return Response(headers=dict(answer.headers)) if request.scope.get("is_head") else answer


_DESCRIPTION: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": {"*/*": {}}},
    206: {"description": "The ranges of it that the header Range asked for", "content": {"*/*": {}}},
}
