"""What users of the library see: types and help."""

import pydoc
import subprocess
import sys

import pytest

import ann
from support import ROOT, optional
from support.programs import NO_GPU

CLIENT = """\
import ann

data = ann.load_dataset("mnist")
net = ann.Recipe(epochs=3).network(data)
ann.fit(net, data, ann.Recipe(epochs="three"), callbacks=[print])
x: int = net.apply(data.test_images)
ann.no_such_name
"""


@pytest.mark.slow
def test_types_find_the_errors_of_a_client(tmp_path):
    optional("mypy")
    (tmp_path / "client.py").write_text(CLIENT)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", "client.py"]
    options = {"capture_output": True, "text": True, "cwd": tmp_path, "timeout": 600}
    process = subprocess.run(command, env={**NO_GPU, "MYPYPATH": str(ROOT)}, **options)
    found = [line.split(": error: ")[0] for line in process.stdout.splitlines()[:-1]]
    assert found == ["client.py:5", "client.py:6", "client.py:7"], process.stdout
    assert (ROOT / "ann/py.typed").exists()


def test_help_is_short_and_begins_with_the_simple_case():
    text = pydoc.plain(pydoc.render_doc(ann))
    assert len(text.splitlines()) <= 75
    for name in dir(ann):
        if str(getattr(getattr(ann, name), "__module__", "")).startswith("ann."):
            assert name in text.split("PACKAGE CONTENTS")[0]
    start = "\n".join(pydoc.plain(pydoc.render_doc(ann.fit)).splitlines()[:20])
    assert "reports = ann.fit(net, data, recipe, callbacks=[print])" in start
