"""The search space of a sweep, without Optuna: the choices of a trial, and the resulting recipe."""

import numpy as np
import pytest

import ann
from ann.cli.parser import Parser
from support import ROOT


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


class Trial:
    """Chooses the last of everything, and remembers the choices."""

    def __init__(self):
        self.offered = {}

    def suggest_int(self, name, low, high, *, log):
        self.offered[name] = low, high, log
        return high

    suggest_float = suggest_int

    def suggest_categorical(self, name, choices):
        self.offered[name] = choices
        return choices[-1]


def space(*words):
    from sweeping.space import Space, add_flags

    parser = Parser("")
    add_flags(parser)
    return Space(parser.parse_args(words))


def test_everything_may_vary():
    trial = Trial()
    recipe = space().recipe(trial)
    around = 1 / 5, 5, True
    assert trial.offered == {
        "hidden_layers": (1, 3, False),
        **dict.fromkeys(("width_1", "width_2", "width_3"), (32, 512, True)),
        "activation": ("sigmoid", "tanh", "relu", "gelu"),
        "outputs": (
            *("sigmoid, cross-entropy", "sigmoid, quadratic"),
            *("softmax, cross-entropy", "softmax, quadratic"),
        ),
        "optimizer": ("nesterov", "adamw", "muon"),
        "schedule": ("linear", "cosine", "one-cycle"),
        "batch_size": (64, 512, True),
        "dropout": (0, 0.3, False),
        "distort": ("no", "yes"),
        "rotation": (0, 15, False),
        "scaling": (0, 0.2, False),
        "shear": (0, 15, False),
        "shift": (0, 1.5, False),
        "elastic": (0, 1.3, False),
        "learning_rate_by_default": around,
        "weight_decay_by_default": around,
    }
    assert (recipe.hidden, recipe.activation, recipe.batch_size) == ((512,) * 3, "gelu", 512)
    assert (recipe.output_activation, recipe.loss) == ("softmax", "quadratic")
    assert (recipe.rotation, recipe.elastic, recipe.dropout) == (15, 1.3, 0.3)


def test_rates_are_around_the_default_for_the_rest_of_the_recipe():
    for batch_size in (20, 200):
        recipe = space("--batch-size", str(batch_size), "--optimizer", "sgd").recipe(Trial())
        default = ann.Recipe().changed(
            optimizer="sgd",
            batch_size=batch_size,
            **{
                name: getattr(recipe, name)
                for name in ("hidden", "activation", "output_activation", "loss")
            },
        )
        assert recipe.learning_rate == pytest.approx(5 * default.learning_rate, rel=5e-3)
        assert (
            float(f"{recipe.learning_rate:.3g}") == recipe.learning_rate
        )  # as a person would write it


def test_a_rate_is_within_its_range():
    trial = Trial()
    found = space("--learning-rate", "0.01-0.5", "--weight-decay", "0.12345")
    recipe = found.recipe(trial)
    assert (
        trial.offered["learning_rate"] == (0.01, 0.5, True) and "weight_decay" not in trial.offered
    )
    assert (recipe.learning_rate, recipe.weight_decay) == (0.5, 0.123)
    assert found.has_range("learning_rate") and not space().has_range("learning_rate")


def test_without_distortions_their_strengths_are_not_chosen():
    trial = Trial()
    recipe = space("--distort", "no", "--hidden-layers", "0").recipe(trial)
    assert recipe.hidden == () and recipe.rotation == recipe.elastic == 0
    assert not {"distort", "rotation", "elastic", "width_1"} & set(trial.offered)


def test_lists_of_hidden_layers():
    trial = Trial()
    found = space("--hidden", "none", "conv8x3,pool2,16", "64,32,", "64,32")
    assert found.recipe(trial).hidden == (64, 32)
    assert trial.offered["hidden"] == ("none", "conv8x3,pool2,16", "64,32")
    assert not {"hidden_layers", "width_1"} & set(trial.offered)
    assert found.describe()["--hidden"] == "none conv8x3,pool2,16 64,32"
    assert not {"--hidden-layers", "--width"} & set(found.describe())


