"""A table or a figure under its name shows the numbers of now, whatever was killed before; and what a build says."""

import json
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from kill_points import every_moment
from projects import TABLE, build, built, edit
from snakemake_interface_logger_plugins.common import LogEvent

from sslpairs.build_log import BuildFormatter
from sslpairs.cli import main
from sslpairs.errors import UserError
from sslpairs.files import write_atomic, write_record
from sslpairs.paper.overview import write_results_and_overview
from sslpairs.plan.paths import ENDINGS, OWED
from sslpairs.plan.written import CURRENT, MISSING, OLD, outdated, state
from sslpairs.workflow.builds import check_folder, make_build
from sslpairs.workflow.owed import owe, write_owed

PRODUCTS = [("tables", TABLE), ("figures", TABLE)]


@pytest.fixture
def project(original, tmp_path) -> Path:
    """A copy of the built project, with times of files kept."""
    return built(original, tmp_path / "copy")


def states(project: Path) -> list[str]:
    found = make_build(project)
    return [state(found, *product) for product in PRODUCTS]


def with_other_numbers(project: Path) -> Path:
    """One evaluation's accuracy changed as a run trained again elsewhere changes it: under the same key, with a whole record."""
    path = next(project.glob("results/evals/simclr+gps*/*.json"))
    record = json.loads(path.read_text())
    record["protocols"]["linear"]["top1"] += 1.0
    before = path.stat()
    write_record(path, record)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path


def test_what_a_build_leaves_is_current(original):
    assert states(original) == [CURRENT, CURRENT]


@pytest.mark.slow
def test_other_numbers_under_the_same_key_are_written_though_dates_and_checksums_say_nothing(project):
    with_other_numbers(project)
    assert states(project) == [OLD, OLD]
    before = (project / f"results/tables/digits/{TABLE}.csv").read_text()
    done = build(project, TABLE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert states(project) == [CURRENT, CURRENT]
    assert (project / f"results/tables/digits/{TABLE}.csv").read_text() != before


@pytest.mark.parametrize("ending", ["csv", "claims.csv", "md", "tex", "html", "record.json"])
def test_a_file_of_a_table_that_was_edited_or_lost_is_written_again(project, ending):
    path = project / f"results/tables/digits/{TABLE}.{ending}"
    path.write_bytes(path.read_bytes() + b"x")
    assert states(project) == [OLD, CURRENT]
    path.unlink()
    assert states(project) == [OLD if ending == "record.json" else MISSING, CURRENT]


def test_other_settings_of_the_same_table_are_told_from_those_on_disk(project):
    edit(project / "config/papers/gps.yaml", "weak beside strong augmentation", "weak and strong augmentation")
    assert states(project) == [OLD, OLD]


def test_a_missing_evaluation_makes_its_table_old(project):
    with_other_numbers(project).unlink()
    found = make_build(project)
    assert outdated(found, "tables", TABLE) == found.files_of("tables", TABLE)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "command"), [("tables", "tables"), ("figures", "figure")])
def test_a_job_killed_at_any_moment_leaves_nothing_that_counts_as_current_but_the_right_bytes(
    kind, command, project, monkeypatch
):
    """Two kills and a number that changed in between: an old table stood for good under its name."""
    monkeypatch.chdir(project)
    stem = f"results/{kind}/digits/{TABLE}"

    def write() -> None:
        main_returns(command, TABLE, "--stem", stem, "--log", "logs/x.log")

    with_other_numbers(project)
    shutil.copytree(project / f"results/{kind}", project / "before")
    write()
    right = {path.name: path.read_bytes() for path in (project / f"results/{kind}/digits").glob(f"{TABLE}.*")}

    def again() -> None:
        shutil.rmtree(project / f"results/{kind}")
        shutil.copytree(project / "before", project / f"results/{kind}")

    moments = 0
    for moments in every_moment(write, again):  # noqa: B007
        if state(make_build(project), kind, TABLE) == CURRENT:
            files = {path.name: path.read_bytes() for path in (project / f"results/{kind}/digits").glob(f"{TABLE}.*")}
            assert files == right
    assert moments > 10


