"""What commands show: whole names at every width, every character in every encoding, what runs now, failed and differs."""

import io
import json
import logging
import re
import shutil
import sys

import pytest
from projects import ROOT, TABLE, built
from rich.table import Table
from rich.text import Text

from sslpairs import __version__, cli
from sslpairs.files import read_record, write_record
from sslpairs.locks import exclusive
from sslpairs.plan.machines import mixture
from sslpairs.plan.paths import run_folder
from sslpairs.terminal import status
from sslpairs.terminal.screen import Screen, accept_any_encoding, writable
from sslpairs.training.metrics import LiveMetrics
from sslpairs.words import counted
from sslpairs.workflow.builds import make_build

EPOCH = {"epoch": 1, "steps": 7, "loss": 1.5, "learning_rate": 1e-3, "online_top1": None}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The project's own configuration, without results."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copy(ROOT / "data.dvc", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(monkeypatch, *words: str, encoding: str = "utf-8", width: int = 80) -> tuple[str, str, int]:
    """Standard output and error of a command that writes to files in an encoding, and its exit code."""
    streams = {
        name: io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for name in ("stdout", "stderr")
    }
    with monkeypatch.context() as patch:
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        patch.setattr(cli.look.out, "_width", width)
        with pytest.raises(SystemExit) as end:
            cli.main(list(words))
    texts = [stream.buffer.getvalue().decode(encoding) for stream in streams.values()]
    return texts[0], texts[1], end.value.code or 0


def frames(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and line[0] in "│┃|"]


# --- encodings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "words", [["plan"], ["status"], ["--help"], ["plan", "mixc"], ["explain", TABLE]], ids=" ".join
)
def test_every_command_speaks_to_a_terminal_without_utf8(root, monkeypatch, encoding, words):
    out, err, code = said(monkeypatch, *words, encoding=encoding)
    assert "Traceback" not in out + err
    assert code == (2 if words[-1] == "mixc" else 0)


def test_tables_of_results_keep_their_shape_in_ascii(original, monkeypatch):
    monkeypatch.chdir(original)
    for words in (["explain", TABLE], ["tables", TABLE, "--full"], ["tables", TABLE]):
        plain, _, code = said(monkeypatch, *words, encoding="ascii")
        assert code == 0
        assert "+/-" in plain
        if words[0] == "explain":  # the others show several tables
            assert len({len(line) for line in frames(plain)}) == 1
        assert "±" in said(monkeypatch, *words, encoding="latin-1")[0]


