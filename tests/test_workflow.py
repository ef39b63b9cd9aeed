"""The real Snakefile, with a tiny network, in a folder of its own."""

import json
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from projects import TABLE, build, built, edit, jobs, say


@pytest.fixture
def project(original, tmp_path) -> Path:
    """A copy that a test may change; times of files are kept."""
    return built(original, tmp_path / "copy")


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


@pytest.mark.slow
def test_a_run_that_diverges_says_so_leaves_no_receipt_and_stops_no_other(project):
    recipe = project / "config/recipes/digits.yaml"
    edit(recipe, "simclr:\n    temperature: 0.5", "simclr:\n    temperature: 1.0e-42")
    done = build(project, TABLE, "--config", "seeds=1")
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "the loss became" in text
    assert "in epoch 1" in text
    assert "simclr's temperature 1e-42 too low" in text
    assert "Traceback" not in text
    assert len(list(project.glob("results/runs/*/run.json"))) == 8
    logs = [path.read_text() for path in project.glob("logs/runs/*.log")]
    assert sum("the loss became" in log for log in logs) == 4


@pytest.mark.slow
def test_warm_and_cold_processes_give_the_same_bytes_and_the_server_ends_with_its_owner(project, tmp_path):
    run = next(project.glob("results/runs/simclr+gps*")).name
    frozen = str(next((project / "results/plans").glob("*.json")).relative_to(project))
    checkpoint = project / "results/runs" / run / "checkpoint.pt"
    words = ("sslpairs", "train", run, "--plan", frozen, "--force")
    assert say(project, *words).returncode == 0
    cold = checkpoint.read_bytes()
    checkpoint.unlink()
    owner = subprocess.Popen(["sleep", "600"])
    folder = Path(tempfile.mkdtemp(prefix="sslpairs-test-", suffix=f"-{owner.pid}"))
    try:
        done = say(project, *words, SSLPAIRS_WARM=str(folder))
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"trained {run}")
        assert (folder / "training.socket").exists()
        assert checkpoint.read_bytes() == cold
        wrong = say(project, "sslpairs", "train", "nothing", "--plan", frozen, SSLPAIRS_WARM=str(folder))
        assert wrong.returncode == 2
        assert "not a run of this plan" in wrong.stderr
    finally:
        owner.kill()
        owner.wait()
    for _ in range(100):
        if not folder.exists():
            break
        time.sleep(0.1)
    assert not folder.exists()
