"""Warm processes for the many short jobs of a local build.

Importing torch, lightly and their dependencies takes several seconds, as long as a small run trains. So the first job of a
build starts a server that only imports them; every job is then a fork of it. A forked job is an ordinary process: it has
the job's arguments, environment, folder and output, and it ends with the job. The server ends with the build that owns it,
so it never runs older code than what is on disk when the build starts.

Only local builds use it (the workflow sets ``SSLPAIRS_WARM`` to a newly created folder that only this user can enter and
whose name ends in its process id); everything works without it.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sslpairs.locks import is_alive, keep

ROOMS = {
    "train": "training",
    "evaluate": "training",
    "baseline": "training",
    "tables": "paper",
    "figure": "paper",
    "restore": "store",
}
"""Commands that are worth a server, and the server that they share."""

PRELOAD = {
    "training": (
        "torch._dynamo",  # imported by torch's optimisers when the first one is created
        "sslpairs.cli",
        "sslpairs.config.reading",
        "sslpairs.data.record",
        "sslpairs.workflow.builds",
        "sslpairs.training.run",
        "sslpairs.evaluation.baselines",
    ),
    "store": ("dvc.repo", "dvc_data.hashfile.db", "sslpairs.cli", "sslpairs.store.restore"),
    "paper": (
        "pandas.io.formats.style",
        "tabulate",
        "scipy.special",
        "seaborn",
        "sslpairs.cli",
        "sslpairs.workflow.builds",
        "sslpairs.paper.tables",
        "sslpairs.paper.figures",
    ),
}


def end_with_build() -> None:
    """End this job when its build has ended, however it ended: a killed build leaves no training behind that would collide with the
    next build."""
    folder = os.environ.get("SSLPAIRS_WARM")
    if not folder:
        return
    owner = _owner(Path(folder))
    _end_after(lambda: _wait(owner))


def _end_after(wait: Callable[[], object]) -> None:
    """End this process when ``wait`` returns."""

    def watch() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _owner(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _wait(owner: int, *files: socket.socket) -> bool:
    """Wait until one of the files can be read; False once the owner has ended, even as a zombie."""
    try:
        end = os.pidfd_open(owner)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):  # not Linux, or no more descriptors
        while is_alive(owner):
            if select.select(files, [], [], 0.5)[0]:
                return True
        return False
    try:
        return end not in select.select([end, *files], [], [])[0]
    finally:
        os.close(end)


def run_warm(arguments: list[str]) -> int | None:
    """Run a command in a fork of the build's server and return its exit code; None if there is no server to use."""
    folder = os.environ.get("SSLPAIRS_WARM")
    room = ROOMS.get(arguments[0]) if arguments else None
    if not folder or not room or "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun's processes must be its own
        return None
    request = json.dumps({"arguments": arguments, "cwd": os.getcwd(), "environment": dict(os.environ)}).encode()
    try:
        connection = _connect(Path(folder), room)
        connection.settimeout(60)
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(request)
        worker = int.from_bytes(_receive(connection, 8), "big")
    except OSError:
        return None
    if not worker:  # the server could not fork, or is ending: nothing was started
        return None
    with connection:
        connection.settimeout(None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: _forward(worker, number))
        answer = _receive(connection, 8)
    # A killed worker sends nothing: its end of the connection just closes.
    return int.from_bytes(answer, "big") if answer else 128 + signal.SIGKILL


def _forward(worker: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, number)


def _receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            return b""
        data += part
    return data


def _connect(folder: Path, room: str) -> socket.socket:
    """A connection to the server; the first caller starts it. ``OSError`` if there is none.

    Everything happens inside the folder itself: its path may be too long for a socket address, and a link that someone else
    puts in its place is not followed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        facts = os.fstat(descriptor)
        if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise OSError(f"{folder} belongs to another user")  # who would get the job's environment
        before = Path.cwd()
        with contextlib.chdir(descriptor), open(f"{room}.lock", "w") as lock:
            keep(lock)  # without locks two servers may start, and one is used
            failed = Path(f"{room}.failed")
            if failed.exists():
                raise OSError("an earlier job found that the server does not start")
            with contextlib.suppress(OSError):
                return _dial(room)
            with open(f"{room}.log", "wb") as errors:
                server = _start(folder, room, before, errors)
            while server.poll() is None:
                with contextlib.suppress(OSError):
                    return _dial(room)
                time.sleep(0.05)
            reason = (Path(f"{room}.log").read_text(errors="replace").splitlines() or [f"code {server.returncode}"])[-1]
            failed.touch()
    finally:
        os.close(descriptor)
    print(f"note: jobs cannot share a process, so each imports its libraries again ({reason})", file=sys.stderr)
    raise OSError("the server did not start")


def _start(folder: Path, room: str, cwd: Path, errors: IO[bytes]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "sslpairs.fork_server", str(folder / f"{room}.socket"), room, str(_owner(folder))],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )


def _dial(room: str) -> socket.socket:
    """A connection to the server of the current working directory."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"{room}.socket")
    except OSError:
        connection.close()
        raise
    return connection


# --- the server ---------------------------------------------------------------------------------------------------


def serve(path: Path, room: str, owner: int) -> None:
    """Import what the room needs, then fork a worker for every connection, until the owner's process has ended."""
    import importlib

    for name in PRELOAD[room]:
        importlib.import_module(name)
    from sslpairs.terminal.screen import accept_any_encoding

    accept_any_encoding()  # a fork cannot: its standard output is not the file that Python opened
    os.chdir(path.parent)
    listener = socket.socket(socket.AF_UNIX)
    temporary, file = Path(f"{room}.starting"), Path(path.name)
    temporary.unlink(missing_ok=True)
    listener.bind(str(temporary))
    listener.listen(64)
    os.rename(temporary, file)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies: nobody here waits for workers
    try:
        while _wait(owner, listener):
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    _work(connection)  # never returns
    finally:
        file.unlink(missing_ok=True)
    shutil.rmtree(path.parent, ignore_errors=True)  # a killed build did not remove it


def _work(connection: socket.socket) -> None:
    """Become the job: its files, folder, environment and arguments. Never returns."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        size, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
        size += _receive(connection, 8 - len(size)) if len(size) < 8 else b""
        request = json.loads(_receive(connection, int.from_bytes(size, "big")))
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
            os.close(descriptor)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        connection.sendall(os.getpid().to_bytes(8, "big"))
        # If the requesting process is killed, it cannot forward a signal.
        _end_after(lambda: select.select([connection], [], []))
        code = _run(request["arguments"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        with contextlib.suppress(OSError):
            connection.sendall(code.to_bytes(8, "big"))
        os._exit(code)


def _run(arguments: list[str]) -> int:
    from sslpairs.cli import main

    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
