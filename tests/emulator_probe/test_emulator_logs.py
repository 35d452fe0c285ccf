"""What FilterLogEvents gives for a filter, as `geodl aws logs` asks."""

import time

import pytest
from aws_probe import named

pytestmark = pytest.mark.aws
LINES = ("planned abc", "merged DEF", "abc and DEF", "neither")
GIVEN = {
    '?"abc" ?"DEF"': LINES[:3],
    '?"def"': (),
    "?planned ?merged": LINES[:2],
    '?"planned abc" ?"no such"': LINES[:1],
    '"abc" "DEF"': LINES[2:3],
    "": LINES,
}


@pytest.fixture(scope="module")
def group(aws):
    name = named("/geodl/filters")
    aws.logs.create_log_group(logGroupName=name)
    aws.logs.create_log_stream(logGroupName=name, logStreamName="a")
    now_ms = int(time.time() * 1000)
    events = [{"timestamp": now_ms + at, "message": text} for at, text in enumerate(LINES)]
    aws.logs.put_log_events(logGroupName=name, logStreamName="a", logEvents=events)
    return name


@pytest.mark.parametrize("pattern", GIVEN)
def test_a_filter_gives_what_aws_gives(aws, group, pattern):
    """Of terms with `?` one is enough, letter for letter; of others all are needed."""
    events = aws.logs.filter_log_events(logGroupName=group, filterPattern=pattern)["events"]
    assert tuple(one["message"] for one in events) == GIVEN[pattern]
