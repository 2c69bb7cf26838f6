"""The parts of scripts/benchmark.py: the same training by this package and by other libraries."""
