"""Writing: Items and Collections created, replaced, patched and deleted, one by one or many at once."""

from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from geodl_core.catalog.answers import Mode, Refusal, Stored, changed
from geodl_core.catalog.api.documents import checked_collection, checked_item, read_json
from geodl_core.catalog.api.links import (
    ServedFile,
    check_derived,
    collection_url,
    item_url,
    served_collection,
    served_item,
    stored_links,
    with_file_urls,
    with_stored_hrefs,
)
from geodl_core.catalog.api.patches import merged, patched
from geodl_core.catalog.api.responses import geojson, quoted, read_etags, refused
from geodl_core.catalog.api.write import Write
from geodl_core.errors import ItemError

MERGE_PATCH, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
TRIES = 20
"""How often a patch is applied anew where another writer was faster."""


def create_items(write: Write, served_file: ServedFile | None = None) -> Response:
    """Create an Item, or all Items of a FeatureCollection, or none of them."""
    collection_id = write.path["collection_id"]
    document = read_json(write.body)
    if isinstance(document, dict) and document.get("type") == "FeatureCollection":
        features = document.get("features")
        if not isinstance(features, list):
            raise ItemError(f"features: expected a list of Items, found {str(features)[:40]}")
        return _many(write, features, "create", 201)
    write.check_document_size()
    item = _incoming(write, document)
    etags = _accepted(write.catalog.write_items([item], "create"))
    place = item_url(write.base, collection_id, item["id"])
    return geojson(_shown(write, item, served_file), 201, {"Location": place, "ETag": quoted(etags[0])})


def create_many(write: Write) -> Response:
    """Create Items, or with `"method": "upsert"` create or replace them: all or none."""
    document = read_json(write.body)
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, dict):
        raise ItemError('body: expected {"items": {"id": Item, …}}, found something else')
    wrong = next((key for key, one in items.items() if not isinstance(one, dict) or one.get("id") != key), None)
    if wrong is not None:
        raise ItemError(f"items: expected each Item under its own id, found another under {wrong[:60]!r}")
    method = document.get("method", "insert")
    if method not in ("insert", "upsert"):
        raise ItemError(f"method: expected insert or upsert, found {str(method)[:40]!r}")
    return _many(write, list(items.values()), "create" if method == "insert" else "put", 200)


def replace_item(write: Write, served_file: ServedFile | None = None) -> Response:
    """Replace an Item that is there."""
    item = _incoming(write, read_json(write.body))
    _check_id("item", item["id"], write.path["item_id"])
    etags = _accepted(write.catalog.write_items([item], "replace", _if_match(write)))
    return geojson(_shown(write, item, served_file), headers={"ETag": quoted(etags[0])})


def patch_item(write: Write, served_file: ServedFile | None = None) -> Response:
    """Change parts of an Item."""
    key = write.path["collection_id"], write.path["item_id"]

    def store(document: Any, etag: str) -> tuple[str, ...] | Refusal:
        item = _incoming(write, document)
        _check_id("item", item["id"], key[1])
        return write.catalog.write_items([item], "replace", frozenset({etag}))

    item, etags = _patch(write, "item {}/{}".format(*key), lambda: write.catalog.read_item(*key), store)
    return geojson(_shown(write, item, served_file), headers={"ETag": quoted(etags[0])})


def delete_item(write: Write) -> Response:
    """Delete an Item."""
    refusal = write.catalog.remove_item(write.path["collection_id"], write.path["item_id"], _if_match(write))
    _accepted(refusal)
    return Response(status_code=204)


def create_collection(write: Write) -> Response:
    """Create a Collection."""
    collection = stored_links(checked_collection(read_json(write.body)), write.base)
    etag = _accepted(write.catalog.write_collection(collection, "create"))
    headers = {"Location": collection_url(write.base, collection["id"]), "ETag": quoted(etag)}
    return JSONResponse(served_collection(collection, write.base), 201, headers)


