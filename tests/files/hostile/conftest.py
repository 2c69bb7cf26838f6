"""Hostile files are read in a folder of their own."""

import pytest


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Nothing else may change in the folder while a test watches it."""
    monkeypatch.chdir(tmp_path)
