"""Publishing through a server: a document to its `/publish`."""

from typing import Any

import requests

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import CatalogError, InputError
from geodl_core.service.runs.address import server_address
from geodl_core.service.triggers.publish import Published

TIMEOUT_S = (10.0, 300.0)
"""To connect, and between two bytes."""


def send(server: str, token: str | None, document: Any, collection: str | None) -> list[Published]:
    """Have a server publish a document; return the outcome of each message.

    Args:
        server: its address.
        token: shown to it.
        document: an Item or an envelope.
        collection: of Items that name none.

    Raises:
        InputError: the address is none or would carry the token in the clear; or the server refuses the document as a
            whole.
        CatalogError: it does not answer.
    """
    address = server_address(server, token)
    shown = hide_secrets(address)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    query = {"collection": collection} if collection else {}
    try:
        response = requests.post(
            f"{address}/publish",
            json=document,
            params=query,
            headers=headers,
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )
        answer = response.json()
    except requests.JSONDecodeError as error:
        raise CatalogError(f"{shown}: expected geodl's server, found an answer that is no JSON") from error
    except requests.RequestException as error:
        raise CatalogError(
            f"{shown}: the server does not answer ({type(error).__name__})", hint="geodl serve starts one"
        ) from error
    if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
        said = str(answer.get("description") if isinstance(answer, dict) else answer)[:300]
        kind = (
            CatalogError
            if response.status_code >= 500 or response.status_code == requests.codes.too_many
            else InputError
        )
        is_other = response.status_code == requests.codes.not_found
        hint = "is it geodl serve? a deployment on AWS is named by --stack NAME" if is_other else None
        raise kind(f"{shown}: the server answers {response.status_code}: {said}", hint=hint)
    names = ("place", "outcome", "collection", "item_id", "text")
    return [Published(**{name: one.get(name) for name in names}) for one in answer["results"]]
