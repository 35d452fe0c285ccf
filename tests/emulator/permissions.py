"""What IAM asks about a request, where MiniStack says it otherwise than AWS.

Sources: IAM's guide, "AWS global condition context keys" (aws:SecureTransport); the Service Authorization Reference of
SNS and SQS, which know no actions of batches: each is asked about as what it is a batch of; and that of CloudWatch
Logs, where a stream is a resource of its own.
"""

import json

from ministack.core import iam_actions, iam_evaluator

from emulator.options import Options

TRANSPORT = "aws:securetransport"
BATCHES = {
    "sns:PublishBatch": "sns:Publish",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}


def install(options: Options) -> None:
    """Name actions as IAM does; and let requests arrive as over TLS, since the loopback stands for AWS's endpoints."""
    resolve, name = iam_evaluator._resolve_condition_key, iam_actions.extract_iam_action
    find = iam_actions.extract_resource_arn

    def resolved(key, context):
        return "true" if key.lower() == TRANSPORT else resolve(key, context)

    def named(*request):
        action = name(*request)
        return BATCHES.get(action, action)

    def found(service, method, path, headers, body, *more):
        resource = find(service, method, path, headers, body, *more)
        stream = json.loads(body or b"{}").get("logStreamName") if service == "logs" else None
        return f"{resource}:log-stream:{stream}" if stream else resource

    iam_evaluator._resolve_condition_key = resolved
    iam_actions.extract_resource_arn = found
    iam_actions.extract_iam_action = named
