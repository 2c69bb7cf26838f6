"""Properties that hold for everything that hypothesis tries."""

import gzip

import numpy as np
import pytest

import ann
from ann.analysis.metrics import wilson_interval
from ann.data.idx import read_idx
from support import optional
from support.digits import idx_bytes
from support.networks import network_of

hypothesis = optional("hypothesis")
st, hnp = optional("hypothesis.strategies"), optional("hypothesis.extra.numpy")

# a folder that examples share is what is wanted here, and a busy machine is no failure
RELAXED = {
    "suppress_health_check": [hypothesis.HealthCheck.function_scoped_fixture],
    "deadline": None,
}

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@hypothesis.settings(**RELAXED, max_examples=100)
@hypothesis.given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=9)),
    zipped=st.booleans(),
)
def test_idx_files_that_are_written_are_read(tmp_path, array, zipped):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    found = read_idx(path, array.ndim)
    np.testing.assert_array_equal(found, array)
    assert not found.flags.writeable


@hypothesis.settings(**RELAXED, max_examples=300)
@hypothesis.given(
    zipped=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 200),
)
def test_a_damaged_idx_file_is_read_or_refused(tmp_path, zipped, changes, cut):
    data = bytearray(gzip.compress(idx_bytes(IMAGES), mtime=0) if zipped else idx_bytes(IMAGES))
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path / "file"
    path.write_bytes(bytes(data[: len(data) - cut % len(data)] if cut % 3 == 0 else data))
    try:
        read_idx(path, 3)
    except ann.DataFileError as error:
        assert "\n" not in str(error)  # anything else that is raised fails the test


@hypothesis.settings(**RELAXED, max_examples=500)
@hypothesis.given(
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=5),
    cut=st.one_of(st.just(0), st.integers(0, 2000)),
)
@pytest.mark.slow
def test_a_damaged_model_is_loaded_or_refused(tmp_path, changes, cut):
    path = tmp_path / "damaged"
    network_of(ann.get_backend("cpu"), 5, 4, 3, activation="tanh", output="softmax", seed=9).save(
        path
    )
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    path.write_bytes(bytes(data[: len(data) - cut % len(data)]))
    try:
        ann.load_model(path)
    except ann.ModelFileError as error:
        assert "\n" not in str(error)  # anything else that is raised fails the test


@hypothesis.settings(**RELAXED, max_examples=50)
@hypothesis.given(
    dims=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    activation=st.sampled_from(["sigmoid", "relu", "gelu"]),
    seed=st.integers(0, 2**62),
)
def test_models_that_are_saved_are_loaded(tmp_path, dims, activation, seed):
    net = network_of(ann.get_backend("cpu"), *dims, activation=activation, seed=seed)
    net.save(tmp_path / "file")
    twin = ann.load_model(tmp_path / "file")
    assert (twin.layer_list, twin.seed) == (net.layer_list, seed)
    np.testing.assert_array_equal(twin.parameters, net.parameters)


@hypothesis.given(
    st.integers(1, 10**6).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
)
def test_wilson_holds_the_rate_and_is_symmetric(pair):
    wrong, total = pair
    low, high = wilson_interval(wrong, total)
    assert 0 <= low <= wrong / total <= high <= 1
    assert wilson_interval(total - wrong, total) == pytest.approx((1 - high, 1 - low))
