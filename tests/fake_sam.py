#!/usr/bin/env python3
"""Stands in for `sam`: writes down how it was called; `deploy` makes a change set of FAKE_SAM_TEMPLATE."""

import json
import os
import sys
import time
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

CALLS = Path(os.environ["FAKE_SAM_CALLS"])


def deploy(words):
    cloudformation, stack = boto3.client("cloudformation"), words[words.index("--stack-name") + 1]
    try:
        is_new = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS"
    except ClientError:
        is_new = True
    made = cloudformation.create_change_set(
        StackName=stack,
        ChangeSetName=f"samcli-deploy{time.time_ns()}",
        TemplateBody=Path(os.environ["FAKE_SAM_TEMPLATE"]).read_text(),
        ChangeSetType="CREATE" if is_new else "UPDATE",
    )
    sys.stdout.write(f"\nChangeset created successfully. {made['Id']}\n\n")


def main(words):
    with CALLS.open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    if os.environ.get("FAKE_SAM_SAYS"):
        sys.stdout.write(os.environ["FAKE_SAM_SAYS"] + "\n")
        return int(os.environ.get("FAKE_SAM_CODE", "0"))
    if words[0] == "build":
        folder = Path(words[words.index("--build-dir") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "template.yaml").write_text("built")
    else:
        deploy(words)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
