"""The flags that are made from a recipe's fields."""

import dataclasses
import re

import pytest

import ann
from ann.cli.parser import Parser
from ann.cli.recipe_flags import add_recipe_flags, given_fields
from support import optional

optional("tqdm")
FIELDS = dataclasses.fields(ann.Recipe)
NUMBERS = [field for field in FIELDS if field.type in (int, float)]
OTHER = ann.Recipe(
    hidden=(7, 5),
    activation="relu",
    output_activation="softmax",
    committee=2,
    optimizer="nesterov",
    learning_rate=0.25,
    momentum=0.5,
    weight_decay=0.125,
    dropout=0.5,
    rotation=3.0,
    batch_norm=True,
    epochs=2,
    schedule="cosine",
    validation=10,
    early_stopping=2,
)


@pytest.fixture
def parser():
    parser = Parser("")
    add_recipe_flags(parser)
    return parser


@pytest.mark.parametrize("recipe", [ann.Recipe(), OTHER, dataclasses.replace(OTHER, hidden=())])
def test_a_recipe_s_flags_give_the_recipe(parser, recipe):
    flags = parser.parse_args(recipe.flags())
    assert ann.Recipe(**given_fields(flags)) == recipe


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_field_has_a_flag_with_its_help_and_default(parser, field):
    flag = f"--{field.name.replace('_', '-')}"
    entries = re.split(r"\n  (?=-)", parser.format_help())
    (entry,) = (entry for entry in entries if re.match(rf"{flag}[ ,\n]", entry))
    shown, expected = ("".join(text.split()) for text in (entry, field.metadata["help"]))
    assert expected in shown and "(default:" in shown  # wherever its lines are broken


@pytest.mark.parametrize(
    "field",
    NUMBERS,
    ids=lambda field: field.name,
)
@pytest.mark.parametrize("bound", ["above", "at_least", "below"])
def test_flags_and_recipes_have_the_same_bounds(parser, capsys, field, bound):
    if bound not in field.metadata["bounds"]:
        return
    value = field.metadata["bounds"][bound] - (bound == "at_least")
    with pytest.raises(ValueError, match=f"^{field.name}: expected "):
        ann.Recipe(**{field.name: value})
    with pytest.raises(SystemExit):
        parser.parse_args([f"--{field.name.replace('_', '-')}={value}"])
    assert f"got '{value}'" in capsys.readouterr().err
