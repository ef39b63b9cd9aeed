"""Vision transformers: what they compute, train, cost, and refuse."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from tiny import counting_kept, networks, small_digits, tiny_spec
from torch import nn

from sslpairs.backbones import checkpoint
from sslpairs.backbones.build import build_backbone, seeded_backbone
from sslpairs.bench.measure import count_flops
from sslpairs.config.backbones import Backbone
from sslpairs.config.optimization import AdamWSettings
from sslpairs.config.reading import read_config
from sslpairs.config.views import SmallCrops
from sslpairs.data.arrays import load
from sslpairs.errors import UserError
from sslpairs.pairs.clae import TwoNorms, adversarial_norms
from sslpairs.plan.cost import features_flops, step_cost
from sslpairs.plan.planner import make_plan
from sslpairs.plan.spec import RunSpec
from sslpairs.training.optimization import build_optimizer
from sslpairs.training.run import train
from sslpairs.training.step import train_step
from sslpairs.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
TINY = {"kind": "vit", "patch": 4, "dim": 192, "depth": 12, "heads": 3, "pool": "token"}
SMALL = {"kind": "vit", "patch": 4, "dim": 12, "depth": 2, "heads": 3, "pool": "token"}
CPU = torch.device("cpu")


def settings(**changes) -> Backbone:
    return TypeAdapter(Backbone).validate_python(SMALL | changes)


def norm(x, weight, bias):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt() * weight + bias


def by_hand(weights, x, patch, depth, heads, pool):
    """The features of images ``[B, C, S, S]`` one head at a time, from weights under torchvision's names."""
    count, channels, size, _ = x.shape
    side = size // patch
    cut = x.reshape(count, channels, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5).reshape(count, side**2, -1)
    tokens = cut @ weights["conv_proj.weight"].flatten(1).T + weights["conv_proj.bias"]
    start = weights["class_token"].expand(count, 1, -1)
    tokens = torch.cat([start, tokens], 1) + weights["encoder.pos_embedding"]
    for block in range(depth):
        own = {
            name.removeprefix(f"encoder.layers.encoder_layer_{block}."): value
            for name, value in weights.items()
            if name.startswith(f"encoder.layers.encoder_layer_{block}.")
        }
        y = norm(tokens, own["ln_1.weight"], own["ln_1.bias"])
        queries, keys, values = (y @ own["self_attention.in_proj_weight"].T + own["self_attention.in_proj_bias"]).chunk(
            3, -1
        )
        outputs, width = [], y.shape[-1] // heads
        for q, k, v in zip(*(part.split(width, -1) for part in (queries, keys, values)), strict=True):
            outputs.append((q @ k.transpose(1, 2) / width**0.5).softmax(-1) @ v)
        attended = torch.cat(outputs, -1) @ own["self_attention.out_proj.weight"].T
        tokens = tokens + attended + own["self_attention.out_proj.bias"]
        y = norm(tokens, own["ln_2.weight"], own["ln_2.bias"]) @ own["mlp.0.weight"].T + own["mlp.0.bias"]
        y = y * (1 + torch.erf(y / 2**0.5)) / 2
        tokens = tokens + y @ own["mlp.3.weight"].T + own["mlp.3.bias"]
    pooled = tokens[:, 0] if pool == "token" else tokens[:, 1:].mean(1)
    return norm(pooled, weights["encoder.ln.weight"], weights["encoder.ln.bias"])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("channels", "pool"), [(1, "token"), (3, "avg"), (4, "token")])
def test_the_features_are_those_of_the_formulas(channels, pool, training):
    network, width = build_backbone(settings(pool=pool), channels, 16)
    network = network.double().train(training)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():  # biases and norms too differ from 0 and 1
            parameter.copy_(torch.randn(parameter.shape, generator=draws, dtype=torch.float64) / 3)
        x = torch.randn(5, channels, 16, 16, generator=draws, dtype=torch.float64)
        found = network(x)
        assert found.shape == (5, width) == (5, 12)
        assert torch.allclose(found, by_hand(network.state_dict(), x, 4, 2, 3, pool), rtol=0, atol=1e-10)


def test_the_tiny_one_has_as_many_parameters_as_timms_and_as_the_estimate():
    with torch.device("meta"):
        network, _ = build_backbone(TypeAdapter(Backbone).validate_python(TINY), 3, 32)
    counted = sum(p.numel() for p in network.parameters())
    layers = TypeAdapter(Backbone).validate_python(TINY).layers(32, 3)
    assert counted == sum(layer.parameters for layer in layers) == 5_360_832
    assert layers[-1].outputs == 192


