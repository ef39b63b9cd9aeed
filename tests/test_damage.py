"""What goes wrong around a build: damaged files, full and read-only disks, two builds at once, clocks that jump, kills."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from chaos import processes, storm
from projects import TABLE, build, built, edit, planned, say, wait_for

from sslpairs.data.record import BEFORE, record, recorded
from sslpairs.errors import UserError
from sslpairs.files import (
    date_now,
    dated_ahead,
    read_record,
    sha256_file,
    write_atomic,
    write_record,
)
from sslpairs.locks import exclusive
from sslpairs.plan.build import is_whole
from sslpairs.workflow.announce import announce, building


@pytest.fixture
def project(original, tmp_path) -> Path:
    """A copy of the tiny project, with everything built."""
    return built(original, tmp_path / "project")


def errors(done: subprocess.CompletedProcess) -> list[str]:
    """The lines that name an error; none may be a traceback."""
    text = done.stdout + done.stderr
    assert "Traceback" not in text, text
    return [line for line in text.splitlines() if line.startswith("error: ") or " ERROR " in line]


def runs(project: Path) -> list[str]:
    return sorted(path.parent.name for path in project.glob("results/runs/*/run.json"))


def state(project: Path) -> dict[str, str]:
    """sha256 of all results but for what only says that a build was there."""
    files = [path for part in ("runs", "evals") for path in (project / "results" / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(project)): sha256_file(path) for path in files}


# --- damaged files ------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
def test_a_damaged_record_stops_the_build_in_one_line_and_removing_it_mends_it(project):
    evaluation = next(project.glob("results/evals/*/*.json"))
    whole, before = evaluation.read_bytes(), state(project)
    for content, reason in (
        (whole[:100], "Unterminated string"),
        (whole.replace(b"9", b"8"), "its seal does not match"),
    ):
        evaluation.write_bytes(content)
        done = build(project, TABLE)
        assert done.returncode == 2
        (line,) = errors(done)
        name = evaluation.relative_to(project)
        assert line.startswith(f"error: {name}: damaged ({reason}")
        assert f"`git checkout {name}`" in line
    evaluation.unlink()
    assert build(project, TABLE).returncode == 0
    assert state(project) == before


@pytest.mark.slow
def test_an_altered_checkpoint_is_never_evaluated_and_training_again_mends_it(project):
    run = runs(project)[0]
    checkpoint = project / "results/runs" / run / "checkpoint.pt"
    evaluation = next((project / "results/evals" / run).glob("*.json"))
    before = state(project)
    flip(checkpoint)
    evaluation.unlink()
    done = build(project, TABLE)
    assert done.returncode == 1
    assert f"results/runs/{run}/checkpoint.pt: damaged, or not the checkpoint that run.json names" in "".join(
        errors(done)
    )
    assert not evaluation.exists()
    mended = say(project, "sslpairs", "train", run)
    assert mended.returncode == 0, mended.stderr
    assert build(project, TABLE).returncode == 0
    assert state(project) == before


@pytest.mark.slow
def test_a_build_goes_on_where_one_was_killed_that_removed_what_a_failed_training_made(project):
    """Snakemake removes checkpoint, metrics and receipt, in this order."""
    before, run = state(project), runs(project)[0]
    shutil.rmtree(project / "results/evals" / run)
    for name in ("checkpoint.pt", "metrics.csv", "checkpoint.pt.dvc"):
        (project / "results/runs" / run / name).unlink()
    done = build(project, TABLE)
    assert done.returncode == 0, done.stdout + done.stderr
    after = state(project)
    changed = {key for key in before if after.get(key) != before[key]}
    assert {Path(key).name for key in changed} <= {"run.json", "checkpoint.pt.dvc"}, "the receipt has another date"


@pytest.mark.slow
def test_a_damaged_record_of_the_data_is_neither_taken_for_whole_nor_recorded(project):
    path, record = project / "data/digits/dataset.json", (project / "data.dvc").read_bytes()
    path.write_text(path.read_text().replace('"mean"', '"MEAN"'))
    done = say(project, "sslpairs", "fetch", "digits")
    assert done.returncode == 2
    assert (
        "dataset.json is damaged (its seal does not match: it was altered); prepare it again: sslpairs fetch digits --force"
        in done.stderr
    )
    assert (project / "data.dvc").read_bytes() == record
    assert say(project, "sslpairs", "fetch", "digits", "--force").returncode == 0
    assert (project / "data.dvc").read_bytes() == record


@pytest.mark.slow
def test_altered_images_are_never_trained_on(project):
    run = runs(project)[0]
    receipt = project / "results/runs" / run / "run.json"
    before = state(project)
    flip(project / "data/digits/train_images.npy")
    receipt.unlink()
    done = build(project, TABLE)
    assert done.returncode == 1
    text = "".join(errors(done))
    assert "train_images.npy is damaged (its sha256 differs from its receipt: it was altered)" in text
    assert "sslpairs fetch digits --force" in text
    assert say(project, "sslpairs", "fetch", "digits", "--force").returncode == 0
    assert build(project, TABLE).returncode == 0
    assert state(project).keys() == before.keys()
    assert {key: value for key, value in state(project).items() if not key.endswith(f"{run}/run.json")} == {
        key: value for key, value in before.items() if not key.endswith(f"{run}/run.json")
    }


def test_doctor_names_everything_that_is_damaged(project):
    first, second, third, fourth = runs(project)[:4]
    folder = project / "results/runs"
    flip(folder / first / "checkpoint.pt")
    flip(folder / second / "metrics.csv")
    (folder / third / "checkpoint.pt.dvc").write_text("outs:\n- md5: 1")
    (folder / fourth / "run.json").write_text("{")
    flip(project / "data/digits/test_labels.npy")
    done = say(project, "sslpairs", "doctor")
    assert done.returncode == 2
    bad = [line for line in done.stdout.splitlines() if line.startswith("BAD")]
    for words in (f"{first}: checkpoint.pt is damaged", f"{second}/metrics.csv: the metrics differ", f"{third}/checkpoint.pt.dvc: damaged",
                  f"{fourth}/run.json: damaged", "test_labels.npy differs from its receipt"):  # fmt: skip
        assert sum(words in line for line in bad) == 1, words


def test_records_know_every_change_of_themselves(tmp_path):
    path = tmp_path / "run.json"
    written = write_record(path, {"format": 1, "loss": 0.1, "nested": {"a": [1, 2.5, None, "ü"]}})
    assert read_record(path, tmp_path) == written
    assert read_record(tmp_path / "none.json", tmp_path) is None
    text = path.read_text()
    for old, new in (("0.1", "0.10000000000000002"), ("2.5", "2.6"), ("null", "0"), ('"a"', '"b"'), ("ü", "u")):
        path.write_text(text.replace(old, new))
        with pytest.raises(UserError, match=r"run\.json: damaged \(its seal does not match"):
            read_record(path, tmp_path)
    path.write_text(json.dumps(json.loads(text)))  # another layout, the same values
    assert read_record(path, tmp_path) == written


# --- disks --------------------------------------------------------------------------------------------------------


def within(project: Path, mount: str, *words: str) -> subprocess.CompletedProcess:
    """Run a command where ``mount`` has changed what the disk is, for this command alone."""
    script = f"{mount} && exec {sys.executable} -m {' '.join(words)}"
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script], cwd=project, capture_output=True, text=True
    )


READ_ONLY = "mount --bind results results && mount -o remount,ro,bind results"


@pytest.mark.slow
def test_a_full_disk_says_so_loses_nothing_and_the_same_command_goes_on_when_there_is_room(project):
    run = runs(project)[0]
    receipt = project / "results/runs" / run / "run.json"
    receipt.unlink()
    before = state(project)
    full = "mount -t tmpfs -o size=40k tmpfs results/runs"
    done = within(project, full, "sslpairs", "train", run)
    assert done.returncode == 2
    (line,) = errors(done)
    assert line.startswith(f"error: {project}/results/runs/{run}/")
    assert "cannot be written (No space left on device); make room there, then run the same command again" in line
    assert state(project) == before
    done = within(project, full, "snakemake", f"results/runs/{run}/run.json")
    assert done.returncode == 1
    assert "No space left on device); make room there" in "".join(errors(done))
    assert say(project, "sslpairs", "train", run).returncode == 0
    assert is_whole(run, project)


@pytest.mark.slow
def test_a_read_only_results_folder_is_named_before_anything_starts(project):
    before = state(project)
    done = within(project, READ_ONLY, "snakemake", TABLE, "--config", "seeds=3")
    assert done.returncode == 2
    (line,) = errors(done)
    assert line.startswith(f"error: {project}/results: not writable; build in your own clone")
    done = within(project, READ_ONLY, "sslpairs", "train", runs(project)[0], "--force")
    assert done.returncode == 2
    assert "Read-only file system" in errors(done)[0]
    assert state(project) == before


def test_a_write_that_fails_leaves_the_file_as_it_was_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"file: cannot be written \(No space left on device\); make room there"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# --- two at once --------------------------------------------------------------------------------------------------

HOLD = "from pathlib import Path; from sslpairs.workflow.announce import announce; import sys, time; "


@pytest.fixture
def holder(tmp_path):
    """Another process that has announced a build of two files."""
    code = f"{HOLD} announce(Path({str(tmp_path)!r}), ['a', 'b']); print('ready', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()


def test_a_build_of_the_same_files_is_refused_and_one_of_others_is_not(tmp_path, holder):
    with pytest.raises(
        UserError, match=rf"(?s)makes 1 of the same files, such as b: process {holder.pid} on .*kill {holder.pid}"
    ):
        announce(tmp_path, ["b", "c"])
    announce(tmp_path, ["c", "d"])
    assert any(f"process {holder.pid}" in words for words in building(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_announcement_of_a_killed_build_stops_nobody(tmp_path, holder, number):
    holder.send_signal(number)
    holder.wait()
    announce(tmp_path, ["a", "b"])


@pytest.mark.parametrize(
    ("outputs", "there", "refused"),
    [
        (["results/runs/a/checkpoint.pt", "results/runs/a/run.json"], "results/runs/a/run.json", True),
        (["results/runs/a/checkpoint.pt", "results/runs/a/run.json"], "results/runs/a/checkpoint.pt", False),
        (["results/runs/a/checkpoint.pt"], "results/runs/a/checkpoint.pt", True),
        (["results/evals/a/key.json"], "results/evals/a/key.json", True),
        (["results/evals/a/key.json", "results/runs/a/run.json"], "results/evals/a/key.json", False),
        (["results/tables/digits/a.md"], "results/tables/digits/a.md", False),
    ],
)
def test_a_build_makes_nothing_again_that_another_one_made_since_it_was_planned(tmp_path, outputs, there, refused):
    for file in (there, str(Path(there).with_name("metrics.csv"))):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    with (
        pytest.raises(UserError, match=f"another build has just made {there}") if refused else contextlib.nullcontext()
    ):
        announce(tmp_path, outputs)


def test_looking_at_the_builds_hides_none(tmp_path, holder):
    (path,) = (tmp_path / "results/builds").glob("*.json")
    assert any(f"process {holder.pid}" in words for words in building(tmp_path))
    holder.kill()
    holder.wait()
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert building(tmp_path) == []
        announce(tmp_path, ["a", "b"])


@pytest.mark.slow
def test_a_second_build_of_the_same_table_is_refused_and_the_first_goes_on(project):
    first = subprocess.Popen(
        [sys.executable, "-m", "snakemake", TABLE, "--config", "seeds=3"], cwd=project, stdout=-3, stderr=-3
    )
    wait_for(lambda: building(project))
    done = build(project, TABLE, "--config", "seeds=3")
    assert done.returncode == 2
    (line,) = errors(done)
    assert line.startswith("error: another build is running in this folder and makes ")
    assert f"stop it: kill {first.pid}" in done.stderr
    assert first.wait(timeout=200) == 0
    assert len(runs(project)) == 12


@pytest.mark.slow
def test_two_trainings_of_one_run_at_once_train_it_once(project):
    run = runs(project)[0]
    (project / "results/runs" / run / "run.json").unlink()
    words = [sys.executable, "-m", "sslpairs", "train", run]
    both = [subprocess.Popen(words, cwd=project, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(out.split(" ")[0].rstrip(":") for out, _ in said) == sorted([run, "trained"])
    assert any("another process is training or restoring it; waiting for it" in err for _, err in said)
    assert is_whole(run, project)


def test_a_lock_is_held_by_one_at_a_time_and_leaves_no_file(tmp_path):
    lock, log = tmp_path / "lock", tmp_path / "log"
    code = textwrap.dedent(f"""
        import time; from pathlib import Path; from sslpairs.locks import exclusive
        for _ in range(20):
            with exclusive(Path({str(lock)!r}), ''), open({str(log)!r}, 'a') as file:
                file.write('<'); file.flush(); time.sleep(0.001); file.write('>')
    """)
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=-3) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert log.read_text() == "<>" * 80
    assert not lock.exists()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path):
    lock = tmp_path / "lock"
    code = (
        "import time; from pathlib import Path; from sslpairs.locks import exclusive\n"
        f"with exclusive(Path({str(lock)!r}), ''): print(1, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    with open(lock) as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.kill()
    process.wait()
    with exclusive(lock, "waiting"):
        pass
    assert not lock.exists()


# --- clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_files_dated_in_the_future_are_told_dated_as_of_now_and_cost_nothing(project):
    ahead = time.time() + 86_400
    for path in [*project.glob("results/**/*"), *project.glob("data/**/*")]:
        os.utime(path, (ahead, ahead))
    before = state(project)
    done = build(project, TABLE, "--config", "seeds=3")
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("clock: ")]
    assert "files were dated in the future" in line
    after = state(project)
    assert {key: after[key] for key in before} == before
    assert "clock: " not in build(project, "-n", TABLE, "--config", "seeds=3").stderr


@pytest.mark.slow
def test_files_dated_long_ago_train_nothing(project):
    for path in [*project.glob("results/runs/**/*"), *project.glob("results/evals/**/*")]:
        os.utime(path, (0, 0))
    before = state(project)
    assert build(project, TABLE).returncode == 0
    assert state(project) == before


def test_a_clock_that_is_set_back_while_a_job_runs_loses_no_output(tmp_path):
    ahead, here = tmp_path / "ahead", tmp_path / "here"
    for path in (ahead, here):
        path.write_text("")
    os.utime(ahead, (time.time() + 30, time.time() + 30))
    assert dated_ahead([ahead, here, tmp_path / "none"]) == [], "30 s between two machines are nothing"
    assert dated_ahead([ahead, here], by=0) == [ahead]
    date_now([ahead, tmp_path / "none"])
    assert dated_ahead([ahead, here], by=0) == []


# --- kills --------------------------------------------------------------------------------------------------------


def test_the_record_of_the_data_survives_a_kill_of_dvc_while_it_writes(project):
    known, text = recorded(project), (project / "data.dvc").read_text()
    shutil.copy(project / "data.dvc", project / BEFORE)
    for length in range(0, len(text) - 1, 7):
        (project / "data.dvc").write_text(text[:length])
        assert recorded(project) == known
    (project / ".dvc/tmp").mkdir(exist_ok=True)
    (project / ".dvc/tmp/rwlock").write_text('{"write": {')
    assert recorded(project) == known
    receipt = json.loads((project / "data/digits/dataset.json").read_text())
    (project / "data/digits/dataset.json").write_text(json.dumps(receipt))  # other bytes: DVC has to look
    record("digits", receipt["content"], project)
    assert recorded(project) == known
    assert not (project / BEFORE).exists()
    assert "receipts:\n    digits" in (project / "data.dvc").read_text()


@pytest.mark.slow
def test_jobs_end_when_their_build_is_killed(project):
    edit(project / "config/scales/digits.yaml", "epochs: {default: 2}", "epochs: {default: 3000}")
    words = [sys.executable, "-m", "snakemake", TABLE, "--config", "seeds=1"]
    killed = subprocess.Popen(words, cwd=project, stdout=-3, stderr=-3)
    wait_for(lambda: len(list(project.glob("results/runs/*/last.ckpt"))) >= 2)
    killed.kill()
    killed.wait()
    wait_for(lambda: not processes(project))
    assert list(project.glob("results/runs/*/last.ckpt")), "no training had come to its end"


@pytest.mark.slow
def test_weights_stay_where_their_evaluation_fails_in_the_same_job(project):
    edit(
        project / "config/recipes/digits.yaml", "neighbours: 5", "neighbours: 6"
    )  # of GPS: its two runs a seed are new
    before, file = set(runs(project)), project / "src/sslpairs/evaluation/evaluate.py"
    whole = file.read_text()
    edit(file, "    configure_process(threads)\n", '    raise UserError("made to fail")\n')
    edit(file, "import torch\n", "import torch\nfrom sslpairs.errors import UserError\n")
    done = build(project, TABLE)
    assert done.returncode
    assert all("made to fail" in line for line in errors(done)), done.stdout + done.stderr
    new = set(runs(project)) - before
    assert len(new) == 4
    assert all(is_whole(run, project) for run in new)
    file.write_text(whole)
    assert planned(project, TABLE) == {"evaluate": 4, "table": 1, "figure": 1}
    done = build(project, TABLE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_storm_of_kills_changes_no_byte(tmp_path):
    def small(project: Path) -> None:
        edit(project / "config/scales/digits.yaml", "widths: [8, 16, 32]", "widths: [8, 16]")
        edit(project / "config/scales/digits.yaml", "epochs: {default: 10, 800: 30}", "epochs: {default: 20}")
        edit(project / "config/recipes/digits.yaml", "epochs: 100", "epochs: 5")
        edit(project / "config/scales/digits.yaml", "seeds: 5", "seeds: 1\nbaselines: []")

    said = []
    try:
        done = storm(tmp_path, [TABLE], 6, 0, said.append, small, longest=9)
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *said])) from error
    assert sum(done.kills.values()) == 6
