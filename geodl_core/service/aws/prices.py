"""Prices of what a run uses on AWS, from one region's list, with the date; to be looked at again now and then."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars, without taxes, free tiers and discounts."""

    region: str = "us-east-1"
    as_of: str = "2026-11"
    """Sources: the price pages of each service. Those of Step Functions and DynamoDB were read again at that date; the
    others are as known from earlier lists, and g6's and Spot's move most."""
    sns_publish: float = 0.50e-6
    """Each 64 kB of a message; deliveries to SQS are free."""
    sqs_request: float = 0.40e-6
    lambda_request: float = 0.20e-6
    lambda_gb_s: float = 0.0000166667
    """x86."""
    states_transition: float = 0.025e-3
    """Standard workflows, children of a Distributed Map too."""
    dynamodb_write: float = 0.625e-6
    """Each write request unit, on demand; a transaction takes two for each kB."""
    dynamodb_read: float = 0.125e-6
    s3_put: float = 0.005e-3
    s3_get: float = 0.0004e-3
    s3_gb_month: float = 0.023
    gpu_hour: float = 0.8048
    """g6.xlarge, on demand."""
    gpu_spot_share: float = 0.4
    """Of that, on Spot: by day and zone between 0.3 and 0.6."""
    fargate_vcpu_hour: float = 0.04048
    fargate_gb_hour: float = 0.004445
    logs_gb: float = 0.50
    """Taken in by CloudWatch Logs."""
    scheduler_call: float = 1.00e-6


LIST = Prices()
"""The table in force."""