@pytest.mark.parametrize("patch", [4, 16])
def test_the_estimate_is_what_torch_counts(patch):
    spec = tiny_spec("simclr", backbone=TINY | {"patch": patch}, batch_size=4)
    network, _ = build_backbone(spec.backbone, 3, 32)
    x, found = torch.ones(4, 3, 32, 32), []

    def step():
        with counting_kept(network) as kept:
            found.append((network(x), kept))

    assert features_flops(spec.plain(), 4, 32, 3) == pytest.approx(count_flops(step), rel=0.01)
    ((_, (kept,)),) = found
    assert 0.5 * kept < step_cost(spec.plain(), 32, 3).activations / 2 < 1.2 * kept  # two views


def test_initial_weights_are_timms():
    network, _ = seeded_backbone(TypeAdapter(Backbone).validate_python(TINY), 3, 32, 0)
    assert all((p == 0).all() for name, p in network.named_parameters() if "bias" in name and "conv" not in name)
    drawn = [p for name, p in network.named_parameters() if p.ndim > 1 and "conv" not in name and "class" not in name]
    assert len(drawn) == 4 * 12 + 1
    assert all(p.std().item() == pytest.approx(0.02, rel=0.05) for p in drawn)
    assert 0 < network.class_token.abs().max() < 1e-5


def test_frozen_patches_stay_while_all_else_moves():
    method, _ = networks("byol", backbone=SMALL | {"freeze_patch_embedding": True})
    network = method.backbone
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = build_optimizer(tiny_spec("byol").optimizer, method.online_modules(), 8)
    draws = torch.Generator().manual_seed(0)
    xs = [torch.randn(8, 1, 16, 16, generator=draws, dtype=torch.float64) for _ in range(2)]
    train_step(method, [], xs, optimizer)
    still = {name for name, value in network.state_dict().items() if torch.equal(before[name], value)}
    assert still == {"conv_proj.weight", "conv_proj.bias"}


def test_clae_attacks_a_network_without_batch_norms():
    method, pairs = networks("simclr+clae", backbone=SMALL)
    assert not any(isinstance(module, TwoNorms) for module in method.backbone.modules())
    optimizer = build_optimizer(tiny_spec("simclr").optimizer, method.online_modules(), 8)
    draws = torch.Generator().manual_seed(0)
    xs = [torch.randn(8, 1, 16, 16, generator=draws, dtype=torch.float64) for _ in range(2)]
    _, step = train_step(method, pairs, xs, optimizer)
    attacked = pairs[0].perturb(step)
    assert torch.allclose((attacked - xs[0]).abs(), torch.full_like(attacked, 0.03))
    with adversarial_norms(method):
        clean, hard = (
            method.adversarial_loss(method.embed(x), method.embed(xs[0]), step.clean[1]) for x in (xs[0], attacked)
        )
    assert hard > clean, "the attack is uphill"
    kept = pairs[0].unwrap(method.backbone.state_dict())
    assert kept.keys() == build_backbone(settings(), 1, 16)[0].state_dict().keys()


@pytest.mark.parametrize("decay_vectors", [True, False])
def test_adamw_decays_vectors_only_if_asked(decay_vectors):
    layers, other = [nn.Linear(3, 2), nn.Linear(2, 2)], nn.Linear(2, 4)
    how = AdamWSettings(name="adamw", lr=0.1, reference_batch=None, weight_decay=0.5, decay_vectors=decay_vectors)
    built = build_optimizer(how, [*layers, other], 32, [other])
    before = [p.detach().clone() for layer in layers for p in layer.parameters()]
    for p in (p for layer in (*layers, other) for p in layer.parameters()):
        p.grad = torch.zeros_like(p)
    built.step()
    for p, start in zip((p for layer in layers for p in layer.parameters()), before, strict=True):
        factor = 1 - 0.1 * 0.5 if p.ndim > 1 or decay_vectors else 1.0
        assert torch.allclose(p, start * factor)
    constant = {id(p) for group in built.param_groups if group["constant"] for p in group["params"]}
    assert constant == {id(p) for p in other.parameters()}
    assert sum(len(group["params"]) for group in built.param_groups) == 6


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return small_digits(tmp_path_factory.mktemp("prepared"))


class Interrupted(Exception):
    """As Ctrl-C."""


def run(root: Path, stop: int | None = None) -> bytes:
    adamw = {"name": "adamw", "lr": 1e-3, "reference_batch": None, "weight_decay": 0.1, "decay_vectors": False}
    content = load("digits", root).content
    spec = tiny_spec("byol+clae", dataset=content, backbone=SMALL | {"freeze_patch_embedding": True}, optimizer=adamw)

    def progress(epoch, epochs, facts):
        if epoch == stop:
            raise Interrupted

    train(
        "a run",
        {"spec": spec.plain(), "dataset": "digits", "label": "byol+clae", "guide": None},
        root,
        "cpu",
        1,
        progress,
    )
    return (root / "results/runs/a run/checkpoint.pt").read_bytes()


