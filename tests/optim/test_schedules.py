import math

import pytest

from ann.optim.schedules import SCHEDULES, get_schedule

FALLING = [name for name in SCHEDULES if name != "one-cycle"]


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("name", FALLING)
def test_rates_lie_above_zero_and_reach_but_never_pass_the_largest(name, steps, warmup):
    rate = get_schedule(name, 0.5, steps, warmup)
    rates = [rate(step) for step in range(steps)]
    assert all(0 < value <= 0.5 for value in rates)
    assert max(rates) > 0.5 * (1 - 1 / max(1, warmup * steps))


@pytest.mark.parametrize("name", FALLING)
def test_warmup_rises_in_a_line_and_then_nothing_rises(name):
    rate = get_schedule(name, 0.5, 100, 0.2)
    assert [rate(step) for step in range(20)] == pytest.approx(
        [0.5 * (step + 1) / 20 for step in range(20)]
    )
    later = [rate(step) for step in range(19, 100)]
    assert later == sorted(later, reverse=True)


def test_the_shape_fills_the_steps_after_the_warmup():
    rate = get_schedule("linear", 0.5, 100, 0.2)
    expected = [0.5 * (1 - step / 81) for step in range(81)]
    assert [rate(step) for step in range(19, 100)] == pytest.approx(expected)


def test_shapes():
    assert [get_schedule("constant", 0.5, 4)(step) for step in range(4)] == [0.5] * 4
    assert [get_schedule("step", 1.0, 6)(step) for step in range(6)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    assert [get_schedule("linear", 1.0, 4)(step) for step in range(4)] == pytest.approx(
        [1, 0.75, 0.5, 0.25]
    )
    cosine = [get_schedule("cosine", 1.0, 4)(step) for step in range(4)]
    assert cosine == pytest.approx([0.5 + 0.5 * math.cos(math.pi * step / 4) for step in range(4)])


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 1000])
def test_one_cycle(steps):
    rates = [get_schedule("one-cycle", 0.5, steps)(step) for step in range(steps)]
    assert all(0 < rate <= 0.5 for rate in rates)
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    if steps >= 4:
        assert rates[0] == pytest.approx(0.5 / 25)
    if steps >= 10:
        assert top == 0.3 * steps - 1 and rates[top] == pytest.approx(0.5)
        assert rates[-1] == pytest.approx(0.5 / 250_000)


def test_unknown_schedule():
    with pytest.raises(
        ValueError,
        match="unknown schedule 'cosin'; known: constant, step, linear, cosine, one-cycle",
    ):
        get_schedule("cosin", 0.1, 10)