def test_a_single_list_is_not_a_choice():
    trial = Trial()
    recipe = space("--hidden", "conv8x3,pool2,16").recipe(trial)
    assert recipe.hidden == ("conv8x3", "pool2", 16) and "hidden" not in trial.offered


@pytest.mark.parametrize(("hidden", "share"), [("conv8x3,pool2,16", 0.2), ("pool2,16", 0.0)])
def test_dropout_of_channels_is_for_convolutions(hidden, share):
    """One sweep may try networks with and without convolutions."""
    found = space("--hidden", "conv4x3,16", hidden, "--channel-dropout", "0.2")
    assert found.recipe(Trial()).channel_dropout == share


def test_a_distortion_that_is_left_out():
    message = "^shear: --distort no leaves it out; use one of the two"
    with pytest.raises(ValueError, match=message):
        space("--distort", "no", "--shear", "0-3")
    assert space("--distort", "yes", "--shear", "0-3").recipe(Trial()).shear == 3.0
    assert space("--distort", "no", "--shear", "0").recipe(Trial()).shear == 0.0


def test_dropout_of_channels_needs_a_convolution():
    message = "channel_dropout: there is no convolution; add one with --hidden"
    with pytest.raises(ValueError, match=message):
        space("--hidden", "pool2,16", "64", "--channel-dropout", "0.2")
    assert space("--channel-dropout", "0").recipe(Trial()).channel_dropout == 0.0


def test_without_hidden_layers_nothing_regularizes_them():
    trial = Trial()
    flags = "--hidden 64 none --dropout 0.2-0.3 --batch-norm yes --max-norm 3"
    recipe = space(*flags.split()).recipe(trial)
    assert (recipe.dropout, recipe.batch_norm, recipe.max_norm) == (0.0, False, 0.0)
    assert "dropout" not in trial.offered


def test_pooling_alone_has_dropout():
    flags = "--hidden pool2 --dropout 0.2 --batch-norm yes --max-norm 3"
    recipe = space(*flags.split()).recipe(Trial())
    assert (recipe.dropout, recipe.batch_norm, recipe.max_norm) == (0.2, False, 0.0)


def test_one_cycle_keeps_its_own_warm_up():
    assert space("--warmup", "0.1-0.2", "--schedule", "one-cycle").recipe(Trial()).warmup == 0.0
    assert space("--warmup", "0.1-0.2", "--schedule", "linear").recipe(Trial()).warmup == 0.2


@pytest.mark.parametrize("flag", [("--width", "16"), ("--hidden-layers", "2")])
def test_a_list_replaces_numbers_and_widths(flag):
    with pytest.raises(ValueError, match=f"hidden: it replaces {flag[0]}; use one of the two"):
        space("--hidden", "64", *flag)


def dataset_of(count):
    images, labels = np.zeros((count, 8, 8), np.uint8), np.arange(count) % 10
    return ann.Dataset(images, labels, images, labels)


def test_lists_that_do_not_fit_the_images():
    space("--hidden", "64", "conv4x3,pool2,16").check(dataset_of(600), 10)
    message = "hidden: conv4x3,pool4,16: layer 2: size 4 does not divide its image, 4x6x6"
    with pytest.raises(ValueError, match=message):
        space("--hidden", "64", "conv4x3,pool4,16").check(dataset_of(600), 10)


def test_every_other_field_of_a_recipe_can_vary_too():
    trial = Trial()
    words = "--batch-norm no,yes --momentum 0.5-0.95 --max-norm 3 --warmup 0.1-0.2"
    words += " --schedule linear,cosine"
    recipe = space(*words.split()).recipe(trial)
    assert trial.offered["batch_norm"] == ("no", "yes")
    assert trial.offered["momentum"] == (0.5, 0.95, False)
    assert (recipe.batch_norm, recipe.momentum) == (True, 0.95)
    assert (recipe.max_norm, recipe.warmup) == (3, 0.2)
    assert "momentum" not in Trial().offered and "--momentum" not in space().describe()


