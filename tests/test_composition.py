"""Every base method under every pair strategy: the rules of composition, and the definitions of ``config/strategies/``.

References embed all views themselves, with a copy of the same networks, and follow the formulas row by row.
"""

import copy
from types import SimpleNamespace

import lightly.loss
import pytest
import torch
from test_losses import (
    close,
    cosine,
    reference_byol,
    reference_dimensional,
    reference_nt_xent,
    reference_queue,
    reference_soft,
    rows,
)
from test_methods import (
    FOLLOWERS,
    images,
    nearest_rows,
    reference_barlow,
    reference_code,
    reference_codes_loss,
    reference_neighbour,
    reference_plain,
    reference_simsiam,
    reference_sinkhorn,
    reference_teacher,
    reference_uel,
    reference_vicreg,
    units,
)
from tiny import STRONG_VIEW, networks, tiny_spec

from sslpairs.config.labels import meaning
from sslpairs.config.methods import METHODS
from sslpairs.data.arrays import ImageData, Split
from sslpairs.data.images import Resident
from sslpairs.methods.base import TrainProgress
from sslpairs.methods.byol import byol_loss
from sslpairs.methods.vicreg import vicreg_loss
from sslpairs.pairs.clae import TwoNorms
from sslpairs.pairs.dimcl import dimensional_contrast
from sslpairs.pairs.gps import GPS
from sslpairs.random_streams import generator
from sslpairs.training.step import step_loss, train_step
from sslpairs.training.trainer import Trainer

WEIGHTS = {"mixco": {"weight": 0.8, "temperature": 0.4}, "clae": {"weight": 0.6}, "dimcl": {"weight": 0.25}}
LAM = {0: torch.tensor([0.9, 0.35, 0.0, 0.6]), 1: torch.tensor([0.2, 1.0, 0.45, 0.7])}
ALL = ("mixco", "clae", "dimcl")
JOINT = ("moco", "mocoplus")
"""Clean and mixed queries share a batch of the norms."""
TARGETS = ("moco", "mocoplus", "byol", "simsiam", "swav", "dino")
"""CLAE's adversarial image meets what the other view answers, and not the image it was made from."""


def labels(*combinations):
    """Every base with each combination of strategies that is not refused."""
    return [
        f"{base}+{names}"
        for base in METHODS
        for names in combinations
        if all(meaning(name, base).status != "refused" for name in names.split("+"))
    ]


KINDS = ("simclr", "mocoplus", "byol", "barlowtwins", "dino")
"""A base of each kind: contrast, queue, prediction, redundancy, codes. For what follows from the kind and not from the base."""


def of_each_kind(*combinations):
    return [label for label in labels(*combinations) if base_of(label) in KINDS]


def base_of(label):
    return label.split("+")[0]


def streams(seed=0):
    return {name: generator(seed, name, "step", 0) for name in ALL}


