import numpy as np
import pytest

from ann.analysis.metrics import confusion_matrix, mcnemar, spread, wilson_interval


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


def test_spread(rng):
    """By hand, and by how often the interval holds the mean."""
    found = spread([1.0, 3.0])
    assert (found.mean, found.deviation) == pytest.approx((2, 2**0.5))
    assert (found.low, found.high) == pytest.approx((2 - 12.706, 2 + 12.706))
    assert str(spread([5] * 50)) == "mean 5.0, deviation 0.0, 95 % interval of the mean 5.0 to 5.0"
    for count in (3, 10, 40):
        rows = [spread(row) for row in rng.standard_normal((4000, count))]
        held = np.mean([row.low < 0 < row.high for row in rows])
        assert held == pytest.approx(0.95, abs=0.015)
    with pytest.raises(ValueError, match="expected at least two"):
        spread([1.0])


def test_mcnemar_by_hand():
    assert mcnemar(0, 0) == mcnemar(7, 7) == mcnemar(7, 8) == 1.0  # 7 of 15 is as near to a half as can be
    assert mcnemar(0, 5) == mcnemar(5, 0) == 2 / 32
    assert mcnemar(1, 9) == 2 * (1 + 10) / 1024
    assert (
        0 < mcnemar(0, 1000) < 1e-300
        and mcnemar(1, 9998) == 0.0
        and mcnemar(4000, 6000) < 1e-80
        and mcnemar(5000, 5000) == 1.0
    )  # beyond what floats can add
