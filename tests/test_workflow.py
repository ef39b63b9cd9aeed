"""The real Snakefile, with a tiny network, in a folder of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = "gps-augmentation"


def say(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=project, capture_output=True, text=True, env=os.environ | environment
    )


def build(project: Path, *words: str) -> subprocess.CompletedProcess:
    return say(project, "snakemake", *words)


def jobs(project: Path, *words: str) -> dict[str, int]:
    """What a dry run would do."""
    done = build(project, "-n", *words)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    if "Nothing to be done" in text:
        return {}
    found = dict(re.findall(r"^(\w+) +(\d+)$", text.split("Job stats:")[1].split("Reasons:")[0], re.MULTILINE))
    return {
        name: int(number) for name, number in found.items() if name in ("pretrain", "evaluate", "table", "prepare_data")
    }


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A project whose one table is built: two methods, two augmentations, two seeds."""
    project = tmp_path_factory.mktemp("project")
    for name in ("Snakefile", "workflow", "profiles", "config", "data.dvc", ".dvc", "environment.yml"):
        source = ROOT / name
        ignore = shutil.ignore_patterns("cache", "tmp")
        shutil.copytree(source, project / name, ignore=ignore) if source.is_dir() else shutil.copy(
            source, project / name
        )
    edit(project / "config/scales/digits.yaml", "widths: [32, 64, 128]", "widths: [8, 16]")
    edit(project / "config/scales/digits.yaml", "epochs: {default: 10, 800: 30}", "epochs: {default: 2}")
    edit(project / "config/recipes/digits.yaml", "epochs: 100", "epochs: 5")
    edit(project / "config/config.yaml", "seeds: 3", "seeds: 2")
    done = build(project, TABLE)
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def project(original, tmp_path) -> Path:
    """A copy that a test may change; times of files are kept."""
    shutil.copytree(original, tmp_path / "copy")
    return tmp_path / "copy"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_build_leaves_receipts_evaluations_tables_and_figures(original):
    assert len(list(original.glob("results/runs/*/run.json"))) == 8
    assert len(list(original.glob("results/runs/*/checkpoint.pt"))) == 8
    assert len(list(original.glob("results/evals/*/*.json"))) == 8
    assert not list(original.glob("results/runs/*/last.ckpt"))
    for ending in ("csv", "claims.csv", "md", "tex", "html"):
        assert (original / f"results/tables/digits/{TABLE}.{ending}").stat().st_size > 0
    for ending in ("pdf", "png", "svg"):
        assert (original / f"results/figures/digits/{TABLE}.{ending}").stat().st_size > 0
    receipt = json.loads(next(original.glob("results/runs/*/run.json")).read_text())
    assert set(receipt) >= {"spec", "checkpoint", "git", "code", "versions", "device", "timing", "finished"}


def test_a_second_build_has_nothing_to_do(original):
    assert jobs(original, TABLE) == {}


def test_without_the_working_files_of_snakemake_nothing_is_trained(project):
    shutil.rmtree(project / ".snakemake")
    for file in project.glob("results/**/*"):
        os.utime(file)
    assert "pretrain" not in jobs(project, TABLE)
    assert "evaluate" not in jobs(project, TABLE)


def test_receipts_without_checkpoints_and_data_are_enough_for_tables(project):
    for file in project.glob("results/runs/*/checkpoint.pt"):
        file.unlink()
    for folder in ("data", "results/tables", ".snakemake"):
        shutil.rmtree(project / folder)
    assert jobs(project, TABLE) == {"table": 1}


def test_a_changed_hyper_parameter_trains_just_its_runs_and_back_trains_none(project):
    recipe = project / "config/recipes/digits.yaml"
    edit(recipe, "neighbours: 5", "neighbours: 6")
    assert jobs(project, TABLE) == {"pretrain": 4, "evaluate": 4, "table": 1}
    edit(recipe, "neighbours: 6", "neighbours: 5")
    assert jobs(project, TABLE) == {}


