"""Says at the end how many hostile files were tried."""

from hostile.harness import tried


def pytest_terminal_summary(terminalreporter):
    if tried:
        families = ", ".join(f"{count:,} {name}" for name, count in tried.items())
        terminalreporter.write_line(f"hostile files, each refused in the one way: {families}")
