"""Whole training steps of the released settings, against steps written from the papers' formulas in plain torch.

Every reference takes a copy of the same networks and does all of the step itself: forward passes in the released order,
loss, backward, gradient descent, queues and momentum encoders. Loss, gradients, weights and buffers are compared afterwards.
"""

import copy
import math

import pytest
import torch
from torch import nn

from sslpairs.config import recipes
from sslpairs.methods.barlowtwins import BarlowTwins
from sslpairs.methods.base import TrainProgress
from sslpairs.methods.byol import BYOL
from sslpairs.methods.moco import MoCo
from sslpairs.methods.mocoplus import MoCoPlus
from sslpairs.methods.plain import Plain
from sslpairs.methods.simclr import SimCLR
from sslpairs.methods.simsiam import SimSiam
from sslpairs.methods.swav import SwAV
from sslpairs.methods.uel import UEL
from sslpairs.methods.vicreg import VICReg
from sslpairs.pairs.base import Step
from sslpairs.pairs.clae import CLAE
from sslpairs.pairs.dimcl import DimCL, simple_contrast
from sslpairs.pairs.mixco import MixCo
from sslpairs.training.step import train_step

N, WIDTH, DIM, RATE = 8, 10, 6, 0.1
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
PROGRESS = TrainProgress(step=3, steps=10, epoch=1)
HEADS = {
    "plain head": {"hidden": [12], "output": DIM, "batch_norm": False, "last_batch_norm": False},
    "norm in head": {"hidden": [12], "output": DIM, "batch_norm": True, "last_batch_norm": False},
    "norm after head": {"hidden": [12], "output": DIM, "batch_norm": True, "last_batch_norm": True},
    "fixed norm after head": {"hidden": [12], "output": DIM, "batch_norm": True, "last_batch_norm": "fixed"},
    "linear head": {"hidden": [], "output": DIM, "batch_norm": False, "last_batch_norm": False},
}
seeds = pytest.mark.parametrize("seed", [0, 1])
two_heads = pytest.mark.parametrize("head", ["plain head", "norm in head"])


# --- networks and images ---------------------------------------------------------------------------------------------


def source(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, draws):
    return torch.randn(*shape, generator=draws, dtype=torch.float64)


