"""What a change makes anew, and what it leaves alone: the real Snakefile in copies of a published project.

Three states of a copy. ``bare``: a fresh clone, nothing pulled. ``pulled``: a fresh clone with data and checkpoints.
``built``: the folder of the build itself. Neither clone holds tables, so that both write them from the evaluations in git.
"""

import csv
import os
import re
import shutil
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import pytest
from projects import (
    ROOT,
    TABLE,
    bare,
    build,
    built,
    edit,
    git,
    jobs,
    planned,
    planned_by_own_code,
    pulled,
    say,
    side_by_side,
)

from sslpairs.config.labels import parse_label
from sslpairs.data.record import recorded
from sslpairs.errors import UserError
from sslpairs.workflow.builds import make_build

STATES = {"bare": bare, "pulled": pulled, "built": built}
RECIPE = "config/recipes/digits.yaml"
STEP = "src/sslpairs/training/step.py"
TABLES_CODE = "src/sslpairs/paper/layout.py"
TABLE_FILES = [f"results/tables/digits/{TABLE}.{ending}" for ending in ("csv", "claims.csv", "md", "tex", "html")]
DAY = 86400
Change = Callable[[Path], None]


# --- changes --------------------------------------------------------------------------------------------------------


def nothing(project: Path) -> None:
    pass


def edits(*triples: tuple[str, str, str]) -> Change:
    """Other words in files of a project: (file, old, new)."""

    def change(project: Path) -> None:
        for file, old, new in triples:
            edit(project / file, old, new)

    return change


def with_words(file: str) -> Change:
    """A comment more, and other words in the docstring."""

    def change(project: Path) -> None:
        text = (project / file).read_text()
        (project / file).write_text(text.replace('"""', '"""In other words: ', 1) + "\n# A comment.\n")

    return change


def of_version_2(file: str, settings: str) -> Change:
    """The version of one class of settings raised: a person does that to have its runs or evaluations made anew."""

    def change(project: Path) -> None:
        path = project / "src/sslpairs/config" / file
        before, head, after = path.read_text().partition(f"\nclass {settings}(")
        assert "version: Literal[1] = 1\n" in after
        path.write_text(before + head + after.replace("version: Literal[1] = 1\n", "version: Literal[2] = 2\n", 1))

    return change


def without_gps(project: Path) -> None:
    """One row less, and the claim that names it."""
    path = project / "config/papers/gps.yaml"
    edit(path, "rows: [simclr, simclr+gps]\n", "rows: [simclr]\n")
    text = path.read_text()
    claim = text.index("    claims:\n      - text: GPS's gain on SimCLR is larger")
    after = re.compile(r"^( {2})?\w", re.MULTILINE).search(text, claim + 1).start()  # the next table, or the figures
    path.write_text(text[:claim] + text[after:])


def edited_and_reverted(project: Path) -> None:
    neighbours(project)
    of_version_2("strategies/gps.py", "GPSSettings")(project)
    logic(project)
    git(project, "checkout", "--quiet", ".")


def files(project: Path) -> list[Path]:
    """In the order of their names, without git's."""
    return sorted(path for path in project.rglob("*") if path.is_file() and ".git" not in path.parts)


def touched(project: Path) -> None:
    """All files dated as of the same moment, and Snakemake's memory gone."""
    shutil.rmtree(project / ".snakemake", ignore_errors=True)
    now = time.time()
    for path in files(project):
        os.utime(path, (now, now))


def dated_backwards(project: Path) -> None:
    """Data later than what was trained on them, evaluations later than tables: each file a day before the one above it."""
    for number, path in enumerate(files(project), start=1):
        os.utime(path, (path.stat().st_mtime - number * DAY,) * 2)


def unpublished(project: Path) -> None:
    for pointer in project.glob("results/runs/*/checkpoint.pt.dvc"):
        pointer.unlink()


def together(*changes: Change) -> Change:
    def change(project: Path) -> None:
        for one in changes:
            one(project)

    return change


neighbours = edits((RECIPE, "    neighbours: 5 ", "    neighbours: 6 "))
knn = edits((RECIPE, "knn: {neighbours: 20", "knn: {neighbours: 1"))
simclr = edits((RECIPE, "simclr:\n    temperature: 0.5", "simclr:\n    temperature: 0.4"))
logic = edits((STEP, "set_to_none=True", "set_to_none=False"))
title = edits(("config/papers/gps.yaml", "weak beside strong augmentation", "weak and strong augmentation"))


# --- the matrix -----------------------------------------------------------------------------------------------------


