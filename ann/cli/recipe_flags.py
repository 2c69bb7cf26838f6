"""A flag for each field of a recipe, made from its help and bounds; ``--recipe`` and its list."""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from typing import Any

from ann.cli.parser import Parser, checked, number, whole
from ann.cli.results_log import matching, read_rows, results_of
from ann.nn.layer_list import describe_shape, layer_from
from ann.training.named_recipes import RECIPES
from ann.training.recipe import BY_RULE, Recipe
from ann.validation import check_count


def add_recipe_flags(parser: Parser) -> None:
    """Add a flag for each field of a recipe; a flag that is not given leaves no attribute."""
    default, group = Recipe(), parser.add_argument_group("recipe")
    for field in dataclasses.fields(Recipe):
        options = _options(field.type, **field.metadata["bounds"])
        metavar, explanation = field.metadata["metavar"], field.metadata["help"]
        if metavar:
            options["metavar"] = metavar
        if metavar and "choices" in options:  # otherwise argparse lists them
            explanation += f": {', '.join(options['choices'])}"
        value = getattr(default, field.name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else value
        if field.default is BY_RULE:
            text = f"depends on the other flags; {text} if none are given"
        options["help"] = f"{explanation} (default: {text})"
        flag = f"--{field.name.replace('_', '-')}"
        group.add_argument(flag, default=argparse.SUPPRESS, **options)


def _options(kind: Any, **bounds: Any) -> dict[str, Any]:
    """How argparse reads a value of this type."""
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if kind is str:
        return {"choices": tuple(bounds["choices"])}
    readers: dict[Any, Callable[..., Any]] = {int: whole, float: number}
    return {"type": readers[kind](**bounds) if kind in readers else hidden_layers}


def hidden_layers(text: str) -> tuple[int | str, ...]:
    """An argparse type for hidden layers: "128,32", "conv16x5,pool2,128", or "none"."""
    if text == "none":
        return ()
    expected = "widths such as 128,32, each at least 1, layers such as conv16x5 and pool2, or none"
    one = checked(lambda width: check_count("", width, at_least=1), int, expected)
    return tuple(
        layer if layer_from(layer, "identity") else one(layer)
        for layer in text.removesuffix(",").split(",")
    )


def given_fields(flags: argparse.Namespace) -> dict[str, Any]:
    """The fields of a recipe that were given as flags."""
    names = (field.name for field in dataclasses.fields(Recipe))
    return {name: getattr(flags, name) for name in names if hasattr(flags, name)}


def add_named_recipes(parser: Parser) -> None:
    """Add ``--recipe`` and ``--list-recipes``."""
    text = "a named recipe; other flags change it (default: classroom); see --list-recipes"
    parser.add("--recipe", text, choices=tuple(RECIPES))
    parser.add_argument(
        "--list-recipes", action=_ListRecipes, nargs=0, help="print the named recipes and exit"
    )


def named_recipe(flags: argparse.Namespace) -> Recipe:
    """The recipe of ``--recipe``; without it, the classroom recipe."""
    return RECIPES[flags.recipe or "classroom"].recipe


class _ListRecipes(argparse.Action):
    """A flag that prints the recipes and ends the program."""

    def __call__(self, *unused: object) -> None:
        for name, named in RECIPES.items():
            recipe = named.recipe
            shape = describe_shape(recipe.layer_list(784, 10))
            size = f"{recipe.committee} x " if recipe.committee > 1 else ""
            network = f"{size}{shape} {recipe.activation}"
            epochs = "1 epoch" if recipe.epochs == 1 else f"{recipe.epochs} epochs"
            training = f"{network}, {epochs}, {named.cost}"
            print(f"{name}: {named.purpose}\n    {training}; {_measured(name)}")
        sys.exit(0)


def _measured(name: str) -> str:
    """The errors of a recipe on the test images, if they were measured."""
    rows = matching(read_rows(results_of(name)), RECIPES[name].recipe, "test")
    if not rows:
        return "not measured yet"
    images = f"{rows[0]['total']:,} test images wrong"
    if len(rows) == 1:
        return f"{rows[0]['wrong']} of {images}, with one seed"
    mean = sum(row["wrong"] for row in rows) / len(rows)
    return f"{mean:.1f} of {images}, the mean of {len(rows)} seeds"
