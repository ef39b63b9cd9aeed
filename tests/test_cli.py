"""The command line: what it answers, how it fails, and that looking never costs an import of torch."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from projects import edit_key

from sslpairs import cli
from sslpairs.errors import UserError
from sslpairs.files import sha256_text, write_record
from sslpairs.random_streams import stream_seed
from sslpairs.words import duration
from sslpairs.workflow.builds import make_build

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def root(tmp_path) -> Path:
    """A project as on a fresh clone: configuration and record, no data, no results."""
    shutil.copytree(PROJECT / "config", tmp_path / "config")
    shutil.copy(PROJECT / "data.dvc", tmp_path)
    path = tmp_path / "config/config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"scale": "digits", "seeds": 2}))
    edit_key(tmp_path, "scales/digits.yaml", "baselines", [])
    return tmp_path


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key not in ("SSLPAIRS_WARM", "FORCE_COLOR")}
    environment |= {"COLUMNS": "120", "NO_COLOR": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def sslpairs(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return python(folder, "-m", "sslpairs", *arguments)


@pytest.fixture
def inside(root, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """The command line run in this process and in the project: exit code, stdout and stderr."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(cli.look.out, "width", 120)

    def run(*arguments: str) -> tuple[int, str, str]:
        logging.getLogger("sslpairs").handlers.clear()  # those of an earlier command write to its terminal
        with pytest.raises(SystemExit) as end:
            cli.main(list(arguments))
        return end.value.code or 0, *capsys.readouterr()

    return run


def refusal(capsys, folder: Path, monkeypatch, *arguments: str) -> str:
    """What stderr says when the command line, run in this process, ends with code 2."""
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    assert end.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert len(text.splitlines()) <= 2
    return text


def first_run(root: Path) -> str:
    return next(iter(make_build(root).plan.runs))


# --- looking ------------------------------------------------------------------------------------------------------


def test_plan_lists_the_tables_and_what_a_build_would_do(root, inside):
    code, out, err = inside("plan", "mixco", "clae-main")
    assert (code, err) == (0, "")
    build = make_build(root)
    for table in ("mixco-tinyimagenet", "clae-main"):
        evaluated = str(len(build.runs_of(table)))
        runs = str(len(build.with_guides(build.runs_of(table))))
        (line,) = [line for line in out.splitlines() if table in line]
        assert [word.strip() for word in line.split("│")[1:7]] == [table, runs, runs, "0", evaluated, "no timings yet"]
    assert "gps-weak" not in out


def test_plan_can_list_every_run_each_once(root, inside):
    _, out, _ = inside("plan", "spps", "--runs")
    lines = [line.split() for line in out.splitlines() if line.endswith(" new")]
    build = make_build(root, {"papers": "spps"})
    assert sorted(run for run, _ in lines) == sorted(build.needs(["spps-batch", "spps-methods"])[0])


def test_status_says_how_far_each_table_is(root, inside):
    build = make_build(root)
    run, other = build.runs_of("clae-main")[:2]
    for one, name in ((run, "checkpoint.pt.dvc"), (other, "checkpoint.pt")):
        folder = root / "results/runs" / one
        folder.mkdir(parents=True)
        (folder / name).write_text("")
        (folder / "metrics.csv").write_text("")
        receipt = {"format": 1, "run": one, "spec": build.plan.runs[one]["spec"], "checkpoint": {"bytes": 0}}
        receipt["metrics"] = {"sha256": sha256_text("")}
        write_record(folder / "run.json", receipt)
    code, out, err = inside("status")
    assert (code, err) == (0, "")
    for table in build.plan.selected:
        runs = build.with_guides(build.runs_of(table))
        (line,) = [line for line in out.splitlines() if f" {table} " in line]
        finished = sum(one in runs for one in (run, other))
        numbers = [len(runs), finished, int(run in runs), len(runs) - finished]
        words = [table, *map(str, numbers), f"0/{len(build.runs_of(table))}", "no"]
        assert [word.strip() for word in line.split("│")[1:8]] == words


