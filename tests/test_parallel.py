"""Several processes train as one does: on the CPU through gloo, started by torchrun as a user would.

Each start costs seconds of imports, so that many checks share one; ``ddp_worker.py`` is what the processes do.
"""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import ddp_worker
import pytest
import torch
from ddp_worker import CASES, NORMS, PATH, SOME, pieces, steps, torchrun
from projects import PARTS, copy_parts, edit, say, wait_for
from tiny import tiny_spec

from sslpairs.data.arrays import ImageData, Split
from sslpairs.distributed import device
from sslpairs.distributed.device import describe, pick_device
from sslpairs.distributed.processes import World, current_world, process_group
from sslpairs.errors import UserError
from sslpairs.locks import exclusive
from sslpairs.plan.build import is_whole
from sslpairs.plan.paths import run_folder
from sslpairs.training import trainer
from sslpairs.training.trainer import Trainer
from sslpairs.workflow.builds import make_build

CPU = torch.device("cpu")


def found_by(processes, task, folder):
    """What each of some processes found, by rank."""
    done = torchrun(processes, "ddp_worker", task, str(folder / "found"))
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"found.{rank}") for rank in range(processes)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return found_by(2, "some", tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return found_by(3, "some", tmp_path_factory.mktemp("three"))


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    return found_by(2, "all", tmp_path_factory.mktemp("every"))


together_in_one_worker = (pytest.mark.slow, pytest.mark.xdist_group("processes"))
numbers = pytest.mark.parametrize(
    "number", [pytest.param(name, marks=together_in_one_worker) for name in ("two", "three")]
)
"""How many processes: the name of the fixture that holds what they found."""


@pytest.fixture
def ranks(number, request):
    return request.getfixturevalue(number)


def near(a, b, tolerance=1e-12):
    return torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance)


# --- steps of training, in float64 ---------------------------------------------------------------------------------


def compare(case, ranks):
    wanted = steps(case)
    for found in ranks:
        got = found[case]
        assert got["losses"] == pytest.approx(wanted["losses"], rel=1e-12)
        assert {name: part.item() for name, part in got["parts"].items()} == pytest.approx(
            {name: part.item() for name, part in wanted["parts"].items()}, rel=1e-12
        )
        assert list(got["grads"]) == list(wanted["grads"])
        for name, grad in wanted["grads"].items():
            assert near(got["grads"][name], grad), name
        assert list(got["state"]) == list(wanted["state"])
        for name, value in wanted["state"].items():
            assert got["state"][name].dtype == value.dtype
            assert near(got["state"][name], value), name
            assert torch.equal(got["state"][name], ranks[0][case]["state"][name]), name


@numbers
@pytest.mark.parametrize("case", SOME)
def test_several_processes_take_the_steps_of_one_with_the_whole_batch(case, ranks):
    """Losses, gradients, and after three steps weights, batch-norm statistics, queues, centres and momentum encoders."""
    compare(case, ranks)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("case", CASES)
def test_they_do_so_with_every_method_and_strategy(case, every):
    compare(case, every)


def test_every_base_and_every_strategy_of_a_step_is_among_the_cases():
    bases = {case.partition("+")[0] for case in CASES if "," not in case}
    assert len(bases) == 12
    for base in bases:
        assert {f"{base}+mixco", f"{base}+clae"} <= set(CASES)
        assert (f"{base}+dimcl" in CASES) == (base != "moco")


# --- the pieces ----------------------------------------------------------------------------------------------------


@numbers
def test_gathered_rows_come_in_the_order_of_the_batch_with_the_gradient_of_the_sum_of_all_losses(ranks):
    count = len(ranks)
    for rank, found in enumerate(ranks):
        mine = found["pieces"]
        assert torch.equal(mine["rows"], torch.arange(24, dtype=torch.float64).view(12, 2))
        assert torch.equal(mine["count"], torch.arange(12))
        assert mine["gathered"].flatten().tolist() == list(range(count))
        # Process r's loss is (1 + r) times the sum of all rows, each times its number.
        weight = sum(1 + other for other in range(count))
        wanted = weight * torch.arange(1, 13)[rank::count, None].expand(-1, 2)
        assert torch.equal(mine["grad"], wanted.double())


@numbers
@pytest.mark.parametrize("name", NORMS)
def test_batch_norms_are_those_of_the_whole_batch(name, ranks):
    wanted, tolerance = pieces()[name], {"float32": 1e-5, "bfloat16": 0.02}.get(name, 1e-12)
    for found in ranks:
        got = found["pieces"][name]
        assert got["y"].dtype == wanted["y"].dtype
        for key in ("y", "grad", "weight", "later"):
            if wanted[key] is not None:
                assert near(got[key], wanted[key], tolerance), key
        assert list(got["state"]) == list(wanted["state"])
        for key, value in wanted["state"].items():
            assert near(got["state"][key], value, tolerance), key
    if name == "still":
        assert not wanted["state"]["0.running_mean"].any()