def row(
    action: str, change: Change, target: str = TABLE, real: tuple[str, ...] = (), code: bool = False, **expected: str
):
    """An action, and the jobs that it leads to, by state; in the ``real`` ones a dry run of Snakemake counts them, else the plan does.

    Changed ``code`` needs a process of its own: the fast tier has it in one state.
    """
    return [
        pytest.param(
            target,
            change,
            state,
            jobs,
            state in real,
            id=f"{action}, {state}",
            marks=[pytest.mark.slow]
            * (
                (state in real and (change is not nothing or state == "pulled" or target != TABLE))
                or (code and state != "pulled")
            ),
        )
        for state, jobs in expected.items()
    ]


# fmt: off
MATRIX = [
    # what costs nothing
    row("nothing", nothing,
        real=("bare", "pulled", "built"), bare="table 1, figure 1", pulled="table 1, figure 1", built=""),
    row("every file touched", touched,
        real=("bare", "built"), bare="table 1, figure 1", pulled="table 1, figure 1", built=""),
    row("every file dated in the past, against the order of the work", dated_backwards,
        real=("pulled", "built"), bare="table 1, figure 1", pulled="table 1, figure 1", built=""),
    row("edits reverted by git checkout", edited_and_reverted,
        code=True, bare="table 1, figure 1", pulled="table 1, figure 1", built=""),
    row("comment and docstring in training code", with_words(STEP),
        code=True, bare="table 1, figure 1", pulled="table 1, figure 1", built=""),
    row("logic of training code", logic,
        code=True, bare="table 1, figure 1", pulled="table 1, figure 1", built=""),
    # what is trained
    row("a hyper-parameter of one method", neighbours,
        bare="prepare_data 1, pretrain_and_evaluate 4, table 1, figure 1",
        pulled="pretrain_and_evaluate 4, table 1, figure 1", built="pretrain_and_evaluate 4, table 1, figure 1"),
    row("the learning rate of all", edits((RECIPE, "lr: 1.0e-3, reference_batch", "lr: 2.0e-3, reference_batch")),
        bare="prepare_data 1, pretrain_and_evaluate 8, table 1, figure 1",
        pulled="pretrain_and_evaluate 8, table 1, figure 1"),
    row("the version of one method raised", of_version_2("strategies/gps.py", "GPSSettings"),
        code=True, bare="prepare_data 1, pretrain_and_evaluate 4, table 1, figure 1",
        pulled="pretrain_and_evaluate 4, table 1, figure 1"),
    row("a further seed", edits(("config/scales/digits.yaml", "seeds: 2", "seeds: 3")),
        bare="prepare_data 1, pretrain_and_evaluate 4, table 1, figure 1",
        pulled="pretrain_and_evaluate 4, table 1, figure 1"),
    # what is evaluated
    row("the k of kNN", knn,
        bare="prepare_data 1, restore_run 8, evaluate 8, table 1, figure 1",
        pulled="evaluate 8, table 1, figure 1", built="evaluate 8, table 1, figure 1"),
    row("the version of kNN raised", of_version_2("protocols/knn.py", "KNNSettings"),
        code=True, bare="prepare_data 1, restore_run 8, evaluate 8, table 1, figure 1",
        pulled="evaluate 8, table 1, figure 1"),
    row("the k of kNN, and a hyper-parameter of one method", together(knn, neighbours),
        real=("bare",), bare="prepare_data 1, pretrain_and_evaluate 4, restore_run 4, evaluate 4, table 1, figure 1",
        pulled="pretrain_and_evaluate 4, evaluate 4, table 1, figure 1"),
    row("the k of kNN, where no checkpoint was published", together(knn, unpublished),
        real=("bare",), bare="prepare_data 1, retrain 8, evaluate 8, table 1, figure 1",
        pulled="evaluate 8, table 1, figure 1"),
    # what is written
    row("logic of table code", edits((TABLES_CODE, "WIDTH = 4", "WIDTH = 3")),
        code=True, bare="table 1, figure 1", pulled="table 1, figure 1", built="table 1, figure 1"),
    row("comment and docstring in table code", with_words(TABLES_CODE),
        code=True, bare="table 1, figure 1", pulled="table 1, figure 1", built=""),
    row("the title of the table", title,
        bare="table 1, figure 1", pulled="table 1, figure 1", built="table 1, figure 1"),
    row("a method removed from the table", without_gps,
        bare="table 1, figure 1", pulled="table 1, figure 1", built="table 1, figure 1"),
    # a table of which only the guides, SimCLR with either seed, are trained and published
    row("nothing, for a table of guided methods", nothing, target="spps-methods",
        real=("bare",), bare="prepare_data 1, pretrain_and_evaluate 8, restore_run 2, table 1",
        pulled="pretrain_and_evaluate 8, table 1"),
    row("a hyper-parameter of the guides' method, for the same table", simclr, target="spps-methods",
        bare="prepare_data 1, pretrain_and_evaluate 10, table 1",
        pulled="pretrain_and_evaluate 10, table 1"),
]
# fmt: on


