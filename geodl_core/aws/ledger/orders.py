"""Orders in the bucket: what a run is asked to do, kept from the message that ordered it to the function that plans it.

They outlive the message, and lie apart from the ledger, since an Item may be larger than a row of it.
"""

from typing import Any

from geodl_core.aws.site.documents import read_document, write_document
from geodl_core.aws.site.layout import Bucket, order_url
from geodl_core.domain.run.options import options_json, read_options
from geodl_core.domain.run.order import Order
from geodl_core.errors import InputError

FORMAT = "geodl-order-1"


def keep_order(s3: Any, bucket: Bucket, run_id: str, order: Order) -> None:
    """Write an order; the same order again changes nothing.

    Raises:
        StoreError: the store does not answer.
    """
    document = {
        "format": FORMAT,
        "item": dict(order.item),
        "model": order.model,
        "options": options_json(order.options),
        "collection": order.collection,
        "priority": order.priority,
        "watch": order.watch,
        "dedupe_by": list(order.dedupe_by),
        "depth": order.depth,
    }
    write_document(s3, order_url(bucket, run_id), document)


def read_kept_order(s3: Any, bucket: Bucket, run_id: str) -> Order:
    """Return the order of a run.

    Raises:
        InputError: it is not kept any more, or was written by another version of geodl.
        StoreError: the store does not answer.
    """
    found = find_kept_order(s3, bucket, run_id)
    if found is None:
        raise InputError(
            f"run {run_id[:8]}: its order is not kept any more", hint="publish the Item again, or remove the run first"
        )
    return found


def find_kept_order(s3: Any, bucket: Bucket, run_id: str) -> Order | None:
    """Return the order of a run, None where it is not kept any more.

    Raises:
        InputError: it was written by another version of geodl, or may not be read.
        StoreError: the store does not answer.
    """
    document = read_document(s3, order_url(bucket, run_id))
    if document is None:
        return None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"run {run_id[:8]}: expected an order ({FORMAT}), found another document")
    return Order(
        item=document["item"],
        model=str(document["model"]),
        options=read_options(document["options"], f"run {run_id[:8]}"),
        collection=document["collection"],
        priority=int(document["priority"]),
        watch=document["watch"],
        dedupe_by=tuple(document["dedupe_by"]),
        depth=int(document["depth"]),
    )
