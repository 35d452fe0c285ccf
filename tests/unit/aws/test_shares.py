"""Fair shares of the machines, one for each watch."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from geodl_core.aws.steps.plan_stage import HAND, share_of
from geodl_core.domain.run.complaints import WATCH_NAME

NAMES = st.from_regex(WATCH_NAME, fullmatch=True).filter(lambda name: not name.endswith("\n"))


@given(one=NAMES, other=NAMES)
@example(one="a-b", other="ab")
@example(one="a-b", other="a.b")
@example(one="hand", other="ha-nd")
def test_every_watch_has_a_share_of_its_own(one, other):
    """Whatever watches are called: letters and digits, as Batch takes them, and never the share of another."""
    assert re.fullmatch("[A-Za-z0-9]{1,255}", share_of(one))
    assert (share_of(one) == share_of(other)) == (one == other)
    assert share_of(one) != share_of(None) == HAND


def test_a_plain_name_is_a_share_as_it_is():
    """Who looks into the queue sees the watch."""
    assert share_of("fields2026") == "fields2026"
    assert share_of("my-fields").startswith("myfields")
