"""How far a training is, told from outside: whether it lives, its epochs, and the time that is left."""

import os
import shutil
import time

import pytest
from projects import ROOT

from sslpairs.locks import exclusive
from sslpairs.plan.paths import run_folder
from sslpairs.plan.progress import Running, live_metrics, running
from sslpairs.training.metrics import LiveMetrics
from sslpairs.workflow.builds import make_build

ROW = {"steps": 7, "loss": 1.5, "learning_rate": 1e-3, "online_top1": None, "images_per_second": 5.0}


def row(epoch: int) -> dict:
    return ROW | {"epoch": epoch}


@pytest.fixture
def root(tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copy(ROOT / "data.dvc", tmp_path)
    return tmp_path


@pytest.fixture
def run(root):
    return next(iter(make_build(root).plan.runs))


def look(root, run) -> Running | None:
    return running(make_build(root), [run]).get(run)


def aged(path, seconds: float) -> None:
    at = path.stat().st_mtime - seconds
    os.utime(path, (at, at))


def test_a_training_that_holds_its_lock_has_epochs_and_time_left(root, run):
    folder = root / run_folder(run)
    assert look(root, run) is None
    with exclusive(folder / ".lock", "waiting"):
        epochs = make_build(root).plan.runs[run]["spec"]["epochs"]
        assert look(root, run) == Running(0, epochs, None)
        live = LiveMetrics(folder, [], 0)
        assert look(root, run) == Running(0, epochs, None)
        live.add(row(1))
        live.add(row(2))
        aged(folder / ".lock", 20)  # two epochs took 20 seconds
        found = look(root, run)
        assert (found.epoch, found.epochs) == (2, epochs)
        assert found.seconds_left == pytest.approx(10 * (epochs - 2), rel=0.3)
    assert look(root, run) is None


def test_a_resumed_training_counts_the_time_before_its_interruption(root, run):
    folder = root / run_folder(run)
    with exclusive(folder / ".lock", "waiting"):
        LiveMetrics(folder, [row(1), row(2)], seconds=30)
        found = look(root, run)
        assert found.epoch == 2
        assert found.seconds_left == pytest.approx(15 * (found.epochs - 2), rel=0.3)


def test_what_a_killed_training_left_does_not_count_as_running(root, run):
    folder = root / run_folder(run)
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    LiveMetrics(folder, [row(1)], 5)
    assert look(root, run) is None
    with exclusive(folder / ".lock", "waiting"):  # the next one has begun, and has not come to its metrics
        date = time.time() + 1
        os.utime(folder / ".lock", (date, date))
        assert look(root, run).epoch == 0


def test_without_locks_metrics_that_grow_count_as_running(root, run, monkeypatch):
    def flock(*_):
        raise OSError("no locks here")

    monkeypatch.setattr("sslpairs.locks.fcntl.flock", flock)
    folder = root / run_folder(run)
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    LiveMetrics(folder, [row(1)], 5)
    assert look(root, run).epoch == 1
    for name in (".lock", "metrics.csv"):
        aged(folder / name, 3600)
    assert look(root, run) is None


def test_metrics_beside_a_receipt_stay_while_the_run_is_trained_again(root, run):
    folder = root / run_folder(run)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "metrics.csv").write_text("old")
    live = LiveMetrics(folder, [], 0)
    live.add(row(1))
    assert (folder / "metrics.csv").read_text() == "old"
    assert live.path == live_metrics(folder) != folder / "metrics.csv"
    with exclusive(folder / ".lock", "waiting"):
        aged(folder / ".lock", 9)
        assert look(root, run).epoch == 1


def test_who_looks_at_a_lock_does_not_turn_away_who_wants_it(tmp_path):
    import fcntl
    import threading

    lock = tmp_path / ".lock"
    lock.touch()
    with open(lock) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.03, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with exclusive(lock, "somebody has it", patient=False):
            time.sleep(0.05)
