"""What is asked of AWS, counted where it arrives: by whom ever, boto3, obstore or GDAL, and as AWS counts it."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

from moto.server import ThreadedMotoServer

UNKNOWN = "ledger: not known how to count"
CHUNK = 1_024
"""Bytes of a row that a unit of writing stands for."""


class Requests:
    """A server's application that counts what comes, and hands it on."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.counts: Counter[str] = Counter()
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        """Rows as they were written last, as far as whole rows were."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        body = b""
        if "CONTENT_LENGTH" in environ:
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
            environ["wsgi.input"] = BytesIO(body)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target.startswith("DynamoDB"):
            self._ledger(target.partition(".")[2], json.loads(body))
        elif target:
            self.counts[target] += 1
        elif b"Action=" in body[:4_000] and environ["REQUEST_METHOD"] == "POST":
            self.counts[parse_qs(body.decode())["Action"][0]] += 1
        else:
            self._bucket(environ)
        return self._application(environ, start_response)

    def clear(self) -> None:
        """Count from nothing on."""
        self.counts.clear()

    def _bucket(self, environ: dict[str, Any]) -> None:
        # Lists are priced as writes are; to delete costs nothing (https://aws.amazon.com/s3/pricing/).
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        is_list = method == "GET" and "list-type=" in query
        is_removal = method == "DELETE" or (method == "POST" and query.split("=")[0] == "delete")
        kind = "delete" if is_removal else "put" if is_list or method in ("PUT", "POST") else "get"
        self.counts[f"s3 {kind}"] += 1

    def _ledger(self, operation: str, asked: dict[str, Any]) -> None:
        self.counts[operation] += 1
        if operation == "GetItem":
            self.counts["read halves"] += 2 if asked.get("ConsistentRead") else 1
        elif operation == "TransactWriteItems":
            self.counts["write units"] += sum(map(self._units_of_step, asked["TransactItems"]))
        elif operation == "PutItem":
            self._keep(asked["Item"])
            self.counts["write units"] += units(asked["Item"])
        elif operation == "UpdateItem":
            self.counts["write units"] += 1
        else:
            self.counts[UNKNOWN] += 1

    def _units_of_step(self, step: dict[str, Any]) -> int:
        """Return what a step of a transaction takes: twice a write's units, and those of the index besides."""
        ((kind, asked),) = step.items()
        if kind == "Put":
            self._keep(asked["Item"])
            return units(asked["Item"]) * (3 if "state_pk" in asked["Item"] else 2)
        if kind == "Update":
            row = self._updated(asked)
            # A row whose key in the index changes is taken away there and put anew.
            return units(row) * (4 if "state_pk" in row else 2)
        return 2

    def _keep(self, row: dict[str, Any]) -> None:
        self.rows[row["pk"]["S"], row["sk"]["S"]] = dict(row)

    def _updated(self, asked: dict[str, Any]) -> dict[str, Any]:
        row = self.rows.setdefault((asked["Key"]["pk"]["S"], asked["Key"]["sk"]["S"]), dict(asked["Key"]))
        names = asked.get("ExpressionAttributeNames", {})
        values = asked["ExpressionAttributeValues"]
        row.update({name: values[f":{name}"] for name in names.values() if f":{name}" in values})
        return row


def units(row: dict[str, Any]) -> int:
    """Return in how many chunks a row is counted; its size as DynamoDB's developer guide says ("Item sizes")."""
    size = sum(len(name.encode()) + _size(value) for name, value in row.items())
    return -(-size // CHUNK)


def _size(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "N":
        return len(content.replace(".", "").replace("-", "").strip("0")) // 2 + 2
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _size(each) for name, each in content.items())
    if kind == "L":
        return 3 + sum(1 + _size(each) for each in content)
    return 1


@contextmanager
def counted_server() -> Iterator[tuple[str, Requests]]:
    """Give the endpoint of a server of its own, and what counts its requests."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    requests = Requests(server._server.app)
    server._server.app = requests
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}", requests
    finally:
        server.stop()
