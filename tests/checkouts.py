"""A checkout of a project with a template, in git, whose `sam` is a script that writes down how it was called."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAKE = Path(__file__).with_name("fake_sam.py")
TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  CpuImage: {Type: String}
  Image: {Type: String, Default: ""}
  CatalogUrl: {Type: String, Default: ""}
  CatalogDsnSecret: {Type: String, Default: ""}
  MaxGpuVcpus: {Type: Number, Default: 64}
  BackfillConcurrency: {Type: Number, Default: 32}
Conditions:
  HasUrl: !Not [!Equals [!Ref CatalogUrl, ""]]
Resources:
  Bucket: {Type: "AWS::S3::Bucket"}
"""
KEYS = [{"AttributeName": "pk", "KeyType": "HASH"}]
NAMES = [{"AttributeName": "pk", "AttributeType": "S"}]
TABLE = {"BillingMode": "PAY_PER_REQUEST", "KeySchema": KEYS, "AttributeDefinitions": NAMES}


@dataclass(frozen=True)
class Checkout:
    """A checkout, and the stack that it is deployed as."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.root / "project"

    @property
    def environment(self) -> dict[str, str]:
        """What lets `geodl deploy` find the script, and the script its template."""
        return {
            "PATH": f"{self.root / 'programs'}:/usr/bin:/bin",
            "COLUMNS": "80",
            "GEODL_STACK": self.name,
            "FAKE_SAM_CALLS": str(self.root / "calls"),
            "FAKE_SAM_TEMPLATE": str(self.root / "real.json"),
        }

    def calls(self) -> list[list[str]]:
        """Return how `sam` was called, first to last."""
        path = self.root / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def change(self, **resources: Any) -> None:
        """Let the stack have a bucket, a table, and these resources, from the next deployment on."""
        (self.root / "real.json").write_text(_template(self.name, resources))

    def remove_sam(self) -> None:
        (self.root / "programs" / "sam").unlink()


def make_checkout(root: Path, name: str) -> Checkout:
    """Make a checkout in a folder."""
    made = Checkout(root, name)
    made.folder.mkdir()
    (root / "programs").mkdir()
    (made.folder / "template.yaml").write_text(TEMPLATE)
    (made.folder / ".gitignore").write_text("build/\n")
    sam = root / "programs" / "sam"
    sam.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    sam.chmod(0o755)
    made.change(Topic={"Type": "AWS::SNS::Topic"})
    _git(made.folder, "init", "-q")
    _git(made.folder, "add", ".")
    _git(made.folder, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "first")
    return made


def _git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


def _template(name: str, more: dict[str, Any]) -> str:
    bucket = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "Properties": {"BucketName": f"{name}-files"}}
    table = {"Type": "AWS::DynamoDB::Table", "Properties": {**TABLE, "TableName": f"{name}-ledger"}}
    outputs = {"Bucket": {"Ref": "Bucket"}, "Table": {"Ref": "Table"}, "SceneMachine": "arn:aws:states:machine"}
    return json.dumps(
        {
            "Parameters": {"CpuImage": {"Type": "String", "Default": "geodl:cpu"}},
            "Resources": {"Bucket": bucket, "Table": table, **more},
            "Outputs": {key: {"Value": value} for key, value in outputs.items()},
        }
    )
