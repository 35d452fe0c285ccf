"""Documents of OGC API – Processes, Part 1 (OGC 18-062r2): models as processes, runs as jobs."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from geodl_core.catalog.model_versions import name_of, version_of
from geodl_core.domain.model.argument import ModelArgument
from geodl_core.domain.run.options import RunOptions
from geodl_core.domain.run.order import LEAST_PRIORITY, MOST_PRIORITY
from geodl_core.domain.run.state import FINAL, State
from geodl_core.service.runs.facts import progress

_PART_1 = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf"
CONFORMANCE = tuple(
    f"{_PART_1}/{name}" for name in ("core", "ogc-process-description", "json", "oas30", "job-list", "dismiss")
)
EXCEPTIONS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"
RELATIONS = "http://www.opengis.net/def/rel/ogc/1.0"
JSON, GEOJSON = "application/json", "application/geo+json"
STATUS: dict[State, str] = {
    "queued": "accepted",
    "claimed": "running",
    "running": "running",
    "succeeded": "successful",
    "failed": "failed",
    "invalid": "failed",
    "cancelled": "dismissed",
}
"""State of a run → `statusCode` of a job."""
ORDER_INPUTS = ("item", "output_collection", "priority")
OPTION_INPUTS = tuple(name for name in RunOptions.model_fields if name != "arguments")
_TYPES = {"whole number": "integer", "number": "number", "numbers": "string", "flag": "boolean", "choice": "string"}
_AREA = {"oneOf": [{"type": "string"}, {"type": "object", "title": "GeoJSON"}]}
_ITEM = {
    "anyOf": [
        {"type": "object", "title": "STAC Item", "contentMediaType": GEOJSON, "required": ["type", "assets"]},
        {"type": "object", "title": "Public URL of an Item", "required": ["href"]},
        {"type": "object", "title": "Item of this catalog", "required": ["collection", "id"]},
    ]
}


def process_links() -> tuple[tuple[str, str, str, str], ...]:
    """Return the links of the landing page: relation, path without a slash before it, media type, title."""
    return (
        (f"{RELATIONS}/processes", "processes", JSON, "Models as processes"),
        (f"{RELATIONS}/job-list", "jobs", JSON, "Runs as jobs"),
    )


def process_summary(model: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return a registered model as the summary of a process; `base` ends with a slash."""
    properties = model["properties"]
    url = f"{base}processes/{quote(name_of(model), safe='')}"
    return {
        "id": name_of(model),
        "version": version_of(model),
        "title": str(properties.get("title") or properties.get("mlm:name") or name_of(model)),
        "description": str(properties.get("description") or f"Runs the model {name_of(model)} over a STAC Item."),
        "jobControlOptions": ["async-execute", "dismiss"],
        "outputTransmission": ["value"],
        "links": [
            {"rel": "self", "href": url, "type": JSON},
            {"rel": f"{RELATIONS}/execute", "href": f"{url}/execution", "type": JSON},
        ],
    }


def process_description(model: Mapping[str, Any], arguments: tuple[ModelArgument, ...], base: str) -> dict[str, Any]:
    """Return a registered model as a process with its inputs and outputs."""
    options = RunOptions.model_json_schema()["properties"]
    inputs = {
        "item": {"title": "Scene", "description": "What the model looks at.", "schema": _ITEM},
        **{argument.name: _argument(argument) for argument in arguments if argument.name not in OPTION_INPUTS},
        **{name: _option(name, options[name]) for name in OPTION_INPUTS},
        "output_collection": _optional("Collection of the result", {"type": "string"}),
        "priority": _optional("Urgent runs come first", _within("integer", LEAST_PRIORITY, MOST_PRIORITY, 0)),
    }
    item = {"type": "object", "contentMediaType": GEOJSON}
    outputs = {
        "item": {"title": "Result", "description": "STAC Item of the result.", "schema": item},
        "link": {"title": "Address of the result", "schema": {"type": "object", "required": ["href"]}},
    }
    return {**process_summary(model, base), "inputs": inputs, "outputs": outputs}


def job_status(facts: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return a run as the status of a job, with the run's own facts as `geodl`."""
    url = f"{base}jobs/{facts['id']}"
    error = facts["error"]
    state: State = facts["state"]
    status = {
        "type": "process",
        "processID": str(facts["model"]).partition("@")[0],
        "jobID": facts["id"],
        "status": STATUS[state],
        "message": f"{error['class']}: {error['message']}" if error else state,
        "created": facts["created"],
        "started": facts["started"],
        "finished": facts["finished"],
        "updated": facts["updated"],
        "progress": progress(facts),
        "links": _job_links(url, state),
        "geodl": dict(facts),
    }
    return {name: value for name, value in status.items() if value is not None}


def exception(kind: str | None, status: int, title: str, detail: str) -> dict[str, Any]:
    """Return an error's document (RFC 7807); `kind` is one of OGC's exceptions, None where there is none."""
    return {
        "type": f"{EXCEPTIONS}/{kind}" if kind else "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
    }


def _job_links(url: str, state: State) -> list[dict[str, str]]:
    links = [
        {"rel": "self", "href": url, "type": JSON},
        {"rel": "history", "href": f"{url}/history", "type": JSON},
        {"rel": "logs", "href": f"{url}/logs", "type": JSON},
    ]
    if state == "succeeded":
        links.append({"rel": f"{RELATIONS}/results", "href": f"{url}/results", "type": JSON})
    if state not in FINAL:
        links.append({"rel": "monitor", "href": f"{url}/events", "type": "text/event-stream"})
    return links


def _argument(argument: ModelArgument) -> dict[str, Any]:
    kind = _TYPES[argument.kind]
    schema: dict[str, Any] = {"type": kind, "default": argument.default}
    if argument.kind == "choice":
        schema["enum"] = list(argument.choices)
    elif kind in ("integer", "number"):
        schema = _within(kind, argument.low, argument.high, argument.default)
    return _optional(argument.help, schema, argument.name)


def _option(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in schema.items() if key not in ("title", "description")}
    return _optional(str(schema.get("description") or name.replace("_", " ")), _AREA if name == "aoi" else plain, name)


def _within(kind: str, low: float, high: float, default: Any) -> dict[str, Any]:
    return {"type": kind, "minimum": low, "maximum": high, "default": default}


def _optional(text: str, schema: Mapping[str, Any], title: str | None = None) -> dict[str, Any]:
    return {"title": title or text, "description": text, "minOccurs": 0, "schema": dict(schema)}