def conv_network():
    first, second = (
        [nn.Conv2d(3, 7, 3, stride=2, padding=1), nn.BatchNorm2d(7), nn.ReLU()],
        [nn.Conv2d(7, WIDTH, 3), nn.BatchNorm2d(WIDTH)],
    )
    return nn.Sequential(*first, *second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@torch.no_grad()
def randomise(network, seed):
    """Other weights, affine values and running statistics everywhere, so that nothing is at its neutral value."""
    draws = source(seed)
    for module in network.modules():
        if isinstance(module, NORMS):
            if module.affine:
                module.weight.copy_(1 + 0.4 * normal(len(module.weight), draws=draws))
                module.bias.copy_(0.5 * normal(len(module.bias), draws=draws))
            module.running_mean.copy_(normal(len(module.running_mean), draws=draws))
            module.running_var.copy_(0.5 + normal(len(module.running_var), draws=draws).abs())
            module.num_batches_tracked.fill_(int(torch.randint(1, 9, (), generator=draws)))
        else:
            for parameter in module.parameters(recurse=False):
                fan = parameter[0].numel() if parameter.dim() > 1 else 4
                parameter.copy_(1.5 * normal(*parameter.shape, draws=draws) / math.sqrt(fan))
    return network


def make(method, seed, head="norm in head", **settings):
    """A base method in which every network, momentum encoders too, has random weights of its own."""
    kind = getattr(recipes, f"{method.__name__}Settings")
    made = method(kind(projector=HEADS[head], **settings), conv_network(), WIDTH).double().train()
    randomise(made, seed)
    last = [module for module in made.projector.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(torch.logspace(-1, 1, DIM).unsqueeze(1))  # columns of unequal scale
    return made


def images(seed, small=0):
    draws = source(100 + seed)
    common = normal(N, 3, 12, 12, draws=draws)
    large = [common + 0.7 * normal(N, 3, 12, 12, draws=draws) for _ in range(2)]
    return large + [common[..., :8, :8] + 0.7 * normal(N, 3, 8, 8, draws=draws) for _ in range(small)]


def shares(seed):
    draws = source(200 + seed)
    return {view: torch.rand(N // 2, generator=draws) for view in (0, 1)}


# --- comparison ------------------------------------------------------------------------------------------------------


def assert_same(name, value, expected):
    """To 1e-8 of the largest entry (an absolute 1e-8 would say little about small gradients), whole numbers exactly."""
    assert (value is None) == (expected is None), name
    if value is None:
        return
    if not value.is_floating_point():
        assert torch.equal(value, expected), name
        return
    floor = 1e-8 * min(1.0, expected.abs().max().item()) + 1e-11
    torch.testing.assert_close(value, expected, rtol=1e-8, atol=floor, msg=lambda text: f"{name}: {text}")


def assert_same_state(method, reference):
    """Gradients, weights, batch norms' statistics, queues and momentum encoders."""
    expected = dict(reference.named_parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 1e-4 for p in expected.values())
    for name, parameter in method.named_parameters():
        assert_same(f"gradient of {name}", parameter.grad, expected[name].grad)
    after = reference.state_dict()
    for name, value in method.state_dict().items():
        assert_same(name, value, after[name])


def assert_step_is(reference_step, method, strategy, xs, *, progress=PROGRESS, given=None):
    """Our step and the reference's, from the same state, give the same loss and leave the same state."""
    reference = copy.deepcopy(method)
    expected = reference_step(reference, xs)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], RATE)
    loss, _ = train_step(method, [strategy], xs, optimizer, progress=progress, given=given)
    assert_same("loss", loss, expected.detach())
    assert_same_state(method, reference)


# --- references: parts -----------------------------------------------------------------------------------------------


def unit(z):
    return z / z.square().sum(1, keepdim=True).sqrt()


def standardised(z):
    """What a batch norm without affine values does in training, with the biased variance."""
    return (z - z.mean(0)) / ((z - z.mean(0)).square().mean(0) + 1e-5).sqrt()


def one_hot_mixed(lam, columns):
    """Soft labels: lam at column i, 1 - lam at column i + N/2 (MIXCO simclr/pretrain.py:197)."""
    half = len(lam)
    labels = torch.zeros(half, columns, dtype=torch.float64)
    for i, share in enumerate(lam.double()):
        labels[i, i], labels[i, i + half] = share, 1 - share
    return labels


def mixture(x, lam):
    """Parents are i and i + N/2 (MIXCO simclr/pretrain.py:189-194)."""
    half = len(x) // 2
    return torch.stack([lam[i].double() * x[i] + (1 - lam[i].double()) * x[i + half] for i in range(half)])


def soft_cross_entropy(logits, labels):
    """Mean over rows of -sum y log softmax (MIXCO simclr/loss/mix_loss.py:10-14)."""
    logs = logits - logits.logsumexp(1, keepdim=True)
    return -(labels * logs).sum() / len(logits)


def contrast(z1, z2, temperature):
    """NT-Xent: mean over the 2N rows, cosines (MIXCO simclr/loss/nt_xent.py:47-66)."""
    count, z = len(z1), unit(torch.cat([z1, z2]))
    similar = (z @ z.T / temperature).exp()
    below = similar.sum(1) - similar.diagonal()
    positives = torch.cat([similar.diagonal(count), similar.diagonal(-count)])
    return -(positives / below).log().mean()


def against_queue(queries, keys, queue, temperature):
    """The own key is the first column, the queue are the others (MIXCO moco/models/encoder.py:213-228)."""
    logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ queue.T], 1) / temperature
    return -(logits[:, 0] - logits.logsumexp(1)).mean()


def dimensions(z1, z2, temperature):
    """Columns as instances: Pearson correlations in NT-Xent's place (DIMCL solo/losses/oursloss.py:48-80)."""
    return contrast(standardised(z1).T, standardised(z2).T, temperature)


def cosine(a, b):
    return (unit(a) * unit(b)).sum(1).mean()