@pytest.mark.parametrize(("target", "change", "state", "expected", "real"), list(chain(*MATRIX)))
def test_a_change_costs_just_what_depends_on_it(target, change, state, expected, real, original, tmp_path):
    project = STATES[state](original, tmp_path / state)
    change(project)
    changed_code = git(project, "status", "--porcelain", "src") != ""
    count = jobs if real else planned_by_own_code if changed_code else planned
    found = count(project, target)
    assert ", ".join(f"{rule} {count}" for rule, count in found.items()) == expected


@pytest.mark.slow
def test_fetch_and_restore_bring_the_very_files_of_the_build(original, tmp_path):
    """So that the state ``pulled``, which copies them, is the one that a user has."""
    project = bare(original, tmp_path / "bare")
    for done in side_by_side(partial(say, project, "sslpairs"), ["fetch", "restore"]):
        assert done.returncode == 0, done.stderr
    copied = pulled(original, tmp_path / "pulled")
    names = [path.relative_to(copied) for part in ("data/digits", "results") for path in files(copied / part)]
    assert sum(name.name == "checkpoint.pt" for name in names) == 8
    assert sum(name.parts[0] == "data" for name in names) == 5
    for name in names:
        assert (project / name).read_bytes() == (copied / name).read_bytes()
    assert git(project, "status", "--short") == ""


# --- without training -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_fresh_clone_writes_the_published_table_byte_for_byte_and_trains_nothing(original, tmp_path):
    project = bare(original, tmp_path / "bare")
    done = build(project, TABLE, "--config", "train=never")
    assert done.returncode == 0, done.stdout + done.stderr
    for file in TABLE_FILES:
        assert (project / file).read_bytes() == (original / file).read_bytes()
    assert not (project / "data").exists()
    assert not list(project.glob("results/runs/*/checkpoint.pt"))
    assert jobs(project, TABLE) == {}


