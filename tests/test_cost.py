"""What a training takes is estimated from its specification, near enough for a cluster's limits, and without torch."""

import contextlib
import subprocess
import sys

import pytest
import torch
from tiny import METHODS, STRATEGIES, counting_kept, tiny_spec

from sslpairs.bench.measure import count_flops
from sslpairs.methods.base import TrainProgress
from sslpairs.methods.build import build_method
from sslpairs.pairs.build import build_pairs
from sslpairs.plan.cost import features_flops, step_cost, training_flops
from sslpairs.training.step import step_loss

META = torch.device("meta")
RESNET18 = {"kind": "resnet", "depth": 18, "stem": "cifar"}


def plain(label: str, **changes) -> dict:
    return tiny_spec(label, **changes).plain()


LABELS = [*METHODS, *(f"simclr+{name}" for name in STRATEGIES), "moco+mixco", "byol+clae+mixco"]
QUICK = ("simclr", "swav", "moco+mixco", "byol+clae+mixco")


@pytest.mark.parametrize(
    "label", [pytest.param(label, marks=[pytest.mark.slow] * (label not in QUICK)) for label in LABELS]
)
def test_a_step_costs_about_what_torch_counts(label, monkeypatch):
    """Within 15 %: the matrices of the losses are left out."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # the meta device has none
    spec = tiny_spec(label, backbone=RESNET18, batch_size=8)
    with META:
        method, pairs = build_method(spec, 3, 32).train(), build_pairs(spec)
    for strategy in pairs:
        strategy.wrap(method)
    edges = [32, 32] + [method.small.size] * method.small.count if method.small else [32, 32]
    xs = [torch.ones(8, 3, edge, edge, device=META) for edge in edges]
    draws = {name: torch.Generator() for name in STRATEGIES}
    if hasattr(method, "queued"):
        method.queued = method.settings.queue  # full
    counts = []

    def step():
        with counting_kept(method) as count:
            counts.append(count)
            loss, _ = step_loss(method, pairs, xs, draws, TrainProgress(5, 100, 1))
        loss.backward()

    flops = count_flops(step)
    cost = step_cost(spec.plain(), 32, 3)
    assert cost.flops_per_step == pytest.approx(flops, rel=0.15)
    trained = [p for module in method.online_modules() for p in module.parameters() if p.requires_grad]
    assert cost.parameters == pytest.approx(sum(p.numel() for p in trained), rel=0.05)
    assert bool(cost.copies) == any(
        name.startswith(("key_", "target_", "teacher_")) for name, _ in method.named_children()
    )
    ((kept,),) = counts
    assert (
        0.3 * kept < cost.activations < 1.5 * kept
    )  # some share their memory, and an attack's are gone before the rest


@pytest.mark.parametrize(
    ("depth", "giga", "parameters"), [(18, 1.81, 11_689_512), (34, 3.66, 21_797_672), (50, 4.09, 25_557_032)]
)
def test_resnets_cost_what_torchvision_states(depth, giga, parameters):
    """Multiply-adds and parameters at 224 pixels in torchvision's table of weights, which counts the classifier too."""
    spec = plain("simclr", backbone={"kind": "resnet", "depth": depth, "stem": "imagenet"})
    width = 512 if depth < 50 else 2048
    assert features_flops(spec, 1000, 224, 3) / 1000 / 2e9 == pytest.approx(giga, abs=0.01)
    assert step_cost(spec, 224, 3).parameters == pytest.approx(parameters - (width + 1) * 1000, rel=0.01)


def test_memory_follows_precision_batch_and_optimiser():
    spec = plain("simclr", batch_size=64)
    cost = step_cost(spec, 16, 1)
    assert step_cost(spec | {"batch_size": 128}, 16, 1).activations == 2 * cost.activations
    assert step_cost(spec | {"precision": "bfloat16"}, 16, 1).activations == cost.activations / 2
    sgd = {"name": "sgd", "lr": 0.1, "reference_batch": None, "momentum": 0.9, "weight_decay": 0.0}
    assert step_cost(spec | {"optimizer": sgd}, 16, 1).state < cost.state


def test_a_training_is_its_whole_steps_in_all_epochs():
    spec = plain("simclr", batch_size=64, epochs=3)
    assert training_flops(spec, 200, 16, 1) == 9 * step_cost(spec, 16, 1).flops_per_step
    assert training_flops(spec, 63, 16, 1) == 0


def test_equal_sizes_are_computed_once():
    first, second = (plain("simclr", seed=seed, dataset=str(seed) * 64) for seed in (1, 2))
    assert step_cost(first, 16, 1) is step_cost(second, 16, 1)


def test_costs_are_known_without_torch():
    code = "import sys, sslpairs.plan.cost; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
