"""PyTorch as a contender: eager, compiled, in TF32, and with a whole step in a CUDA graph."""

from typing import Any

import numpy as np

from ann.nn.convolution import Conv2D
from ann.nn.layer_list import build_layers
from ann.nn.layers import ActivationLayer, Dense
from ann.nn.pooling import MaxPool2D
from ann.optim.adam import BETA2, EPSILON
from benchmarking.tasks import CLASSES, Data, Task


class Torch:
    """PyTorch with the training loop of its tutorials, eager or with the model ``compiled``.

    ``tf32``: matrix products in TF32, on a GPU.
    """

    in_graph = False

    def __init__(
        self, task: Task, data: Data, *, compiled: bool = False, tf32: bool = False
    ) -> None:
        import torch

        self._torch, self._batch_size = torch, task.recipe.batch_size
        self._precision = "high" if tf32 else "highest"
        self._device = {"cpu": "cpu", "gpu": "cuda"}[task.device]
        if self._device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("PyTorch finds no GPU")
        model = _model(torch, task, data).to(self._device)
        self._model = torch.compile(model) if compiled else model
        self._parameters = list(model.parameters())
        recipe = task.recipe
        if recipe.optimizer == "sgd":
            self._optimizer: Any = torch.optim.SGD(
                self._parameters, lr=recipe.learning_rate, momentum=recipe.momentum
            )
        else:
            groups = [
                {"params": self._parameters[::2], "weight_decay": recipe.weight_decay},
                {"params": self._parameters[1::2], "weight_decay": 0.0},
            ]
            betas = recipe.momentum, BETA2
            options: Any = {"betas": betas, "eps": EPSILON, "capturable": self.in_graph}
            self._optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, **options)
        self._host_images = torch.from_numpy(data.images.copy())
        self._images = self._host_images.to(self._device)
        one_hot = np.eye(CLASSES, dtype=np.float32)[data.labels]
        self._targets = torch.from_numpy(one_hot).to(self._device)

    def epoch(self, order: np.ndarray) -> float:
        self._set_precision()
        indices: Any = self._torch.from_numpy(order).to(self._device)
        batches = indices.split(self._batch_size)
        return float(sum(self._step(batch) for batch in batches)) / len(batches)

    def _set_precision(self) -> None:
        """Set it before each use: it applies to the whole process, and contenders differ in it."""
        self._torch.set_float32_matmul_precision(self._precision)

    def _step(self, indices: Any) -> Any:
        loss = self._loss(indices)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def _loss(self, indices: Any) -> Any:
        x = self._images[indices].float() / 255
        loss_of = self._torch.nn.functional.binary_cross_entropy_with_logits
        loss_sum = loss_of(self._model(x), self._targets[indices], reduction="sum")
        return loss_sum / self._batch_size

    def predict(self) -> np.ndarray:
        self._set_precision()
        with self._torch.inference_mode():
            x = self._host_images.to(self._device).float() / 255
            return np.asarray(self._model(x).argmax(dim=1).cpu())


def _model(torch: Any, task: Task, data: Data) -> Any:
    """The network of a task as PyTorch's modules, with the initial weights."""
    activation = {"sigmoid": torch.nn.Sigmoid, "relu": torch.nn.ReLU}[task.recipe.activation]
    modules: list[Any] = []
    weights = iter(data.weights)
    if task.is_convolutional:
        modules.append(torch.nn.Unflatten(1, task.layers[0]["input_shape"]))
    for layer in build_layers(task.layers):
        match layer:
            case Conv2D():
                inputs = layer.input_shape[0]
                module = torch.nn.Conv2d(inputs, layer.filters, layer.kernel, layer.stride)
            case MaxPool2D():
                module = torch.nn.MaxPool2d(layer.size)
            case ActivationLayer():
                module = activation()
            case Dense():
                if task.is_convolutional:
                    modules.append(torch.nn.Flatten())
                module = torch.nn.Linear(layer.input_shape[0], layer.output_shape[0])
        if layer.parameters:
            weight, bias = map(torch.from_numpy, next(weights))
            with torch.no_grad():
                module.weight.copy_(weight.T.reshape(module.weight.shape))
                module.bias.copy_(bias)
        modules.append(module)
    return torch.nn.Sequential(*modules)


class TorchGraph(Torch):
    """PyTorch with a whole step in a CUDA graph, as in its documentation."""

    in_graph = True

    def __init__(self, task: Task, data: Data) -> None:
        super().__init__(task, data)
        self._set_precision()
        torch = self._torch
        self._indices = torch.arange(self._batch_size, device="cuda")
        before = [parameter.detach().clone() for parameter in self._parameters]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._eager_step()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._graph_loss = self._eager_step()
        with torch.no_grad():  # undo the steps made so far
            for parameter, value in zip(self._parameters, before, strict=True):
                parameter.copy_(value)
            for state in self._optimizer.state.values():
                for value in state.values():
                    if torch.is_tensor(value):
                        value.zero_()

    def _eager_step(self) -> Any:
        return super()._step(self._indices)

    def _step(self, indices: Any) -> Any:
        self._indices.copy_(indices)
        self._graph.replay()
        return self._graph_loss
