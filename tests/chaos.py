"""Kill a build again and again, then see that it ends in the same bytes as one that nobody touched.

    python tests/chaos.py --kills 50 --seed 0 gps-weak clae

Preparing data, building and publishing are started, and killed at random moments by a random signal: all processes at once (as a
power cut or a scheduler does), the command alone, or one of its jobs. The same command is then started again. In the end
checkpoints, metrics, evaluations, tables and figures are compared with those of an undisturbed build, and nothing half-written, no
lock and no process may be left.
"""

import argparse
import hashlib
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from projects import PARTS, copy_parts

STABLE = ("run", "spec", "checkpoint", "metrics", "online", "loss", "items", "guide", "guide_checkpoint")
"""Keys of a receipt that a seed fixes; the others are times, machines and commits."""
TARGETS = ("everything", "everything", "command", "job")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def make_project(folder: Path, store: Path) -> Path:
    """A git repository with the workflow and an empty local remote."""
    folder.mkdir()
    copy_parts((name for name in PARTS if name != "src"), folder)
    for words in (
        ["git", "init", "--quiet"],
        [sys.executable, "-m", "dvc", "remote", "add", "--quiet", "--default", "store", str(store)],
        ["git", "add", "--all"],
        ["git", "-c", "user.name=sslpairs", "-c", "user.email=sslpairs@localhost", "commit", "--quiet", "--message=x"],
    ):
        subprocess.run(words, cwd=folder, check=True)
    return folder


def commands(targets: list[str]) -> dict[str, list[str]]:
    """What a user would start."""
    python = [sys.executable, "-m"]
    return {
        "fetch": [*python, "sslpairs", "fetch", "digits", "--force"],
        "build": [*python, "snakemake", *targets],
        "publish": [*python, "sslpairs", "publish", *targets],
    }