@pytest.mark.parametrize("words", ["disk full", "[enforce fail at alloc_cpu.cpp:117] not enough memory", "no [/here]"])
def test_status_shows_the_words_with_which_a_run_failed(root, monkeypatch, capsys, words):
    run = first_run(root)
    log = root / f"logs/runs/{run}.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"2026-01-01 00:00:00 INFO epoch 1/30\n2026-01-01 00:00:01 ERROR {words}\n")
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit) as end:
        cli.main(["status"])
    assert end.value.code in (0, None)
    said = capsys.readouterr().out
    assert f"failed: {run} (logs/runs/{run}.log)" in said
    assert f"    2026-01-01 00:00:01 ERROR {words}" in said


def test_the_project_is_found_from_a_folder_below(root, inside, monkeypatch):
    (root / "results/deep").mkdir(parents=True)
    monkeypatch.chdir(root / "results/deep")
    assert inside("status", "clae")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--runs"],
        ["status"],
        ["plan", "nothing"],
        ["train", "nothing"],
        ["schema", "--check"],
        ["new", "scale", "mine", "--data", "digits", "--recipe", "digits"],
        ["new", "paper", "mine"],
    ],
)
def test_looking_and_failing_never_import_torch_or_what_draws(root, arguments):
    code = (
        "import atexit, sys; heavy = ('torch', 'lightly', 'pandas', 'matplotlib', 'scipy', 'sklearn')\n"
        "atexit.register(lambda: print('imported:', [name for name in heavy if name in sys.modules]))\n"
        f"from sslpairs.cli import main; main({arguments!r})"
    )
    assert python(root, "-c", code).stdout.splitlines()[-1] == "imported: []"


def test_rooms_that_only_look_never_import_torch(tmp_path):
    rooms = "sslpairs.plan.planner, sslpairs.plan.build, sslpairs.workflow.builds, sslpairs.paper.tables"
    assert python(tmp_path, "-c", f"import sys, {rooms}; sys.exit('torch' in sys.modules)").returncode == 0


def test_doctor_checks_machine_configuration_and_data(root, inside):
    code, out, _ = inside("doctor")
    assert f"configuration: {len(make_build(root).plan.selected)} tables" in out
    assert "data set digits: not prepared yet; a build prepares it" in out
    assert (code == 0) == ("BAD" not in out)


def test_doctor_tells_a_mistake_in_the_configuration_too(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit) as end:
        cli.main(["doctor", "--set", "scale=digit"])
    said = capsys.readouterr()
    assert end.value.code == 2
    assert "BAD  command line: scale: 'digit' is not a file in config/scales; did you mean 'digits'?" in said.out
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("scale", ["[digits]", "[/digits]"])
def test_doctor_shows_a_mistake_in_the_words_of_the_user(root, monkeypatch, capsys, scale):
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit):
        cli.main(["doctor", "--set", f"scale={scale}"])
    assert f"scale: found ['{scale[1:-1]}'] (a list), expected" in capsys.readouterr().out


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "mixc"], ["'mixc' is neither a paper nor a table", "did you mean 'mixco'"]),
        (["status", "gps-weka"], ["'gps-weka'", "did you mean 'gps-weak'"]),
        (["plan", "--set", "seeds"], ["--set seeds", "write KEY=VALUE"]),
        (["plan", "--set", "seeds="], ["--set seeds=", "write KEY=VALUE"]),
        (["plan", "--set", "=5"], ["command line"]),
        (["plan", "--set", "sede=5"], ["command line: sede: unknown key", "did you mean 'seeds'"]),
        (["plan", "--set", "seeds=-1"], ["command line: seeds: -1", "write a number from 1 to 1000"]),
        (["plan", "--set", "scale=digit"], ["command line: scale: 'digit'", "did you mean 'digits'"]),
        (["plan", "--set", "papers=mixc"], ["command line: papers: 'mixc'", "did you mean 'mixco'"]),
        (["plan", "--set", "tables=clae"], ["command line: tables: 'clae'", "did you mean 'clae-main'"]),
        (["train", "nothing"], ["'nothing' is not a run of this plan"]),
        (["evaluate", "nothing"], ["'nothing' is not a run of this plan"]),
        (["train", "x", "--plan", "nowhere.json"], ["nowhere.json: No such file"]),
        (["fetch", "digit"], ["no data set or encoder", "'digit'", "did you mean 'digits'"]),
    ],
    ids=" ".join,
)
def test_bad_input_is_answered_with_code_2_and_at_most_two_lines(root, monkeypatch, capsys, arguments, words):
    text = refusal(capsys, root, monkeypatch, *arguments)
    assert [word for word in words if word not in text] == [], text