def _draw_quickly(found, stem) -> None:
    for ending in ENDINGS["figures"]:
        write_atomic(f"{stem}.{ending}", f"{ending} of {found.csv()}")


def overview_files(project: Path) -> dict[str, bytes]:
    paths = [*project.glob("results/*.csv"), *project.glob("results/figures/digits/claims.*")]
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.slow
def test_an_overview_killed_at_any_moment_is_written_by_the_next_build(project, monkeypatch):
    """Also where that build has nothing else to do; a storm of kills found an overview without its plot."""
    monkeypatch.setattr("sslpairs.paper.forest.draw_forest", _draw_quickly)
    with_other_numbers(project)
    found = make_build(project)
    before = overview_files(project)
    write_results_and_overview(found)
    right = overview_files(project)
    assert right.keys() == {"results.csv", "claims.csv", "claims.pdf", "claims.png", "claims.svg"}
    assert right["claims.csv"] != before.get("claims.csv")

    def again() -> None:
        for path in [*project.glob("results/*.csv"), *project.glob("results/figures/digits/claims.*")]:
            path.unlink()
        owe(project)

    moments = 0
    for moments in every_moment(lambda: write_results_and_overview(found), again):  # noqa: B007
        write_owed(found)
        assert overview_files(project) == right
        assert not (project / OWED).exists()
    assert moments > 5