@numbers
def test_a_standardisation_without_parameters_is_of_the_whole_batch_too(ranks):
    wanted = pieces()["standardised"]
    rows = torch.arange(24, dtype=torch.float64).view(12, 2)
    for found in ranks:
        assert near(found["pieces"]["standardised"], wanted)
        assert near(found["pieces"]["mean"], rows.mean(0))
        assert near(found["pieces"]["variance"], rows.var(0, correction=0))


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with prepared digits, a tiny network and short trainings."""
    folder = tmp_path_factory.mktemp("several") / "project"
    folder.mkdir()
    copy_parts(PARTS, folder)
    edit(folder / "config/scales/digits.yaml", "widths: [8, 16, 32]", "widths: [8, 16]")
    edit(folder / "config/scales/digits.yaml", "epochs: {default: 10, 800: 30}", "epochs: {default: 3}")
    edit(folder / "config/scales/digits.yaml", "seeds: 5", "seeds: 3\nbaselines: []")
    edit(folder / "config/scales/digits.yaml", "batch_sizes: {default: 128,", "batch_sizes: {default: 126,")
    edit(folder / "config/config.yaml", "device: auto", "device: cpu")
    done = say(folder, "sslpairs", "fetch", "digits")
    assert done.returncode == 0, done.stderr
    return folder


def run_of(project, label):
    return next(run for run, entry in make_build(project).plan.runs.items() if entry["label"] == label)


def trained_by(project, processes, run, *words):
    if processes == 1:
        done = say(project, "sslpairs", "train", run, *words)
    else:
        done = torchrun(processes, "sslpairs", "train", run, *words, cwd=project)
    assert done.returncode == 0, done.stderr
    return done


def left_by(project, run):
    """Receipt, rows of metrics.csv, and the checkpoint of a finished run."""
    folder = project / run_folder(run)
    assert is_whole(run, project)
    assert not {"last.ckpt", ".lock"} & {path.name for path in folder.iterdir()}
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    receipt = json.loads((folder / "run.json").read_text())
    return receipt, rows, torch.load(folder / "checkpoint.pt", weights_only=True)


def names(content):
    return {part: list(value) for part, value in content.items() if isinstance(value, dict)}


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_two_processes_give_the_loss_curve_of_one_with_the_whole_batch(project):
    run = run_of(project, "simclr+gps")
    trained_by(project, 1, run)
    receipt, rows, content = left_by(project, run)
    done = trained_by(project, 2, run, "--force")
    receipt_2, rows_2, content_2 = left_by(project, run)
    assert len(rows) == 3
    for row, row_2 in zip(rows, rows_2, strict=True):
        # In float32, after up to 33 steps: sums in another order have other last digits, and training spreads them.
        assert float(row_2["loss"]) == pytest.approx(float(row["loss"]), rel=1e-4)
        assert float(row_2["online_top1"] or 0) == pytest.approx(float(row["online_top1"] or 0), abs=1.0)
        assert {**row, "loss": "", "online_top1": ""} == {**row_2, "loss": "", "online_top1": ""}
    assert names(content_2) == names(content)
    for name, value in content["method"].items():
        assert torch.allclose(content_2["method"][name], value, rtol=1e-2, atol=1e-2), name
    assert receipt_2["device"] == f"{receipt['device']} x 2"
    assert receipt_2["spec"] == receipt["spec"]
    assert done.stdout.count("trained ") == 1  # one process speaks
    assert done.stderr.count("epoch 3/3") == 1


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_training_of_two_processes_that_was_killed_is_ended_in_the_same_bytes(project):
    run = run_of(project, "simclr+gps")
    folder = project / run_folder(run)
    if not is_whole(run, project):  # the test before this one has trained it so
        trained_by(project, 2, run)
    whole, metrics = (folder / "checkpoint.pt").read_bytes(), (folder / "metrics.csv").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    words = ("--standalone", "--nproc-per-node=2", "-m", "sslpairs", "train", run)
    own = {"PYTHONPATH": PATH, "OMP_NUM_THREADS": "1"}
    agent = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *words], cwd=project, env=os.environ | own,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for((folder / "last.ckpt").exists)
    workers = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    assert len(workers) == 2
    os.kill(int(workers[1]), signal.SIGKILL)
    _, said = agent.communicate(timeout=120)
    assert agent.returncode != 0
    # torchrun may end the other before it has said so.
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert all(line.startswith("error: a process of this training is gone") for line in lines)
    assert len(lines) <= 1
    assert not (folder / "run.json").exists()
    done = trained_by(project, 2, run)
    assert done.stderr.count("resuming after epoch") == 1
    assert (folder / "checkpoint.pt").read_bytes() == whole
    assert (folder / "metrics.csv").read_bytes() == metrics
    again = trained_by(project, 2, run)
    assert again.stdout.count("already trained") == 1


# --- what cannot be --------------------------------------------------------------------------------------------------


def errors_of(done):
    """What the processes said; torchrun's own report comes beside it."""
    assert done.returncode != 0
    assert "[rank" not in done.stderr  # as tracebacks are marked
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_batch_that_cannot_be_shared_is_one_error_that_says_what_to_do(project):
    run = run_of(project, "simclr+mixco")
    done = torchrun(2, "sslpairs", "train", run, "--force", cwd=project)
    (line,) = errors_of(done)
    assert line == (
        f"error: {run}: a batch of 126 cannot be shared equally by 2 processes, each with partners for MixCo; start a number "
        "of processes that divides 63"
    )


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_several_processes_do_not_wait_for_another_training_of_the_run(project):
    run = run_of(project, "simclr")
    with exclusive(project / run_folder(run) / ".lock", "not asked"):
        done = torchrun(2, "sslpairs", "train", run, cwd=project)
    (line,) = errors_of(done)
    assert line == f"error: {run}: another process is training or restoring it; start again when it has ended"


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_process_that_fails_alone_ends_all_with_one_message(tmp_path):
    done = torchrun(2, "ddp_worker", "fails", str(tmp_path / "nothing"))
    assert errors_of(done) == ["error: the second process cannot go on"]


