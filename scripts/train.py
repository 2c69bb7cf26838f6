"""Train a network on MNIST and save it."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cli
from tqdm import tqdm

import ann
from ann.activations import ACTIVATIONS
from ann.backend import PRECISIONS
from ann.checkpoint_file import Position, check_same_run
from ann.device_choice import choose_backend
from ann.early_stopping import best_first
from ann.files import check_writable
from ann.losses import LOSSES
from ann.named_recipes import RECIPES
from ann.optimizers import OPTIMIZERS
from ann.run_folder import RunFolder, read_config, run_config, versions
from ann.schedules import SCHEDULES
from ann.validation import check_count, check_number

EVERY = "30s"
EXAMPLES = """\
  python scripts/train.py
  # see how many held-out images go wrong while it learns
  python scripts/train.py --validation 10000 --output play.pickle
  # keep everything about a run in a folder; stop it with Ctrl-C, and go on
  python scripts/train.py --validation 10000 --run runs/first
  python scripts/train.py --resume runs/first
  # other layers, another activation
  python scripts/train.py --hidden 256,128 --activation relu --learning-rate 0.005
  # no hidden layer at all
  python scripts/train.py --hidden none --output-activation softmax
  # another rule of learning
  python scripts/train.py --optimizer nesterov --learning-rate 0.5 --weight-decay 0"""


def main() -> None:
    """Parse, train, save."""
    started = time.perf_counter()
    flags = parse_flags()
    before = identity(flags.output)
    with cli.one_line_errors(lambda: kept(flags, before), vars(ann.Recipe())):
        recipe = ann.Recipe(**{name: getattr(flags, name) for name in vars(ann.Recipe())})
        if flags.resume:
            there = {"recipe": vars(recipe_of(flags.config)), "seed": flags.config["seed"]}
            check_same_run(flags.resume, there, {"recipe": vars(recipe), "seed": flags.seed})
        elif not flags.run:
            check_writable(flags.output)
        backend = ann.get_backend(flags.device, flags.precision)
        dataset = ann.load_dataset(flags.data)
        if flags.device == "auto":
            backend = choose_backend(dataset, recipe, flags.precision)
        pixels = dataset.train_images[0].size
        network = ann.NeuralNetwork(recipe.layer_list(pixels, 10), recipe.loss, backend, flags.seed)
        network.to_bytes()  # what could not be saved is refused now, not after the training
        shape = "-".join(str(width) for width in (pixels, *recipe.hidden, 10))
        cli.say(f"device {backend.name}: {backend.description}")
        cli.say(f"network {shape}, {len(network.parameters):,} parameters, seed {flags.seed}")
        folder = run_folder(flags, recipe, dataset, backend)
        with Progress(recipe, len(dataset.train_images) - recipe.validation) as progress:
            if folder:
                reports = train_in(folder, network, dataset, recipe, progress, flags)
            else:
                reports = ann.fit(network, dataset, recipe, [progress.on_epoch], progress.on_batch)
        save(network, flags.output)
        cli.say(f"saved {flags.output} after {time.perf_counter() - started:.1f} s in all; {summary(recipe, reports)}")
        if folder:
            draw(folder, reports)
        cli.say(f"test it:   {cli.command('test.py', '--model', flags.output, *data_flags(flags))}")
        cli.say(f"repeat it: {command(flags, recipe, backend)}")


def run_folder(
    flags: argparse.Namespace, recipe: ann.Recipe, dataset: ann.Dataset, backend: ann.Backend
) -> RunFolder | None:
    """The folder of the run, a new one or the one to go on in; None where none is wanted."""
    if flags.resume:
        folder = RunFolder.open(flags.resume)
        for name, now in {"device": backend.name, **versions(backend)}.items():
            was = {"device": folder.config["device"], **folder.config["versions"]}.get(name)
            if was not in (None, now):
                cli.say(f"note: begun with {name} {was}, goes on with {now}; last digits may differ")
        return folder
    if not flags.run:
        return None
    config = run_config(
        recipe,
        flags.seed,
        dataset,
        backend,
        precision=flags.precision,
        data=os.path.abspath(flags.data),
        imported=[os.path.abspath(path) for path in flags.imported],
        checkpoint_every=flags.checkpoint_every,
        command=shlex.join(sys.argv),
    )
    return RunFolder.create(flags.run, config)


def train_in(
    folder: RunFolder,
    network: ann.NeuralNetwork,
    dataset: ann.Dataset,
    recipe: ann.Recipe,
    progress: Progress,
    flags: argparse.Namespace,
) -> list[ann.EpochReport]:
    """Train with checkpoints in a folder; after Ctrl-C or SIGTERM, end there."""
    position = folder.begin()
    if flags.resume:
        progress.skip(position)
    epochs, seconds = interval(flags.checkpoint_every)
    checkpoints = ann.Checkpoints(folder.checkpoint, epochs, seconds)
    with cli.Interruption() as interruption:

        def on_batch(images: int) -> bool:
            progress.on_batch(images)
            return interruption.signal != 0

        reports = ann.fit(network, dataset, recipe, [folder.on_epoch, progress.on_epoch], on_batch, checkpoints)
        try:
            folder.write_log(reports)
        except OSError as error:
            warnings.warn(f"no log was written: {error.filename}: {error.strerror}", RuntimeWarning, stacklevel=2)
        if interruption.signal and network.recipe is None:  # which it gets when all is done
            line = f"interrupted after {len(reports)} of {recipe.epochs} epochs; go on: {resume(folder.path)}"
            cli.leave(interruption.signal, line)
    return reports


def resume(folder: Path) -> str:
    """The command that goes on with a run."""
    return cli.command("train.py", "--resume", folder)


def draw(folder: RunFolder, reports: list[ann.EpochReport]) -> None:
    """Draw the curves, if there is something to draw with; the network is what counts."""
    try:
        cli.say(f"curves:    {folder.draw(reports)}")
    except OSError as error:
        cli.say(f"no curves: {error.filename}: {error.strerror}")
    except Exception as error:  # whatever a drawing library, or how it is set up here, may raise
        cli.say(f"no curves: {' '.join(str(error).split())}")


def summary(recipe: ann.Recipe, reports: list[ann.EpochReport]) -> str:
    """What the saved network's epoch gave."""
    if not recipe.early_stopping:
        return reports[-1].result()
    best = min(reports, key=best_first)
    early = f"ended early, after {len(reports)} epochs; " if len(reports) < recipe.epochs else ""
    return f"{early}of epoch {best.epoch}, the best: {best.result()}"


