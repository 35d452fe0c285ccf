"""stac-api-validator finds no error in a served catalog, its schemas taken from the test data."""

import io
import json
import logging
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from stac_api_validator.validations import QueryConfig, validate_api

from stac_documents import make_collection, make_item

CLASSES = ["core", "collections", "features", "item-search", "filter", "item-search#filter"]
AREA = {"type": "Polygon", "coordinates": [[[0, 0], [30, 0], [30, 30], [0, 30], [0, 0]]]}

pytestmark = [
    pytest.mark.shared,
    # Of the validator and what it stands on.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def url(address):
    """A server of sixty Items."""
    requests.post(f"{address}/collections", json=make_collection("s"), timeout=10)
    features = [make_item(f"i{n}", (n, n / 2, n + 1, n / 2 + 1), **{"eo:cloud_cover": n}) for n in range(60)]
    for number, item in enumerate(features):
        item["properties"]["datetime"] = f"20{number % 20 + 10}-05-01T00:00:00Z"
    page = {"type": "FeatureCollection", "features": features}
    assert requests.post(f"{address}/collections/s/items", json=page, timeout=10).status_code == 201
    return address


@pytest.fixture
def offline(monkeypatch, shared):
    """Requests for schemas are answered from the test data; what is not there is noted."""
    send, lacking = HTTPAdapter.send, []

    def answered(self, request, **options):
        parts = urlsplit(request.url)
        if parts.hostname == "127.0.0.1":
            return send(self, request, **options)
        path = Path(f"{shared}/schemas/{parts.hostname}{parts.path}")
        response = requests.Response()
        response.request, response.url = request, request.url
        response.status_code = 200 if path.is_file() else 404
        response.raw = io.BytesIO(path.read_bytes() if path.is_file() else b"{}")
        response.headers["Content-Type"] = "application/json"
        if not path.is_file():
            lacking.append(request.url)
        return response

    monkeypatch.setattr(HTTPAdapter, "send", answered)
    return lacking


def test_no_errors(url, offline):
    """Core, collections, features, item search and filter hold what the specifications ask for."""
    logging.disable(logging.CRITICAL)
    try:
        warnings, errors = validate_api(
            root_url=url,
            ccs_to_validate=CLASSES,
            collection="s",
            geometry=json.dumps(AREA),
            auth_bearer_token=None,
            auth_query_parameter=None,
            fields_nested_property=None,
            validate_pagination=True,
            query_config=QueryConfig(*[None] * 13),
            transaction_collection=None,
            headers={},
        )
    finally:
        logging.disable(logging.NOTSET)
    assert offline == []
    assert list(map(str, errors)) == []
    assert not [
        str(one) for one in warnings if "recommendations" not in str(one) and "returned 0 results" not in str(one)
    ]
