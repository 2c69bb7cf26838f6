"""Hostile files are read in a folder of their own."""

import pytest


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Where nothing else comes and goes while it is watched."""
    monkeypatch.chdir(tmp_path)
