"""What a step costs, worked out from a specification, is what torch counts while it takes that step."""

import contextlib
import subprocess
import sys

import pytest
import torch
from tiny import METHODS, STRATEGIES, tiny_spec

from sslpairs.bench.arms import Ours
from sslpairs.bench.measure import count_flops
from sslpairs.bench.setting import Setting, bench_spec
from sslpairs.config.methods import parse_label
from sslpairs.errors import UserError
from sslpairs.methods.base import Clock
from sslpairs.methods.build import build_method
from sslpairs.pairs.build import build_pairs
from sslpairs.plan.cost import features_flops, step_cost, training_flops
from sslpairs.training.optimization import build_optimizer
from sslpairs.training.step import step_loss

META = torch.device("meta")
CONV = {"kind": "convnet", "widths": [32, 64, 128]}
RESNET18 = {"kind": "resnet", "depth": 18, "stem": "cifar"}
RESNET34 = {"kind": "resnet", "depth": 34, "stem": "imagenet"}
RESNET50 = {"kind": "resnet", "depth": 50, "stem": "imagenet"}
ALL = ("mixco", "clae", "dimcl")
LINEAR = {"hidden": [], "output": 24, "batch_norm": False, "last_batch_norm": False}
LAST_NORM = {"hidden": [40, 20], "output": 24, "batch_norm": False, "last_batch_norm": True}
WIDE = {"hidden": [40, 20], "output": 128, "batch_norm": True, "last_batch_norm": "fixed"}
MANY = ["simclr+mixco+clae+dimcl", "dino+mixco+clae", "vicreg+mixco+clae"]


def meaningful(*labels):
    for label in labels:
        with contextlib.suppress(UserError):
            yield str(parse_label(label))


FAST = [*METHODS, *(f"simclr+{name}" for name in ALL), "simclr+spps", "moco+gps"]
SINGLE = [
    *FAST,
    *(
        pytest.param(label, marks=pytest.mark.slow)
        for label in meaningful(*(f"{base}+{name}" for base in METHODS for name in ALL))
        if label not in FAST
    ),
]
COMBINED = [
    "simclr+spps+gps+mixco+clae+dimcl",
    "mocoplus+mixco+clae",
    "barlowtwins+mixco+clae+dimcl",
    "swav+mixco+clae",
]


class Kept:
    """Inside, the most bytes that are kept for the backward pass at once, in storages that are not among ``others``."""

    def __init__(self, others):
        self.others = {tensor.untyped_storage()._cdata for tensor in others}
        self.uses: dict[int, int] = {}
        self.now = self.most = 0

    def change(self, tensor, by):
        storage = tensor.untyped_storage()
        key = storage._cdata
        before, self.uses[key] = self.uses.get(key, 0), self.uses.get(key, 0) + by
        if key not in self.others and not (before and self.uses[key]):
            self.now += by * storage.nbytes()
            self.most = max(self.most, self.now)

    def hooks(self):
        return torch.autograd.graph.saved_tensors_hooks(lambda tensor: _Saved(self, tensor), lambda saved: saved.tensor)


class _Saved:
    def __init__(self, log, tensor):
        self.log, self.tensor = log, tensor
        log.change(tensor, 1)

    def __del__(self):
        self.log.change(self.tensor, -1)


class Networks:
    """The networks of a specification, without a data set."""

    def __init__(self, spec, channels, device=META):
        with device:
            self.method, self.pairs = build_method(spec, channels).train(), build_pairs(spec)
        for strategy in self.pairs:
            strategy.wrap(self.method)
        if hasattr(self.method, "queued"):
            self.method.queued = self.method.settings.queue  # full
        self.trained = [p for module in self.method.online_modules() for p in module.parameters() if p.requires_grad]
        names = ("key_backbone", "key_projector", "target_backbone", "target_projector", "teacher_backbone")
        followers = [getattr(self.method, name, None) for name in (*names, "teacher_projector")]
        self.copied = [p for follower in followers if follower for p in follower.parameters()]


