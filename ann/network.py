"""The network: layers in a row. Forward is a loop over them, backward the reversed loop, and everything that
training changes lies in one flat vector, so that an update, a copy or a comparison is one operation.

A committee is K networks side by side in the same arrays, which get one more axis, the first: parameters (K, P), logits
(K, N, O). Nothing else changes: every product is K products, and members know nothing of each other. The letters of
shapes, ``...``, stand for that axis, or for none.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import ann.model_file as model_file
from ann.backend import get_backend
from ann.errors import ModelFileError, TrainingWarning
from ann.files import write_atomically
from ann.layer_list import LAYER_KEYS, check_layer_list
from ann.layers import Dense
from ann.losses import get_loss
from ann.operations import Array, Backend
from ann.streams import generator
from ann.validation import check_count, check_images, check_number, check_targets, check_vector

_UNSCALED = 16.0  # inputs above this are taken for pixels that were not scaled
CHUNK = 1000  # images applied at a time, so that many need little memory


class NeuralNetwork:
    """A multilayer perceptron.

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
        layers: the ``Dense`` layers. The last one has no activation: it emits the logits, which the loss reads
            and ``loss.output``, the output activation, turns into outputs.
        parameters: (..., P) device vector: layer by layer, the weights (I, O) and then the biases (O,).
        gradients: (..., P) device vector: the last batch's dL/d(parameters), in the same order.
        leading: the shape of ``...``: () for one network, (K,) for a committee.
        recipe: the hyperparameters that trained it, as a plain dict, or None.

    Raises:
        ValueError: an argument is wrong; the message names the layer, counted from 1.
        DeviceError: the device cannot be used.
    """

    pixel_scale = 1.0 / 255.0  # uint8 pixels times this are the inputs

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
        self.layer_list = check_layer_list(layers)
        self.seed = check_count("seed", seed, at_least=0)
        self.committee = check_count("committee", committee, at_least=1)
        self.leading = () if self.committee == 1 else (self.committee,)
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype: expected 'float32' or 'float64', got {dtype!r}")
        self.loss = get_loss(loss, self.layer_list[-1]["activation"])
        self.loss_name, self.dtype_name = str(loss), dtype
        self.recipe: dict[str, Any] | None = None
        self._warned = False
        self.backend = get_backend(device)
        self.xp = self.backend.xp
        self.dtype = getattr(self.xp, dtype)
        size = sum((layer["input_dim"] + 1) * layer["output_dim"] for layer in self.layer_list)
        self.parameters = self.xp.zeros((*self.leading, size), dtype=self.dtype)
        self.gradients = self.xp.zeros((*self.leading, size), dtype=self.dtype)
        self._make_layers(self.backend)
        if parameters is not None:
            vector = check_vector("parameters", parameters, (*self.leading, size), dtype)
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
        one.recipe = copy.deepcopy(self.recipe)
        return one

    @property
    def input_dim(self) -> int:
        """How many inputs an image has."""
        return self.layers[0].input_dim

    @property
    def output_dim(self) -> int:
        """How many outputs, or classes, there are."""
        return self.layers[-1].output_dim

    @property
    def weight_places(self) -> list[slice]:
        """Where in the vectors the layers' weights are; the rest are biases."""
        places, end = [], 0
        for layer in self.layers:
            start, end = end, end + math.prod(layer.shape)
            places.append(slice(start, end - layer.output_dim))
        return places

    @property
    def weight_shapes(self) -> list[tuple[int, int]]:
        """(I, O) of each layer."""
        return [(layer.input_dim, layer.output_dim) for layer in self.layers]

    def weight_matrices(self, vector: Array) -> list[Array]:
        """The layers' weights (..., I, O) in a vector like ``parameters``, as views."""
        return [
            self.xp.reshape(vector[..., place], (*self.leading, *shape), copy=False)
            for place, shape in zip(self.weight_places, self.weight_shapes, strict=True)
        ]

    def layer_matrices(self, vector: Array) -> list[Array]:
        """The layers' weights and biases (..., I + 1, O) in a vector like ``parameters``, as views."""
        ends = [place.stop + layer.output_dim for place, layer in zip(self.weight_places, self.layers, strict=True)]
        return [
            self.xp.reshape(vector[..., place.start : end], (*self.leading, *layer.shape), copy=False)
            for place, end, layer in zip(self.weight_places, ends, self.layers, strict=True)
        ]

    # The mathematics, on device arrays -------------------------------------------------------------------------

    def forward(self, x: Array, scale: float = 1.0) -> Array:
        """scale times x (..., N, I + 1), as ``inputs`` makes them, -> logits (..., N, O), ready for ``backward``."""
        for layer in self.layers:
            x, scale = layer.forward(x, scale), 1.0
        return x

    def backward(self, grad: Array, *, input_gradient: bool = False) -> Array:
        """dL/d(logits) (..., N, O) -> ``gradients``: the chain rule, from the last layer to the first.

        Returns dL/dx (..., N, I), or None: the ``input_gradient`` would be a third of a small net's arithmetic.
        """
        for layer in reversed(self.layers[1:]):
            grad = layer.backward(grad)
        return self.layers[0].backward(grad, input_gradient=input_gradient)

    def compute_gradients(self, x: Array, targets: Array, scale: float = 1.0) -> Array:
        """One forward and one backward pass over scale times x (..., N, I + 1) and target rows (..., N, O).

        Returns the batch's mean loss (...), an array still on the device: reading it would wait for the device.
        """
        logits = self.forward(x, scale)
        grad = self.xp.empty_like(logits)
        self.loss.gradient(self.backend, logits, targets, out=grad)
        self.backward(grad)
        return self.loss.value(self.backend, logits, targets)

    def logits(self, x: Array, scale: float = 1.0) -> Array:
        """scale times x (..., N, I + 1) -> logits (..., N, O), a new array, remembering nothing."""
        for layer in self.layers:
            x, scale = layer.apply(x, scale), 1.0
        return x

    def outputs(self, logits: Array) -> Array:
        """Logits (..., N, O), which are overwritten -> outputs (N, O): a committee's are the means of its members'."""
        self.loss.output.function(self.backend, logits, logits)
        return self.xp.mean(logits, axis=0) if self.leading else logits

    def inputs(self, images: Array, room: Array | None = None) -> tuple[Array, float]:
        """Device images (N, I) -> x (N, I + 1) and its scale: scale times x is what the network reads.

        From 0 (black) to 1 (white), that is, for uint8 pixels; floats are inputs already, and the scale is 1. The
        last column is the input that biases weigh, 1 when scaled. x is a new array, or in the first rows of ``room``:
        fresh memory costs a tenth of the time to apply a network.
        """
        xp = self.xp
        pixels = images.dtype == xp.uint8
        shape = (images.shape[0], images.shape[1] + 1)
        x = xp.empty(shape, dtype=self.dtype) if room is None else room[: shape[0], :]
        self.backend.assign(images, out=x[:, :-1])
        x[:, -1:] = xp.full((images.shape[0], 1), 255.0 if pixels else 1.0, dtype=self.dtype)
        return x, self.pixel_scale if pixels else 1.0

    def training_twin(
        self, recorder: Backend, parameters: Array, gradients: Array, memory: float, first_input: int = 0
    ) -> NeuralNetwork:
        """This network again, on other vectors, computing with a recorder.

        ``memory``: see ``Dense``. The inputs before ``first_input`` are left out, and their weights not touched.
        """
        twin = object.__new__(type(self))
        vectors = {"parameters": parameters, "gradients": gradients}
        twin.__dict__.update(self.__dict__, backend=recorder, xp=recorder.xp, **vectors)
        twin._make_layers(recorder, memory, first_input)
        return twin

    # The same for host arrays, checked -------------------------------------------------------------------------

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
        self._warn_of_unscaled(images)
        with self.backend.quiet():
            x, scale = self._inputs(images)
            loss = self.compute_gradients(x, self._upload(targets), scale)
        self.backend.combine(self.gradients, self.parameters, -learning_rate)
        return float(self.xp.mean(loss))

    def apply(self, X: Any) -> Any:
        """Images X, as in ``train_batch``, -> output rows (N, O), a host array. Any number of threads may call it."""
        images = check_images("X", X, self.input_dim, self.dtype_name)
        self._warn_of_unscaled(images)
        outputs = self.xp.empty((len(images), self.output_dim), dtype=self.dtype)
        x = None
        with self.backend.quiet():
            for chunk in slices(len(images), CHUNK):
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
        return model_file.to_bytes(layers, self.loss_name, self.pixel_scale, self.seed, self.recipe)

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: how to build the network, and host arrays."""
        parameters = self.backend.to_host(self.parameters).copy()
        return {
            "arguments": (
                *(self.layer_list, self.loss_name, "cpu", self.seed, self.dtype_name),
                *(parameters, self.committee),
            ),
            "recipe": self.recipe,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build it again, on the CPU: the machine that reads the pickle may have no GPU."""
        self.__init__(*state["arguments"])  # type: ignore[misc]
        self.recipe = state["recipe"]

    def __deepcopy__(self, memo: dict[int, Any]) -> NeuralNetwork:
        """A copy on the same device."""
        state = self.__getstate__()
        layers, loss, _, *rest = state["arguments"]
        twin = NeuralNetwork(layers, loss, self.backend, *rest)
        twin.recipe = copy.deepcopy(state["recipe"], memo)
        return twin

    # How it is put together ------------------------------------------------------------------------------------

    def _make_layers(self, backend: Backend, memory: float = 0.0, first_input: int = 0) -> None:
        """Make the layers and hand each its views of the two vectors."""
        self.layers, end = [], 0
        last = len(self.layer_list) - 1
        for number, spec in enumerate(self.layer_list):
            skipped = first_input if number == 0 else 0
            layer = Dense(
                backend,
                spec["input_dim"] - skipped,
                spec["output_dim"],
                spec["activation"] if number < last else "identity",
                with_ones=number < last,
                memory=memory,
            )
            start = end + skipped * layer.output_dim
            end = start + math.prod(layer.shape)
            layer.bind(
                *(
                    self.xp.reshape(vector[..., start:end], (*self.leading, *layer.shape), copy=False)
                    for vector in (self.parameters, self.gradients)
                )
            )
            self.layers.append(layer)

    def _upload(self, host_array: Any) -> Array:
        return self.backend.from_host(host_array.astype(self.dtype_name, copy=False))

    def _warn_of_unscaled(self, images: Any) -> None:
        """Say once where floats look like pixels that should have been divided by 255."""
        if images.dtype.name != "uint8" and not self._warned and images.max() > _UNSCALED:
            self._warned = True
            text = (
                f"X: inputs reach {images.max():g}, and should from 0 to 1: divide pixels by 255, or hand them over as"
            )
            warnings.warn(f"{text} uint8", TrainingWarning, stacklevel=3)

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

    Raises:
        ModelFileError: the file is missing, unreadable or not a model of this format.
        DeviceError: the device cannot be used.
    """
    backend = get_backend(device)
    contents = model_file.read_model(path)
    specs = [{key: layer[key] for key in LAYER_KEYS} for layer in contents["layers"]]
    committee, parameters = model_file.parameter_vector(contents) if specs else (1, None)
    try:
        network = NeuralNetwork(
            specs, contents["loss"], backend, contents["seed"], parameters=parameters, committee=committee
        )
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from None
    network.recipe = contents["recipe"]
    return network