def momentum_at(first, last, progress):
    """Cosine from the first to the last value (SOLO solo/utils/momentum.py, update_tau)."""
    return last - (last - first) * (math.cos(math.pi * progress.step / progress.steps) + 1) / 2


@torch.no_grad()
def follow(follower, leader, momentum):
    """Parameters only (MIXCO moco/models/encoder.py, SOLO solo/utils/momentum.py)."""
    for mine, theirs in zip(follower.parameters(), leader.parameters(), strict=True):
        mine.copy_(momentum * mine + (1 - momentum) * theirs)


@torch.no_grad()
def descend(parameters):
    for parameter in parameters:
        if parameter.grad is not None:
            parameter -= RATE * parameter.grad


def project(network, x):
    return network.projector(network.backbone(x))


# --- MixCo -----------------------------------------------------------------------------------------------------------


@seeds
@two_heads
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_simclr_with_mixco_adds_the_mean_of_two_soft_terms_from_two_more_forwards(seed, head, weight):
    lam = shares(seed)

    def reference_step(ref, xs):
        """MIXCO simclr/pretrain.py:183-204; gradient into both sides."""
        z = [project(ref, x) for x in xs]
        mixed = [project(ref, mixture(x, lam[view])) for view, x in enumerate(xs)]
        terms = [
            soft_cross_entropy(unit(mixed[view]) @ unit(z[1 - view]).T / 0.2, one_hot_mixed(lam[view], N))
            for view in (0, 1)
        ]
        loss = contrast(*z, 0.5) + weight * (terms[0] + terms[1]) / 2
        loss.backward()
        descend(ref.parameters())
        return loss

    method = make(SimCLR, seed, head, temperature=0.5)
    mixco = MixCo(recipes.MixCoSettings(temperature=0.2, weight=weight, alpha=None, hard_codes=False))
    assert_step_is(reference_step, method, mixco, images(seed), given={"mixco": lam})


@seeds
@two_heads
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_moco_with_mixco_shares_one_batch_and_moves_the_key_encoder_first(seed, head, weight):
    lam, size, place = shares(seed), 24, 16

    def reference_step(ref, xs):
        """MIXCO moco/models/encoder.py:141-228, moco/utils/loss_fn.py:25-34."""
        momentum = momentum_at(0.8, 0.95, PROGRESS)
        follow(ref.key_backbone, ref.backbone, momentum)
        follow(ref.key_projector, ref.projector, momentum)
        z = unit(project(ref, torch.cat([xs[0], mixture(xs[0], lam[0])])))
        queries, mixed = z[:N], z[N:]
        with torch.no_grad():
            keys = unit(ref.key_projector(ref.key_backbone(xs[1])))
        queue = ref.queue[0].clone()
        logits = torch.cat([mixed @ keys.T, mixed @ queue.T], 1) / 0.3
        mixed_term = soft_cross_entropy(logits, one_hot_mixed(lam[0], N + size))
        loss = against_queue(queries, keys, queue, 0.2) + weight * mixed_term
        loss.backward()
        descend(ref.parameters())
        ref.queue[0, place : place + N] = keys
        ref.oldest.fill_((place + N) % size)
        return loss

    method = make(MoCo, seed, head, temperature=0.2, queue=size, momentum=[0.8, 0.95])
    method.oldest.fill_(place)
    mixco = MixCo(recipes.MixCoSettings(temperature=0.3, weight=weight, alpha=None, hard_codes=False))
    assert_step_is(reference_step, method, mixco, images(seed), given={"mixco": {0: lam[0]}})


def sinkhorn_codes(scores):
    """Rows (prototypes) and columns (images) of exp(S / eps) in turn to equal sums; MIXCO swav/main_swav.py."""
    shared = (scores / 0.05).exp().T
    shared = shared / shared.sum()
    for _ in range(3):
        shared = shared / shared.sum(1, keepdim=True) / len(shared)
        shared = shared / shared.sum(0, keepdim=True) / shared.shape[1]
    return (shared / shared.sum(0, keepdim=True)).T