def numbers(parameters) -> int:
    return sum(p.numel() for p in parameters)


def measured(spec, size, channels, device=META, autocast=None):
    """Operations and kept bytes of one step, and the networks that took it."""
    made = Networks(spec, channels, device)
    method, small, batch = made.method, made.method.small, spec.batch_size
    sizes = [size, size] + [small.size] * small.count if small else [size, size]
    xs = [torch.ones(batch, channels, edge, edge, device=device) for edge in sizes]
    kept = Kept([*method.parameters(), *method.buffers()])

    def step():
        draws = {name: torch.Generator() for name in STRATEGIES}
        with kept.hooks():
            loss, done = step_loss(method, made.pairs, xs, draws, Clock(5, 100, 1), autocast=autocast)
        loss.backward()
        method.after_step(done.clean, Clock(5, 100, 1))

    return count_flops(step), kept.most, made


@pytest.fixture
def without_values(monkeypatch):
    """torch's meta device has no lower precision."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


def assert_costs(spec, size, channels):
    cost = step_cost(spec, size, channels)
    flops, kept, made = measured(spec, size, channels)
    assert cost.flops_per_step == flops
    assert cost.parameters == numbers(made.trained)
    assert cost.copies == numbers(made.copied)
    assert cost.activations == pytest.approx(kept, rel=0.05)


@pytest.mark.parametrize("label", [*SINGLE, *COMBINED])
def test_every_method_and_strategy_costs_what_torch_counts(label, without_values):
    assert_costs(tiny_spec(label, backbone=CONV, batch_size=32), 16, 1)


@pytest.mark.parametrize("label", ["simclr", "dino", "simclr+clae"])
def test_on_a_resnet_for_small_images(label, without_values):
    assert_costs(tiny_spec(label, backbone=RESNET18, batch_size=4), 32, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "backbone", "size", "channels"),
    [
        ("simclr", RESNET50, 64, 3),
        ("simclr+clae+dimcl", RESNET34, 40, 1),  # edges that no stride divides
        ("swav", RESNET50 | {"stem": "cifar"}, 18, 3),
    ],
)
def test_on_resnets_of_every_kind(label, backbone, size, channels, without_values):
    assert_costs(tiny_spec(label, backbone=backbone, batch_size=4), size, channels)


@pytest.mark.parametrize(
    ("label", "head"),
    [
        *((label, WIDE) for label in [*METHODS, *MANY]),
        *((label, head) for label in ("simclr+clae", "byol", "dino") for head in (LINEAR, LAST_NORM)),
    ],
)
def test_heads_queues_and_prototypes_of_other_sizes(label, head, without_values):
    """Here the objectives are no small part: queues and prototypes are many, the network is small."""
    method = METHODS[label.split("+")[0]]
    changes = {key: head for key in ("projector", "predictor") if key in method}
    changes |= {"queue": None if "small" in method else 4096} if "queue" in method else {}
    changes |= {"prototypes": 1000, "small": None} if "prototypes" in method else {}
    changes |= {"norm_last_layer": False} if "norm_last_layer" in method else {}
    changes |= {"second_norm": True} if "second_norm" in method else {}
    assert_costs(tiny_spec(label, changes=changes, batch_size=128), 16, 1)


@pytest.mark.parametrize("label", ["simclr", "simclr+clae", "byol+mixco"])
def test_lower_precision_halves_what_networks_keep(label):
    spec = tiny_spec(label, backbone=CONV, batch_size=4, precision="bfloat16")
    flops, kept, _ = measured(spec, 16, 3, torch.device("cpu"), torch.bfloat16)
    cost = step_cost(spec, 16, 3)
    assert cost.flops_per_step == flops
    assert cost.activations == pytest.approx(kept, rel=0.05)
    low, high = (
        step_cost(spec.model_copy(update={"precision": precision, "batch_size": 512}), 16, 3).activations
        for precision in ("bfloat16", "float32")
    )
    assert low < (0.8 if "clae" in label else 0.6) * high  # attacks stay in float32


def test_the_benchmark_counts_the_same():
    setting = Setting(size=8, batch=8, steps=1)
    assert step_cost(bench_spec("simclr+mixco", setting), 8, 3).flops_per_step == count_flops(
        Ours("simclr+mixco", setting).step
    )


SGD = {"name": "sgd", "lr": 0.1, "reference_batch": None, "momentum": 0.9, "weight_decay": 0.0}
LARS = SGD | {"name": "lars", "trust_coefficient": 0.02, "clip": True, "adapt_vectors": False}
ADAM = {"name": "adam", "lr": 0.1, "reference_batch": None, "weight_decay": 0.0}


@pytest.mark.parametrize("optimizer", [SGD, SGD | {"momentum": 0.0}, ADAM, LARS])
@pytest.mark.parametrize("label", ["simclr", "simclr+clae", "mocoplus", "swav", "dino", "nnclr"])
def test_what_stays_is_weights_gradients_the_optimisers_state_and_queues(label, optimizer):
    spec = tiny_spec(label, optimizer=optimizer)
    made = Networks(spec, 1, torch.device("cpu"))
    taught = build_optimizer(spec.optimizer, made.method.online_modules(), spec.batch_size)
    for p in made.trained:
        p.grad = torch.ones_like(p)
    taught.step()
    remembered = [t for state in taught.state.values() for t in state.values() if torch.is_tensor(t) and t.ndim]
    stays = [*made.method.parameters(), *made.trained, *remembered, getattr(made.method, "queue", torch.empty(0))]
    assert step_cost(spec, 16, 1).state == 4 * numbers(stays)


@pytest.mark.parametrize(
    ("depth", "giga", "parameters"), [(18, 1.81, 11_689_512), (34, 3.66, 21_797_672), (50, 4.09, 25_557_032)]
)
def test_resnets_cost_what_torchvision_states(depth, giga, parameters):
    """Multiply-adds and parameters at 224 pixels in torchvision's table of weights, which counts the classifier too."""
    spec = tiny_spec("simclr", backbone={"kind": "resnet", "depth": depth, "stem": "imagenet"})
    width = 512 if depth < 50 else 2048
    assert features_flops(spec, 1000, 224, 3) / 1000 / 2e9 == pytest.approx(giga, abs=0.01)
    head = 16 * (width + 2 + 8) + 8  # of tiny's HEAD
    assert step_cost(spec, 224, 3).parameters - head == parameters - (width + 1) * 1000


def test_a_training_is_its_whole_steps_in_all_epochs():
    spec = tiny_spec("simclr", batch_size=64, epochs=3)
    assert training_flops(spec, 200, 16, 1) == 9 * step_cost(spec, 16, 1).flops_per_step
    assert training_flops(spec, 63, 16, 1) == 0


@pytest.mark.parametrize("label", ["simclr", "byol+gps+mixco+clae", "swav", "moco+spps"])
def test_a_plans_plain_values_cost_the_same(label):
    spec = tiny_spec(label)
    assert step_cost(spec.plain(), 16, 1) == step_cost(spec, 16, 1)
    assert features_flops(spec.plain(), 10, 16, 1) == features_flops(spec, 10, 16, 1)
    assert training_flops(spec.plain(), 640, 16, 1) == training_flops(spec, 640, 16, 1)


def test_equal_sizes_are_computed_once():
    first, second = (tiny_spec("simclr", seed=seed, dataset=str(seed) * 64).plain() for seed in (1, 2))
    assert step_cost(first, 16, 1) is step_cost(second, 16, 1)


def test_costs_are_known_without_torch():
    code = "import sys, sslpairs.plan.cost; assert not {'torch', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
