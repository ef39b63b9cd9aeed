"""``sslpairs explain``: where a number comes from, and what a change would train anew, against what an edited file does."""

import csv
import json
import shutil
import statistics
from pathlib import Path

import pytest
import yaml
from projects import ROOT, TABLE, bare, built, edit

from sslpairs import cli
from sslpairs.config.changes import with_change
from sslpairs.config.reading import read_config
from sslpairs.data.record import recorded
from sslpairs.errors import UserError
from sslpairs.files import read_record, write_record
from sslpairs.plan.explain import find
from sslpairs.plan.planner import make_plan
from sslpairs.workflow.builds import make_build


@pytest.fixture
def root(tmp_path) -> Path:
    """The project's own configuration, without results."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copy(ROOT / "data.dvc", tmp_path)
    return tmp_path


def said(capsys, monkeypatch, folder: Path, *words: str) -> str:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(cli.look.out, "width", 200)
    with pytest.raises(SystemExit) as end:
        cli.main(["explain", *words])
    captured = capsys.readouterr()
    assert end.value.code in (0, None), captured.err
    return captured.out


def fact(text: str, name: str) -> str:
    """The words after ``name:``."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{name}:")]
    return line.partition(":")[2].strip()


# --- where a number comes from --------------------------------------------------------------------------------------


def test_a_run_is_explained_with_its_recipe_data_code_machine_time_and_place(original, monkeypatch, capsys):
    build = make_build(original)
    run = next(run for run in build.runs_of(TABLE) if run.startswith("simclr+gps"))
    text = said(capsys, monkeypatch, original, run)
    receipt = build.receipts[run]
    assert text.splitlines()[0] == f"Run {run}"
    assert fact(text, "data").endswith(f"sha256 {build.plan.datasets['digits']['content'][:12]}")
    assert fact(text, "seed, batch, epochs") == f"{receipt['spec']['seed']}, {receipt['spec']['batch_size']}, 2"
    assert fact(text, "state") == "done, checkpoint present and published"
    assert fact(text, "commit").split()[0] == (receipt["git"]["commit"] or "no commit").split()[0]
    assert fact(text, "code") == receipt["code"]
    assert fact(text, "device") == receipt["device"]
    assert f"finished {receipt['finished']}" in fact(text, "time")
    assert fact(text, "checkpoint").endswith(f"sha256 {receipt['checkpoint']['sha256'][:12]}")
    assert TABLE in fact(text, "used in")
    assert json.loads(fact(text, "recipe")) == build.plan.runs[run]["spec"]
    assert said(capsys, monkeypatch, original, run[-12:]) == text
    full = said(capsys, monkeypatch, original, run, "--full")
    assert json.loads(full.partition("recipe:")[2]) == build.plan.runs[run]["spec"]