@pytest.mark.slow
def test_a_build_without_anything_to_do_writes_the_overview_of_one_that_was_stopped(project):
    write_results_and_overview(make_build(project))
    right = overview_files(project)
    for path in [*project.glob("results/*.csv"), *project.glob("results/figures/digits/claims.*")]:
        path.unlink()
    owe(project)
    assert build(project, TABLE, "--dry-run").returncode == 0
    assert not overview_files(project), "a dry run writes nothing"
    done = build(project, TABLE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to be done" in done.stdout + done.stderr
    assert overview_files(project) == right


def main_returns(*words: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert not end.value.code


def test_doctor_and_status_tell_of_an_old_table(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    with_other_numbers(project)
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    assert end.value.code == 2
    out = capsys.readouterr().out
    assert f"BAD  results/tables/digits/{TABLE}.*: out of date with the settings and results" in out
    assert f"BAD  results/figures/digits/{TABLE}.*" in out
    main_returns("status", TABLE)
    assert " old " in capsys.readouterr().out


# --- where a build can work -----------------------------------------------------------------------------------------


def test_a_folder_in_which_snakemake_cannot_work_is_told_in_words(tmp_path):
    snakefile = tmp_path / "Snakefile"
    with pytest.raises(UserError, match=f"is not the project's folder: run `snakemake` in {tmp_path}"):
        check_folder(tmp_path / "elsewhere", str(snakefile))
    braces = tmp_path / "a{x}"
    braces.mkdir()
    with pytest.raises(UserError, match="braces in the path"):
        check_folder(braces, str(braces / "Snakefile"))
    check_folder(tmp_path, str(snakefile))


def test_a_folder_of_a_user_that_has_no_name_here_is_told_by_number(tmp_path, monkeypatch):
    snakefile = tmp_path / "Snakefile"
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(UserError, match=rf"not writable \(it belongs to user {tmp_path.stat().st_uid}\); build in"):
        check_folder(tmp_path, str(snakefile))


# --- what a build says ----------------------------------------------------------------------------------------------


def formatter(original: Path, counts: dict[str, int], local: bool = True) -> BuildFormatter:
    rules = [SimpleNamespace(name=name, message="words") for name in ("pretrain", "evaluate", "table")]
    workflow = SimpleNamespace(
        output_settings=SimpleNamespace(dryrun=False),
        rules=[*rules, SimpleNamespace(name="all", message=None)],
        local_exec=local,
    )
    found = BuildFormatter(workflow, make_build(original))
    said = found.format(event(LogEvent.RUN_INFO, stats=counts | {"all": 1, "total": sum(counts.values()) + 1}))
    total = sum(counts.values())
    assert said == f"{total} jobs: " + ", ".join(f"{rule} {count}" for rule, count in counts.items())
    return found


def event(kind: LogEvent | None, text: str | None = None, level: int = logging.INFO, **facts) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text, "event": kind, "levelno": level, **facts})


def begin(say: BuildFormatter, job: int, rule: str, words: str | None, log: Path | None = None) -> None:
    assert not say.begin(
        event(LogEvent.JOB_INFO, jobid=job, rule_name=rule, rule_msg=words, log=[str(log)] if log else [])
    )


def test_a_finished_job_is_one_line_with_its_count_its_result_and_the_remaining_time(original, tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("sslpairs.build_log.time.monotonic", lambda: clock[0])
    say = formatter(original, {"pretrain": 2, "evaluate": 2, "table": 1})
    log = tmp_path / "a.log"
    log.write_text("2026-01-01 00:00:00 INFO epoch 1\n2026-01-01 00:00:04 INFO trained a: 2 epochs\n")
    begin(say, 1, "pretrain", "trained a", log)
    begin(say, 2, "pretrain", "trained b", tmp_path / "none.log")
    clock[0] += 10

    def said(job: int) -> str:
        return say.format(event(LogEvent.JOB_FINISHED, job_id=job))

    assert said(1) == "[1/5] trained a: 2 epochs"  # no evaluation was timed yet
    begin(say, 3, "evaluate", "evaluated a")
    clock[0] += 10
    assert (
        said(3) == "[2/5] evaluated a | 20 s left"
    )  # a training of 10 s and an evaluation of 10 s, one after the other
    assert say.format(event(LogEvent.PROGRESS, done=2, total=6)) == ""
    begin(say, 9, "all", None)
    assert say.format(event(LogEvent.JOB_FINISHED, job_id=9)) == ""


@pytest.mark.parametrize("local", [True, False])
def test_a_failed_job_names_its_log_and_shows_its_end_where_the_job_could_not_speak_here(original, tmp_path, local):
    say = formatter(original, {"pretrain": 2}, local)
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {number}\n" for number in range(20)) + "error: out of memory\n")
    begin(say, 1, "pretrain", "trained a", log)
    facts = {"jobid": 1, "rule_name": "pretrain", "log": [str(log)], "rule_msg": "SLURM status is: 'TIMEOUT'.\n"}
    said = say.format(event(LogEvent.JOB_ERROR, level=logging.ERROR, **facts))
    first, *rest = said.splitlines()
    assert first == f"failed: trained a: SLURM status is: 'TIMEOUT'. (see {log})"
    assert bool(rest) != local
    assert local or (len(rest) == 8 and rest[-1] == "    error: out of memory")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("gps-week", "error: 'gps-week' is neither a paper nor a table; did you mean 'gps-weak'? ("),
        (
            "results/tables/digits/gps-week.md",
            "is neither a paper nor a table; did you mean 'results/tables/digits/gps-weak.md'? (",
        ),
        ("clae-losses", "did you mean 'clae'?"),
    ],
)
def test_an_unknown_target_gets_the_words_that_sslpairs_has_for_it(original, target, words):
    say = formatter(original, {"pretrain": 2})
    text = f"MissingRuleException:\nNo rule to produce {target} (if you use input functions make sure that they don't raise)."
    assert words in say.format(event(None, text, logging.ERROR))


def test_noise_is_left_to_the_log_file_and_warnings_are_not(original):
    say = formatter(original, {"pretrain": 2})
    for text in ("Select jobs to execute...", "Building DAG of jobs...", "Complete log(s): x", "Elapsed time: 0:00:01"):
        assert say.format(event(None, text)) == ""
    assert say.format(event(LogEvent.RESOURCES_INFO, "Provided cores: 2")) == ""
    assert say.format(event(None, "the disk is nearly full", logging.WARNING)) == "the disk is nearly full"
    assert say.format(event(None, "--keep-incomplete mode is set, so incomplete ...", logging.WARNING)) == ""
    assert say.format(event(None, "Nothing to be done")) == "Nothing to be done"
