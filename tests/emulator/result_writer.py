"""What a Distributed Map leaves behind: files and a manifest in S3, or a list in its output.

Sources: Step Functions' guide ("ResultWriter (Map)").
"""

import json
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from ministack.core import lambda_runtime
from ministack.core.responses import get_account_id, get_region
from ministack.services import stepfunctions

from emulator.map_items import filled
from emulator.options import Options

_options: list[Options] = []


def install(options: Options) -> None:
    """Tell where S3 answers."""
    _options[:] = [options]


def write(map_run: Any) -> Any:
    """Write the results as the state says.

    Returns:
        The state's result: the children's outputs; or, where they went to S3, where the manifest lies.

    Raises:
        _ExecutionError: States.ResultWriterFailed, S3 did not take a file.
    """
    writer = map_run.place.state.get("ResultWriter")
    if not writer:
        return map_run.outputs
    config = writer.get("WriterConfig") or {}
    groups = {name: _formed(map_run, name, config.get("Transformation", "NONE")) for name in ("SUCCEEDED", "FAILED")}
    place = filled(map_run.place, writer.get("Arguments" if map_run.place.is_jsonata else "Parameters") or {})
    if not place.get("Bucket"):
        return groups["SUCCEEDED"]
    return _export(map_run, place, groups, config.get("OutputType", "JSON"))


def dump(value: Any) -> str:
    """JSON as the children's records and files hold it."""
    return json.dumps(value)


def _formed(map_run: Any, status: str, transformation: str) -> list[Any]:
    """The results of one kind: NONE all about each child, COMPACT its output, FLATTEN the members of the outputs."""
    records = [record for record in map_run.records if record is not None and record["status"] == status]
    if transformation == "NONE" or status == "FAILED":
        return [_view(record) for record in records]
    outputs = [json.loads(record["output"]) for record in records]
    if transformation == "COMPACT":
        return outputs
    return [one for output in outputs for one in (output if isinstance(output, list) else [output])]


def _view(record: dict[str, Any]) -> dict[str, Any]:
    succeeded = record["status"] == "SUCCEEDED"
    ending = {"Output": record["output"], "OutputDetails": {"Included": True}}
    if not succeeded:
        ending = {"Error": record["error"], "Cause": record["cause"]}
    return {
        "ExecutionArn": record["executionArn"],
        "Input": record["input"],
        "InputDetails": {"Included": True},
        "Name": record["name"],
        "StateMachineArn": record["stateMachineArn"],
        "StartDate": record["startDate"],
        "StopDate": record["stopDate"],
        "Status": record["status"],
        **ending,
        "RedriveCount": 0,
        "RedriveStatus": "NOT_REDRIVABLE" if succeeded else "REDRIVABLE_BY_MAP_RUN",
    }


def _export(map_run: Any, place: dict[str, str], groups: dict[str, list[Any]], kind: str) -> dict[str, Any]:
    client, bucket = _client(map_run), place["Bucket"]
    folder = "/".join(part for part in ((place.get("Prefix") or "").strip("/"), map_run.id) if part)
    files: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
    for status, group in groups.items():
        if group:
            lines = kind == "JSONL"
            body = ("\n".join(map(dump, group)) if lines else dump(group)).encode()
            key = f"{folder}/{status}_0.{kind.lower()}"
            _put(client, bucket, key, body)
            files[status].append({"Key": key, "Size": len(body)})
    _count(map_run)
    manifest = {"DestinationBucket": bucket, "MapRunArn": map_run.arn, "ResultFiles": files}
    _put(client, bucket, f"{folder}/manifest.json", dump(manifest).encode())
    details = {"Bucket": bucket, "Key": f"{folder}/manifest.json"}
    return {"MapRunArn": map_run.arn, "ResultWriterDetails": details}


def _count(map_run: Any) -> None:
    for record, child in zip(map_run.records, map_run.children, strict=True):
        if record is not None and record["status"] in ("SUCCEEDED", "FAILED"):
            map_run.shown["itemCounts"]["resultsWritten"] += child.weight
            map_run.shown["executionCounts"]["resultsWritten"] += 1


def _client(map_run: Any) -> Any:
    """S3 as the state machine's role sees it, so that enforced permissions count here too."""
    machine = stepfunctions._state_machines.get(map_run.place.execution["stateMachineArn"]) or {}
    keys = lambda_runtime.execution_credentials(
        {
            "FunctionArn": f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:states",
            "FunctionName": "states",
            "Role": machine.get("roleArn", ""),
        }
    )
    return boto3.client(
        "s3",
        endpoint_url=_options[0].endpoint,
        region_name=get_region(),
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=keys["AWS_SESSION_TOKEN"] or None,
        config=Config(s3={"addressing_style": "path"}),
    )


def _put(client: Any, bucket: str, key: str, body: bytes) -> None:
    try:
        client.put_object(Bucket=bucket, Key=key, Body=body)
    except ClientError as error:
        raise stepfunctions._ExecutionError("States.ResultWriterFailed", str(error)) from error
