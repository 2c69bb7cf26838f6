"""Tests that need a GPU."""

import numpy as np

import ann
from ann.training.batches import ImageSet
from ann.training.trainer import Trainer
from support.backends import make_backend
from support.networks import network_of

SPIN = """
extern "C" __global__ void spin(long long ticks) {
    long long start = clock64();
    while (clock64() - start < ticks) {}
}
"""


def test_an_epoch_never_waits_for_the_gpu(rng):
    """A kernel that takes seconds is queued after the first step; the host must finish before it
    does.
    """
    backend = make_backend("cupy")
    recipe = ann.Recipe(batch_size=50)
    net = network_of(backend, 784, 128, 32, 10)
    images, labels = (
        rng.integers(0, 256, (1000, 784), dtype=np.uint8),
        rng.integers(0, 10, 1000, dtype=np.uint8),
    )
    trainer = Trainer(net, ImageSet(net, images, labels), recipe)
    order, rates = np.arange(1000), [1e-3] * 20
    for _ in range(2):
        list(trainer.epoch(order, 1, rates))
        float(trainer.loss.sum(order))  # everything is compiled and captured
    stream = backend.xp.cuda.get_current_stream()
    spin = backend.xp.RawKernel(SPIN, "spin")
    spin((1,), (1,), (np.int64(1),))
    still_busy = []

    for _ in trainer.epoch(order, 1, rates):
        if not still_busy:
            spin((1,), (1,), (np.int64(6_000_000_000),))  # some three seconds
        still_busy.append(not stream.done)
    loss = trainer.loss.sum(order)
    assert still_busy == [True] * 20
    assert np.isfinite(float(loss))  # here it waits