def save(network: ann.NeuralNetwork, path: Path) -> None:
    """Save the model there, or at least somewhere: the disk may have filled up since the check before training."""
    try:
        network.save(path)
    except OSError as error:
        folder = Path(tempfile.mkdtemp(prefix="ann-"))
        try:
            network.save(folder / path.name)
        except OSError:
            folder.rmdir()
            raise error from None
        raise OSError(
            error.errno, f"{error.strerror}; the model is in {folder / path.name} instead", str(path)
        ) from None


def identity(path: Path) -> tuple[int, ...] | None:
    """What tells one version of a file from another; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def kept(flags: argparse.Namespace, before: tuple[int, ...] | None) -> str:
    """What an interruption left of the work."""
    path, folder = flags.output, flags.run or flags.resume
    if identity(path) != before:
        return f"the new model is in {path}"
    if folder and (folder / "config.json").exists():
        if not (folder / "checkpoint.npz").exists():
            return f"no checkpoint was written yet; begin again: {resume(folder)}"
        return f"{folder} has what the last checkpoint holds; go on: {resume(folder)}"
    return f"nothing was saved, and {path} is as it was" if before else "nothing was saved"


class Progress:
    """A bar with time left on a terminal; elsewhere one plain line an epoch."""

    def __init__(self, recipe: ann.Recipe, images: int) -> None:
        self._images, self._batch_size = images, recipe.batch_size
        self._bar = tqdm(
            total=recipe.epochs * images,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            file=sys.stdout,
            disable=not sys.stdout.isatty(),
            bar_format="{percentage:3.0f} %|{bar}| {rate_fmt}, {remaining} left{postfix}",
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.leave = False
        self._bar.close()

    def skip(self, position: Position) -> None:
        """Say what was done before, and start the bar there."""
        done = position.reports
        if position.finished:
            cli.say(f"this run is finished, after {len(done)} epochs; its files are written again")
            return
        cli.say(f"going on after {len(done)} of {done[-1].epochs} epochs" if done else "going on in the first epoch")
        steps_done = min(position.step * self._batch_size, self._images)
        self._bar.update(len(done) * self._images + steps_done)
        self._bar.unpause()

    def on_batch(self, images: int) -> None:
        """Move the bar."""
        self._bar.update(images)

    def on_epoch(self, report: ann.EpochReport) -> None:
        """Print the epoch's line, above the bar where there is one."""
        if self._bar.disable:
            left = (report.epochs - report.epoch) * report.seconds
            cli.say(f"{report}  {report.images_per_second:,.0f} images/s  {left:.0f} s left")
        else:
            self._bar.write(str(report), file=sys.stdout)
            wrong = f", {report.validation.wrong} wrong" if report.validation else ""
            self._bar.set_postfix_str(f"loss {report.loss:.4f}{wrong}", refresh=report.epoch == report.epochs)