def test_batches_that_cannot_be_shared_are_named_before_anything_is_trained(monkeypatch, tmp_path):
    pixels = torch.zeros(70, 1, 8, 8, dtype=torch.uint8)
    split = Split(pixels, torch.arange(70) % 2)
    data = ImageData(split, split, ["a", "b"], torch.tensor([0.5]), torch.tensor([0.3]), "0" * 64, "Nothing")
    for label, size, processes, fits in [
        (
            "simclr",
            64,
            5,
            "a batch of 64 cannot be shared equally by 5 processes; start a number of processes that divides 64",
        ),
        ("byol+mixco", 64, 64, "partners for MixCo; start a number of processes that divides 32"),
        ("simclr", 6, 4, "divides 6"),
    ]:
        monkeypatch.setattr(trainer, "current_world", lambda processes=processes: World(0, processes))
        with pytest.raises(UserError, match=fits):
            Trainer("a run", tiny_spec(label, batch_size=size), data, tmp_path, CPU)


# --- devices ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def gpus(monkeypatch):
    """As if this were the third of four processes on a machine with so many GPUs."""

    def shown(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: "H100")
        monkeypatch.setattr(device, "current_world", lambda: World(2, 4))
        monkeypatch.setenv("LOCAL_RANK", "2")
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
        return chosen

    chosen = []
    return shown


@pytest.mark.parametrize("choice", ["auto", "cuda"])
def test_every_process_takes_a_gpu_of_its_own(choice, gpus):
    chosen = gpus(4)
    place = pick_device(choice)
    assert place == torch.device("cuda:2")
    assert chosen == [place]
    assert describe(torch.device("cuda:0"), 1) == "cuda:0 (H100) x 4"


def test_more_processes_than_gpus_and_one_gpu_for_all_are_errors(gpus):
    gpus(3)
    with pytest.raises(UserError, match=r"torchrun: 4 processes, .* 3 GPUs; use --nproc-per-node 3, or device: cpu"):
        pick_device("auto")
    gpus(4)
    with pytest.raises(
        UserError, match=r"device: 'cuda:1' is one GPU, but torchrun started 4 processes here; use cuda"
    ):
        pick_device("cuda:1")


def test_processes_without_gpus_train_on_the_cpu(gpus):
    gpus(0)
    assert pick_device("auto") == CPU


# --- one process alone -------------------------------------------------------------------------------------------------


def test_a_process_that_torchrun_did_not_start_is_a_team_of_its_own(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")  # as some clusters set it for every job
    with process_group() as world:
        assert world == current_world() == World(0, 1)
        assert world.broadcast(lambda: world) is world
    rows = torch.ones(3, 2, requires_grad=True)
    assert ddp_worker.whole_rows([rows])[0] is rows


@pytest.mark.slow
@pytest.mark.gpu(2)
def test_two_gpus_give_the_loss_curve_of_one(project):
    run = run_of(project, "byol")
    curves = []
    for processes in (1, 2):
        trained_by(project, processes, run, "--force", "--set", "device=cuda")
        receipt, rows, _ = left_by(project, run)
        curves.append([float(row["loss"]) for row in rows])
    assert receipt["device"].endswith(" x 2")
    assert curves[1] == pytest.approx(curves[0], rel=1e-2)
