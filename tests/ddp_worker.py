"""Processes for ``test_parallel.py``: ``torchrun -m ddp_worker TASK FILE``, and a single one to compare them with."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from test_composition import shaken, streams
from test_methods import images
from torch import nn

from sslpairs.config.labels import meaning
from sslpairs.config.methods import METHODS
from sslpairs.distributed.batch_norm import normalise, standardise, whole_norms
from sslpairs.distributed.gather import gather, share, whole_rows
from sslpairs.distributed.processes import current_world, process_group
from sslpairs.errors import UserError
from sslpairs.methods.base import TrainProgress
from sslpairs.training.parallel import shared_loss
from sslpairs.training.step import step_loss

CPU = torch.device("cpu")
STEPS = 3
SETS = ("", "mixco", "clae", "dimcl", "mixco+clae+dimcl")
LABELS = {
    f"{base}+{names}".rstrip("+"): {}
    for base in METHODS
    for names in SETS
    if all(meaning(name, base).status != "refused" for name in names.split("+") if name)
}
SPECIAL = {
    "moco+mixco+clae": {},
    "simsiam+dimcl, second norm": {"changes": {"second_norm": True}},
    "simclr+clae, clipped, statistics apart": {
        "strategies": {"clae": {"clip": True, "attack_updates_norms": False}},
    },
    "simclr+clae, one set of norms, statistics apart": {
        "strategies": {"clae": {"separate_norms": False, "attack_updates_norms": False}},
    },
    "barlowtwins+dimcl, simple": {"strategies": {"dimcl": {"loss": "simple"}}},
    "mocoplus+mixco, Beta": {"strategies": {"mixco": {"alpha": 0.4}}},
    "swav+mixco, hard codes": {"strategies": {"mixco": {"hard_codes": True}}},
    "dino, last layer learns": {"changes": {"norm_last_layer": False, "freeze_epochs": 0}},
}
CASES = LABELS | SPECIAL
SOME = ("simclr", "barlowtwins+mixco", "swav+mixco", "mocoplus+mixco+clae+dimcl", "dino+clae", "byol+mixco")


def steps(case: str, count: int = 12) -> dict:
    """Some steps of training in float64: losses, the first step's gradients, and all that a checkpoint holds at the end."""
    label = case.partition(",")[0]
    base = label.partition("+")[0]
    method, pairs = shaken(label, **CASES[case])
    loss_of = step_loss
    if current_world().size > 1:
        whole_norms(method, CPU)
        loss_of = shared_loss(method)
    parameters = {name: p for name, p in method.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(parameters.values(), lr=0.05, momentum=0.9)
    bounds = (torch.tensor([-1.0]), torch.tensor([1.0]))
    results = {"losses": []}
    for step in range(STEPS):
        progress = TrainProgress(step, STEPS, epoch=step)
        xs = [x[share()] for x in images(base, count, seed=step)]
        loss, done = loss_of(method, pairs, xs, streams(step), progress, None, bounds, None)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        method.after_backward(progress)
        if step == 0:
            results["grads"] = {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}
        optimizer.step()
        method.after_step(done.clean, progress)
        results["losses"].append(loss.item())
    return results | {"state": method.state_dict(), "parts": done.parts}


def pieces() -> dict:
    """Gathering and norms by themselves, on inputs that hang on rank and size only."""
    world, results = current_world(), {}
    rows = torch.arange(24, dtype=torch.float64).view(12, 2)
    mine = rows[share()].clone().requires_grad_()
    count = torch.arange(12)[share()]
    whole, whole_count = whole_rows([mine, count])
    results["rows"], results["count"] = whole.detach(), whole_count
    # A loss of each process's own: the gradient is that of their sum.
    ((1 + world.rank) * (whole * torch.arange(1, 13)[:, None]).sum()).backward()
    results["grad"] = mine.grad
    for name, make in NORMS.items():
        norm, x = make()
        norm = nn.Sequential(norm)
        if world.size > 1:
            whole_norms(norm, CPU)
        norm.train()
        own = x[share()].clone().requires_grad_()
        for _ in range(2):
            y = norm(own)
        (y.double() * torch.sin(torch.arange(x.numel()).view(x.shape))[share()]).sum().backward()
        results[name] = {
            "y": whole_rows([y.detach()])[0],
            "grad": whole_rows([own.grad])[0],
            "state": norm.state_dict(),
            "weight": None if norm[0].weight is None else gathered_sum(norm[0].weight.grad),
            "later": norm.eval()(x).detach(),
        }
    results["standardised"] = whole_rows([standardise(rows[share()].sin())])[0]
    if world.size > 1:
        results["gathered"] = gather(torch.tensor([float(world.rank)]))
        results["mean"], results["variance"] = normalise(rows[share()], None, None, 1e-5)[1:]
    return results


def gathered_sum(value):
    return gather(value).sum(0) if current_world().size > 1 else value


def drawn(*shape):
    return 3 + 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


NORMS = {
    "vectors": lambda: (nn.BatchNorm1d(5).double(), drawn(12, 5)),
    "maps": lambda: (nn.BatchNorm2d(3, momentum=0.3).double(), drawn(6, 3, 4, 2)),
    "nothing to learn": lambda: (nn.BatchNorm1d(5, affine=False).double(), drawn(12, 5)),
    "cumulative": lambda: (nn.BatchNorm1d(5, momentum=None).double(), drawn(12, 5)),
    "still": lambda: (nn.BatchNorm1d(5, momentum=0.0).double(), drawn(12, 5)),
    "float32": lambda: (nn.BatchNorm1d(5), drawn(12, 5).float()),
    "bfloat16": lambda: (nn.BatchNorm1d(5), drawn(12, 5).bfloat16()),
}


def fail() -> None:
    """The second process of two fails while the first one waits for it."""
    world = current_world()
    if world.is_rank_zero:
        gather(torch.ones(1))
        raise AssertionError("got an answer of a process that is gone")
    raise UserError("the second process cannot go on")


def main(task: str, file: str) -> None:
    torch.set_num_threads(1)
    with process_group() as world:
        if task == "fails":
            fail()
        cases = {"all": CASES, "some": SOME}[task]
        results = {case: steps(case) for case in cases} | {"pieces": pieces()}
        torch.save(results, f"{file}.{world.rank}")


# --- from outside ---------------------------------------------------------------------------------------------------

PATH = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1] / "src")))


def torchrun(processes: int, *words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Start some processes of a Python module on this machine's CPU; ``--standalone`` takes a free port."""
    own = {"PYTHONPATH": PATH, "OMP_NUM_THREADS": "1", "COLUMNS": "200"} | environment
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", *words],
        cwd=cwd, capture_output=True, text=True, timeout=600, env=os.environ | own,
    )  # fmt: skip


if __name__ == "__main__":
    from sslpairs import cli  # noqa: F401 - its logger

    try:
        main(*sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