def command(flags: argparse.Namespace, recipe: ann.Recipe, backend: ann.Backend) -> str:
    """The command line that repeats this run, with every hyperparameter, whatever the defaults become."""
    precision = [] if flags.precision == "float32" else ["--precision", flags.precision]
    words = ["--device", backend.name, *precision, "--seed", flags.seed, *recipe.flags(), *data_flags(flags)]
    if flags.output == (flags.run or flags.resume or Path()) / "model.pickle":
        words += ["--run", f"{os.path.abspath(flags.output.parent)}-again"]
    else:
        words += ["--output", flags.output]
    return cli.command("train.py", *words)


def data_flags(flags: argparse.Namespace) -> list[object]:
    """The flags that name the data, where they are not the default, and imported files."""
    data = [] if flags.data == cli.DATA else ["--data", flags.data]
    return [*data, *(word for path in flags.imported for word in ("--import", path))]


def parse_flags() -> argparse.Namespace:
    """The command line, each value checked by the same rules as ``Recipe``."""
    default = ann.Recipe()
    parser = cli.Parser("Train a network on MNIST and save it. The test images are not touched.", EXAMPLES)
    config = config_of(parser.early("--resume", type=Path))
    parser.add_import([Path(path) for path in config.get("imported", [])])
    parser.add_common()
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--output", type=Path, metavar="FILE", help=f"default: {cli.MODEL}")
    place.add_argument(
        "--run",
        type=Path,
        metavar="FOLDER",
        help="a new folder for the model, the curves, a log, checkpoints and what it takes to repeat the run",
    )
    place.add_argument(
        "--resume",
        type=Path,
        metavar="FOLDER",
        help="go on with the run in this folder, which was stopped, as if it had not been; it knows its flags",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=interval_text,
        metavar="N|Ns",
        help="with --run or --resume: write a checkpoint after so many epochs, such as 1, or seconds, such as 10s "
        f"(default: {EVERY})",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of matrix products; tf32 is faster on a GPU, with some 3 digits (default: float32)",
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of all random numbers (default: 0)")

    def add(name: str, **options: Any) -> None:
        flag, value = f"--{name.replace('_', '-')}", getattr(default, name)
        text = ",".join(map(str, value)) if name == "hidden" else value
        options["help"] = f"{options['help']} (default: {text})"
        parser.add_argument(flag, default=value, **options)

    add("hidden", type=widths, metavar="N,N,...", help="widths of the hidden layers, or none")
    add("activation", choices=tuple(ACTIVATIONS), metavar="NAME", help=f"hidden layers: {', '.join(ACTIVATIONS)}")
    add("output_activation", choices=tuple(ACTIVATIONS), metavar="NAME", help="last layer, the same choice")
    add("loss", choices=LOSSES, help="cross-entropy needs sigmoid or softmax outputs")
    add(
        "optimizer",
        choices=OPTIMIZERS,
        help="update rule; all but adamw and muon want --weight-decay 0, and sgd and nesterov a rate of some 0.5",
    )
    add("learning_rate", type=number(above=0), metavar="RATE", help="the largest one; see --schedule")
    add("momentum", type=number(at_least=0, below=1), metavar="SHARE", help="memory of past gradients")
    add("weight_decay", type=number(at_least=0), metavar="RATE", help="pull of weights to 0")
    add("label_smoothing", type=number(at_least=0, below=1), metavar="SHARE", help="of each target, for all classes")
    add("dropout", type=number(at_least=0, below=1), metavar="SHARE", help="of hidden neurons, silent in training")
    add("input_dropout", type=number(at_least=0, below=1), metavar="SHARE", help="of pixels, black in training")
    add("rotation", type=number(at_least=0, below=180), metavar="DEGREES", help="turn training images by up to so far")
    add("scaling", type=number(at_least=0, below=1), metavar="SHARE", help="change their height and width by up to it")
    add("shear", type=number(at_least=0, below=90), metavar="DEGREES", help="lean them by up to so far")
    add("shift", type=number(at_least=0), metavar="PIXELS", help="shift them by up to so far")
    add("elastic", type=number(at_least=0), metavar="PIXELS", help="bend them by this standard deviation; try 1.2")
    add("clip", type=number(at_least=0), metavar="NORM", help="limit of the gradient's norm, 0 for none")
    add("max_norm", type=number(at_least=0), metavar="NORM", help="limit for the weights of a neuron, 0 for none")
    add("average", type=number(at_least=0, below=1), metavar="SHARE", help="memory of averaged parameters, 0 for none")
    add(
        "batch_norm",
        action=argparse.BooleanOptionalAction,
        help="normalise the sums of hidden neurons in training, over each batch, which should not be small",
    )
    add("batch_size", type=whole(1), metavar="N", help="images in a step")
    add("epochs", type=whole(1), metavar="N", help="passes over the training images")
    add(
        "schedule",
        choices=SCHEDULES,
        help="of the learning rate: constant; a tenth after each third of the steps; down to 0 in a line or a cosine; "
        "up and down in one cycle",
    )
    add("warmup", type=number(at_least=0, below=1), metavar="SHARE", help="share of the steps in which it first rises")
    add(
        "validation",
        type=whole(0),
        metavar="N",
        help="training images held out, to count the mistakes on images that it does not learn from",
    )
    add(
        "early_stopping",
        type=whole(0),
        metavar="EPOCHS",
        help="end after so many epochs in which it makes no fewer mistakes on held-out images, and save the best; 0: "
        "all epochs",
    )
    parser.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        default="classroom",
        help="what all other flags are where they are not given (default: classroom); see --list-recipes",
    )
    parser.add_argument("--list-recipes", action=ListRecipes, nargs=0, help="print what recipes there are, and end")
    named = RECIPES.get(parser.early("--recipe") or "")
    parser.set_defaults(**(vars(named.recipe) if named else {}), **from_config(config))
    flags = parser.parse_args()
    flags.config = config
    folder = flags.run or flags.resume
    if flags.checkpoint_every and not folder:
        parser.error("--checkpoint-every needs a folder to write to: --run FOLDER")
    flags.checkpoint_every = flags.checkpoint_every or config.get("checkpoint_every") or EVERY
    flags.output = flags.output or (folder / "model.pickle" if folder else cli.MODEL)
    return flags


