"""Running builds announce their outputs, so that no two builds in a folder make the same files."""

import atexit
import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sslpairs.errors import UserError
from sslpairs.files import date_now
from sslpairs.locks import exclusive, is_alive, is_held, keep
from sslpairs.plan.paths import BUILDS


def announce(root: Path, outputs: list[str]) -> None:
    """Announce the outputs of this build to other builds in the folder. Raise ``UserError`` if one of them makes the same files, or
    has made some since this one was planned.

    The announcement is a locked file, so it ends with this process, however the process ends.
    """
    folder = root / BUILDS
    mine = folder / f"{socket.gethostname()}-{os.getpid()}.json"
    with exclusive(folder / ".lock", "waiting for another build that starts here"):
        for path in folder.glob("*.json"):
            # A file that cannot be parsed was truncated when its build was killed on a file system without locks.
            with contextlib.suppress(FileNotFoundError, ValueError), open(path) as file:
                if not _held(file):
                    path.unlink()  # its build has ended
                else:
                    other = json.load(file)
                    if both := sorted(set(outputs) & set(other["outputs"])):
                        raise UserError(
                            f"another build is running in this folder and makes {len(both)} of the same files, such as {both[0]}: "
                            f"{_words(other)}.\nWait for it, or stop it: kill {other['process']}{_if_gone(other)}"
                        ) from None
        if made := _made_meanwhile(root, set(outputs)):
            raise UserError(
                f"another build has just made {made}, which this one was about to make; run the same command again to build the "
                "rest"
            )
        file = open(mine, "w")  # noqa: SIM115 - stays open and locked until this process ends
        keep(file)
        facts = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        json.dump(facts | {"command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]), "outputs": outputs}, file)
        file.flush()
        _announced.append(file)
        _keep_dated(mine)
        atexit.register(mine.unlink, missing_ok=True)


_announced: list = []


def _held(file) -> bool:
    """Whether the build of an announcement is running. A build on another host, whose lock may not be visible here, also counts as
    running while it updates the time of its announcement, which it does every minute."""
    held = is_held(file)
    if held:
        return True
    other = json.load(file)
    file.seek(0)
    if other["host"] != socket.gethostname():
        return time.time() - os.fstat(file.fileno()).st_mtime < SILENCE
    return held is None and is_alive(other["process"])


SILENCE = 600
"""Seconds without an update after which a build on another host is considered dead."""


def _keep_dated(path: Path) -> None:
    """Update the time of an announcement every minute."""

    def work() -> None:
        while path.exists():
            date_now([path])
            time.sleep(60)

    threading.Thread(target=work, daemon=True).start()


def _made_meanwhile(root: Path, outputs: set[str]) -> str | None:
    """Return a record or restored checkpoint that was missing when this build was planned and now exists: Snakemake would remove
    it and make it again."""
    for file in sorted(outputs):
        folder, name = file.rpartition("/")[::2]
        receipt = f"{folder}/run.json"
        if name == "checkpoint.pt" and receipt in outputs:
            continue  # left by a training that was killed before its receipt
        if name == "run.json" and not (root / folder / "metrics.csv").exists():
            continue  # left by a build that was killed while it removed the outputs of a failed training
        if file.startswith("results/evals/") and f"results/runs/{folder.rpartition('/')[2]}/run.json" in outputs:
            continue  # evaluates weights that are trained again
        if (name in ("checkpoint.pt", "run.json") or file.startswith("results/evals/")) and (root / file).exists():
            return file
    return None


def at_work(root: Path) -> list[dict[str, Any]]:
    """Return the announcements of the builds running in a folder."""
    found = []
    for path in (root / BUILDS).glob("*.json"):
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            if _held(file):
                found.append(json.load(file))
    return found


def _words(other: dict[str, Any]) -> str:
    return f"process {other['process']} on {other['host']}, since {other['since']} ({other['command']})"


def _if_gone(other: dict[str, Any]) -> str:
    """Without file locks, it cannot be checked whether a process on another host still runs."""
    if other["host"] == socket.gethostname():
        return ""
    return f" (if it no longer runs: rm results/builds/{other['host']}-{other['process']}.json)"


def building(root: Path) -> list[str]:
    """Describe the builds running in a folder as text."""
    return [_words(other) for other in at_work(root)]
