"""Devices: each backend is an array library, with transfers from and to the host."""
