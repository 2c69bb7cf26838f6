"""The network for users. It is built from a layer list, takes host arrays and checks them, and can
be saved and pickled. The mathematics is in ``nn.network``.
"""

import copy
import html
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from ann.backends.base import Array, Backend, HostArray
from ann.backends.select import get_backend
from ann.errors import ModelFileError, TrainingWarning, printable, printable_text
from ann.files import model_file
from ann.files.atomic import write_atomically
from ann.files.model_file import read_model
from ann.files.model_schema import SELF_TEST_IMAGES, max_self_test_images
from ann.files.self_test import passes_self_test
from ann.nn.convolution import size_text
from ann.nn.layer_list import (
    build_layers,
    check_layer_list,
    describe_layers,
    input_shape,
    without_activations,
    without_arrays,
)
from ann.nn.layers import Layer
from ann.nn.losses import get_loss
from ann.nn.network import Network, fill_inputs, size_of
from ann.nn.rng import generator
from ann.validation import (
    are_one_hot,
    check_count,
    check_images,
    check_number,
    check_targets,
    check_vector,
    scale_problem,
)

_CHUNK = 1000  # images in a forward pass, at most, to limit memory
_MANY = 1000  # from here on, threads save time; with convolution, so does a recording
_TINY = 1e-38  # smaller probabilities are raised to this before they are divided by their sum
_NUMBERS = 2**22  # outputs of a layer in a forward pass, at most, unless one image has more


@dataclass(frozen=True)
class Evaluation:
    """The results of a network on some images.

    Attributes:
        loss: the mean over the images; for a committee, the mean of its members' losses.
        errors: the number of images with a wrong label.
        count: the number of images.
    """

    loss: float
    errors: int
    count: int

    @property
    def accuracy(self) -> float:
        """The fraction of images with the right label."""
        return (self.count - self.errors) / self.count


