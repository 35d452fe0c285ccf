"""Accuracy as documents."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.detection.accuracy import Curve
from geodl_core.domain.detection.accuracy_report import thinned, threshold_text


@given(st.floats(-1e6, 1e6))
def test_a_threshold_as_shown_keeps_what_the_threshold_keeps(threshold):
    """Rounding goes down, by less than a thousandth."""
    shown = float(threshold_text(threshold))
    assert shown <= threshold
    assert threshold - shown <= abs(threshold) * 1.001e-3


@given(st.integers(0, 1000), st.integers(2, 300))
def test_a_thinned_curve_keeps_its_ends(count, most):
    """No more points than asked for, in their order; short curves stay whole."""
    numbers = np.arange(count, dtype=float)
    thin = thinned(Curve(numbers, numbers + 1, numbers + 2, numbers + 3), most)
    assert len(thin.scores) == min(count, most)
    assert (np.diff(thin.scores) > 0).all()
    assert set(thin.scores[[0, -1]]) == set(numbers[[0, -1]]) if count else not len(thin.scores)
    np.testing.assert_array_equal(thin.f1s, thin.scores + 3)