def test_a_changed_protocol_evaluates_without_training(project):
    edit(project / "config/recipes/digits.yaml", "knn: {neighbours: 20", "knn: {neighbours: 10")
    assert jobs(project, TABLE) == {"evaluate": 8, "table": 1}


def test_a_further_seed_trains_just_its_runs(project):
    assert jobs(project, TABLE, "--config", "seeds=3") == {"pretrain": 4, "evaluate": 4, "table": 1}


def test_changed_words_of_a_table_write_just_that_table(project):
    edit(project / "config/papers/gps.yaml", "weak beside strong augmentation", "weak and strong augmentation")
    assert jobs(project, TABLE) == {"table": 1}


def test_the_stable_names_follow_the_configuration(project):
    table = project / f"results/tables/digits/{TABLE}.md"
    both = table.read_text()
    assert build(project, TABLE, "--config", "seeds=1").returncode == 0
    assert table.read_text() != both
    assert build(project, TABLE).returncode == 0
    assert table.read_text() == both


def test_jobs_read_the_frozen_plan_and_not_the_configuration(project):
    frozen = next((project / "results/plans").glob("*.json")).relative_to(project)
    (project / "config/config.yaml").write_text("scale: [")
    assert jobs(project, TABLE, "--config", f"plan={frozen}") == {}


def test_a_mistake_in_the_configuration_is_one_line_and_nothing_runs(project):
    edit(project / "config/recipes/digits.yaml", "temperature: 0.5, weight", "temprature: 0.5, weight")
    done = build(project, TABLE)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "config/recipes/digits.yaml" in errors[0]
    assert "did you mean 'temperature'" in errors[0]
    assert "Traceback" not in done.stderr


def test_a_run_that_diverges_says_so_leaves_no_receipt_and_stops_no_other(project):
    recipe = project / "config/recipes/digits.yaml"
    edit(recipe, "optimizer: {name: adam, lr: 1.0e-3, reference_batch: null, weight_decay: 0.0}",
         "optimizer: {name: sgd, lr: 1.0e+30, reference_batch: null, momentum: 0.9, weight_decay: 0.0}")  # fmt: skip
    done = build(project, TABLE, "--config", "seeds=1")
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "the loss became" in text
    assert "in epoch 1" in text
    assert "learning rate 1e+30 too high" in text
    assert "Traceback" not in text
    assert len(list(project.glob("results/runs/*/run.json"))) == 8
    logs = [path.read_text() for path in project.glob("logs/runs/*.log")]
    assert sum("the loss became" in log for log in logs) == 4


def test_warm_and_cold_processes_give_the_same_bytes_and_the_server_ends_with_its_owner(project, tmp_path):
    run = next(project.glob("results/runs/simclr+gps*")).name
    frozen = str(next((project / "results/plans").glob("*.json")).relative_to(project))
    checkpoint = project / "results/runs" / run / "checkpoint.pt"
    words = ("sslpairs", "train", run, "--plan", frozen, "--force")
    assert say(project, *words).returncode == 0
    cold = checkpoint.read_bytes()
    checkpoint.unlink()
    owner = subprocess.Popen(["sleep", "600"])
    folder = Path("/tmp") / f"sslpairs-test-{os.getpid()}-{owner.pid}"
    try:
        done = say(project, *words, SSLPAIRS_WARM=str(folder))
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"trained {run}")
        assert (folder / "training.socket").exists()
        assert checkpoint.read_bytes() == cold
        wrong = say(project, "sslpairs", "train", "nothing", "--plan", frozen, SSLPAIRS_WARM=str(folder))
        assert wrong.returncode == 2
        assert "no run of this plan" in wrong.stderr
    finally:
        owner.kill()
        owner.wait()
    for _ in range(100):
        if not folder.exists():
            break
        time.sleep(0.1)
    assert not folder.exists()
