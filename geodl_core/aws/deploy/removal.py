"""The end of a stack: what it holds, what would stay, and its removal, with its data only where that is wanted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from geodl_core.aws.deploy.change_set import Event, events_of, failed, follow
from geodl_core.aws.deploy.source import parse_template
from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import client
from geodl_core.aws.site.stack import describe_stack
from geodl_core.errors import InputError

BUCKET, TABLE = "AWS::S3::Bucket", "AWS::DynamoDB::Table"
MOST_COUNTED = 1_000
"""Objects or rows; more are told as that many or more."""
STAYING = ("Retain", "RetainExceptOnCreate", "Snapshot")
GONE = ("NoSuchBucket", "404", "ResourceNotFoundException")
DELETED = "DELETE_COMPLETE"


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of a stack."""

    logical_id: str
    kind: str
    name: str
    """By which AWS knows it."""
    stays: str
    """`Retain`, `Snapshot`, or empty where it goes with the stack."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Data that a resource holds."""

    resource: Resource
    count: int
    """Objects or rows, `MOST_COUNTED` at most."""

    def __str__(self) -> str:
        noun = "object" if self.resource.kind == BUCKET else "row"
        most = " or more" if self.count >= MOST_COUNTED else ""
        where = "bucket" if self.resource.kind == BUCKET else "table"
        return f"{where} {self.resource.name} ({self.count:,} {noun}{'s' if self.count != 1 else ''}{most})"


def resources_of(stack: str) -> list[Resource]:
    """Return the resources of a stack that are there.

    Raises:
        InputError: there is no such stack, or AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    if describe_stack(stack) is None:
        raise InputError(f"stack {stack}: there is none in this account and region")
    policies = _policies(stack)
    with account_errors(f"stack {stack}"):
        pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        entries = [entry for page in pages for entry in page["StackResourceSummaries"]]
    return [
        Resource(
            str(entry["LogicalResourceId"]),
            str(entry["ResourceType"]),
            str(entry["PhysicalResourceId"]),
            policies.get(str(entry["LogicalResourceId"]), ""),
        )
        for entry in entries
        if entry.get("PhysicalResourceId") and entry["ResourceStatus"] != DELETED
    ]


def holdings(resources: list[Resource]) -> list[Holding]:
    """Return what of a stack's buckets and tables holds data.

    Raises:
        InputError: AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    found = []
    for resource in resources:
        if resource.kind in COUNTED:
            with account_errors(resource.name):
                count = _unless_gone(COUNTED[resource.kind], resource.name) or 0
            if count:
                found.append(Holding(resource, count))
    return found


def remove(stack: str, resources: list[Resource], watch: Callable[[Event], None], *, with_data: bool) -> list[Resource]:
    """Delete a stack; return what of it stays.

    Args:
        stack: name.
        resources: of it.
        watch: is told what happens.
        with_data: whether buckets are emptied, and buckets and tables deleted that would stay.

    Raises:
        InputError: something cannot be deleted; names what and why.
        UnavailableError: AWS does not answer.
    """
    told = describe_stack(stack)
    if told is None:
        return []
    if with_data:
        # Before: CloudFormation does not delete a bucket that holds something.
        for resource in resources:
            if resource.kind == BUCKET:
                with account_errors(resource.name):
                    _unless_gone(_empty, resource.name)
    arn = str(told["StackId"])
    with account_errors(f"stack {stack}"):
        seen = {event.id for event in events_of(arn)}
        client("cloudformation").delete_stack(StackName=stack)
        status, events = follow(arn, seen, watch)
    if status != DELETED:
        raise failed(stack, status, events)
    staying = [resource for resource in resources if resource.stays]
    if not with_data:
        return staying
    for resource in staying:
        if resource.kind in DELETING:
            with account_errors(resource.name):
                _unless_gone(DELETING[resource.kind], resource.name)
    return [resource for resource in staying if resource.kind not in DELETING]


def _policies(stack: str) -> dict[str, str]:
    """Return what is to stay of a stack's resources, by the template as it was deployed, SAM's macros expanded."""
    with account_errors(f"stack {stack}"):
        try:
            told = client("cloudformation").get_template(StackName=stack, TemplateStage="Processed")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            return {}
    body: Any = told["TemplateBody"]
    if isinstance(body, str):
        body = parse_template(body)  # JSON is YAML, too
    resources = body.get("Resources") if isinstance(body, Mapping) else None
    found = resources.items() if isinstance(resources, Mapping) else ()
    return {
        str(name): str(entry["DeletionPolicy"])
        for name, entry in found
        if isinstance(entry, Mapping) and entry.get("DeletionPolicy") in STAYING
    }


def _unless_gone(do: Callable[[str], int], name: str) -> int | None:
    try:
        return do(name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        return None


def _objects(name: str) -> int:
    page = client("s3").list_object_versions(Bucket=name, MaxKeys=MOST_COUNTED)
    return len(page.get("Versions", ())) + len(page.get("DeleteMarkers", ()))


def _rows(name: str) -> int:
    return int(client("dynamodb").scan(TableName=name, Select="COUNT", Limit=MOST_COUNTED)["Count"])


def _empty(name: str) -> int:
    """Delete all versions of all objects, and what was begun to be uploaded; return how many objects."""
    s3, count = client("s3"), 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        keys = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
        if keys:
            s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
            count += len(keys)
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", ()):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    return count


def _delete_bucket(name: str) -> int:
    # Jobs that ended with the stack may have written since.
    _empty(name)
    client("s3").delete_bucket(Bucket=name)
    return 1


def _delete_table(name: str) -> int:
    client("dynamodb").delete_table(TableName=name)
    return 1


COUNTED: dict[str, Callable[[str], int]] = {BUCKET: _objects, TABLE: _rows}
DELETING: dict[str, Callable[[str], int]] = {BUCKET: _delete_bucket, TABLE: _delete_table}
