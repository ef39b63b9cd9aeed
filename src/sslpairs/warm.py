"""Warm processes for the many short jobs of a local build.

Importing torch, lightly and what they need takes several seconds, as long as a small run trains. So the first job of a
build starts a server that has imported them and does nothing else; every job then is a fork of it. A forked job is an
ordinary process: it has the job's arguments, environment, folder and output, and it ends with the job. The server ends
with the build that owns it, so that it can never run older code than what lies on disk when the build starts.

Only local builds use it (the workflow sets ``SSLPAIRS_WARM`` to a folder of the build's own); everything works without.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOMS = {"train": "training", "evaluate": "training", "tables": "paper", "figure": "paper", "restore": "store"}
"""Commands that are worth a server, and which one they share."""

PRELOAD = {
    "training": (
        "torch._dynamo",  # torch's optimisers import it when the first one is made
        "sslpairs.cli",
        "sslpairs.config.reading",
        "sslpairs.data.record",
        "sslpairs.front",
        "sslpairs.training.train",
        "sslpairs.evaluation.evaluate",
    ),
    "store": ("dvc.repo", "dvc_data.hashfile.db", "sslpairs.cli", "sslpairs.store"),
    "paper": (
        "pandas",
        "scipy.special",
        "seaborn",
        "sslpairs.cli",
        "sslpairs.front",
        "sslpairs.paper.tables",
        "sslpairs.paper.figures",
    ),
}


def end_with_build() -> None:
    """Let this job end when the build that it belongs to has ended, however that ended: a build that was killed leaves no
    training behind that the next one would meet."""
    folder = os.environ.get("SSLPAIRS_WARM")
    if not folder:
        return
    owner = int(Path(folder).name.rpartition("-")[2])

    def watch() -> None:
        try:
            select.select([os.pidfd_open(owner)], [], [])
        except ProcessLookupError:
            pass
        except (OSError, AttributeError):  # not Linux, or no more descriptors
            while _alive(owner):
                time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_warm(arguments: list[str]) -> int | None:
    """Run a command in a fork of the build's server and answer its exit code; None when there is none to be used."""
    folder = os.environ.get("SSLPAIRS_WARM")
    room = ROOMS.get(arguments[0]) if arguments else None
    if not folder or not room or "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun's processes must be its own
        return None
    try:
        connection = _connect(Path(folder), room)
    except OSError:
        return None
    request = json.dumps({"arguments": arguments, "cwd": os.getcwd(), "environment": dict(os.environ)}).encode()
    with connection:
        connection.settimeout(60)
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(request)
        worker = int.from_bytes(_receive(connection, 8), "big")
        connection.settimeout(None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: _forward(worker, number))
        answer = _receive(connection, 8)
    # A worker that is killed says nothing: its end of the connection just closes.
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
    """A connection to the server; the first one to ask starts it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.stat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise OSError(f"{folder} is somebody else's")  # they would get the job's environment
    path = folder / f"{room}.socket"
    with open(folder / f"{room}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            return _dial(path)
        path.unlink(missing_ok=True)
        owner = folder.name.rpartition("-")[2]
        server = subprocess.Popen(
            [sys.executable, "-m", "sslpairs.warm", str(path), room, owner],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while server.poll() is None:
            with contextlib.suppress(OSError):
                return _dial(path)
            time.sleep(0.05)
    raise OSError("the server did not start")


def _dial(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
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

    accept_any_encoding()  # a fork cannot: its standard output is another file than the one that Python opened
    listener = socket.socket(socket.AF_UNIX)
    temporary = path.with_suffix(".starting")
    temporary.unlink(missing_ok=True)
    listener.bind(str(temporary))
    listener.listen(64)
    os.rename(temporary, path)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies: nobody here waits for workers
    try:
        while _alive(owner):
            if select.select([listener], [], [], 0.5)[0]:
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    _work(connection)  # never returns
                connection.close()
    finally:
        path.unlink(missing_ok=True)
        path.with_suffix(".lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the other room's server may still be there
            path.parent.rmdir()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
        _end_with(connection)
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


def _end_with(connection: socket.socket) -> None:
    """End this worker when the process that asked for it is gone (killed, it could not forward anything)."""

    def watch() -> None:
        select.select([connection], [], [])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
