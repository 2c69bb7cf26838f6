"""Says at the end how many hostile files were tried."""

import pytest

from hostile.harness import tried, worst


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Where nothing else comes and goes while it is watched."""
    monkeypatch.chdir(tmp_path)


def pytest_terminal_summary(terminalreporter):
    if tried:
        families = ", ".join(f"{count:,} {name}" for name, count in tried.items())
        most = f"with at most {worst['calls']:,} calls and {worst['MB']:.0f} MB beyond the file"
        terminalreporter.write_line(
            f"hostile files, each refused in the one way: {families}; {most}"
        )
