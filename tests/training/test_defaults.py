"""The default learning rate, weight decay and warm-up of a recipe."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ann
from ann.nn.activations import ACTIVATIONS
from ann.nn.losses import LOSSES
from ann.optim.registry import OPTIMIZERS
from ann.optim.schedules import SCHEDULES
from ann.training.defaults import default_rates
from ann.training.named_recipes import RECIPES
from support import optional
from support.networks import network_of
from support.programs import FAST, run

TRAIN_IMAGES = 1500  # of ``dataset``

RATES = ("learning_rate", "weight_decay", "warmup")
CHOICES = {
    "optimizer": st.sampled_from(list(OPTIMIZERS)),
    "activation": st.sampled_from(list(ACTIVATIONS)),
    "loss": st.sampled_from(list(LOSSES)),
    "schedule": st.sampled_from(SCHEDULES),
    "batch_size": st.integers(2, 60_000),
    "epochs": st.integers(1, 1000),
    "momentum": st.sampled_from((0.0, 0.5, 0.9, 0.99)),
    "max_norm": st.sampled_from((0.0, 2.0)),
    "dropout": st.sampled_from((0.0, 0.2, 0.5, 0.99)),
}


def rates(recipe):
    return tuple(getattr(recipe, name) for name in RATES)


def test_named_recipes_keep_their_values():
    assert {name: rates(named.recipe) for name, named in RECIPES.items()} == {
        "classroom": (0.028, 0.08, 0.05),
        "classroom-adversarial": (0.028, 0.08, 0.0),
        "classroom-distorted": (0.028, 0.01, 0.05),
        "sprint": (0.03, 0.21, 0.1),
        "conv-quick": (0.018, 0.35, 0.1),
        "conv": (0.018, 0.35, 0.1),
        "conv-committee": (0.018, 0.35, 0.1),
        "quick": (0.002, 0.05, 0.05),
        "coffee": (0.002, 0.05, 0.05),
        "coffee-committee": (0.002, 0.05, 0.05),
        "record": (0.002, 0.05, 0.05),
        "record-committee": (0.002, 0.05, 0.05),
        "permutation-invariant": (0.015, 0.35, 0.05),
    }


@given(st.fixed_dictionaries({}, optional=CHOICES))
def test_every_choice_has_rates_that_make_a_recipe(fields):
    recipe = ann.Recipe(**fields)
    assert recipe.learning_rate > 0 and recipe.weight_decay >= 0 and 0 <= recipe.warmup < 1
    if recipe.optimizer in ("adamw", "muon"):  # weights shrink, and do not change their sign
        assert recipe.learning_rate * recipe.weight_decay < 0.5
    assert default_rates(recipe) == dict(zip(RATES, rates(recipe), strict=True))
    again = ann.Recipe.from_json(recipe.to_json())
    unset = {name: value for name, value in fields.items() if name != "optimizer"}
    by_rule = {"--hidden", "--learning-rate", "--weight-decay", "--warmup"}
    assert again == recipe and not by_rule & set(recipe.flags())
    assert ("--optimizer" in recipe.flags()) == (recipe.optimizer != ann.Recipe(**unset).optimizer)


@given(st.fixed_dictionaries({}, optional=CHOICES), st.fixed_dictionaries({}, optional=CHOICES))
def test_a_changed_recipe_is_the_recipe_of_the_changed_fields(fields, changes):
    if fields.get("optimizer") == ann.Recipe(batch_size=fields.get("batch_size", 200)).optimizer:
        del fields["optimizer"]  # a recipe cannot tell it from the default
    assert ann.Recipe(**fields).changed(**changes) == ann.Recipe(**{**fields, **changes})


def test_dropout_leaves_the_usual_number_of_neurons():
    assert ann.Recipe().hidden == (128, 32)
    assert ann.Recipe(dropout=0.2).hidden == (160, 40)
    assert ann.Recipe(dropout=0.5).hidden == ann.Recipe().changed(dropout=0.5).hidden == (256, 64)
    assert ann.Recipe(dropout=0.999).hidden == (512, 128)
    assert ann.Recipe(dropout=0.5, hidden=(128, 32)).hidden == (128, 32)
    assert ann.Recipe(hidden=(300,)).changed(dropout=0.5).hidden == (300,)


def test_large_batches_use_muon_unless_another_optimizer_is_given():
    assert [ann.Recipe(batch_size=size).optimizer for size in (1000, 1001)] == ["adamw", "muon"]
    assert ann.Recipe().changed(batch_size=5000) == ann.Recipe(batch_size=5000, optimizer="muon")
    assert ann.Recipe(batch_size=5000, optimizer="adamw").optimizer == "adamw"
    changed = ann.Recipe(optimizer="sgd").changed(batch_size=5000)
    assert changed == ann.Recipe(optimizer="sgd", batch_size=5000)


@pytest.mark.parametrize("name", RATES)
def test_given_values_win(name):
    for optimizer in OPTIMIZERS:
        assert getattr(ann.Recipe(optimizer=optimizer, **{name: 0.25}), name) == 0.25
        assert getattr(ann.Recipe().changed(optimizer=optimizer, **{name: 0.25}), name) == 0.25


def test_a_tuned_rate_keeps_its_ratio_to_the_default():
    default, tuned = (
        ann.Recipe(activation="relu"),
        ann.Recipe(activation="relu", learning_rate=0.0042),
    )
    half = tuned.learning_rate / default.learning_rate
    changed = tuned.changed(optimizer="sgd", batch_size=50)
    expected = ann.Recipe(activation="relu", optimizer="sgd", batch_size=50)
    assert changed.learning_rate == pytest.approx(half * expected.learning_rate, rel=0.05)
    assert (
        dataclasses.replace(tuned, optimizer="sgd").learning_rate == 0.0042
    )  # replace does not adapt it
    assert tuned.changed(hidden=(8,)) == dataclasses.replace(tuned, hidden=(8,))


def test_zero_stays_zero():
    assert ann.Recipe(weight_decay=0.0).changed(optimizer="sgd").weight_decay == 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "activation",
    [
        "sigmoid",
        pytest.param("tanh", marks=pytest.mark.slow),
        pytest.param("relu", marks=pytest.mark.slow),
    ],
)
def test_every_optimizer_learns_with_its_defaults(dataset, optimizer, activation):
    few = {"hidden": (32,), "batch_size": 20, "epochs": 10, "validation": 300}
    recipe = ann.Recipe(optimizer=optimizer, activation=activation, **few)
    net = network_of(ann.get_backend("cpu"), 64, 32, 10, activation=activation)
    assert ann.fit(net, dataset, recipe)[-1].validation.errors < 30


def test_train_prints_and_saves_them(tmp_path, small_data):
    optional("tqdm")
    flags = ["--data", small_data, "--epochs", 2, "--batch-size", 50, "--optimizer", "sgd"]
    out, _ = run("train", *flags, "--run", "run", cwd=tmp_path)
    recipe = ann.Recipe(optimizer="sgd", epochs=2, batch_size=50)
    rates = [f"{name.replace('_', ' ')} {getattr(recipe, name):g}" for name in RATES]
    assert f"\nsgd; defaults for these flags: {', '.join(rates)}\n" in out
    fields = json.loads((tmp_path / "run/config.json").read_text())["recipe"]
    assert fields == json.loads(recipe.to_json())
    saved = ann.load_model(tmp_path / "run/model.pickle").recipe
    assert saved["learning_rate"] == recipe.learning_rate
    out, _ = run("train", *flags, "--learning-rate", 0.01, "--weight-decay", 0, cwd=tmp_path)
    given = "sgd, learning rate 0.01, weight decay 0"
    assert f"\n{given}; defaults for these flags: {rates[-1]}\n" in out
    flags = ["--data", small_data, "--recipe", "quick", "--optimizer", "sgd"]
    out, _ = run("train", *FAST, *flags, cwd=tmp_path)
    quick = RECIPES["quick"].recipe.changed(
        hidden=(16,), epochs=3, batch_size=20, optimizer="sgd", learning_rate=0.3
    )
    assert f"\nsgd, learning rate 0.3, weight decay {quick.weight_decay:g}" in out
