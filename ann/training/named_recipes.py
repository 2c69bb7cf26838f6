"""Named recipes: hyperparameters chosen by their errors on validation images, then fixed.

All but "classroom" set their learning rate, weight decay and warm-up, so changes to the defaults do
not affect them. Their results on the test images are in data/results.
"""

from dataclasses import dataclass, replace

from ann.training.recipe import Recipe


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe and its purpose.

    Attributes:
        recipe: the hyperparameters.
        purpose: one line.
        cost: about how long it trains, as text.
    """

    recipe: Recipe
    purpose: str
    cost: str


_QUICK = Recipe(
    hidden=(1024, 512),
    activation="relu",
    output_activation="softmax",
    learning_rate=2e-3,
    weight_decay=0.05,
    warmup=0.05,
    batch_size=256,
    epochs=14,
    rotation=10.0,
    scaling=0.15,
    shear=10.0,
    shift=1.0,
    elastic=1.0,
)

_RECORD = replace(
    _QUICK,
    hidden=(1500, 1000, 500),
    epochs=300,
    rotation=15.0,
    scaling=0.2,
    shear=15.0,
    elastic=1.2,
)

_SPRINT = Recipe(
    hidden=("conv6x5", "average2", "conv16x5", "average2", 64),
    activation="relu",
    output_activation="softmax",
    optimizer="muon",
    learning_rate=0.03,
    weight_decay=0.21,
    warmup=0.1,
    label_smoothing=0.1,
    batch_norm=True,
    batch_size=128,
    epochs=1,
)

_CONV_QUICK = replace(
    _SPRINT,
    hidden=("conv16x5", "pool2", "conv64x5", "average2", 128),
    learning_rate=0.018,
    weight_decay=0.35,
    batch_size=500,
    epochs=6,
    rotation=7.0,
    scaling=0.1,
    shear=5.0,
    shift=1.0,
    elastic=0.7,
)

_CONV = replace(
    _CONV_QUICK,
    hidden=("conv32x5", "pool2", "conv64x5", "average2", 256),
    average=0.99,
    epochs=16,
    rotation=10.0,
    scaling=0.15,
    shear=10.0,
    shift=1.5,
    elastic=0.9,
    undistorted_epochs=3,
)

RECIPES = {
    "classroom": NamedRecipe(
        Recipe(), "the network of the README, on undistorted images", "7 s on two cores"
    ),
    "classroom-adversarial": NamedRecipe(
        Recipe(
            output_activation="softmax",
            learning_rate=0.028,
            weight_decay=0.08,
            warmup=0.0,
            schedule="one-cycle",
            adversarial=0.5,
            epochs=20,
        ),
        "the same with softmax outputs and adversarial training, on undistorted images",
        "13 s on two cores",
    ),
    "classroom-distorted": NamedRecipe(
        Recipe(
            epochs=120,
            learning_rate=0.028,
            weight_decay=0.01,
            warmup=0.05,
            rotation=7.0,
            scaling=0.1,
            shear=5.0,
            shift=0.7,
            elastic=0.7,
        ),
        "the same network, with images distorted randomly in each epoch",
        "2 min on two cores",
    ),
    "sprint": NamedRecipe(
        _SPRINT,
        "99 % accuracy as fast as possible: a small convolutional network, one epoch",
        "3 s on two cores",
    ),
    "conv-quick": NamedRecipe(
        _CONV_QUICK,
        "a larger convolutional network, on distorted images",
        "1 min on two cores",
    ),
    "conv": NamedRecipe(
        _CONV,
        "more filters and more epochs, the last ones on undistorted images",
        "5 min on two cores",
    ),
    "conv-committee": NamedRecipe(
        replace(_CONV, committee=10),
        "ten conv networks whose outputs are averaged",
        "an hour on two cores",
    ),
    "quick": NamedRecipe(_QUICK, "a wide network on distorted images", "50 s on two cores"),
    "coffee": NamedRecipe(
        replace(_QUICK, epochs=150),
        "the same as quick, for about the length of a coffee break",
        "9 min on two cores",
    ),
    "coffee-committee": NamedRecipe(
        replace(_QUICK, epochs=150, committee=7),
        "seven coffee networks whose outputs are averaged",
        "an hour on two cores",
    ),
    "record": NamedRecipe(
        _RECORD,
        "three wide layers, on images distorted as much as people can still read",
        "40 min on two cores",
    ),
    "record-committee": NamedRecipe(
        replace(_RECORD, committee=3),
        "three record networks whose outputs are averaged",
        "two hours on two cores",
    ),
    "permutation-invariant": NamedRecipe(
        Recipe(
            hidden=(1024, 512),
            activation="relu",
            output_activation="softmax",
            optimizer="muon",
            learning_rate=0.015,
            weight_decay=0.35,
            warmup=0.05,
            adversarial=1.5,
            average=0.99,
            batch_size=500,
            epochs=20,
        ),
        "adversarial training, which uses nothing that is specific to images",
        "7 min on two cores",
    ),
}