def shaken(label, **how):
    """Networks as they are after some training: followers, norms, their twins and queues all differ."""
    method, pairs = networks(label, **how)
    draws, twin_draws = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, p in method.named_parameters():
            if not name.endswith("original0"):  # lengths of DINO's last layer
                source = twin_draws if ".adversarial." in name else draws
                p.add_(0.1 * torch.randn(p.shape, generator=source, dtype=p.dtype))
        for name, value in method.named_buffers():
            if name == "queue":
                fresh = units(value.numel() // value.shape[-1], value.shape[-1], 3)
                value.copy_(fresh.view_as(value))
            elif name == "center":
                value.copy_(0.05 * rows(1, len(value), 4)[0])
            elif name == "oldest":
                value.fill_(90)
    return method, pairs


def memory(method):
    """Queues, centres and momentum encoders, with the statistics of their norms."""
    kept = ("queue", "oldest", "center")
    return {name: v.clone() for name, v in method.state_dict().items() if name in kept or name.startswith(FOLLOWERS)}


def trained(method):
    return [p for p in method.parameters() if p.requires_grad]


def strategy_of(pairs, name):
    return next(strategy for strategy in pairs if strategy.name == name)


def watched(pairs):
    """A list into which CLAE's adversarial images will go."""
    clae, seen = strategy_of(pairs, "clae"), []
    inner = clae.perturb
    clae.perturb = lambda step: seen.append(inner(step)) or seen[-1]
    return seen


def by_plain_names(method, loss):
    """Gradients of the parameters that a method has without CLAE, by their names there."""
    named = [(name, p) for name, p in method.named_parameters() if p.requires_grad and ".adversarial." not in name]
    grads = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    return {name.replace(".main.", "."): grad for (name, _), grad in zip(named, grads, strict=True)}


def same(a, b, tolerance=1e-9):
    return (a is None and b is None) or torch.allclose(a, b, rtol=1e-6, atol=tolerance)


# --- the reference -------------------------------------------------------------------------------------------------


def unit(z):
    return torch.stack([row / row.norm() for row in z])


def mixed_rows(x, lam):
    half = len(x) // 2
    return torch.stack([lam[i].double() * x[i] + (1 - lam[i].double()) * x[i + half] for i in range(half)])


class Reference:
    """A step written out: ``base``, ``mixed`` and ``adversarial`` losses of a copy of the networks."""

    def __init__(self, method, base):
        self.base, self.m = base, copy.deepcopy(method)
        with torch.no_grad():
            if base == "moco":  # the key encoder follows first; 0.9 is the momentum of a training's first step
                for part in ("backbone", "projector"):
                    online = dict(getattr(self.m, part).named_parameters())
                    plain = {name.replace("main.", ""): p for name, p in online.items() if "adversarial." not in name}
                    for name, p in getattr(self.m, f"key_{part}").named_parameters():
                        p.copy_(0.9 * p + 0.1 * plain[name])
            elif base == "swav":
                self.m.prototypes.weight.copy_(unit(self.m.prototypes.weight))

    def norms(self, adversarial):
        for module in self.m.modules():
            if isinstance(module, TwoNorms):
                module.use_adversarial = adversarial

    def head(self, h):
        m, found = self.m, SimpleNamespace()
        if self.base == "dino":
            found.projection = m.projector.bottleneck(h)
            found.scores = unit(found.projection) @ m.projector.last.weight.T
            return found
        found.projection = m.projector(h)
        if self.base in ("byol", "simsiam", "nnclr"):
            found.prediction = m.predictor(found.projection)
        if self.base == "swav":
            found.scores = unit(found.projection) @ m.prototypes.weight.T
        if self.base == "nnclr":
            found.target = nearest_rows(found.projection, m.queue)
        return found

    def embed(self, x):
        return self.head(self.m.backbone(x))

    def views(self, xs, mixed=(None, None)):
        m, base = self.m, self.base
        if base in JOINT:
            clean, extra = [], []
            for x, new in zip(xs, mixed, strict=True):
                z = self.embed(x if new is None else torch.cat([x, new])).projection
                clean.append(SimpleNamespace(projection=z[: len(x)]))
                extra.append(SimpleNamespace(projection=z[len(x) :]))
        elif base == "swav":
            h = torch.cat([m.backbone(torch.cat(xs[:2])), m.backbone(torch.cat(xs[2:]))])
            joined = self.head(h)
            parts = zip(joined.projection.split(len(xs[0])), joined.scores.split(len(xs[0])), strict=True)
            clean = [SimpleNamespace(projection=z, scores=s) for z, s in parts]
            extra = [None if new is None else self.embed(new) for new in mixed]
        else:
            clean = [self.embed(x) for x in xs]
            extra = [None if new is None else self.embed(new) for new in mixed]
        for view in (0, 1):
            x, emb = xs[view], clean[view]
            if base in JOINT:
                emb.target = m.key_projector(m.key_backbone(x)).detach()
            elif base == "byol":
                emb.target = m.target_projector(m.target_backbone(x)).detach()
            elif base == "simsiam":
                emb.target = emb.projection.detach()
            elif base == "dino":
                h = m.teacher_backbone(x)
                scores = unit(m.teacher_projector.bottleneck(h)) @ m.teacher_projector.last.weight.T
                emb.codes = reference_teacher(scores, m.center, 0.04)
            elif base == "swav":
                scores = torch.cat([emb.scores, m.queue[view] @ m.prototypes.weight.T])
                emb.codes = reference_sinkhorn(scores)[: len(x)]
        return clean, extra

    def queue(self, view):
        """Columns of keys of a view."""
        return self.m.queue[view if self.base == "mocoplus" else 0].T

    def loss(self, a, b):
        """The base's loss of two large views."""
        match self.base:
            case "simclr":
                return reference_nt_xent(a.projection, b.projection, 0.5)
            case "moco":
                return reference_queue(a.projection, b.target, self.queue(1), 0.2)
            case "mocoplus":
                forth = reference_queue(a.projection, b.target, self.queue(1), 0.2)
                return (forth + reference_queue(b.projection, a.target, self.queue(0), 0.2)) / 2
            case "byol":
                return reference_byol(a.prediction, b.prediction, a.target, b.target)
            case "simsiam":
                return reference_simsiam(a.prediction, b.prediction, a.target, b.target)
            case "barlowtwins":
                return reference_barlow(a.projection, b.projection, 0.0051, 0.1)
            case "vicreg":
                return reference_vicreg(a.projection, b.projection)
            case "nnclr":
                return (
                    reference_neighbour(a.target, b.prediction, 0.2) + reference_neighbour(b.target, a.prediction, 0.2)
                ) / 2
            case "uel":
                return reference_uel(unit(a.projection), unit(b.projection), 0.1)
            case "plain":
                return reference_plain(unit(a.projection), unit(b.projection), 0.1)

    def clean_loss(self, clean):
        if self.base in ("swav", "dino"):
            return reference_codes_loss([emb.codes for emb in clean[:2]], [emb.scores for emb in clean], 0.1)
        return self.loss(*clean)

    def mixed_term(self, view, mixed, other, lam, temperature, hard=False):
        """What the mixed images of one view add."""
        base, half = self.base, len(lam)
        if base in ("swav", "dino"):
            codes = other.codes
            if hard:
                codes = torch.zeros_like(codes)
                for i, row in enumerate(other.codes):
                    codes[i, row.argmax()] = 1
            return reference_code(mixed_rows(codes, lam), mixed.scores, temperature)
        if base in ("byol", "simsiam"):
            total = 0.0
            for i in range(half):
                share = float(lam[i])
                for weight, parent in ((share, i), (1 - share, i + half)):
                    c = cosine(mixed.prediction[i], other.target[parent])
                    total = total + weight * (2 - 2 * c if base == "byol" else -c)
            return total / half
        if base in ("barlowtwins", "vicreg"):
            return self.loss(mixed, SimpleNamespace(projection=mixed_rows(other.projection, lam)))
        if base in JOINT:
            return reference_soft(mixed.projection, other.target, lam, temperature, self.queue(1 - view))
        if base == "nnclr":
            return reference_soft(mixed.prediction, other.target, lam, temperature)
        return reference_soft(
            mixed.projection, other.projection.detach() if base == "uel" else other.projection, lam, temperature
        )

    def adversarial_term(self, adversarial, anchor, other):
        base = self.base
        if base in JOINT:
            return reference_queue(adversarial.projection, other.target, self.queue(1), 0.2)
        if base in ("byol", "simsiam"):
            cosines = [cosine(p, t) for p, t in zip(adversarial.prediction, other.target, strict=True)]
            return sum(2 - 2 * c if base == "byol" else -c for c in cosines) / len(cosines)
        if base in ("swav", "dino"):
            return reference_code(other.codes, adversarial.scores, 0.1)
        return self.loss(anchor, adversarial)

    def attack(self, x, other, epsilon=0.03):
        """Adversarial images and the grad that they follow."""
        self.norms(True)
        anchor = None
        if self.base not in TARGETS:
            with torch.no_grad():
                anchor = self.embed(x)
        start = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(self.adversarial_term(self.embed(start), anchor, other), start)
        self.norms(False)
        return x + epsilon * grad.sign(), grad

    def total(self, xs, names, attacked=None, hard=False):
        """The whole loss with the weights of ``WEIGHTS``; ``attacked`` stands for the reference's own attack."""
        base, lam, how = self.base, {v: share.double() for v, share in LAM.items()}, WEIGHTS
        asked = (0,) if base in ("moco", "plain") else (0, 1)
        new = [mixed_rows(x, lam[v]) if "mixco" in names and v in asked else None for v, x in enumerate(xs[:2])]
        clean, mixed = self.views(xs, [*new, *[None] * (len(xs) - 2)])
        total = self.clean_loss(clean)
        if "mixco" in names:
            weight, temperature = how["mixco"]["weight"], how["mixco"]["temperature"]
            terms = [self.mixed_term(v, mixed[v], clean[1 - v], lam[v], temperature, hard) for v in asked]
            if base in ("swav", "dino"):
                count = (len(xs) - 1) * 2
                total = (count * total + weight * sum(terms)) / (count + weight * 2)
            elif base == "byol":
                total = total + weight * sum(terms)
            else:
                total = total + weight * sum(terms) / len(asked)
        if "clae" in names:
            if attacked is None:
                attacked, _ = self.attack(xs[0], clean[1])
            self.norms(True)
            adversarial = self.embed(attacked)
            self.norms(False)
            total = total + how["clae"]["weight"] * self.adversarial_term(adversarial, clean[0], clean[1])
        if "dimcl" in names:
            weight = how["dimcl"]["weight"]
            total = (1 - weight) * total + weight * reference_dimensional(clean[0].projection, clean[1].projection, 0.1)
        return total


# --- definitions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [*METHODS, *labels("mixco", "clae", "dimcl", "mixco+clae", "mixco+clae+dimcl")])
def test_loss_and_gradients_are_those_of_the_definition(label):
    base, *names = label.split("+")
    method, pairs = shaken(label, strategies={name: WEIGHTS[name] for name in names})
    reference, xs = Reference(method, base), images(base, seed=5)
    seen = watched(pairs) if "clae" in names else []
    total, _ = step_loss(method, pairs, xs, given={"mixco": LAM})
    wanted = reference.total(xs, names, *seen)
    assert total.dtype == torch.float64
    assert close(total, wanted)
    ours = torch.autograd.grad(total, trained(method), allow_unused=True)
    theirs = torch.autograd.grad(wanted, trained(reference.m), allow_unused=True)
    assert sum(grad is not None for grad in ours) > 4
    assert all(same(a, b, 1e-8) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("label", labels("clae", "mixco+clae"))
def test_the_attack_follows_the_definition_in_the_adversarial_norms(label):
    base = base_of(label)
    method, pairs = shaken(label)
    reference, xs, seen = Reference(method, base), images(base, seed=5), watched(pairs)
    step_loss(method, pairs, xs, given={"mixco": LAM})
    clean, _ = reference.views(xs, [None] * len(xs))
    attacked, grad = reference.attack(xs[0], clean[1])
    # Where the grad is rounding and nothing else, its sign means nothing.
    certain = grad.abs() > 1e-11
    assert certain.double().mean() > 0.9
    assert torch.equal(attacked[certain], seen[0][certain])
    assert not seen[0].requires_grad
    # Another attack would be another one: the main norms, or the other way round.
    reference.norms(False)
    start = xs[0].clone().requires_grad_()
    anchor = None if base in TARGETS else clean[0]
    wrong = torch.autograd.grad(reference.adversarial_term(reference.embed(start), anchor, clean[1]), start)[0]
    assert (wrong.sign() != (seen[0] - xs[0]).sign())[certain].double().mean() > 0.01


@pytest.mark.parametrize("base", ["swav", "dino"])
def test_hard_codes_are_mixed_one_hot(base):
    method, pairs = shaken(f"{base}+mixco", strategies={"mixco": WEIGHTS["mixco"] | {"hard_codes": True}})
    reference, xs = Reference(method, base), images(base, seed=5)
    total, _ = step_loss(method, pairs, xs, given={"mixco": LAM})
    assert close(total, reference.total(xs, ["mixco"], hard=True))


# --- rule 1: extra views stay out of queues, centres, momentum encoders and DimCL ----------------------------------


@pytest.mark.parametrize("label", labels("mixco", "clae", "mixco+clae", "mixco+clae+dimcl"))
def test_extra_views_never_enter_what_outlives_a_step(label):
    base = base_of(label)
    found = []
    for one in (base, label):
        method, pairs = shaken(one)
        before = memory(method)
        optimizer = torch.optim.SGD(trained(method), lr=0.0)
        for step in range(3):
            train_step(method, pairs, images(base, seed=step), optimizer, streams(step), TrainProgress(step, 5, step))
        found.append(memory(method))
        for name, value in found[-1].items():
            assert not torch.equal(value, before[name]) or name.endswith("original0"), name
    plain, extended = found
    assert list(plain) == list(extended)
    assert all(torch.equal(value, extended[name]) for name, value in plain.items())


@pytest.mark.parametrize("label", [f"{base}+mixco+clae" for base in ("moco", "mocoplus", "byol", "dino")])
def test_a_momentum_encoder_follows_the_online_weights_and_nothing_else(label):
    base = base_of(label)
    method, pairs = shaken(label)
    prefix = {"moco": "key", "mocoplus": "key", "byol": "target", "dino": "teacher"}[base]
    optimizer = torch.optim.SGD(trained(method), lr=0.1)
    for part in ("backbone", "projector"):
        twin = copy.deepcopy(method)
        train_step(method, pairs, images(base), optimizer, streams())
        leader = dict((twin if base == "moco" else method).named_parameters())
        leader = {name.replace(".main.", "."): p for name, p in leader.items() if ".adversarial." not in name}
        before = dict(twin.named_parameters())
        for name, p in getattr(method, f"{prefix}_{part}").named_parameters():
            wanted = 0.9 * before[f"{prefix}_{part}.{name}"] + 0.1 * leader[f"{part}.{name}"]
            assert torch.allclose(p, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("label", labels("mixco+dimcl", "clae+dimcl", "mixco+clae+dimcl"))
def test_dimcl_sees_clean_views_only(label):
    base = base_of(label)
    parts = []
    for one in (f"{base}+dimcl", label):
        method, pairs = shaken(one)
        _, step = step_loss(method, pairs, images(base), streams())
        parts.append(step.parts["dimcl"])
        assert close(parts[-1], reference_dimensional(step.clean[0].projection, step.clean[1].projection, 0.1))
    # Mixed queries share a batch of the norms with the clean ones in MoCo.
    assert close(*parts, 1e-12) != (base in JOINT and "mixco" in label)


# --- rule 2: the attack --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", labels("clae"))
def test_the_attack_leaves_gradients_of_parameters_and_the_main_norms_alone(label):
    base = base_of(label)
    method, (strategy,) = shaken(label)
    xs = images(base)
    _, step = step_loss(method, [], xs)
    for i, p in enumerate(method.parameters()):
        p.grad = None if i % 3 == 0 else torch.full_like(p, float(i))
    before = {name: v.clone() for name, v in method.state_dict().items() if ".adversarial." not in name}
    strategy.perturb(step)
    for i, p in enumerate(method.parameters()):
        assert p.grad is None if i % 3 == 0 else torch.equal(p.grad, torch.full_like(p, float(i)))
    assert all(torch.equal(v, method.state_dict()[name]) for name, v in before.items())
    assert all(x.grad is None and not x.requires_grad for x in xs)


@pytest.mark.parametrize("label", of_each_kind("mixco+clae", "clae+dimcl", "mixco+clae+dimcl"))
def test_the_attack_is_the_same_with_and_without_other_strategies(label):
    base = base_of(label)
    found = []
    for one in (f"{base}+clae", label):
        method, pairs = shaken(one, strategies={name: WEIGHTS[name] for name in one.split("+")[1:]})
        seen = watched(pairs)
        step_loss(method, pairs, images(base), streams())
        found.append(*seen)
    assert torch.equal(*found)


@pytest.mark.parametrize("label", labels("clae"))
def test_attacked_pixels_are_clipped_only_where_the_recipe_and_the_step_say_so(label):
    base = base_of(label)
    xs, bounds = [x.clamp(-1, 1) for x in images(base)], (torch.tensor([-1.0]), torch.tensor([1.0]))
    found = {}
    for clip in (True, False):
        method, pairs = shaken(label, strategies={"clae": {"clip": clip, "epsilon": 0.2}})
        seen = watched(pairs)
        step_loss(method, pairs, xs, bounds=bounds)
        (found[clip],) = seen
    assert found[False].abs().max() > 1.1
    assert torch.equal(found[True], found[False].clamp(-1, 1))


def test_every_channel_is_clipped_to_its_own_bounds():
    method, (strategy,) = networks("simclr+clae", channels=2, strategies={"clae": {"clip": True, "epsilon": 0.5}})
    xs = [torch.randn(8, 2, 16, 16, generator=torch.Generator().manual_seed(v), dtype=torch.float64) for v in (0, 1)]
    low, high = torch.tensor([-0.5, -2.0]), torch.tensor([0.25, 1.5])
    _, step = step_loss(method, [], xs, bounds=(low, high))
    attacked = strategy.perturb(step)
    for channel in (0, 1):
        assert attacked[:, channel].min() == low[channel]
        assert attacked[:, channel].max() == high[channel]


@pytest.mark.parametrize("label", labels("clae"))
def test_the_attacks_own_passes_count_in_the_adversarial_statistics_only_if_the_recipe_wants_it(label):
    base, xs = base_of(label), images(base_of(label))
    totals = []
    for updates in (True, False):
        method, pairs = shaken(label, strategies={"clae": {"attack_updates_norms": updates}})
        twin, seen = copy.deepcopy(method), watched(pairs)
        total, _ = step_loss(method, pairs, xs)
        totals.append(total)
        norm, before = method.backbone[1].adversarial, twin.backbone[1].adversarial
        clean = [xs[0]] if base in TARGETS else [xs[0], xs[0]]
        running = before.running_mean.clone()
        passes = [*(clean if updates else []), *seen]
        for x in passes:
            running = 0.99 * running + 0.01 * method.backbone[0](x).mean((0, 2, 3))
        assert torch.allclose(norm.running_mean, running, rtol=0, atol=1e-12)
        assert norm.num_batches_tracked == len(passes)
        assert all(m.adversarial.momentum == 0.01 for m in method.modules() if isinstance(m, TwoNorms))
        assert not any(m.use_adversarial for m in method.modules() if isinstance(m, TwoNorms))
    assert torch.equal(*totals)


# --- rule 3: positives are items -----------------------------------------------------------------------------------


@pytest.mark.parametrize("base", METHODS)
def test_two_items_of_one_image_are_negatives_of_each_other(base):
    method, _ = shaken(base)
    xs = images(base)
    for x in xs:
        x[1] = x[0]
    reference = Reference(method, base)
    total, _ = step_loss(method, [], xs)
    # The reference knows rows and nothing of images: a positive is the row with the same number, all others are negatives.
    assert close(total, reference.clean_loss(reference.views(xs, [None] * len(xs))[0]))


@pytest.mark.parametrize("base", METHODS)
def test_sources_of_items_change_nothing_but_the_pixels(base, tmp_path):
    pixels = torch.randint(256, (16, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pixels[10] = pixels[11] = pixels[3]
    split = Split(Resident(pixels), torch.arange(16) % 2)
    data = ImageData(split, split, ["a", "b"], torch.tensor([0.5]), torch.tensor([0.3]), "0" * 64, "Twins")
    spec = tiny_spec(base, batch_size=4, augmentation=STRONG_VIEW | {"jitter": None})
    losses = []
    for items in ([[3, 3], [3, 5], [3, 7], [0, 1]], [[3, 3], [10, 5], [11, 7], [0, 1]]):
        trainer = Trainer("a run", spec, data, tmp_path, torch.device("cpu"))
        trainer.items = torch.tensor(items)
        trainer.steps_per_epoch = 1
        losses.append(trainer._epoch(0)["loss"])
    assert losses[0] == losses[1]


# --- rule 4: weight 0, statistics, streams -------------------------------------------------------------------------


@pytest.mark.parametrize("label", labels("mixco", "clae", "dimcl", "mixco+clae+dimcl"))
def test_strategies_of_weight_0_give_the_loss_and_gradients_of_the_base(label):
    base, *names = label.split("+")
    plain, _ = shaken(base)
    method, pairs = shaken(label, strategies={name: {"weight": 0.0} for name in names})
    wanted, _ = step_loss(plain, [], images(base))
    total, _ = step_loss(method, pairs, images(base), streams())
    if base in JOINT and "mixco" in names:
        assert not close(total, wanted, 1e-6)
        return
    assert close(total, wanted, 1e-12)
    adversarial = [p for name, p in method.named_parameters() if ".adversarial." in name and p.requires_grad]
    for grad in torch.autograd.grad(total, adversarial, allow_unused=True, retain_graph=True) if adversarial else []:
        assert grad is None or not grad.any()
    ours, theirs = by_plain_names(method, total), by_plain_names(plain, wanted)
    assert list(ours) == list(theirs)
    for name, grad in theirs.items():
        ours[name] = torch.zeros_like(grad) if ours[name] is None and grad is not None else ours[name]
        assert same(ours[name], grad, 1e-12), name


@pytest.mark.parametrize("base", JOINT)
def test_mixco_of_weight_0_on_moco_is_the_base_with_mixed_images_in_the_batch(base):
    method, pairs = shaken(f"{base}+mixco", strategies={"mixco": {"weight": 0.0}})
    reference, xs = Reference(method, base), images(base)
    total, _ = step_loss(method, pairs, xs, given={"mixco": LAM})
    new = [mixed_rows(xs[0], LAM[0]), None if base == "moco" else mixed_rows(xs[1], LAM[1])]
    assert close(total, reference.clean_loss(reference.views(xs, new)[0]))


@pytest.mark.parametrize("base", METHODS)
def test_mixco_moves_the_main_statistics_and_clae_does_not_except_in_plain(base):
    states = {}
    for label in (base, *labels("mixco", "clae", "dimcl")):
        if base_of(label) == base:
            method, pairs = shaken(label)
            step_loss(method, pairs, images(base), streams())
            kept = method.backbone.state_dict()
            states[label] = {k.replace(".main.", "."): v for k, v in kept.items() if ".adversarial." not in k}

    def moved(label):
        return any(not torch.equal(value, states[label][name]) for name, value in states[base].items())

    assert moved(f"{base}+mixco")
    assert moved(f"{base}+clae") == (base == "plain")
    if f"{base}+dimcl" in states:
        assert not moved(f"{base}+dimcl")
    counted = {label: int(state["1.num_batches_tracked"]) for label, state in states.items()}
    assert counted[f"{base}+clae"] - counted[base] == (base == "plain")
    # A joint batch counts once; Plain mixes one view.
    assert counted[f"{base}+mixco"] - counted[base] == (0 if base in JOINT else 1 if base == "plain" else 2)


@pytest.mark.parametrize("base", METHODS)
def test_one_strategy_does_not_shift_the_draws_of_another_nor_those_of_torch(base):
    shares = []
    for label in labels("mixco", "mixco+clae", "mixco+clae+dimcl", "gps+mixco", "spps+gps+mixco+clae"):
        if base_of(label) == base:
            method, pairs = networks(label)
            before = torch.get_rng_state()
            draws = {strategy.name: generator(0, strategy.name, "step", 0) for strategy in pairs}
            step_loss(method, pairs, images(base), draws)
            assert torch.equal(torch.get_rng_state(), before)
            shares.append(strategy_of(pairs, "mixco").lam)
    assert len(shares) >= 4
    for lam in shares[1:]:
        assert list(lam) == list(shares[0]) == ([0] if base in ("moco", "plain") else [0, 1])
        assert all(torch.equal(lam[view], shares[0][view]) for view in lam)


def test_partners_of_gps_are_the_same_whatever_else_is_on():
    embedding, found = rows(30, 3), []
    items = torch.arange(30)[:, None].repeat(1, 2)
    for label in ("simclr+gps", "simclr+gps+mixco+clae+dimcl"):
        _, pairs = networks(label)
        draws = {strategy.name: generator(0, strategy.name, "partners", 0) for strategy in pairs}
        batch = items
        for strategy in pairs:
            if isinstance(strategy, GPS):
                strategy.prepare(lambda: embedding, generator(0, "gps", "prepare"))
            batch = strategy.sample_positives(batch, draws[strategy.name])
        found.append(batch)
    assert torch.equal(*found)
    assert (found[0][:, 0] != found[0][:, 1]).all()


@pytest.mark.parametrize("label", of_each_kind("mixco+clae+dimcl"))
def test_a_step_is_deterministic_and_depends_on_its_seed(label):
    base = base_of(label)

    def run(seed):
        method, pairs = shaken(label)
        optimizer = torch.optim.SGD(trained(method), lr=0.05)
        losses = [
            train_step(method, pairs, images(base, seed=step), optimizer, streams(seed + step), TrainProgress(step, 2))[
                0
            ]
            for step in range(2)
        ]
        return losses, method.state_dict()

    first, again, other = run(0), run(0), run(10)
    assert all(torch.equal(a, b) for a, b in zip(first[0], again[0], strict=True))
    assert all(torch.equal(value, again[1][name]) for name, value in first[1].items())
    assert not torch.equal(first[0][0], other[0][0])


# --- rule 5: strategies are given raw projections ------------------------------------------------------------------


@pytest.mark.parametrize("base", METHODS)
def test_projections_in_a_step_are_raw(base):
    method, pairs = shaken(f"{base}+mixco")
    _, step = step_loss(method, pairs, images(base), streams())
    seen = [emb.projection for emb in (*step.clean, *step.mixed) if emb is not None and emb.projection is not None]
    assert len(seen) >= 2
    for z in seen:
        assert z.requires_grad
        lengths = z.norm(dim=1)
        assert lengths.std() > 1e-3
        assert ((lengths - 1).abs() > 1e-3).all()


@pytest.mark.parametrize("label", [label for label in labels("dimcl") if base_of(label) != "simsiam"])
def test_a_larger_projection_leaves_dimcl_as_it_is(label):
    base = base_of(label)
    parts, embeddings = [], []
    for scale in (1, 10):
        method, pairs = shaken(label)
        head = method.projector.bottleneck if base == "dino" else method.projector
        with torch.no_grad():
            for p in head.layers[-1].parameters():
                p.mul_(scale)
        _, step = step_loss(method, pairs, images(base))
        parts.append(step.parts["dimcl"])
        embeddings.append([emb.projection.detach() for emb in step.clean[:2]])
    for small, large in zip(*embeddings, strict=True):
        assert torch.allclose(large, 10 * small, rtol=1e-10, atol=1e-10)
    assert close(parts[0], reference_dimensional(*embeddings[0], 0.1))
    # The rows' normalisation cancels what the 1e-5 did to their lengths.
    assert close(*parts, 1e-10)
    # Rows of length 1 would have been another thing.
    assert not close(dimensional_contrast(*(unit(z) for z in embeddings[0]), 0.1), parts[0], 1e-4)


# --- rule 6: scales ------------------------------------------------------------------------------------------------


def test_byol_and_vicreg_declare_solo_learns_scale_and_have_it():
    p1, p2, t1, t2 = (rows(6, 4, seed) for seed in range(4))
    criterion = lightly.loss.NegativeCosineSimilarity()
    assert close(byol_loss(p1, p2, t1, t2), 4 + 4 * (criterion(p1, t2) + criterion(p2, t1)) / 2)
    assert 0 <= byol_loss(p1, p2, t1, t2) <= 8
    assert close(vicreg_loss(p1, p2), lightly.loss.VICRegLoss(mu_param=50)(p1, p2))
    assert "0 to 8" in byol_loss.__doc__
    assert "v(z1) + v(z2)" in vicreg_loss.__doc__


# --- the order of composition --------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", labels("mixco+clae+dimcl", "mixco+clae", "mixco", "clae", "dimcl"))
def test_the_total_is_assembled_from_its_parts_in_the_stated_order(label):
    base, *names = label.split("+")
    method, pairs = shaken(label, strategies={name: WEIGHTS[name] for name in names})
    total, step = step_loss(method, pairs, images(base), streams())
    assert set(step.parts) == {"base", *names}
    assert all(not part.requires_grad and part.shape == () for part in step.parts.values())
    part = {name: step.parts.get(name, torch.zeros(())) for name in ("base", *ALL)}
    beta, alpha, share = (WEIGHTS[name]["weight"] if name in names else 0.0 for name in ALL)
    if base in ("swav", "dino"):
        # Four views: 3 * 2 clean cross entropies, and 2 mixed ones.
        inner = (6 * part["base"] + beta * 2 * part["mixco"]) / (6 + beta * 2)
    else:
        inner = part["base"] + beta * part["mixco"] * (2 if base == "byol" else 1)
    assert close(total, (1 - share) * (inner + alpha * part["clae"]) + share * part["dimcl"], 1e-12)


@pytest.mark.parametrize("base", ["swav", "dino"])
@pytest.mark.parametrize("small", [0, 1, 2, 4])
def test_codes_and_mixed_codes_are_averaged_as_equals(base, small):
    how = {"small": {"count": small, "size": 8, "scale": [0.1, 0.4]} if small else None}
    method, pairs = shaken(f"{base}+mixco", changes=how, strategies={"mixco": {"weight": 1.0}})
    large, little = images(base)[:2], [images(base, seed=7 + i)[2] for i in range(small)]
    total, step = step_loss(method, pairs, large + little, given={"mixco": LAM})
    terms = [
        reference_code(step.clean[coded].codes, emb.scores, 0.1)
        for coded in (0, 1)
        for view, emb in enumerate(step.clean)
        if view != coded
    ]
    terms += [
        reference_code(mixed_rows(step.clean[1 - view].codes, LAM[view]), step.mixed[view].scores, 0.5)
        for view in (0, 1)
    ]
    assert len(terms) == (2 + small - 1) * 2 + 2
    assert close(total, sum(terms) / len(terms))


# --- MixCo at its limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", labels("mixco"))
def test_a_temperature_of_001_is_finite_in_float32(label):
    base = base_of(label)
    method, pairs = shaken(label, strategies={"mixco": {"temperature": 0.01}})
    method.float()
    xs = images(base, dtype=torch.float32)
    loss, _ = step_loss(method, pairs, xs, given={"mixco": LAM})
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("label", of_each_kind("mixco"))
def test_an_odd_batch_with_mixco_is_an_error_that_says_what_to_do(label):
    method, pairs = networks(label)
    with pytest.raises(ValueError, match=r"7 images.*even batch"):
        step_loss(method, pairs, images(base_of(label), 7), streams())


@pytest.mark.parametrize("label", [*labels("clae"), *of_each_kind("dimcl")])
def test_odd_batches_are_fine_without_mixco(label):
    method, pairs = networks(label)
    loss, _ = step_loss(method, pairs, images(base_of(label), 7))
    assert loss.isfinite()


@pytest.mark.parametrize("label", labels("mixco+clae"))
def test_a_batch_of_four_is_enough_for_all_strategies(label):
    method, pairs = networks(label)
    loss, step = step_loss(method, pairs, images(base_of(label), 4), streams())
    loss.backward()
    assert loss.isfinite()
    assert all(len(emb.projection) == 2 for emb in step.mixed if emb is not None)
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
