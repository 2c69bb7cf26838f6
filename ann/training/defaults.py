"""Defaults that depend on the rest of a recipe: hidden layers, optimizer, and the rates.

With them, a recipe trains well when only its optimizer, activation, batch size, schedule, dropout
or number of epochs is changed. Each optimizer has values for a sigmoid network trained for 24
epochs in batches of 200. They and the factors below were tuned with the last 10,000 training images
of MNIST as validation images.
"""

import math
from typing import Any

from ann.optim.registry import OPTIMIZERS


def default_choices(recipe: Any) -> dict[str, Any]:
    """The default ``hidden`` layers and ``optimizer`` for the rest of a ``Recipe``.

    About 128 and 32 neurons are left after dropout. Srivastava et al. (2014), Dropout: a simple way
    to prevent neural networks from overfitting, appendix A.1: a layer of n neurons needs
    n / (1 - dropout) of them. They are at most four times as many, so that a very high dropout does
    not fill the memory.

    The optimizer is Muon for batches above 1,000 images, which leave few steps. Shah et al. (2025),
    Practical efficiency of Muon for pretraining: it learns more per step, and keeps this advantage
    in large batches.
    """
    kept = max(0.25, 1.0 - recipe.dropout)
    hidden = tuple(round(width / kept) for width in (128, 32))
    return {"hidden": hidden, "optimizer": "adamw" if recipe.batch_size <= 1000 else "muon"}


def default_rates(recipe: Any) -> dict[str, float]:
    """The default ``learning_rate``, ``weight_decay`` and ``warmup`` for the rest of a ``Recipe``.

    - Sigmoid weights start about four times as large as others (see ``initializers``), so their
      steps may be larger.
    - Four times as many images halve the noise of the mean gradient, so steps may be twice as long:
      Krizhevsky (2014), One weird trick for parallelizing convolutional neural networks, for SGD;
      Malladi et al. (2022), On the SDEs and scaling rules for adaptive gradient algorithms, for
      Adam. Above 200 images, adaptive optimizers did better with a little more. Above 5,000 images,
      nothing is gained.
    - The quadratic loss has smaller gradients: its slope contains that of the output's sigmoid. So
      SGD takes larger steps, with less weight decay. Adaptive optimizers divide the size out.
    - Where momentum m makes steps 1 / (1 - m) times as long, the learning rate makes up for it.
    - Short runs use a higher learning rate. The fewer the steps, the larger the share of the
      warm-up.
    - A constant learning rate must be as low as a decaying one is near its end.
    - AdamW and Muon multiply weight decay by the learning rate. It rises when the learning rate
      falls, so that weights shrink by about the same factor per epoch: Wang & Aitchison (2024), How
      to set AdamW's weight decay as you scale model and dataset size. For the others, weight decay
      is part of the loss.
    - ``max_norm`` replaces weight decay.

    Width, depth, dropout and the number of images have no influence. So these defaults do not suit
    runs of fewer than about 50 steps: in one epoch of 50,000 images in batches of 2,000, AdamW got
    1,706 of 10,000 validation images wrong with relu (1,382 with 0.6 times the learning rate), and
    learnt nothing with sigmoid at any rate. Muon, the default for such batches, got 600 wrong.
    """
    rule = OPTIMIZERS[recipe.optimizer]
    learning_rate, weight_decay = rule.tuned
    batch, short = min(recipe.batch_size, 5000) / 200, max(1.0, 24 / recipe.epochs)
    factor = batch**0.7 if batch > 1 and rule.adaptive else math.sqrt(batch)
    factor *= 1.0 if recipe.activation in ("sigmoid", "softmax") else 0.3
    if rule.decoupled_decay:
        weight_decay *= batch / factor
    if rule.sums_gradients:
        factor *= (1.0 - recipe.momentum) / 0.1
    if not rule.adaptive and recipe.loss == "quadratic":
        factor *= 2.0
        weight_decay /= 4.0
    factor *= short**0.2 * (0.1 if recipe.schedule == "constant" else 1.0)
    warmup = min(0.4, 0.05 * max(1.0, batch * short) ** (2 / 3))
    if recipe.schedule == "one-cycle":  # it rises by itself
        warmup = 0.0
    return {
        "learning_rate": _rounded(learning_rate * factor),
        "weight_decay": 0.0 if recipe.max_norm else _rounded(weight_decay),
        "warmup": _rounded(warmup),
    }


def _rounded(value: float) -> float:
    """Rounded to two significant digits, so that the printed value is exact."""
    return float(f"{value:.2g}")