def swav_reference(lam, *, use_queue, fill_queue, hard, frozen):
    """MIXCO swav/src/resnet.py:389-413 (forwards), swav/main_swav.py:417-436 (loss)."""

    def head(ref, h):
        z = unit(ref.projector(h))
        return z, z @ ref.prototypes.weight.T

    def reference_step(ref, xs):
        with torch.no_grad():
            ref.prototypes.weight.copy_(unit(ref.prototypes.weight))
        mixed_features = [ref.backbone(mixture(xs[view], lam[view])) for view in (0, 1)]
        large, small = ref.backbone(torch.cat(xs[:2])), ref.backbone(torch.cat(xs[2:]))
        z, scores = head(ref, torch.cat([large, small]))
        mixed_scores = [head(ref, h)[1] for h in mixed_features]
        z, scores = z.detach().split(N), scores.split(N)
        codes = []
        for view in (0, 1):
            known = scores[view].detach()
            if use_queue:
                known = torch.cat([ref.queue[view] @ ref.prototypes.weight.detach().T, known])
            codes.append(sinkhorn_codes(known)[-N:])
        pairs = [(codes[a], scores[b], 0.1) for a in (0, 1) for b in range(4) if b != a]
        for view in (0, 1):
            other = codes[1 - view]
            if hard:
                other = torch.eye(other.shape[1], dtype=other.dtype)[other.argmax(1)]
            pairs.append((mixture(other, lam[view]), mixed_scores[view], 0.25))
        loss = sum(soft_cross_entropy(s / temperature, q) for q, s, temperature in pairs) / ((4 - 1) * 2 + 2)
        loss.backward()
        if frozen:
            ref.prototypes.weight.grad = None
        descend(ref.parameters())
        if fill_queue:
            for view in (0, 1):
                ref.queue[view] = torch.cat([z[view], ref.queue[view, :-N]])
        return loss

    return reference_step


@seeds
@two_heads
@pytest.mark.parametrize("hard", [False, True], ids=["soft codes", "hard codes"])
@pytest.mark.parametrize("queue", ["none", "filling", "full", "full, not yet filled again"])
@pytest.mark.parametrize("step", [1, 2], ids=["frozen prototypes", "free prototypes"])
def test_swav_with_mixco_is_the_mean_of_eight_cross_entropies(seed, head, hard, queue, step):
    lam, size = shares(seed), 3 * N
    small = {"count": 2, "size": 8, "scale": [0.1, 0.4]}
    method = make(
        SwAV,
        seed,
        head,
        prototypes=9,
        temperature=0.1,
        epsilon=0.05,
        iterations=3,
        queue=None if queue == "none" else size,
        queue_from_epoch=2 if queue == "full, not yet filled again" else 1,
        freeze_steps=2,
        small=small,
    )
    if queue != "none":
        for view in (0, 1):
            method.queue[view] = unit(normal(size, DIM, draws=source(300 + seed + view)))
        if queue == "filling":
            method.queue[:, -N:] = 0
    reference_step = swav_reference(
        lam,
        use_queue=queue.startswith("full"),
        fill_queue=queue in ("filling", "full"),
        hard=hard,
        frozen=step < 2,
    )
    mixco = MixCo(recipes.MixCoSettings(temperature=0.25, weight=1.0, alpha=None, hard_codes=hard))
    progress = TrainProgress(step=step, steps=10, epoch=1)
    assert_step_is(reference_step, method, mixco, images(seed, small=2), progress=progress, given={"mixco": lam})


# --- DimCL -----------------------------------------------------------------------------------------------------------


def simclr_base(ref, xs):
    """DIMCL solo/methods/simclr.py:132-151."""
    z = [project(ref, x) for x in xs]
    return contrast(*z, 0.2), z


def barlow_base(ref, xs):
    """SOLO solo/losses/barlow.py: scale * (diagonal + lamb * rest) of the cross-correlations."""
    z = [project(ref, x) for x in xs]
    differences = (standardised(z[0]).T @ standardised(z[1]) / N - torch.eye(DIM)).square()
    on = differences.diagonal().sum()
    return 0.1 * (on + 0.02 * (differences.sum() - on)), z


