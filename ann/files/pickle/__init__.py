"""Reads a pickle as data, without executing it."""
