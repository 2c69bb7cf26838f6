"""Default learning rate, weight decay and warm-up, derived from the rest of a recipe.

With them, a recipe trains well when only its optimizer, activation, batch size, schedule or number of epochs is
changed. The table holds the values for a sigmoid network trained for 24 epochs in batches of 200. The table and the
factors below were tuned with the last 10,000 training images of MNIST as validation images.
"""

from __future__ import annotations

import math

# optimizer -> (learning rate, weight decay)
_TUNED = {
    "sgd": (0.5, 1e-4),
    "nesterov": (0.5, 1e-4),
    "adam": (0.015, 1e-4),
    "rmsprop": (0.0015, 1e-4),
    "adamw": (0.028, 0.08),
    "muon": (0.028, 0.08),
}
_DECOUPLED = ("adamw", "muon")  # each step shrinks weights by learning rate x weight decay
_ACCUMULATING = ("sgd", "nesterov", "rmsprop")  # momentum m makes steps 1 / (1 - m) times as long


def default_rates(
    optimizer: str,
    activation: str,
    *,
    momentum: float,
    batch_size: int,
    epochs: int,
    schedule: str,
    max_norm: float,
) -> dict[str, float]:
    """The default ``learning_rate``, ``weight_decay`` and ``warmup`` for these fields of a recipe.

    - The slope of the sigmoid is at most 1/4. Other activations are steeper and need a lower learning rate.
    - The learning rate grows with the square root of the batch size, because the noise of the mean gradient falls with
      it: Krizhevsky (2014), One weird trick for parallelizing convolutional neural networks. Above 200 images it grows
      a little faster, because there are fewer steps.
    - Short trainings use a higher learning rate. The fewer the steps, the longer the warm-up.
    - A constant learning rate must be as low as a decaying one is near its end.
    - Decoupled weight decay should shrink weights by about the same factor per epoch, whatever the learning rate: Wang
      & Aitchison (2024), How to set AdamW's weight decay as you scale model and dataset size.
    - ``max_norm`` replaces weight decay.
    """
    learning_rate, weight_decay = _TUNED[optimizer]
    batch, short = batch_size / 200, max(1.0, 24 / epochs)
    factor = (batch**0.7 if batch > 1 else math.sqrt(batch)) * (1.0 if activation == "sigmoid" else 0.3)
    if optimizer in _DECOUPLED:
        weight_decay *= batch / factor
    if optimizer in _ACCUMULATING:
        factor *= (1.0 - momentum) / 0.1
    factor *= short**0.2 * (0.1 if schedule == "constant" else 1.0)
    return {
        "learning_rate": _rounded(learning_rate * factor),
        "weight_decay": 0.0 if max_norm else _rounded(weight_decay),
        "warmup": _rounded(min(0.4, 0.05 * max(1.0, batch * short) ** (2 / 3))),
    }


def _rounded(value: float) -> float:
    """Rounded to two significant digits, so that the printed value is exact."""
    return float(f"{value:.2g}")
