"""A PostgreSQL for the tests, from Debian's package; it is started when a test needs it, and
deleted afterwards.
"""

import glob
import os
import shutil
import socket
import subprocess
import tempfile
import urllib.parse
from contextlib import contextmanager

import pytest

PASSWORD = "s3cret/ of tests"


def programs():
    """The folder of the newest PostgreSQL's programs, or None."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    newest = max(found, key=lambda path: int(path.split("/")[-3]), default=shutil.which("initdb"))
    return os.path.dirname(newest) if newest else None


@contextmanager
def server():
    """Start a server with an empty database, and yield its address.

    Without PostgreSQL, the test is skipped, or fails with ANN_REQUIRE_PEERS=1.
    """
    if os.environ.get("ANN_REQUIRE_PEERS") != "1" and programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    folder = tempfile.mkdtemp(prefix="ann-postgres-")
    as_user = []
    if os.geteuid() == 0:  # as whom it does not run
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    password = os.path.join(folder, "password")
    with open(password, "w") as file:
        file.write(PASSWORD)
    os.chmod(password, 0o644)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(program, *arguments):
        command = [*as_user, os.path.join(programs(), program), *arguments]
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, timeout=300)

    data = os.path.join(folder, "data")
    call(
        "initdb",
        "-D",
        data,
        "-U",
        "ann",
        "--auth=scram-sha-256",
        f"--pwfile={password}",
        "--no-sync",
    )
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    )
    call("pg_ctl", "-D", data, "-w", "-l", os.path.join(folder, "log"), "-o", options, "start")
    try:
        psycopg = __import__("psycopg")
        address = f"host=127.0.0.1 port={port} user=ann dbname=postgres"
        with psycopg.connect(address, password=PASSWORD, autocommit=True) as connection:
            connection.execute("CREATE DATABASE sweeps")
        quoted = urllib.parse.quote(PASSWORD, safe="")
        yield f"postgresql://ann:{quoted}@127.0.0.1:{port}/sweeps"
    finally:
        call("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