def test_a_resumed_run_ends_in_the_same_bytes_and_its_checkpoint_tells_other_images(prepared, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for root in (whole, broken):
        root.mkdir()
        (root / "data").symlink_to(prepared / "data")
    wanted = run(whole)
    with pytest.raises(Interrupted):
        run(broken, stop=1)
    assert (broken / "results/runs/a run/last.ckpt").exists()
    assert run(broken) == wanted
    path = whole / "results/runs/a run/checkpoint.pt"
    network = checkpoint.load_backbone(path, 1, 8)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 12)
    with pytest.raises(UserError, match="trained on images of 1 channels, but these have 3"):
        checkpoint.load_backbone(path, 3, 8)
    with pytest.raises(UserError, match="only images of the size it was trained on, and these, of 16 pixels, have an"):
        checkpoint.load_backbone(path, 1, 16)


@pytest.mark.slow
def test_compiled_it_trains_alike(prepared, tmp_path):
    data = load("digits", prepared)
    spec = tiny_spec("byol", backbone=SMALL)
    plain, compiled = (Trainer("a run", spec, data, tmp_path, CPU) for _ in range(2))
    compiled.compile(backend="eager")
    assert compiled._epoch(0)["loss"] == pytest.approx(plain._epoch(0)["loss"], rel=1e-5)


# --- plans ---------------------------------------------------------------------------------------------------------


def planned(backbone: dict, table: str = "dimcl-backbones", method: dict | None = None, **changes):
    config = read_config(ROOT, {"scale": "digits", "tables": [table], "papers": "every", "seeds": 1})
    networks = {"default": TypeAdapter(Backbone).validate_python(backbone)}
    scale = config.scale.model_copy(update={"backbones": networks} | changes)
    recipes = config.recipes
    if method:
        ((name, changes),) = method.items()
        recipe = recipes["digits"]
        own = getattr(recipe.methods, name).model_copy(update=changes)
        methods = recipe.methods.model_copy(update={name: own})
        recipes = recipes | {"digits": recipe.model_copy(update={"methods": methods})}
    return make_plan(replace(config, scale=scale, recipes=recipes), {"digits": "0" * 64})


def test_it_is_planned_as_any_other_network():
    runs = planned(SMALL).runs.values()
    assert {run["backbone"] for run in runs} == {"ViT-12x2, 3 heads/4"}
    assert RunSpec.model_validate(next(iter(runs))["spec"]).backbone == settings()


def test_patches_that_do_not_divide_the_images_are_told_when_planning():
    with pytest.raises(UserError) as told:
        planned(SMALL | {"patch": 6})
    words = str(told.value)
    assert words.startswith(
        "config/scales/digits.yaml: backbones.default.patch: 6 does not divide the images' 16 pixels"
    )
    assert "write one of 2, 4, 8, 16" in words
    with pytest.raises(UserError, match="patch: 6 does not divide"):  # images whose size no plan knew
        build_backbone(settings(patch=6), 1, 16)


def test_small_views_are_refused_when_planning():
    small = {"dino": {"small": SmallCrops(count=2, size=8, scale=[0.1, 0.4])}}
    with pytest.raises(UserError, match=r"methods\.dino\.small\.size: .* write small: null"):
        planned(SMALL, "sololearn-cifar", small)


def test_an_evaluation_on_images_of_another_size_is_refused_when_planning():
    datasets = {"default": "cifar10", "CIFAR-10 at 224 pixels": "cifar10-224"}
    with pytest.raises(
        UserError, match=r"trained on 32 pixels .* on 224 pixels \('cifar10-224'\); resize one of the two"
    ):
        planned(SMALL, "clae-transfer", datasets=datasets)
    assert planned({"kind": "convnet", "widths": [4]}, "clae-transfer", datasets=datasets).runs


def test_heads_must_share_the_width():
    with pytest.raises(ValidationError, match="heads: 5 do not divide dim 12"):
        settings(heads=5)


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"patch": 16, "dim": 192, "depth": 12}, "ViT-tiny/16"),
        ({"dim": 384, "depth": 12, "heads": 12, "pool": "avg"}, "ViT-384x12, 12 heads/4 (mean)"),
        ({"mlp_ratio": 2, "freeze_patch_embedding": True}, "ViT-12x2, 3 heads/4 (MLP 2, frozen patches)"),
    ],
)
def test_its_name_tells_what_it_is(changes, label):
    assert settings(**changes).label == label
