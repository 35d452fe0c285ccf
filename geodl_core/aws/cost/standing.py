"""What a deployment costs a month while nothing is published: what waits, watches, and looks around by the clock."""

from geodl_core.aws.cost.cost import ACU, HOUR_S, MONTH_DAYS, Entry
from geodl_core.aws.cost.setup import FUNCTION_GB, LEAST_ACU, PAUSE_S, WAKE_S, Setup

MONTH_HOURS = 24 * MONTH_DAYS
SWEEPS_AN_HOUR = 30
OUTBOX_HOURS = 6
"""Between two looks for what is not yet published."""
SWEEP_S, OUTBOX_S = 1.0, 5.0
"""Seconds of the functions that look for runs left lying, and for what is not yet published."""
SWEEP_READS = 1.5
"""Units of DynamoDB: three empty lists."""
POLLS_AN_HOUR = 5 * 180
"""Lambda asks the queue five times at once, each for 20 s (developer guide, "Using Lambda with Amazon SQS")."""
# As template.yaml has them; a test compares.
ENDPOINTS, ZONES = 2, 2
ALARMS, DASHBOARDS, METRICS = 7, 1, 15
SECRETS, DATABASE_SECRETS, PROXY_SECRETS = 1, 1, 1
PROXY_ACU = 8.0
"""Capacity units that a proxy is paid for at least."""


def standing_entries(setup: Setup) -> tuple[Entry, ...]:
    """Return what a month without any scene uses."""
    sweeps = SWEEPS_AN_HOUR * MONTH_HOURS
    looks = MONTH_HOURS / OUTBOX_HOURS
    seconds = sweeps * SWEEP_S + looks * OUTBOX_S
    entries = [
        Entry("messages", "sqs_request", POLLS_AN_HOUR * MONTH_HOURS),
        Entry("functions", "lambda_request", sweeps + looks),
        Entry("functions", "lambda_gb_s", FUNCTION_GB["sweep"] * seconds),
        Entry("ledger", "dynamodb_read", sweeps * SWEEP_READS),
        Entry("watching", "alarm_month", ALARMS),
        Entry("watching", "dashboard_month", DASHBOARDS),
        Entry("watching", "metric_month", METRICS),
    ]
    secrets = SECRETS
    if setup.has_database:
        secrets += DATABASE_SECRETS + PROXY_SECRETS * setup.has_proxy
        entries += _database(setup, looks)
        entries.append(Entry("network", "endpoint_hour", ENDPOINTS * ZONES * MONTH_HOURS))
    return *entries, Entry("secrets", "secret_month", secrets)


def _database(setup: Setup, looks: float) -> tuple[Entry, ...]:
    """Return a month of the database: it rests between looks, or never where there is a proxy."""
    if setup.rests:
        # Each look for what is not yet published wakes it.
        awake_s = looks * (WAKE_S + OUTBOX_S + PAUSE_S)
        return (Entry("database", "aurora_acu_hour", awake_s / HOUR_S * ACU),)
    return (
        Entry("database", "aurora_acu_hour", MONTH_HOURS * LEAST_ACU),
        Entry("database", "proxy_acu_hour", MONTH_HOURS * PROXY_ACU),
    )
