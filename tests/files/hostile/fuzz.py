"""Coverage-guided fuzzing of the code that reads files: inputs that reach new lines are kept and
changed further.

    pip install -e '.[fuzz]'
    python tests/files/hostile/fuzz.py model --seconds 120
    python tests/files/hostile/fuzz.py idx --seconds 60 --save

It exits with 0 if every input was loaded or refused with the right exception, and prints how many
there were. ``--save`` adds the inputs that reached something new to ``corpus/``, as text, so that
no file there is a live pickle. The tests read them each time.
"""

import argparse
import base64
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
SMALLEST = {"model": 4096, "idx": 1024}  # libFuzzer's longest input


def try_model(path, data):
    """Load a model file of these bytes."""
    import ann
    from hostile.mutate import with_its_checksum

    for contents in {data, with_its_checksum(data)}:  # which no fuzzer finds
        tried(path, contents, ann.load_model, ann.ModelFileError)


def try_idx(path, data):
    """Read an IDX file; the first byte is the number of dimensions."""
    import ann
    from ann.data.idx import read_idx

    tried(
        path,
        data[1:],
        lambda path: read_idx(path, 1 if data[:1] > b"\x7f" else 3),
        ann.DataFileError,
    )


def tried(path, data, load, error):
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    try:
        load(path)
    except error as refusal:
        text = str(refusal)
        assert (
            text.startswith(f"{path}: ") and text.isprintable() and len(text) < 500 + len(str(path))
        )


TARGETS = {"model": try_model, "idx": try_idx}


def corpus(target):
    """The inputs in ``corpus/``."""
    lines = (CORPUS / f"{target}.txt").read_text().split()
    return [base64.b85decode(line) for line in lines]


def unpack(target, folder):
    folder.mkdir()
    for number, data in enumerate(corpus(target)):
        (folder / str(number)).write_bytes(data)


def save(target, *folders):
    inputs = {path.read_bytes() for folder in folders for path in folder.iterdir()}
    inputs = sorted(inputs, key=lambda data: (len(data), data))
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.txt").write_text(
        "".join(base64.b85encode(data).decode() + "\n" for data in inputs)
    )
    return len(inputs)


def fuzz(target, folders, options):
    """Fuzz in this process, which does not return."""
    import atheris

    with atheris.instrument_imports(include=["ann"]):
        import ann.data.idx
        import ann.files.model_file
        import ann.neural_network  # noqa: F401
    path, function = Path(folders[0]).parent / "input", TARGETS[target]
    atheris.Setup([sys.argv[0], *options, *folders], lambda data: function(path, data))
    atheris.Fuzz()


def run(*words):
    """Run this program in another process, and return what libFuzzer prints."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE.parent)]),
    }
    command = [sys.executable, str(HERE / "fuzz.py"), *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def main():
    parser = argparse.ArgumentParser(description="Fuzz a reader of files.")
    parser.add_argument("target", choices=tuple(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument(
        "--save", action="store_true", help="keep the inputs that reached something new, in corpus/"
    )
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    flags, options = parser.parse_known_args()
    if flags.child is not None:
        fuzz(flags.target, flags.child, options)
    try:
        import atheris  # noqa: F401
    except ImportError:
        sys.exit('error: fuzzing needs atheris: pip install -e ".[fuzz]"')
    with tempfile.TemporaryDirectory() as name:
        seeds, found = Path(name) / "seeds", Path(name) / "found"
        unpack(flags.target, seeds)
        found.mkdir()
        limits = [f"-max_len={SMALLEST[flags.target]}", "-timeout=10", "-rss_limit_mb=1500"]
        result = run(
            *(flags.target, f"-max_total_time={flags.seconds}", "-print_final_stats=1", *limits),
            *(f"-artifact_prefix={name}/", "--child", found, seeds),
        )
        executions = re.search(r"stat::number_of_executed_units: (\d+)", result.stderr)
        if result.returncode or not executions:
            for path in Path(name).glob("*-*"):
                print(f"{path.name}: {base64.b85encode(path.read_bytes()).decode()}")
            sys.exit(
                f"{result.stderr[-3000:]}\nan input was neither read nor refused in the one way"
            )
        coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", result.stderr)[-1]
        print(
            f"{flags.target}: {int(executions[1]):,} inputs, none escaped; "
            f"{coverage[0]} places in the code reached, {coverage[2]} inputs kept"
        )
        if flags.save:
            print(f"{save(flags.target, seeds, found)} inputs saved")


if __name__ == "__main__":
    main()
