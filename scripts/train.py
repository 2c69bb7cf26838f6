"""Train a network on MNIST and save it."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import numpy as np

import ann
from ann.analysis.figures import figure_of_curves, save_figure
from ann.analysis.metrics import learnt_nothing
from ann.cli.bootstrap import PROCESSES
from ann.cli.commands import command
from ann.cli.describe_model import describe_members, wrong_of_members
from ann.cli.download_bar import load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.launch import FLAG, processes
from ann.cli.output import echo
from ann.cli.parser import DATA, OTHER_FORMATS, check_suffix
from ann.cli.progress import Progress
from ann.cli.recipe_flags import interval, parse_flags, recipe_of
from ann.cli.signals import Interruption, exit_with
from ann.files.atomic import check_writable
from ann.nn.layer_list import describe_shape
from ann.training.checkpoint_file import check_same_run
from ann.training.distributed import Processes, check_same, on_all
from ann.training.early_stopping import best_first
from ann.training.fastest_device import choose_backend
from ann.training.mpi import MpiProcesses
from ann.training.run_folder import RunFolder, run_config, versions


def main() -> None:
    """Train, and let all processes end together, where there are several."""
    with processes() as crew:
        run(crew)


def run(crew: Processes) -> None:
    """Parse, train, save."""
    started = time.perf_counter()
    flags = parse_flags()
    before = identity(flags.output), identity(config_file(flags))
    recipe = flags.recipe
    with one_line_errors(lambda: kept(flags, *before), vars(recipe)):
        backend, dataset = on_all(crew, lambda: prepare(flags, recipe, crew))
        if isinstance(crew, MpiProcesses):
            backend = agree(crew, flags, backend)
        network = on_all(crew, lambda: network_for(flags, recipe, backend, dataset))
        if crew.rank > 0:
            follow(crew, flags, network, dataset, recipe)
            return
        folder = run_folder(flags, recipe, dataset, backend)
        echo(f"device {backend.name}: {backend.description}")
        if flags.resume and folder:
            say_what_changed(folder, backend)
        echo(in_short(network))
        echo(rates_of(recipe))
        if crew.size > 1:
            echo(f"{crew.size} processes, each with its share of every batch of {recipe.batch_size} images")
        with Progress(recipe, network, dataset) as progress:
            if folder:
                reports = train_in(folder, network, dataset, recipe, progress, flags, crew)
            else:
                reports = ann.fit(network, dataset, recipe, [progress.on_epoch], progress.on_batch, processes=crew)
        save(network, flags.output)
        echo(f"saved {flags.output} after {time.perf_counter() - started:.1f} s in all; {summary(recipe, reports)}")
        if nothing := learnt_nothing(*mistakes(network, dataset, recipe)):
            echo(nothing)
        if flags.report_members:
            held_out = (part[-recipe.validation :] for part in (dataset.train_images, dataset.train_labels))
            echo(describe_members(wrong_of_members(network, *held_out), recipe.validation))
        if folder:
            draw(folder, reports)
        echo(f"test it:   {command('test', '--model', flags.output, *data_flags(flags))}")
        several = (f"mpiexec -n {crew.size} ", f" {FLAG}") if crew.size > 1 else ("", "")
        echo(f"repeat it: {repeat_command(flags, recipe, backend).join(several)}")


def prepare(flags: argparse.Namespace, recipe: ann.Recipe, crew: Processes) -> tuple[ann.Backend, ann.Dataset]:
    """The device and the data; whatever can be found wrong before training raises here or in the next two."""
    if flags.resume:
        there = {"recipe": vars(recipe_of(flags.config)), "seed": flags.config["seed"]}
        check_same_run(flags.resume, there, {"recipe": vars(recipe), "seed": flags.seed})
    if not flags.run and crew.rank == 0:
        check_suffix(flags.output, ".pickle", OTHER_FORMATS)
        check_writable(flags.output)
    if recipe.batch_size < crew.size:
        raise ValueError(f"batch_size: {recipe.batch_size} images a batch are too few for {crew.size} processes")
    backend = ann.get_backend(flags.device, flags.precision)
    dataset = load_dataset(flags.data)
    if flags.device == "auto" and crew.size == 1:
        backend = choose_backend(dataset, recipe, flags.precision)
    return backend, dataset


def agree(crew: MpiProcesses, flags: argparse.Namespace, backend: ann.Backend) -> ann.Backend:
    """The device that all processes have: all have to sum alike. Raises ValueError where their versions differ."""
    if len(set(crew.gather(backend.name))) > 1:
        backend = on_all(crew, lambda: ann.get_backend("cpu", flags.precision))
    found = versions(backend)
    names = [name for name in ("ann", "numpy", "cupy") if name in found]
    check_same(crew, {f"version of {name}": found[name] for name in names})
    crew.use(backend)
    return backend


def network_for(
    flags: argparse.Namespace, recipe: ann.Recipe, backend: ann.Backend, dataset: ann.Dataset
) -> ann.NeuralNetwork:
    """The network to train."""
    layers = recipe.layer_list(dataset.train_images[0].size, 10)
    network = ann.NeuralNetwork(layers, recipe.loss, backend, flags.seed, committee=recipe.committee)
    network.to_bytes()  # what could not be saved is refused now, not after the training
    return network


def follow(
    crew: Processes, flags: argparse.Namespace, network: ann.NeuralNetwork, dataset: ann.Dataset, recipe: ann.Recipe
) -> None:
    """Train along with the first process, which says and writes everything."""
    place = flags.run or flags.resume
    epochs, seconds = interval(flags.checkpoint_every)
    checkpoints = ann.Checkpoints(place / "checkpoint.npz", epochs, seconds) if place else None
    if not place:
        ann.fit(network, dataset, recipe, processes=crew)
        return
    with Interruption() as interruption:
        ann.fit(
            network,
            dataset,
            recipe,
            on_batch=lambda images: interruption.signal != 0,
            checkpoints=checkpoints,
            processes=crew,
        )
    if network.recipe is None:  # which it gets when all is done
        exit_with(interruption.signal or signal.SIGINT, "")


def in_short(network: ann.NeuralNetwork) -> str:
    """Its widths, its size and its seeds."""
    shape = describe_shape(network.layer_list)
    size, seeds = network.parameters.shape[-1], network.seeds
    if network.committee == 1:
        return f"network {shape}, {size:,} parameters, seed {network.seed}"
    return f"committee of {len(seeds)} networks {shape}, {size:,} parameters each, seeds {seeds[0]} to {seeds[-1]}"


def rates_of(recipe: ann.Recipe) -> str:
    """The optimizer and its rates: first those that were given, then the defaults."""
    given, chosen = [recipe.optimizer], list[str]()
    for name, default in recipe.default_rates().items():
        value = getattr(recipe, name)
        (chosen if value == default else given).append(f"{name.replace('_', ' ')} {value:g}")
    note = f"; defaults for these flags: {', '.join(chosen)}" if chosen else ""
    return f"{', '.join(given)}{note}"


def run_folder(
    flags: argparse.Namespace, recipe: ann.Recipe, dataset: ann.Dataset, backend: ann.Backend
) -> RunFolder | None:
    """The folder of the run, a new one or the one to go on in; None where none is wanted."""
    if flags.resume:
        return RunFolder.open(flags.resume)
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


def say_what_changed(folder: RunFolder, backend: ann.Backend) -> None:
    """That a run was begun on another device, or with other versions."""
    for name, now in {"device": backend.name, **versions(backend)}.items():
        was = {"device": folder.config["device"], **folder.config["versions"]}.get(name)
        if was not in (None, now):
            echo(f"note: begun with {name} {was}, goes on with {now}; last digits may differ")


def train_in(
    folder: RunFolder,
    network: ann.NeuralNetwork,
    dataset: ann.Dataset,
    recipe: ann.Recipe,
    progress: Progress,
    flags: argparse.Namespace,
    crew: Processes,
) -> list[ann.EpochReport]:
    """Train with checkpoints in a folder; after Ctrl-C or SIGTERM, end there."""
    state = folder.begin()
    if flags.resume:
        progress.skip(state)
    epochs, seconds = interval(flags.checkpoint_every)
    checkpoints = ann.Checkpoints(folder.checkpoint, epochs, seconds)
    with Interruption() as interruption:

        def on_batch(images: int) -> bool:
            progress.on_batch(images)
            return interruption.signal != 0

        callbacks = [folder.on_epoch, progress.on_epoch]
        reports = ann.fit(network, dataset, recipe, callbacks, on_batch, checkpoints, processes=crew)
        try:
            folder.write_log(reports)
        except OSError as error:
            warnings.warn(f"no log was written: {error.filename}: {error.strerror}", RuntimeWarning, stacklevel=2)
        if network.recipe is None:  # which it gets when all is done; a signal may have come to another process
            line = f"interrupted after {len(reports)} of {recipe.epochs} epochs; go on: {resume(folder.path)}"
            exit_with(interruption.signal or signal.SIGINT, line)
    return reports


def resume(folder: Path) -> str:
    """The command that goes on with a run."""
    line = command("train", "--resume", folder)
    return f"mpiexec -n {PROCESSES} {line} {FLAG}" if PROCESSES > 1 else line


def draw(folder: RunFolder, reports: list[ann.EpochReport]) -> None:
    """Draw the curves, if there is something to draw with; the network is what counts."""
    try:
        path = folder.path / "curves.png"
        save_figure(figure_of_curves(reports), path)
        echo(f"curves:    {path}")
    except OSError as error:
        echo(f"no curves: {error.filename}: {error.strerror}")
    except Exception as error:  # whatever a drawing library, or how it is set up here, may raise
        echo(f"no curves: {' '.join(str(error).split())}")


def summary(recipe: ann.Recipe, reports: list[ann.EpochReport]) -> str:
    """What the saved network's epoch gave."""
    if not recipe.early_stopping:
        return reports[-1].result()
    best = min(reports, key=best_first)
    early = f"ended early, after {len(reports)} epochs; " if len(reports) < recipe.epochs else ""
    return f"{early}of epoch {best.epoch}, the best: {best.result()}"