def vicreg_base(ref, xs):
    """SOLO solo/losses/vicreg.py: unbiased variances and covariances, variance terms summed over the views."""
    z = [project(ref, x) for x in xs]
    loss = 7.0 * (z[0] - z[1]).square().sum() / (N * DIM)
    for one in z:
        centred = one - one.mean(0)
        covariance = centred.T @ centred / (N - 1)
        hinge = (1 - (covariance.diagonal() + 1e-4).sqrt()).clamp(min=0)
        if not isinstance(ref.projector.layers[-1], NORMS):
            assert 0 < (hinge > 0).sum() < DIM  # both sides of the hinge are in the test
        off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
        loss = loss + 11.0 * hinge.sum() / DIM + 3.0 * off_diagonal / DIM
    return loss, z


def simsiam_base(second_norm):
    """DIMCL solo/methods/simsiam.py:145-163: standardised once more before the predictor, but not for DimCL."""

    def base(ref, xs):
        z = [project(ref, x) for x in xs]
        compared = [standardised(one) for one in z] if second_norm else z
        p = [ref.predictor(one) for one in compared]
        return -cosine(p[0], compared[1].detach()) / 2 - cosine(p[1], compared[0].detach()) / 2, z

    return base


def byol_base(ref, xs):
    """DIMCL solo/methods/byol.py:156-176: both directions of 2 - 2 cos, summed; z is the online projection."""
    z = [project(ref, x) for x in xs]
    p = [ref.predictor(one) for one in z]
    with torch.no_grad():
        targets = [ref.target_projector(ref.target_backbone(x)) for x in xs]
    return 2 - 2 * cosine(p[1], targets[0]) + 2 - 2 * cosine(p[0], targets[1]), z


def moco_plus_base(ref, xs):
    """DIMCL solo/methods/mocov2plus.py:183-205: q1 asks k2 and the queue of view 2; q2 asks k1 and the queue of view 1."""
    z = [project(ref, x) for x in xs]
    with torch.no_grad():
        ref.made_keys = [unit(ref.key_projector(ref.key_backbone(x))) for x in xs]
    queues, keys = ref.queue.clone(), ref.made_keys
    first = against_queue(unit(z[0]), keys[1], queues[1], 0.2)
    second = against_queue(unit(z[1]), keys[0], queues[0], 0.2)
    return (first + second) / 2, z


def follow_target(ref):
    """After the optimiser (SOLO solo/methods/base.py, on_train_batch_end)."""
    momentum = momentum_at(0.9, 1.0, PROGRESS)
    follow(ref.target_backbone, ref.backbone, momentum)
    follow(ref.target_projector, ref.projector, momentum)


def enqueue_and_follow_keys(ref):
    """Both queues at the common pointer; the key encoder after the optimiser (SOLO solo/methods/base.py)."""
    for view in (0, 1):
        ref.queue[view, 16:24] = ref.made_keys[view]
    ref.oldest.fill_(0)
    momentum = momentum_at(0.8, 0.95, PROGRESS)
    follow(ref.key_backbone, ref.backbone, momentum)
    follow(ref.key_projector, ref.projector, momentum)


PREDICTOR = HEADS["norm in head"]
MOCO_PLUS = {"temperature": 0.2, "queue": 24, "momentum": [0.8, 0.95]}
SIMSIAM = {"predictor": PREDICTOR, "constant_predictor_rate": False}
UNDER_DIMCL = {
    "simclr": (SimCLR, {"temperature": 0.2}, simclr_base, None),
    "mocov2+": (MoCoPlus, MOCO_PLUS, moco_plus_base, enqueue_and_follow_keys),
    "byol": (BYOL, {"momentum": [0.9, 1.0], "predictor": PREDICTOR}, byol_base, follow_target),
    "simsiam": (SimSiam, SIMSIAM | {"second_norm": False}, simsiam_base(False), None),
    "simsiam with a second norm": (SimSiam, SIMSIAM | {"second_norm": True}, simsiam_base(True), None),
    "barlow twins": (BarlowTwins, {"lamb": 0.02, "scale": 0.1}, barlow_base, None),
    "vicreg": (VICReg, {"sim": 7.0, "var": 11.0, "cov": 3.0}, vicreg_base, None),
}