def digests(project: Path) -> dict[str, str]:
    """sha256 of everything that a seed fixes."""
    digests = {}
    for pattern in (
        "runs/*/checkpoint.pt",
        "runs/*/metrics.csv",
        "runs/*/*.dvc",
        "evals/*/*.json",
        "tables/**/*.*",
        "figures/**/*.*",
    ):
        for path in sorted((project / "results").glob(pattern)):
            if path.suffix == ".tmp":  # what a killed writer left; see the end of `storm`
                continue
            digests[str(path.relative_to(project))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted((project / "results").glob("runs/*/run.json")):
        receipt = json.loads(path.read_text())
        text = json.dumps({key: receipt[key] for key in STABLE}, sort_keys=True)
        digests[str(path.relative_to(project))] = hashlib.sha256(text.encode()).hexdigest()
    return digests


def processes(project: Path) -> list[psutil.Process]:
    """Everything that runs in the project's folder."""
    running = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(project) and process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
        except psutil.Error:
            continue
    return running


def debris(project: Path) -> list[str]:
    """Half-written files, resumable states and locks that are still there."""
    left = [str(path) for path in project.glob("results/**/.*") if path.suffix == ".tmp" or path.name == ".lock"]
    left += [str(path) for path in project.glob("results/runs/*/last.ckpt")]
    left += [str(path) for path in project.glob("data/.preparing-*")]
    return left + [str(path) for path in project.glob(".git/index?*")]


@dataclass
class Storm:
    """The kills of one project."""

    project: Path
    rng: random.Random
    say: Callable[[str], None]
    environment: dict[str, str]
    kills: Counter = field(default_factory=Counter)
    orphans: int = 0

    def run(self, phase: str, words: list[str], kills: int, longest: float) -> None:
        """Start a command, kill it, start it again, ``kills`` times; then let it end, which it must do well."""
        done = 0
        while done < kills:
            started = self._start(words)
            time.sleep(self.rng.uniform(0.3, longest))
            if started.poll() is not None:
                if started.returncode not in (0, 1):  # 1: a killed job before this one
                    raise AssertionError(f"{phase} ended with {started.returncode}: {self._tail()}")
                if started.returncode == 0 and phase == "build":
                    self._forget()
                continue
            done += 1
            self._kill(phase, started, longest)
        started = self._start(words)
        code = started.wait(timeout=3600)
        if code and phase == "build":  # a job was killed in a build that went on: the same command again
            code = self._start(words).wait(timeout=3600)
        if code:
            raise AssertionError(f"{phase} ended with {code}: {self._tail()}")

    def _forget(self) -> None:
        """All is built before the last kill: remove a third of the runs, so that there is something to kill again."""
        folders = sorted((self.project / "results/runs").iterdir())
        for folder in self.rng.sample(folders, max(1, len(folders) // 3)):
            for path in (folder, self.project / "results/evals" / folder.name):
                shutil.rmtree(path, ignore_errors=True)
        self.say(
            f"all was built after {sum(self.kills.values())} kills; a third of the runs is removed and built again"
        )

    def _start(self, words: list[str]) -> subprocess.Popen:
        log = open(self.project.parent / f"{self.project.name}.log", "a")  # noqa: SIM115
        return subprocess.Popen(
            words, cwd=self.project, stdout=log, stderr=log, env=self.environment, start_new_session=True
        )

    def _tail(self) -> str:
        return (self.project.parent / f"{self.project.name}.log").read_text()[-3000:]

    def _kill(self, phase: str, started: subprocess.Popen, longest: float) -> None:
        number, target = self.rng.choice(SIGNALS), self.rng.choice(TARGETS)
        running = processes(self.project)
        jobs = [process for process in running if process.pid != started.pid]
        if target == "job" and jobs:
            victims = [self.rng.choice(jobs)]
        elif target == "command":
            victims = [process for process in running if process.pid == started.pid]
        else:
            target, victims = "everything", running
        for process in victims:
            try:
                process.send_signal(number)
            except psutil.Error:
                continue
        if target == "job":  # the command goes on, for a while
            try:
                started.wait(timeout=self.rng.uniform(1, longest))
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)
        try:
            started.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        if self.rng.random() < 0.5:  # the user does not always wait until everything has ended
            until = time.monotonic() + 20
            while (left := processes(self.project)) and time.monotonic() < until:
                time.sleep(0.2)
            self.orphans += len(left)
        receipts = len(list(self.project.glob("results/runs/*/run.json")))
        states = len(list(self.project.glob("results/runs/*/last.ckpt")))
        self.kills[f"{phase} {number.name} {target}"] += 1
        self.say(
            f"kill {sum(self.kills.values())}: {phase}, {number.name} to {target}; {receipts} receipts, {states} runs to resume"
        )


def resumes(project: Path) -> int:
    """How often a training went on from a state that a killed one left."""
    return sum(log.read_text().count("resuming after epoch") for log in project.glob("logs/runs/*.log"))


def storm(
    folder: Path,
    targets: list[str],
    kills: int,
    seed: int,
    say: Callable[[str], None],
    prepare: Callable[[Path], None] = lambda project: None,
    longest: float = 15.0,
) -> Storm:
    """Build twice, once undisturbed and once under kills, and compare; AssertionError where anything differs or is left."""
    if threading.current_thread() is threading.main_thread():
        # A shell starts what runs in its background with SIGINT ignored, and children inherit that: Ctrl-C would do nothing.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / "site")}
    files, words = {}, commands(targets)
    for name in ("calm", "stormy"):
        project = make_project(folder / name, folder / f"{name}-store")
        prepare(project)
        project_storm = Storm(project, random.Random(seed), say, environment)
        at = {"fetch": kills // 8, "publish": kills // 8} if name == "stormy" else {}
        at["build"] = kills - sum(at.values()) if name == "stormy" else 0
        started = time.monotonic()
        for phase, limit in (("fetch", 5.0), ("build", longest), ("publish", 7.0)):
            project_storm.run(phase, words[phase], at.get(phase, 0), limit)
        project_storm.run("build", words["build"], 0, longest)
        until = time.monotonic() + 20
        while processes(project) and time.monotonic() < until:
            time.sleep(0.2)
        assert not processes(project), "processes are left"
        files[name] = digests(project)
        say(
            f"{name}: {len(files[name])} files in {time.monotonic() - started:.0f} s, {resumes(project)} trainings resumed"
        )
    differing = sorted(
        key
        for key in files["calm"].keys() | files["stormy"].keys()
        if files["calm"].get(key) != files["stormy"].get(key)
    )
    assert not differing, f"{len(differing)} files differ, such as {differing[:5]}"
    # What a killed writer left beside a whole file is no result; `sslpairs gc` lists and removes it.
    assert not [path for path in debris(project) if not path.endswith(".tmp")], debris(project)
    doctor = subprocess.run(
        [sys.executable, "-m", "sslpairs", "doctor"], cwd=project, capture_output=True, text=True, env=environment
    )
    assert doctor.returncode == 0, doctor.stdout
    together = hashlib.sha256(json.dumps(files["stormy"], sort_keys=True).encode()).hexdigest()
    say(
        f"equal: {len(files['stormy'])} files, together sha256 {together[:16]}; orphans after 20 s: {project_storm.orphans}"
    )
    return project_storm


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="papers or tables; default: all")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", default="0", help="a number, or random, which is printed")
    arguments = parser.parse_args()
    seed = secrets.randbelow(1 << 31) if arguments.seed == "random" else int(arguments.seed)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        result = storm(
            Path(folder),
            arguments.targets,
            arguments.kills,
            seed,
            lambda line: print(f"{time.strftime('%H:%M:%S')} {line}", flush=True),
        )
    print(
        f"{sum(result.kills.values())} kills: "
        + ", ".join(f"{count} x {kind}" for kind, count in sorted(result.kills.items()))
    )


if __name__ == "__main__":
    main()
