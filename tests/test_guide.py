"""The guide "How to add something" in ann/README.md, followed in a copy of the package, with ELU
and Lion.
"""

import shutil

import pytest

from support import ROOT, optional
from support.digits import write_mnist_like
from support.programs import NO_GPU, python

ELU = """\
    Activation(  # Clevert et al. (2016), with alpha = 1
        "elu",
        lambda xp, z: xp.where(z > 0.0, z, xp.exp(xp.minimum(z, 0.0)) - 1.0),
        lambda xp, y: xp.where(y > 0.0, 1.0, y + 1.0),
    ),
"""
LION = """\
from ann.optim.optimizer import Optimizer


def lion(xp, p, g, m, rate, beta1):
    return p - rate * xp.sign(beta1 * m + (1 - beta1) * g), g, 0.99 * m + 0.01 * g


class Lion(Optimizer):  # Chen et al. (2023), algorithm 2
    tuned = (0.02, 1e-4)
    formula = staticmethod(lion)

    def prepare(self, scalars):
        self.vectors = self.p, self.g, self.add_state("m", self.p)
        self.numbers = self.rate, self.momentum
"""
COMPARE = """
import sys, ann, numpy as np, onnxruntime
assert ann.__file__.startswith(sys.argv[1]), ann.__file__
net, x = ann.load_model("model.pickle"), ann.load_dataset("data").test_images.reshape(-1, 64)
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
found, = session.run(None, {session.get_inputs()[0].name: x})
np.testing.assert_allclose(found, net.apply(x), rtol=1e-5, atol=1e-6)
"""


def insert(path, before, text):
    source = path.read_text("utf-8")
    assert source.count(before) == 1, f"{path.name} has changed: insert {text!r} elsewhere"
    path.write_text(source.replace(before, text + before), "utf-8")


@pytest.mark.slow
def test_an_added_activation_and_optimizer_work_everywhere(tmp_path):
    for name in ("ann", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    insert(tmp_path / "ann/nn/activations.py", "    Softmax(", ELU)
    (tmp_path / "ann/optim/lion.py").write_text(LION, "utf-8")
    insert(
        tmp_path / "ann/optim/registry.py",
        "from ann.optim.muon",
        "from ann.optim.lion import Lion\n",
    )
    insert(tmp_path / "ann/optim/registry.py", '    "muon": Muon,\n', '    "lion": Lion,\n')
    write_mnist_like(tmp_path / "data", train=1000)

    def run(*arguments):
        process = python(*arguments, cwd=tmp_path, env={**NO_GPU, "PYTHONPATH": str(tmp_path)})
        assert process.returncode == 0 and not process.stderr, process.stdout + process.stderr
        return process.stdout

    listed = " ".join(run("-m", "ann", "train", "--help").split())
    assert "swish, elu" in listed and ",lion,muon" in listed
    assert "hidden layers elu" in run("-m", "ann", "verify", "--gradients", "--device", "cpu")
    flags = "--data data --activation elu --optimizer lion --hidden 16 --batch-size 20 --epochs 10 "
    flags += "--validation 200"
    out = run("-m", "ann", "train", *flags.split(), "--output", "model.pickle")
    assert int(out.rsplit(" wrong", 1)[0].split()[-1]) < 40, out  # of 200; guessing gets 180 wrong
    run("-m", "ann", "export", "--to", "page.html", "model.pickle")
    assert '"elu": z => ' in (tmp_path / "page.html").read_text("utf-8")
    optional("onnx")
    optional("onnxruntime")
    run("-m", "ann", "export", "--to", "model.onnx", "model.pickle")
    run("-c", COMPARE, tmp_path)
