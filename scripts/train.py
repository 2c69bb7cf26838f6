"""Train a network on MNIST and save it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
import warnings
from pathlib import Path

import cli
from live import is_due, least_certain
from members import in_words, wrong_of_members
from tqdm import tqdm
from train_flags import interval, parse_flags, recipe_of

import ann
from ann.checkpoint_file import Position, check_same_run
from ann.device_choice import choose_backend
from ann.early_stopping import best_first
from ann.files import check_writable
from ann.run_folder import RunFolder, run_config, versions


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
        layers = recipe.layer_list(pixels, 10)
        network = ann.NeuralNetwork(layers, recipe.loss, backend, flags.seed, committee=recipe.committee)
        network.to_bytes()  # what could not be saved is refused now, not after the training
        cli.say(f"device {backend.name}: {backend.description}")
        cli.say(in_short(network))
        folder = run_folder(flags, recipe, dataset, backend)
        with Progress(recipe, network, dataset) as progress:
            if folder:
                reports = train_in(folder, network, dataset, recipe, progress, flags)
            else:
                reports = ann.fit(network, dataset, recipe, [progress.on_epoch], progress.on_batch)
        save(network, flags.output)
        cli.say(f"saved {flags.output} after {time.perf_counter() - started:.1f} s in all; {summary(recipe, reports)}")
        if flags.report_members:
            held_out = (part[-recipe.validation :] for part in (dataset.train_images, dataset.train_labels))
            cli.say(in_words(wrong_of_members(network, *held_out), recipe.validation))
        if folder:
            draw(folder, reports)
        cli.say(f"test it:   {cli.command('test.py', '--model', flags.output, *data_flags(flags))}")
        cli.say(f"repeat it: {command(flags, recipe, backend)}")


def in_short(network: ann.NeuralNetwork) -> str:
    """Its widths, its size and its seeds."""
    shape = "-".join(map(str, (network.input_dim, *(layer.output_dim for layer in network.layers))))
    size, seeds = network.parameters.shape[-1], network.seeds
    if network.committee == 1:
        return f"network {shape}, {size:,} parameters, seed {network.seed}"
    return f"committee of {len(seeds)} networks {shape}, {size:,} parameters each, seeds {seeds[0]} to {seeds[-1]}"


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
        data=flags.data if isinstance(flags.data, str) else os.path.abspath(flags.data),
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
    """On a terminal a bar with time left, and now and then an image; elsewhere one plain line an epoch."""

    def __init__(self, recipe: ann.Recipe, network: ann.NeuralNetwork, dataset: ann.Dataset) -> None:
        self._recipe, self._network, self._dataset = recipe, network, dataset
        self._images = len(dataset.train_images) - recipe.validation
        self._bar = tqdm(
            total=recipe.epochs * self._images,
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
        steps_done = min(position.step * self._recipe.batch_size, self._images)
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
            if is_due(report.epoch):
                lines = least_certain(self._network, self._dataset, self._recipe.validation)
                self._bar.write("\n".join(lines), file=sys.stdout)
            wrong = f", {report.validation.wrong} wrong" if report.validation else ""
            self._bar.set_postfix_str(f"loss {report.loss:.4f}{wrong}", refresh=report.epoch == report.epochs)


def command(flags: argparse.Namespace, recipe: ann.Recipe, backend: ann.Backend) -> str:
    """The command line that repeats this run; a version with other defaults needs what is in the model, too."""
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


if __name__ == "__main__":
    main()
