import numpy as np
import pytest

from ann.analysis.metrics import (
    confusion_matrix,
    learnt_nothing,
    mcnemar,
    most_confident_mistakes,
    summarize,
    wilson_interval,
)
from support import optional


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
    """Against a calculation by hand, and by how often the interval contains the mean."""
    found = summarize([1.0, 3.0])
    assert (found.mean, found.deviation) == pytest.approx((2, 2**0.5))
    assert (found.low, found.high) == pytest.approx((2 - 12.706, 2 + 12.706))
    assert (
        str(summarize([5] * 50))
        == "mean 5.0, standard deviation 0.0, 95 % interval of the mean 5.0 to 5.0"
    )
    assert str(summarize([149, 503])).endswith("interval of the mean 0.0 to 2575.0")
    for count in (3, 10, 40):
        rows = [summarize(row) for row in rng.standard_normal((4000, count))]
        held = np.mean([row.low < 0 < row.high for row in rows])
        assert held == pytest.approx(0.95, abs=0.015)
    with pytest.raises(ValueError, match="expected at least two"):
        summarize([1.0])


def test_the_quantiles_of_student_s_t_are_scipy_s():
    """All quantiles of the table, and two beyond it."""
    stats = optional("scipy.stats")
    for count in range(2, 200):
        values = np.arange(count, dtype=float)
        found = summarize(values)
        quantile = (found.high - found.mean) * count**0.5 / np.std(values, ddof=1)
        exact = stats.t.ppf(0.975, count - 1)
        assert quantile == pytest.approx(exact, abs=6e-4 if count <= 31 else 0.045)
        assert found.mean - found.low == pytest.approx(found.high - found.mean)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 1.0])
def test_wilson_is_scipy_s(rate):
    stats = optional("scipy.stats")
    for total in (1, 100, 10_000):
        wrong = round(rate * total)
        expected = stats.binomtest(wrong, total).proportion_ci(0.95, "wilson")
        assert wilson_interval(wrong, total) == pytest.approx(
            (expected.low, expected.high), abs=1e-7
        )


def test_the_most_confident_mistakes_come_first():
    outputs = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.2, 0.8]])
    labels = np.array([0, 1, 0, 0, 0])
    np.testing.assert_array_equal(most_confident_mistakes(labels, outputs, 9), [3, 4, 2, 1])
    np.testing.assert_array_equal(most_confident_mistakes(labels, outputs, 2), [3, 4])


def test_a_network_that_has_learnt_nothing():
    """It makes more than three quarters of the mistakes of always giving the most frequent
    answer.
    """
    labels = np.array([0] * 60 + [1] * 40)
    assert learnt_nothing(30, labels) == ""
    assert (
        "it gets 31 of 100 images wrong; always giving the same answer would get 40"
        in learnt_nothing(31, labels)
    )


def test_mcnemar_by_hand():
    assert (
        mcnemar(0, 0) == mcnemar(7, 7) == mcnemar(7, 8) == 1.0
    )  # 7 of 15 is as near to a half as can be
    assert mcnemar(0, 5) == mcnemar(5, 0) == 2 / 32
    assert mcnemar(1, 9) == 2 * (1 + 10) / 1024
    assert (
        0 < mcnemar(0, 1000) < 1e-300
        and mcnemar(1, 9998) == 0.0
        and mcnemar(4000, 6000) < 1e-80
        and mcnemar(5000, 5000) == 1.0
    )  # beyond what floats can add