@pytest.mark.slow
def test_another_k_is_measured_on_restored_checkpoints_and_trains_nothing(original, tmp_path):
    project = bare(original, tmp_path / "bare")
    knn(project)
    done = build(project, TABLE, "--config", "train=never")
    assert done.returncode == 0, done.stdout + done.stderr
    for path in [*original.glob("results/runs/*/run.json"), *original.glob("results/runs/*/checkpoint.pt")]:
        assert (project / path.relative_to(original)).read_bytes() == path.read_bytes()
    before, after = (list(csv.DictReader((folder / TABLE_FILES[0]).open())) for folder in (original, project))
    changed = {new["metric"] for old, new in zip(before, after, strict=True) if old["values"] != new["values"]}
    assert changed == {"knn.top1"}
    assert jobs(project, TABLE) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "runs", "why"),
    [
        pytest.param(neighbours, 4, "new", id="a hyper-parameter"),
        pytest.param(
            together(knn, unpublished),
            8,
            "its checkpoint is needed, but is missing and was never published",
            id="no pointers",
        ),
    ],
)
def test_where_training_is_forbidden_a_build_that_needs_it_ends_and_leaves_all_as_it_was(
    change, runs, why, original, tmp_path
):
    project = bare(original, tmp_path / "bare")
    change(project)
    before = {path: path.read_bytes() for path in files(project)}
    asked = [
        ("snakemake", "-n", TABLE, "--config", "train=never"),
        ("snakemake", TABLE, "--config", "train=never"),
        ("sslpairs", "plan", TABLE, "--no-train"),
    ]
    *builds, plan = side_by_side(lambda words: say(project, *words), asked)
    for done in builds:
        assert done.returncode == 2
        (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert error.startswith("error: training is forbidden (train: never), but ")
        assert why in error
        assert "Traceback" not in done.stdout + done.stderr
    assert plan.returncode == 2
    count, *listed = plan.stderr.splitlines()
    assert count == f"error: {runs} runs would have to be trained:"
    planned = make_build(project, {"train": "never"})
    assert {line.split(":")[0].strip() for line in listed} == set(planned.needs([TABLE])[0])
    assert all(why in line for line in listed)
    after = {path: path.read_bytes() for path in files(project) if path in before}
    assert after == before
    assert not list(project.glob("results/runs/*/checkpoint.pt"))


@pytest.mark.slow
def test_a_run_that_was_trained_by_older_code_stands_and_says_so(original, tmp_path):
    words_changed, logic_changed = (bare(original, tmp_path / name) for name in ("words", "logic"))
    with_words(STEP)(words_changed)
    logic(logic_changed)
    run = next(iter(make_build(original).runs_of(TABLE)))
    same, older = side_by_side(lambda project: say(project, "sslpairs", "explain", run), [words_changed, logic_changed])
    assert "done" in same.stdout
    assert "older code" not in same.stdout
    assert "trained by older code" in older.stdout


# --- training again -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_whose_checkpoint_was_never_published_is_trained_to_the_same_weights_and_its_receipt_stands(
    original, tmp_path
):
    project = bare(original, tmp_path / "bare")
    together(knn, unpublished)(project)
    evaluation = next(name for name in make_build(project).to_evaluate if name.startswith("simclr+gps"))
    run = evaluation.split("/")[0]
    done = build(project, f"results/evals/{evaluation}.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "its receipt is kept" in (project / f"logs/runs/{run}.log").read_text()
    assert len(list(project.glob("results/runs/*/checkpoint.pt"))) == 1
    for name in ("run.json", "metrics.csv", "checkpoint.pt"):
        file = f"results/runs/{run}/{name}"
        assert (project / file).read_bytes() == (original / file).read_bytes()


@pytest.mark.slow
def test_a_changed_data_set_is_fetched_first_and_then_trained_on_and_changed_back_trains_nothing(original, tmp_path):
    def change(project: Path, old: int, new: int) -> dict[str, int]:
        edit(project / "config/datasets.yaml", f"test_per_class: {old}}}", f"test_per_class: {new}}}")
        with pytest.raises(UserError) as error:
            make_build(project)
        assert str(error.value).startswith(
            "config/datasets.yaml: digits: its source differs from the one recorded in data.dvc; "
        )
        assert "`sslpairs fetch digits` prepares it" in str(error.value)
        assert say(project, "sslpairs", "fetch", "digits").returncode == 0
        return planned(project, TABLE)

    clones = [bare(original, tmp_path / "bare"), pulled(original, tmp_path / "pulled")]
    everything = {"pretrain_and_evaluate": 8, "table": 1, "figure": 1}
    assert side_by_side(lambda project: change(project, 50, 40), clones) == [everything, everything]
    assert jobs(clones[1], TABLE) == everything
    assert change(clones[0], 40, 50) == {"table": 1, "figure": 1}
    assert recorded(clones[0]) == recorded(original)


@pytest.mark.slow
def test_two_configurations_in_one_folder_share_their_runs_and_each_table_is_written_at_will(original, tmp_path):
    project = built(original, tmp_path / "built")
    receipts = {path: path.read_bytes() for path in project.glob("results/runs/*/run.json")}
    texts = {}
    for seeds, train in (("[0,2]", "missing"), ("[0,1]", "never"), ("[0,2]", "never")):
        done = build(project, TABLE, "--config", f"seeds={seeds}", f"train={train}")
        assert done.returncode == 0, done.stdout + done.stderr
        text = (project / TABLE_FILES[0]).read_text()
        assert texts.setdefault(seeds, text) == text
    assert texts["[0,1]"] == (original / TABLE_FILES[0]).read_text()
    assert len(set(texts.values())) == 2
    assert len(list(project.glob("results/runs/*/run.json"))) == len(receipts) + 4
    assert all(path.read_bytes() == content for path, content in receipts.items())


# --- guides ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "depends"),
    [
        pytest.param(
            "method: simclr, augmentation: strong, layer: backbone",
            "method: simclr, augmentation: strong, layer: projection",
            lambda label: "spps" in label.strategies,
            id="the guide's layer",
        ),
        pytest.param(
            "method: simclr, augmentation: strong, layer: backbone",
            "method: simclr, augmentation: weak, layer: backbone",
            lambda label: "spps" in label.strategies,
            id="the guide's augmentation",
        ),
        pytest.param(
            "simclr:\n    temperature: 0.5",
            "simclr:\n    temperature: 0.4",
            lambda label: label.base == "simclr" or "spps" in label.strategies,
            id="a hyper-parameter of the guide's method",
        ),
        pytest.param(
            "moco:\n    temperature: 0.2",
            "moco:\n    temperature: 0.3",
            lambda label: label.base == "moco",
            id="a hyper-parameter of a guided method",
        ),
    ],
)
def test_an_edited_guide_trains_anew_just_what_it_guides(old, new, depends, tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copy(ROOT / "data.dvc", tmp_path)
    before = make_build(tmp_path).plan.runs
    edit(tmp_path / RECIPE, old, new)
    after = make_build(tmp_path).plan.runs
    renamed = {run for run in before if run not in after}
    assert renamed == {run for run, entry in before.items() if depends(parse_label(entry["label"]))}
    assert 0 < len(renamed) < len(before)