def test_a_cell_shows_the_values_of_its_seeds_which_are_those_of_the_table(original, monkeypatch, capsys):
    plan = make_build(original).plan.tables[TABLE]
    column = plan["columns"][1]
    text = said(capsys, monkeypatch, original, f"{TABLE}:simclr:{column['label']}")
    *lines, mean = [[word.strip() for word in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    assert (
        said(capsys, monkeypatch, original, f"{TABLE}:simclr:{column['id']}").splitlines()[1:] == text.splitlines()[1:]
    )
    assert [line[2] for line in lines] == ["0", "1"]
    rows = csv.DictReader((original / f"results/tables/digits/{TABLE}.csv").open())
    wanted = {
        row["metric"]: row["values"] for row in rows if (row["row"], row["column"]) == ("simclr", column["label"])
    }
    for number, metric in enumerate(plan["metrics"], start=3):
        shown = [float(line[number]) for line in lines]
        assert shown == pytest.approx([float(value.split(":")[1]) for value in wanted[metric].split(";")], abs=0.006)
        assert [float(word) for word in mean[number].split(" ± ")] == pytest.approx(
            [statistics.mean(shown), statistics.stdev(shown)], abs=0.012
        )
    assert mean[2] == "mean ± sd"


def test_a_table_and_its_figure_count_their_runs_by_state(original, tmp_path, monkeypatch, capsys):
    project = bare(original, tmp_path / "clone")
    (figure,) = [name for name, entry in make_build(project).plan.figures.items() if entry["table"] == TABLE]
    for name in (TABLE, figure):
        text = said(capsys, monkeypatch, project, name)
        assert fact(text, "runs") == "8: 8 done, checkpoint published (restorable)"
        lines = [line for line in text.splitlines() if "│" in line]
        assert [sum(("±" in line) == means for line in lines) for means in (False, True)] == [8, 4]
    assert said(capsys, monkeypatch, project, figure).startswith(f"Figure {figure}: ")
    run = make_build(project).runs_of(TABLE)[0]
    (project / f"results/runs/{run}/run.json").unlink()
    assert "1 missing: a build trains it" in fact(said(capsys, monkeypatch, project, TABLE), "runs")


def test_a_guide_that_was_trained_again_with_other_weights_is_noted_at_what_it_guided(
    original, tmp_path, monkeypatch, capsys
):
    project = built(original, tmp_path / "built")
    build = make_build(project)
    run, entry = next((run, entry) for run, entry in build.plan.runs.items() if entry["guide"] in build.receipts)
    guide = read_record(project / f"results/runs/{entry['guide']}/run.json", project)
    folder = project / f"results/runs/{run}"
    folder.mkdir(exist_ok=True)
    shutil.copy(project / f"results/runs/{entry['guide']}/metrics.csv", folder)
    facts = {key: value for key, value in guide.items() if key != "seal"}
    mine = facts | {"run": run, "spec": entry["spec"], "guide": entry["guide"]}
    for checkpoint, noted in ((guide["checkpoint"]["sha256"], False), ("0" * 64, True)):
        write_record(folder / "run.json", mine | {"guide_checkpoint": checkpoint})
        text = said(capsys, monkeypatch, project, run)
        assert fact(text, "guide") == entry["guide"]
        assert ("its guide has since been retrained and has different weights" in text) == noted


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("gps-augmentatio", "is not a table, figure or run of this plan, nor a cell .*gps-augmentation"),
        ("gps-augmentation:simcl", "table gps-augmentation has no row 'simcl'.*simclr"),
        ("gps-augmentation:simclr:c9", "table gps-augmentation has no column 'c9'"),
        ("gps-augmentation:simclr:c0:0", "a cell is TABLE:ROW:COLUMN"),
        ("simclr", "matches [0-9]+ runs, such as .*write more of the id"),
    ],
)
def test_what_is_nothing_is_answered_with_what_there_is(root, words, answer):
    with pytest.raises(UserError, match=answer):
        find(make_build(root), words)


# --- what if ----------------------------------------------------------------------------------------------------------

KEYS = {
    "methods.simclr.temperature": 0.2,
    "strategies.gps.neighbours": 6,
    "strategies.spps.guide.augmentation": "weak",
    "strategies.clae.epsilon": 0.05,
    "training.optimizer.lr": 0.002,
    "augmentations.strong.rotation": 0.2,
    "evaluation.knn.neighbours": 3,
    "methods.moco.projector.output": 32,
}


@pytest.mark.parametrize(("key", "value"), KEYS.items(), ids=list(KEYS))
def test_what_a_change_would_do_is_what_the_edited_file_does(root, key, value):
    config = read_config(root, {})
    then = make_plan(with_change(config, f"{key}={value}"), recorded(root))
    path = root / "config/recipes/digits.yaml"
    whole = place = yaml.safe_load(path.read_text())
    *parents, last = key.split(".")
    for word in parents:
        place = place[word]
    assert place[last] != value
    place[last] = value
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    edited = make_plan(read_config(root, {}), recorded(root))
    assert then.runs == edited.runs
    assert then.evaluations == edited.evaluations
    assert {name: table["key"] for name, table in then.tables.items()} == {
        name: table["key"] for name, table in edited.tables.items()
    }


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["--if", "strategies.gps.neighbours=6"], {"train": "4 runs", "evaluate": "4", "keep": "4"}),
        (["--if", "strategy.gps.neighbours=6"], {"train": "4 runs", "evaluate": "4", "keep": "4"}),
        (["--if", "gps.neighbours=6"], {"train": "4 runs", "evaluate": "4", "keep": "4"}),
        (["--if", "evaluation.knn.neighbours=1"], {"train": "0 runs", "evaluate": "8", "keep": "8"}),
        (["--if", "seeds=3"], {"train": "4 runs", "evaluate": "4", "keep": "8"}),
        (["--if", "seeds=1"], {"train": "0 runs", "evaluate": "0", "keep": "4"}),
        (["--if", "method.simclr.temperature=0.2"], {"train": "8 runs", "evaluate": "8", "keep": "0"}),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_counts_of_a_change_are_those_that_the_build_has(original, words, lines, monkeypatch, capsys):
    text = said(capsys, monkeypatch, original, TABLE, *words).partition("If ")[2]
    found = {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()[1:] if not line.startswith("   ")}
    for name, count in lines.items():
        assert found[name].startswith(count), text
    assert TABLE in found["write"]