def test_an_unknown_run_is_answered_with_the_nearest_one(root, monkeypatch, capsys):
    run = first_run(root)
    assert f"did you mean '{run}'" in refusal(capsys, root, monkeypatch, "train", run[:-1])


def test_a_key_of_no_evaluation_is_answered(root, monkeypatch, capsys):
    run = first_run(root)
    assert f"'{run}' has no evaluation nokey" in refusal(capsys, root, monkeypatch, "evaluate", run, "--key", "nokey")


def test_a_mistake_in_a_file_is_answered_with_its_line(root, monkeypatch, capsys):
    path = root / "config/recipes/digits.yaml"
    path.write_text(path.read_text().replace("precision: float32", "precision: float23"))
    number = path.read_text()[: path.read_text().index("float23")].count("\n") + 1
    text = refusal(capsys, root, monkeypatch, "plan")
    assert text.startswith(f"error: config/recipes/digits.yaml:{number}: training.precision: 'float23'")
    assert "did you mean 'float32'?" in text


def test_outside_a_project_the_remedy_is_to_change_the_folder(tmp_path):
    done = sslpairs(tmp_path, "plan")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"error: {tmp_path}: no config/config.yaml here or in a parent folder; change to the project's folder\n"
    )


def test_a_mistake_in_a_process_of_its_own_has_no_traceback(root):
    done = sslpairs(root, "plan", "mixc")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: 'mixc' is neither a paper nor a table; did you mean 'mixco'?")
    assert len(done.stderr.splitlines()) <= 2


@pytest.mark.parametrize("arguments", [["plann"], ["plan", "--nothing"], ["train"]])
def test_an_unknown_command_or_option_ends_with_code_2_and_no_traceback(root, arguments):
    done = sslpairs(root, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_a_mistake_stands_in_the_log_file_too(root, monkeypatch, capsys):
    refusal(capsys, root, monkeypatch, "train", "nothing", "--log", "logs/some.log")
    assert "error: 'nothing' is not a run of this plan" in (root / "logs/some.log").read_text()


# --- schemas ------------------------------------------------------------------------------------------------------


def test_schema_writes_what_schema_check_wants(root, inside, monkeypatch, capsys):
    shutil.rmtree(root / "config/schemas", ignore_errors=True)
    text = refusal(capsys, root, monkeypatch, "schema", "--check")
    assert "run `sslpairs schema`" in text
    assert inside("schema")[0] == 0
    assert inside("schema", "--check")[0] == 0


# --- small parts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5000, "83 min"), (5400, "1 h 30 min"), (7500, "2 h 05 min")],
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_a_choice_may_hold_an_equals_sign():
    assert cli.common.overrides(["a=b=c", "seeds=5"]) == {"a": "b=c", "seeds": "5"}
    with pytest.raises(UserError, match="write KEY=VALUE"):
        cli.common.overrides(["seeds"])


def test_random_streams_differ_by_seed_and_by_every_word_and_stay_as_they_are():
    streams = [(0, "views", 3), (1, "views", 3), (0, "views", 4), (0, "pairs", 3), (0, "views"), (0,)]
    assert len({stream_seed(*words) for words in streams}) == len(streams)
    assert all(0 <= stream_seed(*words) < 2**63 for words in streams)
    assert stream_seed(0, "views", 3) == 1419275200204932320
