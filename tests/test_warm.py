"""The shared process of a build's jobs: who may ask it, where it lies, and when it ends."""

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from projects import ROOT

from sslpairs import fork_server
from sslpairs.workflow import jobs

SERVER = """
import os, sys, types
from pathlib import Path
import sslpairs.fork_server as fork_server

def main(words):
    print("job", *words, os.getcwd(), os.environ["COLOUR"])
    sys.exit(3)

sys.modules["sslpairs.cli"] = types.SimpleNamespace(main=main)
fork_server.PRELOAD["training"] = ()
fork_server.serve(Path(sys.argv[1]), "training", int(sys.argv[2]))
"""
"""A server without libraries, whose jobs print what they were given."""


@pytest.fixture
def owner() -> Iterator[subprocess.Popen]:
    """A process in the place of a build."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def started(monkeypatch) -> list[subprocess.Popen]:
    """The servers that jobs have started."""
    found = []

    def start(folder: Path, room: str, cwd: Path, errors) -> subprocess.Popen:
        words = [sys.executable, "-c", SERVER, str(folder / f"{room}.socket"), str(fork_server._owner(folder))]
        found.append(
            subprocess.Popen(words, cwd=cwd, stderr=errors, env=os.environ | {"PYTHONPATH": str(ROOT / "src")})
        )
        return found[-1]

    monkeypatch.setattr(fork_server, "_start", start)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("COLOUR", "red")
    return found


@pytest.fixture
def folder(owner, tmp_path, monkeypatch) -> Path:
    """A build's folder, whose path is longer than an address of a socket may be."""
    path = tmp_path / ("long" * 30) / f"sslpairs-x-{owner.pid}"
    path.mkdir(mode=0o700, parents=True)
    monkeypatch.setenv("SSLPAIRS_WARM", str(path))
    return path


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_jobs_share_one_server_however_long_the_path_and_keep_folder_environment_output_and_code(
    folder, started, capfd
):
    before = Path.cwd()
    assert [fork_server.run_warm(["train", "x"]) for _ in range(2)] == [3, 3]
    assert len(started) == 1
    assert capfd.readouterr().out == f"job train x {before} red\n" * 2
    assert Path.cwd() == before


def test_the_server_ends_with_a_build_that_nobody_has_waited_for(folder, started, owner):
    assert fork_server.run_warm(["train", "x"]) == 3
    owner.kill()  # a zombie until the test ends
    started[0].wait(10)
    wait_for(lambda: not folder.exists())


def test_no_link_is_followed_and_no_folder_that_others_may_enter_is_used(folder, started, tmp_path, monkeypatch):
    folder.chmod(0o755)
    assert fork_server.run_warm(["train", "x"]) is None
    folder.chmod(0o700)
    link = tmp_path / folder.name
    link.symlink_to(folder)
    monkeypatch.setenv("SSLPAIRS_WARM", str(link))
    assert fork_server.run_warm(["train", "x"]) is None
    monkeypatch.setenv("SSLPAIRS_WARM", str(tmp_path / "gone-1"))
    assert fork_server.run_warm(["train", "x"]) is None
    assert (started, list(folder.iterdir()), (tmp_path / "gone-1").exists()) == ([], [], False)


def test_a_server_that_does_not_start_is_told_once_and_jobs_work_without(folder, monkeypatch, capfd):
    tried = []

    def start(folder: Path, room: str, cwd: Path, errors) -> subprocess.Popen:
        tried.append(room)
        return subprocess.Popen([sys.executable, "-c", "raise OSError('AF_UNIX: not here')"], stderr=errors)

    monkeypatch.setattr(fork_server, "_start", start)
    assert [fork_server.run_warm(["train", "x"]) for _ in range(3)] == [None] * 3
    assert tried == ["training"]
    assert capfd.readouterr().err == (
        "note: jobs cannot share a process, so each imports its libraries again (OSError: AF_UNIX: not here)\n"
    )


def test_a_server_that_cannot_fork_leaves_the_job_to_run_without_it(folder, started, monkeypatch):
    monkeypatch.setattr(
        sys.modules[__name__], "SERVER", "import os\ndef fork(): raise OSError\nos.fork = fork\n" + SERVER
    )
    assert fork_server.run_warm(["train", "x"]) is None


def test_a_build_makes_a_folder_that_nobody_can_have_made_before(monkeypatch, tmp_path):
    monkeypatch.setenv("SSLPAIRS_WARM", "")
    monkeypatch.setattr(jobs.tempfile, "tempdir", str(tmp_path))
    found, kept = [], []
    monkeypatch.setattr(atexit, "register", lambda *words, **how: kept.append((words, how)))
    for _ in range(2):
        jobs.share_warm_processes()
        found.append(Path(os.environ["SSLPAIRS_WARM"]))
    assert len(set(found)) == 2
    assert {(path.parent, path.stat().st_mode & 0o777, fork_server._owner(path)) for path in found} == {
        (tmp_path, 0o700, os.getpid())
    }
    for (remove, *words), how in kept:
        remove(*words, **how)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(jobs.tempfile, "tempdir", str(tmp_path / "nowhere"))
    jobs.share_warm_processes()  # everything works without
