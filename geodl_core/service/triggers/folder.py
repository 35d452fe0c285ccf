"""A folder that is watched: Items and GeoTIFFs that appear in it are published, each once it is whole."""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from geodl_core.domain.place.href import file_of
from geodl_core.errors import GeodlError, ItemError, StoreError, UnavailableError
from geodl_core.io.store import storage_errors, write_bytes
from geodl_core.service.ledger.database import Ledger, insert_new
from geodl_core.service.ledger.runs import plain
from geodl_core.service.ledger.tables import METADATA
from geodl_core.service.services import Services
from geodl_core.service.triggers.local import read_publication
from geodl_core.service.triggers.publish import Published, publish

LOG = logging.getLogger("geodl.publish")
DOCUMENTS, RASTERS = (".json", ".geojson"), (".tif", ".tiff")
REFUSED_NAME = "geodl-refused.txt"
"""In the folder: what of it was not published, and why; there only where there is something to say."""
SETTLE_S = 1.0
"""A file that has not changed for so long is whole."""
RESCAN_S = 5.0
"""Network drives tell of no changes: the folder is looked through anew all the same."""
AT_ONCE = 100

FILES = sa.Table(
    "folder_files",
    METADATA,
    sa.Column("folder", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    # Size and time of change, for a quick look.
    sa.Column("stamp", sa.Text, nullable=False),
    # SHA-256.
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    # Names of the files in the folder that it has as assets.
    sa.Column("assets", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)


@dataclass(slots=True)
class WatchedFolder:
    """A folder, and which of its files are still being written."""

    path: Path
    """Absolute; folders below are not looked into."""
    collection: str | None = None
    """Of rasters, and of Items that name none."""
    settle_s: float = SETTLE_S
    unsettled: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Name → stamp, and since when."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of a file."""

    outcome: str
    text: str = ""
    assets: tuple[str, ...] = ()
    results: tuple[Published, ...] = ()


def publish_folder_once(services: Services, folder: WatchedFolder, tell: Callable[[Published], None]) -> int:
    """Publish what is new in a folder and whole.

    What was published is remembered by its content in the ledger: a restart publishes nothing twice, and what appeared
    meanwhile is published then. A raster that an Item of the folder has as an asset is not published by itself.

    Args:
        services: catalog and ledger.
        folder: remembers what is being written.
        tell: is called with each outcome.

    Returns:
        How many files were dealt with.

    Raises:
        StoreError: the folder cannot be read.
        CatalogError: catalog or ledger do not answer.
    """
    known = _known(services.ledger, folder.path)
    named = {asset for row in known.values() for asset in row["assets"]}
    count = 0
    for path, stamp in _whole(folder, known, services.now().timestamp()):
        if count >= AT_ONCE:
            break
        done, digest = _publish(services, folder, path, (known.get(path.name), named))
        if done is None:
            continue
        named.update(done.assets)
        row = {"stamp": stamp, "digest": digest, "outcome": done.outcome, "assets": list(done.assets)}
        _remember(services.ledger, (folder.path, path.name), {**row, "text": plain(done.text)})
        for one in done.results:
            tell(one)
        count += 1
    if count:
        _list_refused(services.ledger, folder.path)
    return count


def watch_folder(
    services: Services, folder: WatchedFolder, stop: threading.Event, tell: Callable[[Published], None]
) -> None:
    """Publish what appears in a folder until told to stop; a catalog that does not answer is waited for."""
    from watchfiles import watch  # noqa: PLC0415  # for those who watch folders

    while not stop.is_set():
        try:
            count = publish_folder_once(services, folder, tell)
        except UnavailableError as error:
            LOG.warning(error.message, extra={"facts": {"folder": str(folder.path)}})
            stop.wait(RESCAN_S)
            continue
        if count:
            continue
        if folder.unsettled:
            stop.wait(folder.settle_s)
        elif not stop.is_set():
            wait_ms = int(RESCAN_S * 1000)
            changes = watch(folder.path, stop_event=stop, rust_timeout=wait_ms, yield_on_timeout=True, recursive=False)
            next(iter(changes), None)


def _publish(
    services: Services, folder: WatchedFolder, path: Path, about: tuple[Mapping[str, Any] | None, set[str]]
) -> tuple[_Done | None, str]:
    """Publish a file; None where it is to be looked at again."""
    row, named = about
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None, ""  # it has gone again
    if row is not None and row["digest"] == digest:
        return _Done(row["outcome"], row["text"], tuple(row["assets"])), digest
    if path.name in named:
        return _Done("asset", "an Item of the folder has it as an asset"), digest
    try:
        document = read_publication(str(path))
        if isinstance(document, dict) and document.get("type") in ("Collection", "Catalog"):
            return _Done("passed", f"a {document['type']}, not an Item"), digest
        results = publish(services, document, path.name, folder.collection)
    except UnavailableError:
        raise
    except GeodlError as error:
        results = [Published(path.name, "refused", text=error.message.removeprefix(f"{path}: "))]
    except Exception as error:  # a file of anybody must not stand in the way of the others
        results = [Published(path.name, "refused", text=f"unexpected: {type(error).__name__}")]
        document = None
        LOG.exception("unexpected", extra={"facts": {"file": path.name}})
    if any(one.outcome == "unavailable" for one in results):
        return None, ""
    refused = [one for one in results if one.outcome == "refused"]
    assets = tuple(_assets(folder.path, document)) if not refused else ()
    text = "; ".join(_within(path.name, one) for one in refused[:5])
    return _Done("refused" if refused else "published", text, assets, tuple(results)), digest


def _within(name: str, one: Published) -> str:
    """Return what is wrong in a file, and where in it; its name is said once, in front."""
    return ": ".join(filter(None, (one.place.removeprefix(name).lstrip("."), one.text.removeprefix(f"{name}: "))))


def _assets(folder: Path, document: Any) -> Iterator[str]:
    """Yield the names of the files in a folder that an Item has as assets."""
    assets = document.get("assets") if isinstance(document, dict) else None
    for asset in assets.values() if isinstance(assets, Mapping) else ():
        path = Path(file_of(str(asset.get("href")))) if isinstance(asset, Mapping) else None
        if path is not None and path.parent == folder:
            yield path.name


def _whole(folder: WatchedFolder, known: Mapping[str, Mapping[str, Any]], now: float) -> Iterator[tuple[Path, str]]:
    """Yield the files that are new or changed and no longer written, Items before rasters."""
    found = []
    try:
        for path in sorted(folder.path.iterdir()):
            with suppress(FileNotFoundError):
                if _is_meant(path) and path.is_file():
                    state = path.stat()
                    found.append((path, f"{state.st_size}:{state.st_mtime_ns}"))
    except OSError as error:
        raise StoreError(f"{folder.path}: the folder cannot be read ({error.strerror})") from error
    unsettled = {}
    new = [(path, stamp) for path, stamp in found if known.get(path.name, {}).get("stamp") != stamp]
    ready = []
    for path, stamp in new:
        before, since = folder.unsettled.get(path.name, (None, now))
        if before != stamp or since > now:  # changed, or the clock was set back
            since = now
        unsettled[path.name] = (stamp, since)
        if now - since >= folder.settle_s and not stamp.startswith("0:"):
            ready.append((path, stamp))
    folder.unsettled = unsettled
    for path, stamp in sorted(ready, key=lambda pair: (pair[0].suffix.lower() in RASTERS, pair[0].name)):
        folder.unsettled.pop(path.name, None)
        yield path, stamp


def _is_meant(path: Path) -> bool:
    return path.suffix.lower() in (*DOCUMENTS, *RASTERS) and not path.name.startswith((".", "~"))


def _known(ledger: Ledger, folder: Path) -> dict[str, Mapping[str, Any]]:
    with ledger.reading() as connection:
        is_there = sa.inspect(connection).has_table(FILES.name)
        rows = connection.execute(_of(folder)).mappings().all() if is_there else []
    if not is_there:
        with ledger.writing() as connection:
            FILES.create(connection, checkfirst=True)
    return {row["name"]: dict(row) for row in rows}


def _of(folder: Path) -> sa.Select[Any]:
    return sa.select(FILES).where(FILES.c.folder == str(folder)).order_by(FILES.c.name)


def _remember(ledger: Ledger, key: tuple[Path, str], values: dict[str, Any]) -> None:
    folder, name = str(key[0]), key[1]
    with ledger.writing() as connection:
        values = {**values, "at": ledger.clock()}
        if not insert_new(ledger, connection, FILES, {"folder": folder, "name": name, **values}):
            mine = (FILES.c.folder == folder, FILES.c.name == name)
            connection.execute(FILES.update().where(*mine).values(**values))


def _list_refused(ledger: Ledger, folder: Path) -> None:
    """Write the list of what was refused of a folder, or remove it; a folder that cannot be written goes without."""
    with ledger.reading() as connection:
        rows = connection.execute(_of(folder).where(FILES.c.outcome == "refused")).mappings().all()
    lines = [f"{row['name']}: {row['text']}\n" for row in rows if (folder / row["name"]).exists()]
    target = folder / REFUSED_NAME
    with suppress(StoreError):
        if lines:
            write_bytes(target, "".join(lines).encode())
        else:
            with storage_errors(target):
                target.unlink(missing_ok=True)


def watched_folder(path: Path, collection: str | None) -> WatchedFolder:
    """Return a folder to watch.

    Raises:
        ItemError: there is none.
    """
    if not path.is_dir():
        raise ItemError(f"{path}: expected a folder to watch, found none")
    return WatchedFolder(path.absolute(), collection)