class NeuralNetwork:
    """A multilayer perceptron, or a committee of several.

    Args:
        layers: one dict per layer, ``{"input_dim": 784, "output_dim": 128, "activation":
            "sigmoid"}``.
        loss: "cross-entropy" (for sigmoid or softmax outputs) or "quadratic".
        device: "cpu", "gpu", "auto" or a ``Backend``.
        seed: for the initial weights and everything random in training; at least 0.
        dtype: "float32", or "float64" for checking gradients.
        parameters: host vector (..., P) of initial parameters, ordered like the attribute; None:
            random weights, and biases of 0.
        committee: K, the number of networks with these layers, whose outputs are averaged. The
            first has this seed, the second the next one, and so on; each is the network that would
            result from its seed alone.

    Attributes:
        layer_list: a copy of the layers; changing it does not change the network.
        network: the mathematics: layers, loss and gradients.
        parameters: (..., P) device vector: first all weights (I, O), layer by layer, then all
            biases (O,).
        input_shape: the shape of an image: (I,), or (channels, height, width) if the first layer is
            one for pictures.
        input_dim, output_dim: the numbers of inputs and outputs.
        recipe: the hyperparameters of its training, as a plain dict, or None. Its key "classes" has
            the names of the classes if they are not just numbers.
        self_test_images: (M, I) host array of at most 16 uint8 images. A model file stores them
            with the network's outputs, and loading it checks that the outputs are still the same.
            None: random images. ``fit`` sets the first training images.
        warned: whether it has warned about inputs that look unscaled, which it does only once.

    Only ``recipe``, ``self_test_images`` and ``warned`` can be assigned. Parameters can be changed
    in place.

    Raises:
        ValueError: an argument is wrong; the message gives the number of the layer, counted from 1.
        AttributeError: another attribute is assigned.
        DeviceError: the device cannot be used.
    """

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
        self._layer_list = check_layer_list(layers)
        self.seed = check_count("seed", seed, at_least=0)
        self.committee = check_count("committee", committee, at_least=1)
        check_count("seed", self.seeds[-1], at_least=0)  # the last member's seed
        if not isinstance(dtype, str) or dtype not in ("float32", "float64"):
            raise ValueError(f"dtype: expected 'float32' or 'float64', got {printable(dtype)}")
        fused_loss = get_loss(loss, self._layer_list[-1]["activation"])
        self.loss_name, self.dtype_name = str(loss), dtype
        self.recipe: dict[str, Any] | None = None
        self.self_test_images: Any = None
        self.warned = False
        self.backend = get_backend(device)
        xp = self.backend.xp
        self.input_shape = input_shape(self._layer_list)
        self.input_dim = math.prod(self.input_shape)
        self.output_dim: int = self._layer_list[-1]["output_dim"]
        leading = () if self.committee == 1 else (self.committee,)
        new_layers = build_layers(self._layer_list)
        self.network = Network(self.backend, new_layers, fused_loss, getattr(xp, dtype), leading)
        self.parameters = self.network.parameters
        if parameters is not None:
            given = check_vector("parameters", parameters, self.parameters.shape, dtype)
            self.parameters[...] = self.backend.from_host(given.astype(dtype, copy=False))
            return
        vectors = xp.reshape(self.parameters, (self.committee, -1), copy=False)
        for member, seed in enumerate(self.seeds):
            random = generator(seed, "weights")
            for layer, arrays in self.network.views(vectors[member, :]).items():
                for name, values in layer.initial_values(random).items():
                    arrays[name][...] = self._upload(values)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, unless it describes the network and would be replaced."""
        settable = name.startswith("_") or name in ("recipe", "self_test_images", "warned")
        if not settable and getattr(self, name, value) is not value:
            raise AttributeError(
                f"{name} cannot be replaced; change arrays in place, as in "
                "net.parameters[...] = values, or create a new network"
            )
        super().__setattr__(name, value)

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each output's class in the training data, or the number of the output."""
        given = (self.recipe or {}).get("classes")
        names = list(map(printable_text, given)) if isinstance(given, (list, tuple)) else []
        return (*names, *map(str, range(len(names), self.output_dim)))[: self.output_dim]

    @property
    def layer_list(self) -> list[dict[str, Any]]:
        return copy.deepcopy(self._layer_list)

    @property
    def _layers(self) -> list[Layer]:
        """One layer for each dict of the layer list."""
        return without_activations(self.network.layers)

    @property
    def _name(self) -> str:
        one = self.committee == 1
        return "NeuralNetwork" if one else f"committee of {self.committee} NeuralNetworks"

    def __repr__(self) -> str:
        inputs, *texts = describe_layers(self._layer_list)
        row = " -> ".join(
            f"{text} {layer['activation']}" if "activation" in layer else text
            for text, layer in zip(texts, self._layer_list, strict=True)
        )
        return f"<{self._name} {inputs} -> {row}, {self.loss_name}, on {self.backend.name}>"

    def _repr_html_(self) -> str:
        """For notebooks: a table of the layers."""
        inputs, *texts = describe_layers(self._layer_list)
        rows = [("layer", "outputs", "activation", "parameters"), ("inputs", inputs, "", "")]
        for text, spec, layer in zip(texts, self._layer_list, self._layers, strict=True):
            name = text if "type" in spec else "dense"
            activation, parameters = spec.get("activation", ""), f"{size_of([layer]):,}"
            rows.append((name, size_text(layer.output_shape), activation, parameters))
        lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
        lines[0] = lines[0].replace("td>", "th>")
        count = f"{'' if self.committee == 1 else f'{self.committee} x '}{size_of(self._layers):,}"
        title = f"{self._name}: {count} parameters, loss {self.loss_name}, on {self.backend.name}"
        return f"<p>{title}</p><table><tr>{'</tr><tr>'.join(lines)}</tr></table>"

    @property
    def chunk(self) -> int:
        """The number of images in a forward pass."""
        widest = max(self.input_dim, *(layer.width for layer in self._layers))
        count = max(1, min(_CHUNK, _NUMBERS // (self.committee * widest)))
        # Images are innermost in memory, and products of multiples of 64 numbers are faster
        return count // 64 * 64 or count if len(self.input_shape) > 1 else count

    @property
    def seeds(self) -> range:
        """The members' seeds."""
        return range(self.seed, self.seed + self.committee)

    def member(self, number: int) -> "NeuralNetwork":
        """A copy of a member, counted from 0. Raises ValueError if there is none."""
        if check_count("number", number, at_least=0) >= self.committee:
            raise ValueError(f"number: expected 0 to {self.committee - 1}, got {number}")
        vectors = self.backend.to_host(self.parameters).reshape(self.committee, -1)
        return copy_of(self, seed=self.seeds[number], parameters=vectors[number])

    def train_batch(self, X: Any, Y: Any, learning_rate: float) -> float:
        """Train on one batch with plain gradient descent: p = p - learning_rate dL/dp.

        Args:
            X: images (N, I) or (N, height, width): uint8 pixels, which are divided by 255, or
                finite floats, which are used unchanged and should be from 0 (black) to 1 (white).
            Y: (N,) integer labels, or (N, O) one-hot rows.
            learning_rate: above 0.

        Returns:
            The mean loss of the batch before the update, averaged over a committee's members.

        Raises:
            ValueError: an argument is wrong; the message names it, with the expected and the given
                value.
        """
        learning_rate = check_number("learning_rate", learning_rate, above=0)
        images = check_images("X", X, self.input_shape, self.dtype_name)
        targets = check_targets("Y", Y, len(images), self.output_dim, self.network.loss.targets)
        self.warn_of_unscaled("X", images)
        with self.backend.ignore_overflow():
            x = self._room(len(images))
            fill_inputs(self.backend, self._upload(images), out=x)
            loss = self.network.compute_gradients(x, self._upload(targets))
            self.parameters[...] -= learning_rate * self.network.gradients
            return float(self.backend.xp.mean(loss))

    def apply(self, X: Any) -> HostArray:
        """Outputs (N, O), a host array, for images X as in ``train_batch``. Thread-safe."""
        images = check_images("X", X, self.input_shape, self.dtype_name)
        self.warn_of_unscaled("X", images)
        outputs = self.backend.xp.empty((len(images), self.output_dim), dtype=self.network.dtype)

        def fill(part: slice) -> None:
            for chunk, logits in self._logits(images[part, :], self._upload):
                outputs[part, :][chunk, :] = self.network.outputs(logits)

        with self.backend.ignore_overflow():
            if len(self.input_shape) == 1 and len(images) >= _MANY:
                self.backend.share(fill, len(images))
            else:  # too few to share; or pictures, which _logits shares
                fill(slice(None))
        return self.backend.to_host(outputs)

    def predict(self, X: Any) -> HostArray:
        """The label with the largest output, a host array (N,), for X as in ``train_batch``."""
        labels: HostArray = self.apply(X).argmax(axis=-1)
        return labels

    def predict_proba(self, X: Any) -> HostArray:
        """Probabilities (N, O) that sum to 1, a host array, for X as in ``train_batch``.

        These are the outputs, divided by their sum; see ``probabilities``.
        """
        outputs = self.apply(X)
        with self.backend.ignore_overflow():
            return probabilities(outputs)

    def evaluate(self, X: Any, Y: Any) -> Evaluation:
        """Loss and accuracy on images X and labels Y, both as in ``train_batch``.

        If target rows are not one-hot, or if there is a single output, an image counts as right if
        each output is above 0.5 exactly where its target is.
        """
        images = check_images("X", X, self.input_shape, self.dtype_name)
        targets = check_targets("Y", Y, len(images), self.output_dim, self.network.loss.targets)
        self.warn_of_unscaled("X", images)
        with self.backend.ignore_overflow():
            loss, errors = self.measure(
                self._upload(images), self._upload(targets), are_one_hot(targets)
            )
        return Evaluation(loss / len(images), errors, len(images))

    def measure(self, images: Array, targets: Array, one_hot: bool) -> tuple[float, int]:
        """The sum of the losses, and the number of errors, on device images (N, I).

        Args:
            images: uint8 pixels or floats.
            targets: (N, O) device array.
            one_hot: whether each target row is; see ``evaluate`` for others.
        """
        xp, network = self.backend.xp, self.network
        loss_sum = xp.zeros((), dtype=network.dtype)
        errors = xp.zeros((), dtype=xp.int64)
        for chunk, logits in self._logits(images):
            loss = network.loss.value(self.backend, logits, targets[chunk, :])
            loss_sum += xp.mean(loss) * float(logits.shape[-2])
            outputs = network.outputs(logits)
            if one_hot:
                wrong = xp.argmax(outputs, axis=-1) != xp.argmax(targets[chunk, :], axis=-1)
            else:
                wrong = xp.any((outputs > 0.5) != (targets[chunk, :] > 0.5), axis=-1)
            errors += xp.count_nonzero(wrong)
        return float(loss_sum), int(errors)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model file, completely or not at all.

        Raises:
            OSError: it cannot be written.
            ValueError: it could not be read back, so it is not written; see ``to_bytes``.
        """
        write_atomically(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The contents of its model file. Raises ValueError if ``load_model`` cannot read them."""
        images = self.self_test_images
        if images is None:
            random, shape = generator(self.seed, "examples"), (SELF_TEST_IMAGES, self.input_dim)
            images = random.integers(0, 256, shape, dtype="uint8")
        images = images[: max_self_test_images(self._layer_list, self.committee)]
        layers = layers_with_arrays(self)
        return model_file.to_bytes(layers, self.loss_name, self.seed, self.recipe, images)

    def weights_and_biases(self) -> list[tuple[HostArray, HostArray]]:
        """Copies of the weights (..., I, O) and biases (..., O) of the layers that have them.

        They are host arrays. The inputs of a convolution are ordered (channels, k, k).
        """
        layers = layers_with_arrays(self)
        return [(layer["weight"], layer["bias"]) for layer in layers if "weight" in layer]

    @property
    def self_test_images(self) -> Any:
        return self._self_test_images

    @self_test_images.setter
    def self_test_images(self, images: Any) -> None:
        if images is not None:
            images = check_images("self_test_images", images, self.input_shape)
            if images.dtype.name != "uint8" or len(images) > SELF_TEST_IMAGES:
                raise ValueError(
                    f"self_test_images: expected at most {SELF_TEST_IMAGES} images of uint8 pixels"
                )
            images = images.copy()  # a view would keep the whole data set in memory
        self._self_test_images = images

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds host arrays only, and is read on the CPU: there may be no GPU."""
        parameters = self.backend.to_host(self.parameters).copy()
        rest = (self.seed, self.dtype_name, parameters, self.committee)
        state = {"recipe": self.recipe, "_self_test_images": self.self_test_images}
        return type(self), (self.layer_list, self.loss_name, "cpu", *rest), state

    def __copy__(self) -> "NeuralNetwork":
        """A copy on the same device, with its own parameters."""
        return copy_of(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "NeuralNetwork":
        return copy_of(self)

    def _upload(self, array: Any) -> Array:
        """Upload host pixels as they are, and host floats as the network's dtype."""
        return self.backend.from_host(
            array if array.dtype.name == "uint8" else array.astype(self.dtype_name, copy=False)
        )

    def warn_of_unscaled(self, name: str, images: Any, stacklevel: int = 3) -> None:
        """Warn, at most once, if checked host images look wrongly scaled."""
        if not self.warned and (problem := scale_problem(images)):
            self.warned = True
            warnings.warn(f"{name}: {problem}", TrainingWarning, stacklevel=stacklevel)

    def _logits(
        self, images: Any, upload: Callable[[Any], Array] = lambda images: images
    ) -> Iterator[tuple[slice, Array]]:
        """The logits (..., N, O) of images (N, I), in chunks. Each overwrites the previous one."""
        backend, count = self.backend, images.shape[0]
        if backend.name == "cpu" and len(self.input_shape) > 1 and count >= _MANY:
            backend = backend.recorder()
        network, at_once = self.network.with_own_arrays(backend), self.chunk
        room = self._room(min(count, at_once))
        x = logits = repeat = None

        def forward() -> None:
            nonlocal logits
            logits = network.forward(x)

        for chunk in slices(count, at_once):
            x = room[: chunk.stop - chunk.start, :]
            fill_inputs(self.backend, upload(images[chunk, :]), out=x)
            if repeat and x.shape == room.shape:
                repeat()
            else:
                repeat = backend.compile(forward)
            yield chunk, logits

    def _room(self, count: int) -> Array:
        """An array for the inputs of ``count`` images. Reusing it saves a tenth of the time."""
        return self.backend.xp.empty((count, self.input_dim), dtype=self.network.dtype)


def probabilities(outputs: HostArray) -> HostArray:
    """Outputs (N, C) of any output activation -> rows that sum to 1, with the same ranking.

    If a row has negative values, its least value is subtracted. Then it is divided by its sum.
    """
    above = outputs - outputs.min(axis=1, keepdims=True).clip(max=0.0)
    above = above.clip(min=_TINY)
    shares: HostArray = above / above.sum(axis=1, keepdims=True)
    return shares


def slices(count: int, size: int) -> Iterator[slice]:
    """0 .. count in slices of ``size``; the last one may be smaller."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def layers_with_arrays(network: NeuralNetwork) -> list[dict[str, Any]]:
    """The layer list of a network, with copies of the parameters of each layer.

    They are host arrays: "weight" (..., I, O) and "bias" (..., O), as in a model file.
    """
    to_host, layers = network.backend.to_host, network.layer_list
    for spec, layer in zip(layers, network._layers, strict=True):
        for parameter in layer.parameters:
            array = to_host(getattr(layer, parameter.name)).copy()
            spec[parameter.name] = array if parameter.decays else array[..., 0, :]
    return layers


def copy_of(
    network: NeuralNetwork,
    device: str | Backend | None = None,
    seed: int | None = None,
    parameters: Any = None,
) -> NeuralNetwork:
    """A copy of a network, with another device, seed or parameters if these are given.

    ``parameters``: a host vector (P,) for a single network, or (K, P) for a committee of K.
    """
    if parameters is None:
        parameters = network.backend.to_host(network.parameters)
    twin = NeuralNetwork(
        network.layer_list,
        network.loss_name,
        device or network.backend,
        network.seed if seed is None else seed,
        network.dtype_name,
        parameters,
        1 if parameters.ndim == 1 else len(parameters),
    )
    twin.recipe, twin.self_test_images = copy.deepcopy(network.recipe), network.self_test_images
    return twin


def load_model(
    path: str | os.PathLike[str] | BinaryIO, device: str | Backend = "cpu"
) -> NeuralNetwork:
    """Load a model onto a device, wherever it was trained, from its file or an open binary file.

    Untrusted files are safe to load.

    Loading runs the model's self-test, so the model computes the same here as where it was saved.

    Raises:
        ModelFileError: the file is missing, unreadable, damaged or not a model of this format, or
            an output in its self-test differs by more than a hundredth.
        DeviceError: the device cannot be used.
    """
    backend = get_backend(device)
    contents, name = read_model(path), model_file.name_of(path)
    try:
        right = passes_self_test(contents)  # before a large network is built
        if right:
            committee, parameters = model_file.parameter_vector(contents)
            network = NeuralNetwork(
                [without_arrays(layer) for layer in contents["layers"]],
                contents["loss"],
                backend,
                contents["seed"],
                parameters=parameters,
                committee=committee,
            )
            network.recipe = contents["recipe"]
            network.self_test_images = contents["examples"] and contents["examples"]["images"]
            if backend.name != "cpu":  # where the test was just done
                right = passes_self_test(contents, network.apply)
    except ValueError as error:
        raise ModelFileError(f"{name}: {error}") from None
    except MemoryError:
        raise ModelFileError(f"{name}: there is not enough memory for its network") from None
    if not right:
        raise ModelFileError(
            f"{name}: its self-test fails: its outputs here differ from those where it was saved; "
            "if it uses your own activation, import the one that it was trained with"
        )
    return network
