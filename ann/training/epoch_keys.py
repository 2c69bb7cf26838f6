"""Random keys, new in each epoch. Dropout masks and distortions are computed from them."""

from ann.backends.base import Array
from ann.neural_network import NeuralNetwork
from ann.nn.rng import Purpose, drawn


class EpochKeys:
    """Device arrays of uint32. In a committee, each has a row per member.

    Attributes:
        dropout: (..., L): column l is for the inputs of layer l with weights, counted from 0.
        channels: (..., L): the same for channel dropout.
        distortion: (..., 1).
    """

    def __init__(self, network: NeuralNetwork) -> None:
        xp, leading = network.backend.xp, network.network.leading
        self._network = network
        self.dropout = xp.zeros((*leading, len(network.layer_list)), dtype=xp.uint32)
        self.channels = xp.zeros_like(self.dropout)
        self.distortion = xp.zeros((*leading, 1), dtype=xp.uint32)

    def set(self, epoch: int) -> None:
        """Set the keys of an epoch, counted from 1."""
        self._draw("dropout", self.dropout, epoch)
        self._draw("channels", self.channels, epoch)
        self._draw("distortion", self.distortion, epoch)

    def _draw(self, purpose: Purpose, keys: Array, epoch: int) -> None:
        size = keys.shape[-1]
        numbers = drawn(
            self._network.seeds, purpose, epoch - 1, lambda rng: rng.integers(2**32, size=size)
        )
        keys[...] = self._network.backend.from_host(numbers.astype("uint32"))