@seeds
@pytest.mark.parametrize("head", ["plain head", "norm in head", "norm after head", "fixed norm after head"])
@pytest.mark.parametrize("weight", [0.1, 0.6])
@pytest.mark.parametrize("base", UNDER_DIMCL)
def test_dimcl_is_a_convex_combination_on_raw_projections(seed, head, weight, base):
    kind, settings, base_loss, afterwards = UNDER_DIMCL[base]

    def reference_step(ref, xs):
        """DIMCL solo/methods/byol.py:176 and the five others."""
        value, z = base_loss(ref, xs)
        loss = weight * dimensions(*z, 0.15) + (1 - weight) * value
        loss.backward()
        descend(ref.parameters())
        if afterwards:
            afterwards(ref)
        return loss

    method = make(kind, seed, head, **settings)
    if kind is MoCoPlus:
        method.oldest.fill_(16)
    assert_step_is(reference_step, method, DimCL(recipes.DimCLSettings(weight=weight, temperature=0.15)), images(seed))


def simple_dimensions(z1, z2, weight):
    """Entry by entry: -(mean of the diagonal + weight * the off-diagonal's sum over D * D) (DIMCL solo/losses/oursloss.py:142-175)."""
    first, second = standardised(z1), standardised(z2)
    width, on, off = z1.shape[1], 0.0, 0.0
    for i in range(width):
        for j in range(width):
            product = (first[:, i] * second[:, j]).sum()
            on, off = (on + product, off) if i == j else (on, off + product)
    return -(on / width + weight * off / width**2)


@seeds
@pytest.mark.parametrize("head", ["plain head", "norm after head"])
@pytest.mark.parametrize(("off_diagonal", "meant"), [(None, 1.0), (0.0, 0.0), (-0.7, -0.7)])
@pytest.mark.parametrize("base", ["simclr", "byol"])
def test_simple_dimcl_has_products_in_place_of_the_contrast(seed, head, off_diagonal, meant, base):
    kind, settings, base_loss, afterwards = UNDER_DIMCL[base]

    def reference_step(ref, xs):
        value, z = base_loss(ref, xs)
        loss = 0.3 * simple_dimensions(*z, meant) + 0.7 * value
        loss.backward()
        descend(ref.parameters())
        if afterwards:
            afterwards(ref)
        return loss

    given = recipes.DimCLSettings(weight=0.3, temperature=0.15, loss="simple", off_diagonal=off_diagonal)
    for how in (given, given.under(None)):  # as in a recipe, and as in a run's specification
        assert_step_is(reference_step, make(kind, seed, head, **settings), DimCL(how), images(seed))


@pytest.mark.parametrize("width", [1, 3, 20])
def test_the_simple_loss_of_equal_views_is_minus_the_number_of_images(width):
    z = normal(N, width, draws=source(7))
    wide = 1e3 * z  # the norm's 1e-5 vanishes
    assert_same("diagonal", simple_contrast(wide, wide, 0.0), torch.tensor(-float(N), dtype=torch.float64))
    assert_same("reference", simple_contrast(z, z.flip(0), 1.5), simple_dimensions(z, z.flip(0), 1.5))


def test_the_simple_losss_sign_is_the_released_one_which_rewards_correlated_dimensions():
    z = normal(N, 1, draws=source(8)).repeat(1, 5)
    apart = normal(N, 5, draws=source(9))
    assert simple_contrast(z, z, 1.0) < simple_contrast(apart, apart, 1.0) - 1
    assert simple_contrast(z, z, -1.0) > simple_contrast(apart, apart, -1.0) + 1


# --- CLAE ------------------------------------------------------------------------------------------------------------


def simclr_objective(z1, z2):
    """CLAE SimCLR/modules/nt_xent.py."""
    return contrast(z1, z2, 0.5)