def test_a_change_back_to_what_was_trained_before_trains_nothing(original, tmp_path, monkeypatch, capsys):
    project = built(original, tmp_path / "built")
    edit(project / "config/recipes/digits.yaml", "    neighbours: 5 ", "    neighbours: 6 ")
    text = said(capsys, monkeypatch, project, TABLE, "--if", "gps.neighbours=5")
    assert "train      0 runs; 4 more already trained" in text


def test_checkpoints_that_a_change_needs_and_that_are_not_here_are_counted(original, tmp_path, monkeypatch, capsys):
    project = bare(original, tmp_path / "clone")
    words = (TABLE, "--if", "evaluation.knn.neighbours=1")
    text = said(capsys, monkeypatch, project, *words)
    assert "train      0 runs\n  restore    8 checkpoints\n  evaluate   8 checkpoints" in text
    for pointer in sorted(project.glob("results/runs/*/checkpoint.pt.dvc"))[:3]:
        pointer.unlink()
    text = said(capsys, monkeypatch, project, *words)
    assert "train      3 runs" in text
    assert "restore    5 checkpoints" in text


def test_the_change_of_one_run_is_told_for_that_run(original, monkeypatch, capsys):
    run = next(run for run in make_build(original).runs_of(TABLE) if run.startswith("simclr+gps"))
    text = said(capsys, monkeypatch, original, run, "--if", "gps.neighbours=6")
    assert "train      1 run" in text


@pytest.mark.parametrize(
    "change", ["scale.batch_sizes.default=64", "scale.epochs.default=3", "method.simclr.temperature=0.2"]
)
def test_the_change_of_one_run_is_told_whatever_changes_its_name(original, change, monkeypatch, capsys):
    build = make_build(original)
    run = next(run for run in build.runs_of(TABLE) if run.startswith("simclr-"))
    text = said(capsys, monkeypatch, original, run, "--if", change).partition("If ")[2]
    assert "train      1 run" in text
    assert "keep       0 runs" in text


def test_the_change_of_a_run_that_only_guides_is_told(root, monkeypatch, capsys):
    edit(
        root / "config/recipes/digits.yaml",
        "method: simclr, augmentation: strong, layer",
        "method: dino, augmentation: strong, layer",
    )
    build = make_build(root)
    standing = {run for table in build.plan.tables for run in build.runs_of(table)}
    guide = next(run for run in build.plan.runs if run not in standing)
    text = said(capsys, monkeypatch, root, guide, "--if", "method.dino.center_momentum=0.8")
    assert "train      1 run\n               1 x dino\n  evaluate   0 checkpoints" in text


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("temperature", "--if temperature: write KEY=VALUE"),
        ("methods.simcrl.temperature=1", "no key 'simcrl' there.*simclr"),
        ("methods.simclr.temperature=cold", "--if methods.simclr.temperature=cold: .*temperature"),
        ("methods.simclr.temperature=[", "--if methods.simclr.temperature=\\[: not readable as YAML"),
        ("scale=imagenet", "a different scale has entirely different runs: use `sslpairs plan --set scale=imagenet`"),
    ],
)
def test_a_change_that_cannot_be_made_is_answered(root, words, answer):
    with pytest.raises(UserError, match=answer):
        with_change(read_config(root, {}), words)
