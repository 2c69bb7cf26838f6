"""The network as users have it: built from a list of layers, handed host arrays, which are checked, saved and pickled.
What it computes is in ``nn.network``.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from ann.backends.base import Array, Backend
from ann.backends.select import get_backend
from ann.errors import ModelFileError, TrainingWarning, printable, printable_path
from ann.files import model_file, self_test
from ann.files.atomic import write_atomically
from ann.files.model_file import read_model
from ann.files.model_schema import max_self_test_images
from ann.nn.layer_list import LAYER_KEYS, check_layer_list
from ann.nn.losses import get_loss
from ann.nn.network import Perceptron
from ann.nn.rng import generator
from ann.validation import SetOnce, check_count, check_images, check_number, check_targets, check_vector

_UNSCALED, _STANDARD = 16.0, 1.0  # inputs above this, with a mean above that, are taken for pixels that were not scaled
SELF_TEST_IMAGES = 16  # images that a model file carries
CHUNK = 1000  # images that a network is applied to at a time, at most, so that many need little memory
_NUMBERS = 2**22  # in any layer's outputs for them, at most, unless a single image has more


class NeuralNetwork(SetOnce, Perceptron):
    """A multilayer perceptron, or a committee of some.

    Args:
        layers: one dict for each layer, ``{"input_dim": 784, "output_dim": 128, "activation": "sigmoid"}``.
        loss: "cross-entropy" (outputs sigmoid or softmax) or "quadratic".
        device: "cpu", "gpu", "auto" or a ``Backend``.
        seed: of the initial weights and of everything random in training; at least 0.
        dtype: "float32", or "float64" for checking gradients.
        parameters: a host vector (..., P) to start from, in the order of the attribute; None: random weights, no
            biases.
        committee: K, how many networks of these layers there are, whose outputs are averaged. The first has the seed,
            the second the next one, and so on; each is what it would be alone.

    Attributes:
        layer_list: the layers as above, as a copy: changing it does not change the network.
        layers: the ``Dense`` layers. The last one has no activation: it emits the logits, which the loss reads
            and ``loss.output``, the output activation, turns into outputs.
        parameters: (..., P) device vector: layer by layer, the weights (I, O) and then the biases (O,).
        gradients: (..., P) device vector: the last batch's dL/d(parameters), in the same order.
        leading: the shape of ``...``: () for one network, (K,) for a committee.
        recipe: the hyperparameters that trained it, as a plain dict, or None.
        self_test_images: (M, I) host array of at most 16 uint8 images. The model file stores them with the network's
            outputs, and loading it checks that they are still the same. None: random images. ``fit`` sets the first
            training images.
        warned: whether inputs that look unscaled were warned of, which happens once.

    Only ``recipe``, ``self_test_images`` and ``warned`` can be replaced. Parameters can be changed in place.

    Raises:
        ValueError: an argument is wrong; the message names the layer, counted from 1.
        AttributeError: code tries to replace another attribute.
        DeviceError: the device cannot be used.
    """

    _settable = ("recipe", "self_test_images", "warned")

    def __init__(
        self,
        layers: Sequence[dict[str, Any]],
        loss: str = "cross-entropy",
        device: str | Backend = "cpu",
        seed: int = 0,
        dtype: str = "float32",
        parameters: Any = None,
        committee: int = 1,
    ) -> None:
        layer_list = check_layer_list(layers)
        self.seed = check_count("seed", seed, at_least=0)
        self.committee = check_count("committee", committee, at_least=1)
        check_count("seed", self.seeds[-1], at_least=0)  # the last member's, too
        if not isinstance(dtype, str) or dtype not in ("float32", "float64"):
            raise ValueError(f"dtype: expected 'float32' or 'float64', got {printable(dtype)}")
        fused_loss = get_loss(loss, layer_list[-1]["activation"])
        self.loss_name, self.dtype_name = str(loss), dtype
        self.recipe: dict[str, Any] | None = None
        self.self_test_images: Any = None
        self.warned = False
        backend = get_backend(device)
        leading = () if self.committee == 1 else (self.committee,)
        shape = (*leading, sum((layer["input_dim"] + 1) * layer["output_dim"] for layer in layer_list))
        vectors = (backend.xp.zeros(shape, dtype=getattr(backend.xp, dtype)) for _ in range(2))
        super().__init__(backend, layer_list, fused_loss, *vectors)
        if parameters is not None:
            vector = check_vector("parameters", parameters, shape, dtype)
            self.parameters[...] = self._upload(vector)
            return
        for member, seed in enumerate(self.seeds):
            random = generator(seed, "weights")
            for layer in self.layers:
                weight = layer.weight[member, ...] if self.leading else layer.weight
                weight[...] = self._upload(layer.initial_weight(random))

    def __repr__(self) -> str:
        row = " -> ".join(f"{layer['output_dim']} {layer['activation']}" for layer in self.layer_list)
        name = f"committee of {self.committee} NeuralNetworks" if self.leading else "NeuralNetwork"
        return f"<{name} {self.input_dim} -> {row}, {self.loss_name}, on {self.backend.name}>"

    @property
    def chunk(self) -> int:
        """How many images it is applied to at a time."""
        widest = max(self.input_dim, *(layer.output_dim for layer in self.layers))
        return max(1, min(CHUNK, _NUMBERS // (self.committee * widest)))

    @property
    def seeds(self) -> range:
        """The members' seeds."""
        return range(self.seed, self.seed + self.committee)

    def member(self, number: int) -> NeuralNetwork:
        """A copy of one network of a committee, counted from 0. Raises ValueError where there are not so many."""
        if check_count("number", number, at_least=0) >= self.committee:
            raise ValueError(f"number: expected one from 0 to {self.committee - 1}, got {number}")
        vector = self.backend.to_host(self.parameters).reshape(self.committee, -1)[number]
        seed = self.seeds[number]
        one = NeuralNetwork(self.layer_list, self.loss_name, self.backend, seed, self.dtype_name, vector)
        one.recipe, one.self_test_images = copy.deepcopy(self.recipe), self.self_test_images
        return one

    def train_batch(self, X: Any, Y: Any, learning_rate: float) -> float:
        """One forward pass, one backward pass and one step of plain gradient descent: p = p - learning_rate * dL/dp.

        Args:
            X: images (N, I) or (N, height, width): uint8 pixels, which are divided by 255, or finite floats, which
                are taken as they are, and should reach from 0 (black) to 1 (white).
            Y: (N,) integer labels, or (N, O) one-hot rows.
            learning_rate: above 0.

        Returns:
            The batch's mean loss before the step; a committee's is the mean of its members'.

        Raises:
            ValueError: an argument is wrong; the message names it, what was expected and what was given.
        """
        learning_rate = check_number("learning_rate", learning_rate, above=0)
        images = check_images("X", X, self.input_dim, self.dtype_name)
        targets = check_targets("Y", Y, len(images), self.output_dim, self.loss.targets)
        self.warn_of_unscaled("X", images)
        with self.backend.ignore_overflow():
            x, scale = self._inputs(images)
            loss = self.compute_gradients(x, self._upload(targets), scale)
            self.backend.axpby(self.gradients, self.parameters, -learning_rate)
            return float(self.xp.mean(loss))

    def apply(self, X: Any) -> Any:
        """Images X, as in ``train_batch``, -> output rows (N, O), a host array. Any number of threads may call it."""
        images = check_images("X", X, self.input_dim, self.dtype_name)
        self.warn_of_unscaled("X", images)
        outputs = self.xp.empty((len(images), self.output_dim), dtype=self.dtype)
        x = None
        with self.backend.ignore_overflow():
            for chunk in slices(len(images), self.chunk):
                x, scale = self._inputs(images[chunk], room=x)
                outputs[chunk, :] = self.outputs(self.logits(x, scale))
        return self.backend.to_host(outputs)

    def predict(self, X: Any) -> Any:
        """Images X, as in ``train_batch``, -> the label (N,) of the largest output of each, a host array."""
        return self.apply(X).argmax(axis=-1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model file, wholly or not at all.

        Raises:
            OSError: it cannot be written.
            ValueError: it could not be read back, so it is not written; see ``to_bytes``.
        """
        write_atomically(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The contents of its model file, known to be readable. Raises ValueError where they would not be."""
        layers = []
        for spec, layer in zip(self.layer_list, self.layers, strict=True):
            weight, bias = (self.backend.to_host(array) for array in (layer.weight, layer.bias))
            layers.append({**spec, "weight": weight, "bias": bias[..., 0, :]})
        images = self.self_test_images
        if images is None:
            random, shape = generator(self.seed, "examples"), (SELF_TEST_IMAGES, self.input_dim)
            images = random.integers(0, 256, shape, dtype="uint8")
        images = images[: max_self_test_images(self.layer_list, self.committee)]
        return model_file.to_bytes(layers, self.loss_name, self.pixel_scale, self.seed, self.recipe, images)

    @property
    def self_test_images(self) -> Any:
        """See the class."""
        return self._self_test_images

    @self_test_images.setter
    def self_test_images(self, images: Any) -> None:
        if images is not None:
            images = check_images("self_test_images", images, self.input_dim)
            if images.dtype.name != "uint8" or len(images) > SELF_TEST_IMAGES:
                raise ValueError(f"self_test_images: expected at most {SELF_TEST_IMAGES} images of uint8 pixels")
            images = images.copy()  # and not a view of a whole file, or data set
        self._self_test_images = images

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: how to build the network, and host arrays."""
        parameters = self.backend.to_host(self.parameters).copy()
        return {
            "arguments": (
                *(self.layer_list, self.loss_name, "cpu", self.seed, self.dtype_name),
                *(parameters, self.committee),
            ),
            "recipe": self.recipe,
            "self_test_images": self.self_test_images,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build it again, on the CPU: the machine that reads the pickle may have no GPU."""
        self.__init__(*state["arguments"])  # type: ignore[misc]
        self.recipe, self.self_test_images = state["recipe"], state["self_test_images"]

    def __deepcopy__(self, memo: dict[int, Any]) -> NeuralNetwork:
        """A copy on the same device."""
        state = self.__getstate__()
        layers, loss, _, *rest = state["arguments"]
        twin = NeuralNetwork(layers, loss, self.backend, *rest)
        twin.recipe, twin.self_test_images = copy.deepcopy(state["recipe"], memo), self.self_test_images
        return twin

    def _upload(self, host_array: Any) -> Array:
        return self.backend.from_host(host_array.astype(self.dtype_name, copy=False))

    def warn_of_unscaled(self, name: str, images: Any, stacklevel: int = 3) -> None:
        """Warn once if checked host images are floats that look like pixels from 0 to 255."""
        if images.dtype.name == "uint8" or self.warned:
            return
        with self.backend.ignore_overflow():  # the mean of large numbers may overflow
            self.warned = bool(images.max() > _UNSCALED and images.mean() > _STANDARD)
        if self.warned:
            text = f"{name}: inputs reach {images.max():g} but should lie between 0 and 1: divide pixels by 255"
            warnings.warn(text, TrainingWarning, stacklevel=stacklevel)

    def _inputs(self, images: Any, room: Array | None = None) -> tuple[Array, float]:
        """Checked host images -> what ``inputs`` gives."""
        pixels = images.dtype.name == "uint8"
        return self.inputs(self.backend.from_host(images) if pixels else self._upload(images), room)


def slices(count: int, size: int) -> Iterator[slice]:
    """0 .. count in slices of ``size``, the last one smaller where it does not divide."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def load_model(path: str | os.PathLike[str], device: str | Backend = "cpu") -> NeuralNetwork:
    """Read a model file, wherever it was trained, onto a device. It is safe to open a stranger's file.

    Its self-test is run, so a model that loads computes here what it computed where it was saved.

    Raises:
        ModelFileError: the file is missing, unreadable, damaged or not a model of this format, or an output of its
            self-test is off by more than ``self_test.TOLERANCE``.
        DeviceError: the device cannot be used.
    """
    backend = get_backend(device)
    contents, path = read_model(path), printable_path(path)
    test = contents["examples"]
    specs = [{key: layer[key] for key in LAYER_KEYS} for layer in contents["layers"]]
    try:
        right = not test or self_test.passes_self_test(contents)  # before anything as large as the file is built
        if right:
            committee, parameters = model_file.parameter_vector(contents)
            network = NeuralNetwork(
                specs, contents["loss"], backend, contents["seed"], parameters=parameters, committee=committee
            )
            network.recipe, network.self_test_images = contents["recipe"], test and test["images"]
            if test and backend.name != "cpu":  # where the same was just computed
                found = self_test.safe_outputs(network.apply, network.self_test_images)
                right = self_test.outputs_match(test["outputs"], found, self_test.TOLERANCE)
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except MemoryError:
        raise ModelFileError(f"{path}: there is not enough memory for its network") from None
    if not right:
        raise ModelFileError(
            f"{path}: its self-test fails: on this machine it gives other outputs than where it was saved; if it uses "
            "your own activation, import the one that it was trained with"
        )
    return network