def uel_objective(m):
    """CLAE UEL/BatchAverage.py:21-71; every product has its gradient in the first factor."""

    def objective(z1, z2):
        x = torch.cat([unit(z1), unit(z2)])
        rows = len(x)
        similar = (x @ x.detach().T / 0.1).exp()
        total = 0.0
        for i in range(rows):
            positive = (i + rows // 2) % rows
            rest = [j for j in range(rows) if j not in (i, positive)]
            below = similar[i, rest].sum() * m + similar[i, positive]
            total = total + (similar[i, positive] / below).log() + m * (1 - similar[i, rest] / below).log().sum()
        return -total / rows

    return objective


def plain_objective(z1, z2):
    """CLAE Plain/main.py:69-83; one direction, gradient into both sides."""
    similar = (unit(z1) @ unit(z2).T / 0.1).exp()
    return -(similar.diagonal() / similar.sum(1)).log().mean()


UNDER_CLAE = {
    "simclr": (SimCLR, {"temperature": 0.5}, simclr_objective, 2),
    "uel": (UEL, {"temperature": 0.1, "m": 1.0}, uel_objective(1.0), 2),
    "uel with heavier negatives": (UEL, {"temperature": 0.1, "m": 1.7}, uel_objective(1.7), 2),
    "plain": (Plain, {"temperature": 0.1}, plain_objective, 3),
}
bases_under_clae = pytest.mark.parametrize("base", UNDER_CLAE)


def main_and_adversarial(method, seed):
    """Two networks with norms of their own and all other parameters in common."""
    main = copy.deepcopy(method)
    adversarial = randomise(copy.deepcopy(method), seed + 50)
    for name, module in adversarial.named_modules():
        if isinstance(module, NORMS):
            module.momentum = 0.01
        else:
            for parameter in [*module._parameters]:
                module._parameters[parameter] = main.get_submodule(name)._parameters[parameter]
    return main, adversarial


def place_of(name, main, adversarial):
    """Which of the two networks a name under CLAE belongs to, and its name there."""
    network = adversarial if ".adversarial." in name else main
    return network, name.replace(".adversarial.", ".").replace(".main.", ".")


def wrapped(method, main, adversarial, epsilon, weight):
    """The method under CLAE, in the state of the two networks."""
    how = {"batch_norm_momentum": 0.01, "clip": False, "attack_updates_norms": True}
    clae = CLAE(recipes.CLAESettings(epsilon=epsilon, weight=weight, **how))
    clae.wrap(method)
    state = {}
    for name in method.state_dict():
        network, inner = place_of(name, main, adversarial)
        state[name] = network.state_dict()[inner].clone()
    method.load_state_dict(state)
    return clae


def attacked(adversarial, x, objective, epsilon):
    """Upwards, from the image itself, all in the adversarial norms (CLAE SimCLR/main.py:48-61)."""
    anchor, moved = project(adversarial, x), x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(objective(anchor, project(adversarial, moved)), moved)
    assert grad.abs().min() > 1e-12 * grad.abs().max()  # no sign is a matter of rounding
    return x + epsilon * torch.sign(grad)


@seeds
@bases_under_clae
@pytest.mark.parametrize("head", ["plain head", "norm in head", "linear head"])
@pytest.mark.parametrize(("epsilon", "alpha"), [(0.03, 1.0), (0.2, 0.4)])
def test_clae_attacks_view_one_and_trains_on_it_with_norms_of_its_own(seed, base, head, epsilon, alpha):
    kind, settings, objective, main_batches = UNDER_CLAE[base]
    method, xs = make(kind, seed, head, **settings), images(seed)
    main, adversarial = main_and_adversarial(method, seed)
    clae = wrapped(method, main, adversarial, epsilon, alpha)
    before = {name: value.clone() for name, value in method.state_dict().items()}

    # CLAE SimCLR/main.py and UEL/main.py, train; Plain/main.py:69-83, which embeds view 1 again
    z1, z2 = project(main, xs[0]), project(main, xs[1])
    attack = attacked(adversarial, xs[0], objective, epsilon)
    z_attack = project(adversarial, attack)
    again = project(main, xs[0]) if kind is Plain else z1
    expected = objective(z1, z2) + alpha * objective(again, z_attack)
    expected.backward()
    descend({id(p): p for p in [*main.parameters(), *adversarial.parameters()]}.values())

    seen = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    loss, _ = train_step(method, [clae], xs, torch.optim.SGD(method.parameters(), RATE), progress=PROGRESS)
    (ours,) = [x for x in seen if not torch.equal(x, xs[0]) and not torch.equal(x, xs[1])]
    assert torch.equal((ours - xs[0]).sign(), (attack - xs[0]).sign())
    assert torch.equal(ours, attack)
    assert_same("loss", loss, expected.detach())
    for name, parameter in method.named_parameters():
        network, inner = place_of(name, main, adversarial)
        assert parameter.grad is not None
        assert_same(f"gradient of {name}", parameter.grad, network.get_parameter(inner).grad)
    for name, value in method.state_dict().items():
        network, inner = place_of(name, main, adversarial)
        assert_same(name, value, network.state_dict()[inner])
        if name.endswith("num_batches_tracked"):
            assert value - before[name] == (3 if ".adversarial." in name else main_batches)


@seeds
@bases_under_clae
def test_clae_perturb_changes_signs_only_as_the_gradient_says_and_no_parameter_gradient(seed, base):
    kind, settings, objective, _ = UNDER_CLAE[base]
    method, xs = make(kind, seed, **settings), images(seed)
    main, adversarial = main_and_adversarial(method, seed)
    clae = wrapped(method, main, adversarial, 0.07, 1.0)
    clean, _ = method.views(xs, [None, None])
    draws = source(400 + seed)
    marks = {name: normal(*p.shape, draws=draws) for name, p in method.named_parameters()}
    for name, parameter in method.named_parameters():
        parameter.grad = marks[name].clone()
    statistics = {name: value.clone() for name, value in method.named_buffers() if ".main." in name}
    ours = clae.perturb(Step(method, xs, clean=clean))
    assert torch.equal(ours, attacked(adversarial, xs[0], objective, 0.07))
    assert not ours.requires_grad
    assert all(torch.equal(p.grad, marks[name]) for name, p in method.named_parameters())
    buffers = dict(method.named_buffers())
    assert all(torch.equal(buffers[name], value) for name, value in statistics.items())
    for name, value in buffers.items():
        if ".adversarial." in name:
            assert_same(name, value, adversarial.get_buffer(name.replace(".adversarial.", ".")))


@seeds
@bases_under_clae
@pytest.mark.parametrize("head", ["plain head", "norm in head"])
@pytest.mark.parametrize("updates", [True, False], ids=["attack moves statistics", "attack leaves statistics"])
def test_clae_with_one_set_of_norms_moves_their_statistics_with_all_images_in_turn(seed, base, head, updates):
    kind, settings, objective, main_batches = UNDER_CLAE[base]
    method, xs = make(kind, seed, head, **settings), images(seed)
    made = []

    def reference_step(ref, xs):
        """The released step with f_a = f_m: clean views, attack from view 1, attacked view, and in Plain view 1 again."""
        z1, z2 = project(ref, xs[0]), project(ref, xs[1])
        attack = attacked(ref if updates else copy.deepcopy(ref), xs[0], objective, 0.2)
        made.append(attack)
        z_attack = project(ref, attack)
        again = project(ref, xs[0]) if kind is Plain else z1
        loss = objective(z1, z2) + 0.4 * objective(again, z_attack)
        loss.backward()
        descend(ref.parameters())
        return loss

    how = {"batch_norm_momentum": None, "clip": False, "attack_updates_norms": updates, "separate_norms": False}
    clae, names = CLAE(recipes.CLAESettings(epsilon=0.2, weight=0.4, **how)), list(method.state_dict())
    clae.wrap(method)
    assert list(method.state_dict()) == names, "no second set"
    before = method.backbone[1].num_batches_tracked.clone()
    inner = clae.perturb
    clae.perturb = lambda step: made.append(inner(step)) or made[-1]
    assert_step_is(reference_step, method, clae, xs)
    assert torch.equal(*made), "the reference's attack and ours"
    assert method.backbone[1].num_batches_tracked - before == main_batches + 1 + 2 * updates
    weights = method.backbone.state_dict()
    assert clae.unwrap(weights) is weights
    assert all(norm.momentum == 0.1 for norm in method.modules() if isinstance(norm, NORMS))