class ListRecipes(argparse.Action):
    """A flag that prints the recipes and ends."""

    def __call__(self, *unused: object) -> None:
        """Print them."""
        for name, named in RECIPES.items():
            recipe = named.recipe
            shape = "-".join(map(str, ("784", *recipe.hidden, "10")))
            cli.say(f"{name:20} {shape} {recipe.activation}, {recipe.epochs} epochs, {named.cost}: {named.purpose}")
        sys.exit(0)


def config_of(folder: Path | None) -> dict[str, Any]:
    """The config of a run to go on with."""
    if folder is None:
        return {}
    with cli.one_line_errors():
        return read_config(folder)


def from_config(config: dict[str, Any]) -> dict[str, Any]:
    """The flags that a run was begun with, as defaults; so a flag that is given again has to agree."""
    if not config:
        return {}
    with cli.one_line_errors():
        recipe = recipe_of(config)
        try:
            interval_text(config["checkpoint_every"])
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"checkpoint_every in the run's config.json: {error}") from None
    flags = {"seed": config["seed"], "device": config["device"], **vars(recipe)}
    return {**flags, "precision": config["precision"], "data": Path(config["data"])}


def recipe_of(config: dict[str, Any]) -> ann.Recipe:
    """The recipe of a run; what its config does not know has its default."""
    return ann.Recipe.from_json(json.dumps(config["recipe"]))


def interval_text(text: str) -> str:
    """An argparse type for ``--checkpoint-every``."""
    try:
        (number(above=0) if text.endswith("s") else whole(1))(text.removesuffix("s"))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected a number of epochs above 0, such as 2, or of seconds, such as 30s, got {text!r}"
        ) from None
    return text


def interval(text: str) -> tuple[int | None, float | None]:
    """After how many epochs, and after how many seconds."""
    return (None, float(text[:-1])) if text.endswith("s") else (int(text), None)


def whole(at_least: int) -> Callable[[str], Any]:
    """An argparse type for whole numbers."""
    return cli.checked(partial(check_count, "", at_least=at_least), int, f"a whole number of at least {at_least}")


def number(**bounds: float) -> Callable[[str], Any]:
    """An argparse type for numbers."""
    words = {"above": "above", "at_least": "of at least", "below": "below"}
    wanted = "a number " + " and ".join(f"{words[word]} {bound:g}" for word, bound in bounds.items())
    return cli.checked(partial(check_number, "", **bounds), float, wanted)


def widths(text: str) -> tuple[int, ...]:
    """An argparse type for hidden layers: "128,32", or "none"."""
    if text == "none":
        return ()
    one = cli.checked(partial(check_count, "", at_least=1), int, "widths such as 128,32, each at least 1, or none")
    return tuple(one(width) for width in text.split(","))


if __name__ == "__main__":
    main()
