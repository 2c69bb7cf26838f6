import numpy as np

from ann.nn.rng import drawn, generator

PURPOSES = ("weights", "order", "dropout", "distortion", "examples", "channels")


def test_streams_are_independent():
    draws = [
        generator(seed, purpose, index).random()
        for seed in (0, 1)
        for purpose in PURPOSES
        for index in (0, 1)
    ]
    assert len(set(draws)) == len(draws)


def test_streams_do_not_change_by_accident():
    """The same seed gives the same network in every version."""
    for number, purpose in enumerate(PURPOSES):
        expected = np.random.default_rng([3, number, 2]).random()
        assert generator(3, purpose, 2).random() == expected
        assert generator(3, purpose).random() == generator(3, purpose, 0).random() != expected


def test_each_seed_has_a_row():
    def numbers(random):
        return random.random(4)

    rows = [drawn([seed], "order", 2, numbers) for seed in (5, 6)]
    assert rows[0].shape == (4,)
    np.testing.assert_array_equal(rows[0], generator(5, "order", 2).random(4))
    np.testing.assert_array_equal(drawn([5, 6], "order", 2, numbers), np.stack(rows))
