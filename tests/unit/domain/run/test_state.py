"""States of a run, what follows an error, pauses between tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core import errors
from geodl_core.domain.run.state import (
    ACTIVE,
    FINAL,
    FIRST_PAUSE_S,
    FOLLOWING,
    LONGEST_PAUSE_S,
    STATES,
    is_transient,
    pause_s,
    state_after,
)

ERRORS = [value for value in vars(errors).values() if isinstance(value, type)]


def test_every_state_has_followers():
    """The table names every state, as a key and as something that is reached, and no other."""
    assert set(FOLLOWING) == set(STATES)
    assert {state for after in FOLLOWING.values() for state in after} == set(STATES)


def test_every_state_leads_to_an_end_and_back_to_the_queue():
    """From everywhere a run can end and be queued anew, and nothing but a queue follows an end."""
    for state in STATES:
        reached, todo = set(), [state]
        while todo:
            for after in FOLLOWING[todo.pop()]:
                if after not in reached:
                    reached.add(after)
                    todo.append(after)
        assert reached == set(STATES)
    assert all(FOLLOWING[state] == ("queued",) for state in FINAL)
    assert not set(ACTIVE) & set(FINAL)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_end_runs_by_their_kind(kind):
    """Input that can never serve makes a run invalid; only what may pass is tried again, and that never is input."""
    error = kind("x")
    assert state_after(error) == ("invalid" if error.exit_code == 2 else "failed")
    assert is_transient(error) == (error.exit_code == 75 or kind is errors.OutOfMemoryError)
    assert not (is_transient(error) and state_after(error) == "invalid")


@given(tries=st.integers(1, 60), chance=st.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_have_bounds(tries, chance):
    """A pause is between half and all of 2 s, times four with each further try, and ten minutes at most."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 4.0 ** (tries - 1))
    assert longest / 2 <= pause_s(tries, chance) <= longest
    assert pause_s(tries + 1, chance) >= pause_s(tries, chance)
