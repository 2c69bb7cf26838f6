"""Says at the end how many hostile files were tried."""

from hostile.harness import tried, worst


def pytest_terminal_summary(terminalreporter):
    if tried:
        families = ", ".join(f"{count:,} {name}" for name, count in tried.items())
        most = f"in at most {worst['s']:.2f} s, with at most {worst['MB']:.0f} MB beyond the file"
        terminalreporter.write_line(f"hostile files, each refused in the one way: {families}; {most}")