def test_losses_that_do_not_fit_are_left_out():
    trial = Trial()
    space("--output-activation", "relu,softmax").recipe(trial)
    assert trial.offered["outputs"] == (
        "relu, quadratic",
        "softmax, cross-entropy",
        "softmax, quadratic",
    )


def test_both_corners_must_be_recipes():
    for words, message in (
        (("--dropout", "0-1"), "dropout: expected a number"),
        (("--rotation", "200-300"), "rotation: expected a number"),
        (("--output-activation", "relu", "--loss", "cross-entropy"), "needs outputs"),
    ):
        with pytest.raises(ValueError, match=message):
            space(*words)


def test_sizes_that_leave_too_few_training_images():
    found = space("--batch-size", "20-50")
    found.check(dataset_of(150), 100)
    with pytest.raises(ValueError, match="batch_size: 20-50 is more than the 49 training images"):
        found.check(dataset_of(149), 100)
    with pytest.raises(
        ValueError, match="validation: 150 validation images of 150 training images leave none"
    ):
        found.check(dataset_of(150), 150)


def test_its_description():
    described = space("--width", "16", "--learning-rate", "0.1-1").describe()
    assert described["--width"] == "16" and described["--learning-rate"] == "0.1-1.0"
    assert (
        described["--weight-decay"] == "around the default" and described["--distort"] == "no,yes"
    )


def test_passwords_are_not_shown():
    pytest.importorskip("optuna")
    pytest.importorskip("sqlalchemy")
    from sweeping.storage import without_passwords

    for text, shown in (
        ("postgresql://me:secret@host/x", "postgresql://me:***@host/x"),
        ("postgresql://me:a:b@c@host/x", "postgresql://me:***@host/x"),
        (
            "postgresql://host/x?user=me&password=secret&ssl=1",
            "postgresql://host/x?user=me&password=***&ssl=1",
        ),
        ("sweep.db", "sweep.db"),
    ):
        assert without_passwords(text) == shown


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--distort yes,no --rotation 0-200", "rotation: expected a number"),
        ("--dropout 0-0.9999", "dropout: expected a number"),  # of three digits, this is 1
        ("--hidden 64 conv4x3,8 32 --channel-dropout 0.1-2", "channel_dropout: expected a number"),
        ("--schedule linear,one-cycle --warmup 0.1-2", "warmup: expected a number"),
        ("--batch-norm yes,no --adversarial 0-1", "adversarial: moved images would distort"),
        ("--batch-norm no,yes --batch-size 1-9", "batch_norm: it needs batches of several images"),
    ],
)
def test_values_that_only_some_trials_would_use_are_checked_too(flags, message):
    """However the choices are ordered: no trial may end a sweep that has run for hours."""
    with pytest.raises(ValueError, match=message):
        space(*flags.split())


def test_each_study_has_a_page_of_its_own():
    pytest.importorskip("optuna")
    pytest.importorskip("sqlalchemy")
    from sweeping.storage import page_of

    studies = {
        ("sweep.db", "digits"): "sweep.html",
        ("sweep.db", "two"): "sweep-two.html",
        ("sweep.journal", "digits"): "sweep-journal.html",
        ("other/sweep.db", "digits"): "other/sweep.html",
        ("sqlite:///x.db", "a/b"): "x-a-b.html",
        ("postgresql://me:se/cret@server:5432/sweeps", "digits"): "server-sweeps.html",
        ("postgresql://me:se/cret@server/other", "two"): "server-other-two.html",
    }
    for study, page in studies.items():
        assert page_of(*study).as_posix() == page
