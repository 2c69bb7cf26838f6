import numpy as np
import pytest

from ann.metrics import confusion_matrix, mean_interval, wilson_interval


def test_confusion_rows_are_expected_columns_predicted():
    found = confusion_matrix(np.array([0, 0, 1, 2], np.uint8), np.array([0, 2, 1, 2]), 3)
    np.testing.assert_array_equal(found, [[1, 0, 1], [0, 1, 0], [0, 0, 1]])


def test_confusion_of_many_uint8_labels_does_not_wrap():
    found = confusion_matrix(np.full(1000, 99, np.uint8), np.full(1000, 99, np.uint8), 100)
    assert found[99, 99] == found.sum() == 1000


def test_wilson_of_a_published_example():
    # Newcombe (1998), table I: 81 of 263 and 0 of 20
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_interval_of_a_mean(rng):
    """By hand, and by how often it holds the mean."""
    assert mean_interval([1.0, 3.0]) == pytest.approx((2 - 12.706, 2 + 12.706))
    assert mean_interval([5.0] * 50) == (5.0, 5.0)
    for count in (3, 10, 40):
        intervals = np.array([mean_interval(row) for row in rng.standard_normal((4000, count))])
        held = ((intervals[:, 0] < 0) & (intervals[:, 1] > 0)).mean()
        assert held == pytest.approx(0.95, abs=0.015)
    with pytest.raises(ValueError, match="expected at least two"):
        mean_interval([1.0])