def test_names_that_are_not_utf8_are_said_and_logged(tmp_path, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    monkeypatch.setattr(sys, "stderr", stream)
    accept_any_encoding()
    print("K\udce4tzchen", file=sys.stderr)
    assert stream.buffer.getvalue() == b"K\\xe4tzchen\n"
    monkeypatch.setattr(
        logging.getLogger("sslpairs"), "propagate", False
    )  # to pytest, which cannot hand on such a name
    cli.common.start_log(tmp_path / "some.log")
    try:
        cli.common.log.warning("K\udce4tzchen ± 1")
    finally:
        logging.getLogger("sslpairs").handlers.clear()
    assert (tmp_path / "some.log").read_text(encoding="utf-8").endswith("K\\udce4tzchen ± 1\n")


def test_lookalikes_are_put_in_before_the_layout_and_keep_their_style():
    assert writable("96.4 ± 0.3 · −1 中", "ascii") == "96.4 +/- 0.3 . -1 \\u4e2d"
    assert writable("96.4 ± 0.3 − 1", "latin-1") == "96.4 ± 0.3 - 1"
    text = writable(Text.assemble("a ± ", ("b ±", "bold"), " c"), "ascii")
    assert (text.plain, [(span.start, span.end) for span in text.spans]) == ("a +/- b +/- c", [(6, 11)])


def test_frozen_plans_are_read_as_utf8_whatever_the_locale(root, monkeypatch):
    from sslpairs.plan.frozen import freeze, thaw

    plan = make_build(root).plan
    plan.scale["title"] = "Größe ±"
    monkeypatch.setattr(io, "text_encoding", lambda encoding, *_: encoding or "ascii")
    assert thaw(root / freeze(plan, root)) == plan


# --- widths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [20, 60, 80, 200])
@pytest.mark.parametrize("words", [["status"], ["plan"], ["explain", "dimcl-frameworks"]], ids=" ".join)
def test_names_are_whole_at_every_width(root, monkeypatch, width, words):
    text, _, _ = said(monkeypatch, *words, width=width)
    plan = make_build(root).plan
    assert "…" not in text
    names = plan.selected
    if words[0] == "explain":
        names = make_build(root).runs_of("dimcl-frameworks")
    for name in names:
        assert len([line for line in frames(text) if f" {name} " in line]) == 1


def test_status_at_80_columns_leaves_out_the_bar_and_columns_of_zeros(root, monkeypatch):
    text, _, _ = said(monkeypatch, "status", width=80)
    assert re.findall(r"\w+", text.splitlines()[2]) == ["table", "runs", "done", "missing", "evaluated", "written"]
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "····" not in text
    assert "····" in said(monkeypatch, "status", width=120)[0]


def test_a_table_takes_what_its_words_need_and_no_more():
    for terminal, wide in ((False, True), (True, False)):
        screen = Screen(width=30, file=io.StringIO(), force_terminal=terminal, color_system=None)
        table = Table()
        table.add_column("run")
        table.add_column("why")
        table.add_row("simclr-digits-strong-b128-s0-d83bc705f1b0", "many words that may be wrapped")
        screen.print(table)
        text = screen.file.getvalue()
        assert "simclr-digits-strong-b128-s0-d83bc705f1b0" in text
        assert ("many words that may be wrapped" in text) == wide
        assert screen.width == 30


# --- status -----------------------------------------------------------------------------------------------------------


def test_status_shows_what_trains_now_with_its_epoch_and_the_time_left(root, monkeypatch):
    build = make_build(root)
    run = build.runs_of("clae-main")[0]
    folder = root / run_folder(run)
    with exclusive(folder / ".lock", "waiting"):
        LiveMetrics(folder, [EPOCH], 20)
        text, _, _ = said(monkeypatch, "status", "clae-main")
        found = json.loads(said(monkeypatch, "status", "--json")[0])
    epochs = build.plan.runs[run]["spec"]["epochs"]
    assert re.search(rf"^training: {run}  epoch 1/{epochs}, about \d+ \w+ left$", text, re.MULTILINE)
    assert re.findall(r"\w+", text.splitlines()[2])[3] == "training"
    (entry,) = [entry for entry in found["runs"] if entry["state"] == "training"]
    assert (entry["run"], entry["epoch"], entry["epochs"]) == (run, 1, epochs)
    assert entry["seconds_left"] > 0
    (row,) = [row for row in found["rows"] if row["table"] == "clae-main"]
    assert (row["runs"], row["training"], row["missing"]) == (30, 1, 29)
    assert "training:" not in said(monkeypatch, "status")[0]


def test_failed_evaluations_are_shown_as_failed_trainings_are(root, monkeypatch):
    build = make_build(root)
    evaluation = build.evaluations_of("clae-main")[0]
    log = root / f"logs/evals/{evaluation}.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01 00:00:01 ERROR error: batch_size 512 exceeds\n")
    text, _, _ = said(monkeypatch, "status", "clae-main")
    assert (
        f"failed: {evaluation} (logs/evals/{evaluation}.log)\n    2026-01-01 00:00:01 ERROR error: batch_size" in text
    )
    (line,) = frames(text)[1:]
    assert [word.strip() for word in line.split("│")[1:6]] == ["clae-main", "30", "0", "30", "1"]
    log.write_text(log.read_text() + "2026-01-01 00:00:02 INFO again\n")
    assert "failed" not in said(monkeypatch, "status")[0]


def test_watch_ends_when_everything_is_done(root, monkeypatch, capsys):
    build = make_build(root)
    found = status.collect(build, ["clae-main"])
    done = status.Row("clae-main", 18, 18, 0, 0, 0, 0, 18, 18, "yes")
    answers = iter([found, found, status.Status(found.scale, [done], {}, {}, [], [], [], None)])
    status.watch(lambda: next(answers), pause=0)
    text = capsys.readouterr().out
    assert text.count("clae-main") == 2  # once for each change
    assert next(answers, None) is None


def test_watch_ends_quietly_with_ctrl_c(root, capsys):
    def interrupted():
        raise KeyboardInterrupt

    status.watch(interrupted)
    assert capsys.readouterr().out == ""


