"""What a user probably meant by an unknown flag or value."""

import argparse
import re

from ann.spelling import did_you_mean

# For each flag, names in other programs, written as ``did_you_mean`` compares them
_OTHER_NAMES = {
    "--learning-rate": "lr rate eta",
    "--hidden": "layers hiddenlayers widths units",
    "--batch-size": "bs batch",
    "--weight-decay": "wd decay l2",
    "--early-stopping": "patience earlystop",
    "--output": "out save o",
    "--device": "gpu cuda cpu",
    "--resume": "continue checkpoint",
    "--validation": "val validationsplit",
}


def suggestion(message: str, actions: list[argparse.Action]) -> str:
    """The end of argparse's error message about wrong usage: the flag or value to use, or nothing.

    ``actions`` are the parser's arguments.
    """
    flags = [flag for action in actions for flag in action.option_strings]
    positional = [str(action.metavar) for action in actions if not action.option_strings]
    if choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
        return did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]))
    unknown = re.match(r"unrecognized arguments: (\S+)", message)
    if not unknown:
        return ""
    if not unknown[1].startswith("-"):
        example = f": --model {unknown[1]}" if "--model" in flags else ""
        if "--hidden" in flags:
            example = ", and widths are one word, such as 128,32"
        return f"; a value stands after its flag{example}"
    word = "--" + unknown[1].strip("-").split("=")[0].replace("_", "-")
    if word.strip("-").upper() in positional:
        return f"; give {positional[0]} without a flag"
    if word == "--model" and "--hidden" in flags:  # a training writes the model
        return "; did you mean --output?" if "--output" in flags else ""
    return did_you_mean(word, flags, _OTHER_NAMES)
