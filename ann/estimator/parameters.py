"""The parameters of the estimators: their defaults, and the recipe that follows from them."""

import math
from dataclasses import field, fields, make_dataclass, replace
from typing import Any

import numpy as np

from ann.data.distortion import DistortionStrengths
from ann.optim.registry import OPTIMIZERS
from ann.training.recipe import Recipe

# Fields of ``Recipe`` that are only for images, or that have other names here
_LEFT_OUT = {
    *("hidden", "loss", "output_activation", "validation", "early_stopping"),
    "undistorted_epochs",
    *(each.name for each in fields(DistortionStrengths)),
}
_RECIPE = {each.name: each.default for each in fields(Recipe) if each.name not in _LEFT_OUT}
_RECIPE |= {"activation": "relu", "batch_size": 50, "epochs": 100}
# With few samples there are few steps, in which the default weight decay would have hardly any
# effect. If learning rate x steps x weight decay is 2, weights shrink to exp(-1), about a third, as
# the linear schedule halves the mean learning rate. The decay needs a limit, because steps are
# about as long as the learning rate, so no weight can grow beyond 1 / weight decay. Both numbers
# were tuned on scikit-learn's small data sets.
_SHRINKING, _MOST_DECAY = 2.0, 1.0
_OWN = {
    "early_stopping": False,
    "validation_fraction": 0.1,
    "n_iter_no_change": 10,
    "tol": 1e-4,
    "warm_start": False,
    "verbose": False,
    "device": "cpu",
    "dtype": None,
    "random_state": None,
}


def constructor(*left_out: str) -> Any:
    """An ``__init__`` with all parameters except these. scikit-learn reads its signature."""
    parameters: list[tuple[str, Any, Any]] = [("hidden_layer_sizes", Any, (100,))]
    for name, default in (_RECIPE | _OWN).items():
        if name not in left_out:
            parameters.append((name, Any, field(default=default, kw_only=True)))
    return vars(make_dataclass("Parameters", parameters))["__init__"]


def recipe_of(
    parameters: dict[str, Any], count: int, loss: str, output_activation: str, incremental: bool
) -> Recipe:
    """The recipe of an estimator with these parameters, for ``count`` training samples.

    Raises ValueError if a parameter is wrong. ``incremental`` recipes are for ``partial_fit``.
    """
    given = {name: value for name, value in parameters.items() if name in _RECIPE}
    sizes = parameters["hidden_layer_sizes"]
    single = isinstance(sizes, (int, np.integer, str)) and not isinstance(sizes, bool)
    given["hidden"] = (sizes,) if single else sizes
    if incremental:
        given["schedule"] = "constant"
    recipe = Recipe(**given, loss=loss, output_activation=output_activation)
    # Default rates follow the full batch size: a duplicated sample equals a doubled weight
    recipe = replace(recipe, batch_size=max(1, min(recipe.batch_size, count)))
    decays = OPTIMIZERS[recipe.optimizer].decoupled_decay and recipe.weight_decay > 0
    if decays and parameters["weight_decay"] is None and not incremental:
        steps = math.ceil(count / recipe.batch_size) * recipe.epochs
        enough = min(_SHRINKING / (recipe.learning_rate * steps), _MOST_DECAY)
        recipe = replace(recipe, weight_decay=max(recipe.weight_decay, enough))
    return recipe