def replace_collection(write: Write) -> Response:
    """Replace a Collection that is there; its Items stay."""
    collection = stored_links(checked_collection(read_json(write.body)), write.base)
    _check_id("collection", collection["id"], write.path["collection_id"])
    etag = _accepted(write.catalog.write_collection(collection, "replace", _if_match(write)))
    return JSONResponse(served_collection(collection, write.base), headers={"ETag": quoted(etag)})


def patch_collection(write: Write) -> Response:
    """Change parts of a Collection."""
    collection_id = write.path["collection_id"]

    def store(document: Any, etag: str) -> str | Refusal:
        collection = stored_links(checked_collection(document), write.base)
        _check_id("collection", collection["id"], collection_id)
        return write.catalog.write_collection(collection, "replace", frozenset({etag}))

    name = f"collection {collection_id!r}"
    collection, etag = _patch(write, name, lambda: write.catalog.read_collection(collection_id), store)
    return JSONResponse(served_collection(collection, write.base), headers={"ETag": quoted(etag)})


def delete_collection(write: Write) -> Response:
    """Delete a Collection and its Items."""
    _accepted(write.catalog.delete_collection(write.path["collection_id"], _if_match(write)))
    return Response(status_code=204)


def _many(write: Write, documents: list[Any], mode: Mode, status: int) -> Response:
    items = [_incoming(write, one) for one in documents]
    _accepted(write.catalog.write_items(items, mode))
    return JSONResponse({"received": len(items), "success": len(items), "skipped": 0, "errors": []}, status)


def _incoming(write: Write, document: Any) -> dict[str, Any]:
    item = checked_item(document, write.path["collection_id"])
    check_derived(item, write.base)

    def stored() -> dict[str, Any] | None:
        found = write.catalog.read_item(item["collection"], item["id"])
        return None if found is None else found.content

    return with_stored_hrefs(stored_links(item, write.base), write.base, stored)


def _shown(write: Write, item: dict[str, Any], served_file: ServedFile | None) -> dict[str, Any]:
    shown = item if served_file is None else with_file_urls(item, write.base, served_file)
    return served_item(shown, write.base)


def _patch(
    write: Write, name: str, read: Callable[[], Stored | None], store: Callable[[Any, str], Any]
) -> tuple[dict[str, Any], Any]:
    """Apply a patch to what is stored; where another writer comes between, to what that one has stored."""
    patch, asked = read_json(write.body), _if_match(write)
    for _ in range(TRIES):
        stored = read()
        if stored is None:
            raise HTTPException(404, f"{name}: there is none")
        if asked is not None and stored.etag not in asked:
            raise refused(changed(name))
        document = _patched(write, name, stored.content, patch)
        answer = store(document, stored.etag)
        if not isinstance(answer, Refusal):
            return document, answer
        if answer.reason != "changed" or asked is not None:
            raise refused(answer)
    raise HTTPException(409, f"{name}: others change it all the time; try again")


def _patched(write: Write, name: str, document: dict[str, Any], patch: Any) -> Any:
    is_list = isinstance(patch, list)
    if write.content_type in (JSON_PATCH, MERGE_PATCH) and is_list != (write.content_type == JSON_PATCH):
        raise ItemError(f"{name}: expected the patch that {write.content_type} names, found another kind")
    if not is_list:
        return merged(document, patch)
    try:
        return patched(document, patch)
    except ValueError as err:
        raise ItemError(f"{name}: {err.args[0]}") from err
    except LookupError as err:
        raise HTTPException(409, f"{name}: {err.args[0]}") from err


def _if_match(write: Write) -> frozenset[str] | None:
    return read_etags(write.headers.get("if-match"))


def _check_id(kind: str, found: str, expected: str) -> None:
    if found != expected:
        raise ItemError(f"{kind}: expected the id of the address, {expected!r}, found {found!r}")


def _accepted(answer: Any) -> Any:
    if isinstance(answer, Refusal):
        raise refused(answer)
    return answer