def mistakes(network: ann.NeuralNetwork, dataset: ann.Dataset, recipe: ann.Recipe) -> tuple[int, np.ndarray]:
    """How many validation images are wrong, and their labels; without validation images, of some training images."""
    count = len(dataset.train_images)
    chosen = np.arange(count)[-recipe.validation :] if recipe.validation else np.arange(0, count, -(-count // 1000))
    labels = dataset.train_labels[chosen]
    return int((network.predict(dataset.train_images[chosen]) != labels).sum()), labels


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


def config_file(flags: argparse.Namespace) -> Path:
    """The run's config file; without a run, the path does not matter."""
    return (flags.run or flags.resume or Path()) / "config.json"


def kept(flags: argparse.Namespace, model: tuple[int, ...] | None, config: tuple[int, ...] | None) -> str:
    """What an interruption leaves, and how to continue; ``model`` and ``config`` identify the files before the run."""
    path, folder = flags.output, flags.run or flags.resume
    if identity(path) != model:
        return f"the new model is in {path}"
    if flags.resume or (flags.run and identity(config_file(flags)) != config):
        if not (folder / "checkpoint.npz").exists():
            return f"no checkpoint was written yet; begin again: {resume(folder)}"
        return f"{folder} has what the last checkpoint holds; go on: {resume(folder)}"
    lost = f"nothing was saved, and {path} is as it was" if model else "nothing was saved"
    return lost if folder else f"{lost}; use --run FOLDER to save checkpoints, then --resume FOLDER to continue"


def repeat_command(flags: argparse.Namespace, recipe: ann.Recipe, backend: ann.Backend) -> str:
    """The command line that repeats this run; a version with other defaults needs what is in the model, too."""
    precision = [] if flags.precision == "float32" else ["--precision", flags.precision]
    words = ["--device", backend.name, *precision, "--seed", flags.seed, *recipe.flags(), *data_flags(flags)]
    if flags.output == (flags.run or flags.resume or Path()) / "model.pickle":
        words += ["--run", f"{os.path.abspath(flags.output.parent)}-again"]
    else:
        words += ["--output", flags.output]
    return command("train", *words)


def data_flags(flags: argparse.Namespace) -> list[object]:
    """The flags that name the data, where they are not the default, and imported files."""
    data = [] if flags.data == DATA else ["--data", flags.data]
    return [*data, *(word for path in flags.imported for word in ("--import", path))]


if __name__ == "__main__":
    main()