def test_watch_and_json_are_not_for_the_same_reader(root, monkeypatch):
    _, err, code = said(monkeypatch, "status", "--watch", "--json")
    assert (code, err.startswith("error: --watch")) == (2, True)


# --- machines ---------------------------------------------------------------------------------------------------------


def receipt(torch: str, device: str) -> dict:
    return {"versions": {"torch": torch}, "device": device}


def test_a_mixture_of_machines_is_one_line():
    same = [receipt("2.11.0", "cuda:0 (NVIDIA H100)"), receipt("2.11.0", "cuda:3 (NVIDIA H100)")]
    assert mixture(same) is None
    assert mixture([]) is None
    versions = [*[receipt("2.11.0", "cpu (A), 1 thread")] * 7, *[receipt("2.10.0", "cpu (A), 1 thread")] * 3]
    assert mixture(versions) == "runs from different machines: torch 2.10.0 (3 runs), 2.11.0 (7 runs)"
    threads = [receipt("2.11.0", "cpu (A), 1 thread"), receipt("2.11.0", "cpu (A), 4 threads")]
    assert mixture(threads) == (
        "runs from different machines: device cpu (A), 1 thread (1 run), cpu (A), 4 threads (1 run)"
    )


def test_table_status_doctor_and_explain_tell_a_mixture_of_machines(original, tmp_path, monkeypatch):
    project = built(original, tmp_path / "built")
    monkeypatch.chdir(project)
    run = make_build(project).runs_of(TABLE)[0]
    path = project / run_folder(run) / "run.json"
    record = read_record(path, project)
    ways = (["tables", TABLE, "--full"], ["status", TABLE], ["doctor"], ["explain", TABLE])
    for words in ways:
        assert "different machines" not in said(monkeypatch, *words, width=200)[0].lower()
    write_record(path, record | {"versions": record["versions"] | {"torch": "2.10.0"}})
    for words in ways:
        text = said(monkeypatch, *words, width=200)[0]
        assert "uns from different machines: torch 2.10.0 (1 run), " in text


# --- other ------------------------------------------------------------------------------------------------------------


def test_the_version_is_told(root, monkeypatch):
    assert said(monkeypatch, "--version")[0] == f"sslpairs {__version__}\n"


def test_the_first_screen_of_the_help_is_grouped_and_without_internals(monkeypatch):
    text = said(monkeypatch, "--help")[0]
    panels = re.findall(r"─ (\w+) ─", text)
    assert panels == ["Options", "Look", "Build", "Share", "Maintain"]
    for name in ("figure", "provenance", "schema"):
        assert not re.search(rf"│ {name} ", text)
        assert said(monkeypatch, name, "--help")[2] == 0


def test_completion_is_offered(monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "")
    assert "--install-completion" in said(monkeypatch, "--help")[0]
    monkeypatch.setenv("_SSLPAIRS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "sslpairs sta")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setattr(sys, "argv", ["sslpairs"])
    assert said(monkeypatch)[0].split() == ["status"]


def test_doctor_counts_what_is_chosen_and_says_what_it_does_not_count(root, monkeypatch):
    build = make_build(root)
    text = said(monkeypatch, "doctor")[0]
    runs = len(build.with_guides(run for table in build.plan.selected for run in build.runs_of(table)))
    assert f"configuration: {len(build.plan.selected)} tables, {runs} runs at scale digits (not counted: " in text
    assert f"0 of {runs} runs done" in text


def test_plan_and_status_count_the_same_runs(root, monkeypatch):
    counts = []
    for command in ("plan", "status"):
        lines = [[word.strip() for word in line.split("│")] for line in frames(said(monkeypatch, command)[0])]
        counts.append(
            {line[1]: line[2] for line in lines if len(line) > 2 and line[1] in make_build(root).plan.selected}
        )
    assert counts[0] == counts[1] != {}


def test_one_thing_is_not_many():
    assert [counted(number, "run") for number in (0, 1, 2, 2000)] == ["0 runs", "1 run", "2 runs", "2,000 runs"]


def test_explain_names_the_guide_of_a_run(root, monkeypatch):
    build = make_build(root)
    guided = next(run for run, entry in build.plan.runs.items() if entry["guide"])
    pixels = next(run for run in build.plan.runs if run.startswith("simclr+gps"))
    assert build.plan.runs[guided]["guide"] in said(monkeypatch, "explain", guided)[0]
    assert re.search("guide: +raw pixels", said(monkeypatch, "explain", pixels)[0])
