"""Write a report on a trained network: one page of figures, which opens in any browser.

Examples:
  python scripts/report.py
  python scripts/report.py mine.pickle --output mine.html
  # the folder of a run, for the learning curves too
  python scripts/train.py --run runs/first && python scripts/report.py runs/first
"""

import argparse
import sys
import warnings
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

from tqdm import tqdm

import ann
from ann.analysis.figures import pyplot
from ann.analysis.inspection import changes
from ann.analysis.report import report
from ann.cli.data_set import check_fit, load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.parser import Parser, check_output, data_name
from ann.cli.run_folder import read_training_state
from ann.errors import printable_path
from ann.files.atomic import write_atomically
from ann.installation import command
from ann.training.checkpoint_file import read_checkpoint
from ann.training.report import EpochReport


@one_line_errors()
def main() -> None:
    """Load a model and a data set, and write the page."""
    flags = parse_flags()
    check_output(flags.output, ".html", flags.model, flags.data)
    changes()  # its error says how to install everything that a report needs
    pyplot().switch_backend("agg")  # opens no window
    path, epochs = model_and_epochs(flags.model)
    network = ann.load_model(path, flags.device)
    dataset = load_dataset(flags.data)
    check_fit(network, path, dataset, flags.data)
    name, data = printable_path(flags.model), data_name(flags.data)
    progress = partial(tqdm, desc="report", unit=" sections", disable=None, leave=False)
    page = report(network, dataset, name, epochs, progress, data)
    write_atomically(flags.output, page.encode())
    size = flags.output.stat().st_size / 1e6
    print(f"saved {flags.output.resolve()}, {size:.1f} MB: open it in a browser")


def model_and_epochs(source: Path) -> tuple[Path, list[EpochReport]]:
    """A model file and, if the source is the folder of a run, the reports on its epochs."""
    if not source.is_dir():
        return source, []
    model = source / "model.pickle"
    if not model.is_file():
        try:
            read_training_state(source)
            advice = f"; resume it: {command('train', '--resume', source)}"
        except ann.AnnError:
            advice = ""
        missing = "this folder holds no model.pickle, so no training was finished in it"
        raise ann.ModelFileError(f"{source}: {missing}{advice}")
    try:
        return model, read_checkpoint(source / "checkpoint.npz")[1].reports
    except ann.CheckpointError as error:
        warnings.warn(f"no learning curves: {error}", RuntimeWarning, stacklevel=2)
        return model, []


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_import()
    parser.add_common()
    parser.add_model("RUN_OR_MODEL", "a model file, or the folder of a run")
    parser.add("--output FILE", "the page", Path, Path("report.html"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
