"""Base methods against references in float64 that are written row by row from the formulas, and against lightly."""

import copy
import math

import lightly.loss
import numpy as np
import pytest
import torch
from test_losses import close, cosine, gradients, rows, same_gradients
from tiny import METHODS, networks, tiny_spec

from sslpairs.backbones import checkpoint
from sslpairs.files import write_atomic
from sslpairs.methods.barlowtwins import barlow_loss
from sslpairs.methods.base import Embeddings, TrainProgress
from sslpairs.methods.byol import byol_loss
from sslpairs.methods.codes import code_loss
from sslpairs.methods.dino import DINOHead
from sslpairs.methods.nnclr import neighbour_contrast
from sslpairs.methods.plain import plain_loss
from sslpairs.methods.queues import enqueue
from sslpairs.methods.simsiam import simsiam_loss
from sslpairs.methods.uel import uel_loss
from sslpairs.methods.vicreg import vicreg_loss
from sslpairs.training.step import step_loss, train_step

SIZES = [(2, 3), (6, 4), (5, 9), (7, 5)]
FOLLOWERS = ("key_", "target_", "teacher_")


def units(count, width, seed=0):
    z = rows(count, width, seed)
    return z / z.norm(dim=1, keepdim=True)


def images(base, count=8, seed=0, dtype=torch.float64):
    """Two large views, and two small ones for the methods that are trained with them."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [16, 16] + [8] * (METHODS[base].get("small") or {"count": 0})["count"]
    return [torch.randn(count, 1, size, size, generator=generator, dtype=dtype) for size in sizes]


def order_of(count, seed=0):
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


# --- references: loops over rows and elements, differentiable ------------------------------------------------------


def reference_plain(u1, u2, temperature):
    total = 0.0
    for i in range(len(u1)):
        logits = torch.stack([torch.dot(u1[i], u2[j]) / temperature for j in range(len(u2))])
        total = total - (logits[i] - logits.exp().sum().log())
    return total / len(u1)


def reference_uel(u1, u2, temperature, m=1.0):
    x, count = [*u1, *u2], len(u1)
    total = 0.0
    for i in range(2 * count):
        positive = (i + count) % (2 * count)
        s = [torch.exp(torch.dot(x[i], x[j].detach()) / temperature) for j in range(2 * count)]
        others = [j for j in range(2 * count) if j not in (i, positive)]
        below = s[positive] + m * sum(s[j] for j in others)
        total = total - torch.log(s[positive] / below)
        for j in others:
            total = total - m * torch.log(1 - s[j] / below)
    return total / (2 * count)


def reference_simsiam(p1, p2, z1, z2):
    count = len(p1)
    total = 0.0
    for i in range(count):
        total = total - cosine(p1[i], z2[i].detach()) / 2 - cosine(p2[i], z1[i].detach()) / 2
    return total / count


def reference_barlow(z1, z2, lamb, scale):
    count, width = z1.shape
    columns = []
    for z in (z1, z2):
        kept = []
        for d in range(width):
            mean = sum(z[:, d]) / count
            variance = sum((v - mean) ** 2 for v in z[:, d]) / count
            kept.append([(v - mean) / torch.sqrt(variance + 1e-5) for v in z[:, d]])
        columns.append(kept)
    total = 0.0
    for d in range(width):
        for e in range(width):
            c = sum(columns[0][d][i] * columns[1][e][i] for i in range(count)) / count
            total = total + ((c - 1) ** 2 if d == e else lamb * c**2)
    return scale * total


def reference_vicreg(z1, z2, sim=25.0, var=25.0, cov=1.0):
    count, width = z1.shape
    invariance = sum((z1[i, d] - z2[i, d]) ** 2 for i in range(count) for d in range(width)) / (count * width)
    variance = covariance = 0.0
    for z in (z1, z2):
        centred = [[z[i, d] - sum(z[:, d]) / count for i in range(count)] for d in range(width)]
        for d in range(width):
            deviation = torch.sqrt(sum(v**2 for v in centred[d]) / (count - 1) + 1e-4)
            variance = variance + torch.clamp(1 - deviation, min=0) / width
            for e in range(width):
                if d != e:
                    c = sum(a * b for a, b in zip(centred[d], centred[e], strict=True)) / (count - 1)
                    covariance = covariance + c**2 / width
    return sim * invariance + var * variance + cov * covariance


def reference_neighbour(neighbours, predictions, temperature):
    total = 0.0
    for i in range(len(neighbours)):
        logits = torch.stack([cosine(neighbours[i], p) / temperature for p in predictions])
        total = total - (logits[i] - torch.logsumexp(logits, 0))
    return total / len(neighbours)


def nearest_rows(z, queue):
    """For each row the row of the queue with the largest cosine, searched one by one."""
    found = []
    for row in z.detach():
        best = max(range(len(queue)), key=lambda k: cosine(row, queue[k]).item())
        found.append(queue[best])
    return torch.stack(found)


def reference_code(codes, scores, temperature):
    total = 0.0
    for q, s in zip(codes, scores, strict=True):
        logits = s / temperature
        below = torch.logsumexp(logits, 0)
        for k in range(len(q)):
            total = total - q[k] * (logits[k] - below)
    return total / len(codes)


def reference_sinkhorn(scores, epsilon=0.05, iterations=3):
    """Sinkhorn and Knopp in numpy: every prototype gets an equal share of the images, every image is one in all."""
    count, prototypes = scores.shape
    table = np.exp(scores.detach().numpy() / epsilon)
    for _ in range(iterations):
        for k in range(prototypes):
            table[:, k] /= table[:, k].sum() * prototypes
        for i in range(count):
            table[i] /= table[i].sum() * count
    return torch.from_numpy(table * count)


def reference_teacher(outputs, center, temperature):
    found = []
    for t in outputs.detach():
        shares = torch.exp((t - center) / temperature)
        found.append(shares / shares.sum())
    return torch.stack(found)


def reference_codes_loss(codes, scores, temperature):
    """Codes of the two large views; the mean over all pairs of a code and another view's scores."""
    terms = [
        reference_code(codes[coded], scores[view], temperature)
        for coded in range(2)
        for view in range(len(scores))
        if view != coded
    ]
    return sum(terms) / len(terms)


# --- Plain ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_plain_loss_sets_each_row_of_view_1_against_all_rows_of_view_2(size, temperature):
    u1, u2 = units(*size, 1), units(*size, 2)
    assert plain_loss(u1, u2, temperature).dtype == torch.float64
    assert close(plain_loss(u1, u2, temperature), reference_plain(u1, u2, temperature))
    same_gradients(lambda a, b: plain_loss(a, b, temperature), lambda a, b: reference_plain(a, b, temperature), u1, u2)


def test_plain_loss_has_its_numerical_gradient_in_both_views():
    views = [units(4, 3, seed).requires_grad_() for seed in (1, 2)]
    assert torch.autograd.gradcheck(lambda a, b: plain_loss(a, b, 0.2), views)


@pytest.mark.parametrize(("count", "temperature"), [(2, 1.0), (5, 0.1), (7, 0.5)])
def test_plain_loss_of_orthonormal_identical_views_is_what_one_works_out_by_hand(count, temperature):
    u = torch.eye(count, dtype=torch.float64)
    assert close(plain_loss(u, u, temperature), math.log(1 + (count - 1) * math.exp(-1 / temperature)))


def test_plain_loss_goes_one_way_and_ignores_the_order_of_images():
    u1, u2 = units(7, 4, 1), units(7, 4, 2)
    value, order = plain_loss(u1, u2, 0.1), order_of(7)
    assert close(plain_loss(u1[order], u2[order], 0.1), value)
    assert not close(plain_loss(u2, u1, 0.1), value, 1e-3)
    assert not close(plain_loss(u1[order], u2, 0.1), value, 1e-3)


# --- UEL -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [1.0, 0.7, 3.0])
@pytest.mark.parametrize("temperature", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_uel_loss_pulls_the_other_view_and_pushes_all_others(size, temperature, m):
    u1, u2 = units(*size, 1), units(*size, 1) + 0.3 * rows(*size, 2)
    u2 = u2 / u2.norm(dim=1, keepdim=True)
    assert uel_loss(u1, u2, temperature, m).dtype == torch.float64
    assert close(uel_loss(u1, u2, temperature, m), reference_uel(u1, u2, temperature, m))
    same_gradients(
        lambda a, b: uel_loss(a, b, temperature, m), lambda a, b: reference_uel(a, b, temperature, m), u1, u2
    )


def test_uel_loss_at_the_papers_temperature_is_the_reference():
    u1, u2 = units(6, 8, 1), units(6, 8, 2)
    assert close(uel_loss(u1, u2, 0.1), reference_uel(u1, u2, 0.1))
    same_gradients(lambda a, b: uel_loss(a, b, 0.1), lambda a, b: reference_uel(a, b, 0.1), u1, u2)


def test_uel_loss_has_its_gradient_in_the_first_factor_only():
    u1, u2 = units(4, 5, 1), units(4, 5, 2)
    frozen = torch.cat([u1, u2])

    def first_factors_vary(a, b):
        # The same sum with a second factor that is a constant from the start: its full gradient is wanted.
        x, total = torch.cat([a, b]), 0.0
        for i in range(8):
            s = [torch.exp(torch.dot(x[i], frozen[j]) / 0.3) for j in range(8)]
            below = sum(s) - s[i]
            total = total - torch.log(s[(i + 4) % 8] / below)
            for j in range(8):
                if j not in (i, (i + 4) % 8):
                    total = total - torch.log(1 - s[j] / below)
        return total / 8

    same_gradients(lambda a, b: uel_loss(a, b, 0.3), first_factors_vary, u1, u2)
    views = [u.clone().requires_grad_() for u in (u1, u2)]
    assert torch.autograd.gradcheck(first_factors_vary, views)


@pytest.mark.parametrize(("count", "temperature", "m"), [(2, 1.0, 1.0), (5, 0.3, 1.0), (4, 0.5, 2.5)])
def test_uel_loss_of_orthonormal_identical_views_is_what_one_works_out_by_hand(count, temperature, m):
    u = torch.eye(count, dtype=torch.float64)
    positive, others = math.exp(1 / temperature), 2 * (count - 1)
    below = positive + m * others
    by_hand = -math.log(positive / below) - m * others * math.log(1 - 1 / below)
    assert close(uel_loss(u, u, temperature, m), by_hand)


def test_uel_loss_ignores_views_and_the_order_of_images():
    u1, u2 = units(7, 4, 1), units(7, 4, 2)
    value, order = uel_loss(u1, u2, 0.2, 1.5), order_of(7)
    assert close(uel_loss(u2, u1, 0.2, 1.5), value)
    assert close(uel_loss(u1[order], u2[order], 0.2, 1.5), value)
    assert not close(uel_loss(u1[order], u2, 0.2, 1.5), value, 1e-3)


@pytest.mark.parametrize("m", [1.0, 4.0])
@pytest.mark.parametrize("temperature", [0.1, 0.05, 0.01, 0.003])
def test_uel_loss_stays_finite_in_float32_at_small_temperatures(temperature, m):
    u = units(8, 4, 1).float()
    # Each image twice in view 1 and elsewhere in view 2: negatives as near as one can be, shares of 1.
    u1, u2 = u[[0, 0, 2, 2, 4, 4, 6, 6]].requires_grad_(), u.roll(1, 0).requires_grad_()
    loss = uel_loss(u1, u2, temperature, m)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert u1.grad.isfinite().all()
    assert u2.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.1, 0.02, 0.01, 0.005])
def test_uel_loss_of_orthogonal_images_has_finite_gradients_in_float32(temperature):
    # A row's inner product with itself is then 1 / T above all others, beyond what a float32 can hold as exp.
    u = torch.eye(8)
    views = [u[:4].clone().requires_grad_(), u[4:].clone().requires_grad_()]
    loss = uel_loss(*views, temperature)
    loss.backward()
    assert close(loss, math.log(7) - 6 * math.log(1 - 1 / 7), 1e-5)
    assert all(view.grad.isfinite().all() for view in views)


def test_uel_loss_of_half_precision_is_computed_in_float32():
    u1, u2 = (units(6, 8, seed).to(torch.bfloat16) for seed in (1, 2))
    loss = uel_loss(u1, u2, 0.1)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, uel_loss(u1.float(), u2.float(), 0.1))
    assert close(loss, reference_uel(u1.double(), u2.double(), 0.1), 1e-5)


# --- SimSiam, BYOL -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_simsiam_loss_is_the_mean_of_both_directions_without_gradient_into_projections(size):
    parts = [rows(*size, seed) for seed in range(4)]
    assert simsiam_loss(*parts).dtype == torch.float64
    assert close(simsiam_loss(*parts), reference_simsiam(*parts))
    p1, p2, z1, z2 = parts
    same_gradients(lambda a, b: simsiam_loss(a, b, z1, z2), lambda a, b: reference_simsiam(a, b, z1, z2), p1, p2)
    inputs = [p.clone().requires_grad_() for p in parts]
    simsiam_loss(*inputs).backward()
    assert [p.grad is None for p in inputs] == [False, False, True, True]


def test_simsiam_loss_runs_from_minus_1_to_1_and_ignores_lengths_and_the_order_of_images():
    p, q = rows(5, 3, 1), rows(5, 3, 2)
    assert close(simsiam_loss(p, q, 2 * q, 3 * p), -1)
    assert close(simsiam_loss(p, q, -q, -p), 1)
    parts, order = [rows(5, 3, seed) for seed in range(4)], order_of(5)
    assert close(simsiam_loss(*(p[order] for p in parts)), simsiam_loss(*parts))
    assert close(simsiam_loss(*(p * 7 for p in parts)), simsiam_loss(*parts))


def test_simsiam_loss_is_lightlys_in_both_directions():
    p1, p2, z1, z2 = (rows(6, 4, seed) for seed in range(4))
    criterion = lightly.loss.NegativeCosineSimilarity()
    assert close(simsiam_loss(p1, p2, z1, z2), 0.5 * (criterion(p1, z2) + criterion(p2, z1)))


def test_byol_loss_is_four_times_lightlys_and_4():
    p1, p2, t1, t2 = (rows(6, 4, seed) for seed in range(4))
    criterion = lightly.loss.NegativeCosineSimilarity()
    assert close(byol_loss(p1, p2, t1, t2), 4 + 4 * 0.5 * (criterion(p1, t2) + criterion(p2, t1)))


# --- Barlow Twins, VICReg ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lamb", "scale"), [(0.0051, 0.024), (0.2, 1.0)])
@pytest.mark.parametrize("size", SIZES)
def test_barlow_loss_compares_every_correlation_with_the_identity(size, lamb, scale):
    z1, z2 = rows(*size, 1, 2.0) + 1, rows(*size, 2)
    assert barlow_loss(z1, z2, lamb, scale).dtype == torch.float64
    assert close(barlow_loss(z1, z2, lamb, scale), reference_barlow(z1, z2, lamb, scale))
    same_gradients(
        lambda a, b: barlow_loss(a, b, lamb, scale), lambda a, b: reference_barlow(a, b, lamb, scale), z1, z2
    )


def test_barlow_loss_has_its_numerical_gradient_and_solo_learns_defaults():
    z1, z2 = rows(6, 3, 1), rows(6, 3, 2)
    assert torch.autograd.gradcheck(barlow_loss, [z1.clone().requires_grad_(), z2.clone().requires_grad_()])
    assert close(barlow_loss(z1, z2), barlow_loss(z1, z2, lamb=0.0051, scale=0.024))


def test_barlow_loss_of_uncorrelated_and_of_reversed_views_is_what_one_works_out_by_hand():
    # Two uncorrelated columns of variance 1: the correlations of a view with itself are the identity but for the 1e-5.
    z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    kept = 1 / (1 + 1e-5)
    assert close(barlow_loss(z, z, 0.5, 1.0), 2 * (1 - kept) ** 2)
    assert close(barlow_loss(z, -z, 0.5, 1.0), 2 * (1 + kept) ** 2)
    assert close(barlow_loss(z, z.flip(1), 0.5, 3.0), 3 * (2 + 0.5 * 2 * kept**2))


def test_barlow_loss_is_lightlys_times_the_scale():
    z1, z2 = rows(9, 4, 1), rows(9, 4, 2)
    assert close(barlow_loss(z1, z2, 0.005, 0.1), 0.1 * lightly.loss.BarlowTwinsLoss(lambda_param=0.005)(z1, z2))


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (2, 3, 5)])
@pytest.mark.parametrize("size", SIZES)
def test_vicreg_loss_sums_the_terms_of_both_views(size, weights):
    z1, z2 = rows(*size, 1, 0.5) + 1, rows(*size, 2)
    assert vicreg_loss(z1, z2, *weights).dtype == torch.float64
    assert close(vicreg_loss(z1, z2, *weights), reference_vicreg(z1, z2, *weights))
    same_gradients(lambda a, b: vicreg_loss(a, b, *weights), lambda a, b: reference_vicreg(a, b, *weights), z1, z2)


def test_vicreg_loss_has_its_numerical_gradient():
    views = [rows(6, 3, seed, 0.5).requires_grad_() for seed in (1, 2)]
    assert torch.autograd.gradcheck(vicreg_loss, views)


def test_vicreg_loss_of_collapsed_views_is_what_one_works_out_by_hand():
    # No spread: each view's variance term is 1 - sqrt(1e-4) = 0.99, and both are summed, not averaged.
    z = torch.full((5, 3), 0.7, dtype=torch.float64)
    assert close(vicreg_loss(z, z), 25 * 2 * 0.99)
    assert close(vicreg_loss(z, z + 2), 25 * 4 + 25 * 2 * 0.99)
    # Two equal columns of variance 4: covariances of 4 at two places in each view, over 2 dimensions.
    z = torch.tensor([[2.0, 2], [-2, -2], [0, 0]], dtype=torch.float64)
    assert close(vicreg_loss(z, z), 2 * (4**2 + 4**2) / 2)


def test_vicreg_loss_is_lightlys_with_twice_the_variance_weight():
    z1, z2 = rows(9, 4, 1, 0.5), rows(9, 4, 2, 0.5)
    assert close(vicreg_loss(z1, z2), lightly.loss.VICRegLoss(lambda_param=25, mu_param=50, nu_param=1)(z1, z2))
    assert not close(vicreg_loss(z1, z2), lightly.loss.VICRegLoss()(z1, z2), 1e-2)


@pytest.mark.parametrize("loss", [barlow_loss, vicreg_loss])
def test_redundancy_losses_ignore_the_order_of_images_and_of_dimensions_and_views(loss):
    z1, z2 = rows(8, 5, 1), rows(8, 5, 2)
    value = loss(z1, z2)
    images, dimensions = order_of(8), order_of(5)
    assert close(loss(z1[images], z2[images]), value)
    assert close(loss(z1[:, dimensions], z2[:, dimensions]), value)
    assert close(loss(z2, z1), value)
    assert not close(loss(z1[images], z2), value, 1e-3)
    assert not close(loss(z1[:, dimensions], z2), value, 1e-3)


# --- NNCLR ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_neighbour_contrast_sets_each_neighbour_against_all_predictions(size, temperature):
    neighbours, predictions = rows(*size, 1), rows(*size, 2)
    assert neighbour_contrast(neighbours, predictions, temperature).dtype == torch.float64
    wanted = reference_neighbour(neighbours, predictions, temperature)
    assert close(neighbour_contrast(neighbours, predictions, temperature), wanted)
    same_gradients(
        lambda a, b: neighbour_contrast(a, b, temperature),
        lambda a, b: reference_neighbour(a, b, temperature),
        neighbours,
        predictions,
    )


def test_neighbour_contrast_of_orthogonal_images_is_what_one_works_out_by_hand():
    z = 3 * torch.eye(5, dtype=torch.float64)
    assert close(neighbour_contrast(z, 2 * z, 0.5), math.log(1 + 4 * math.exp(-2)))


def test_neighbour_contrast_goes_one_way_and_ignores_the_order_of_images():
    n, p = rows(7, 4, 1), rows(7, 4, 2)
    value, order = neighbour_contrast(n, p, 0.2), order_of(7)
    assert close(neighbour_contrast(n[order], p[order], 0.2), value)
    assert not close(neighbour_contrast(p, n, 0.2), value, 1e-3)


def test_nnclr_takes_the_nearest_row_of_its_queue_for_each_view():
    method, _ = networks("nnclr")
    method.queue.copy_(units(96, 8, 5))
    views = images("nnclr")
    twin = copy.deepcopy(method)
    total, step = step_loss(method, [], views)
    z = [twin.projector(twin.backbone(x)) for x in views]
    p = [twin.predictor(v) for v in z]
    near = [nearest_rows(v, twin.queue) for v in z]
    for emb, n in zip(step.clean, near, strict=True):
        assert torch.equal(emb.target, n)
    wanted = (reference_neighbour(near[0], p[1], 0.2) + reference_neighbour(near[1], p[0], 0.2)) / 2
    assert close(total, wanted)
    ours = torch.autograd.grad(total, [p for p in method.parameters() if p.requires_grad])
    theirs = torch.autograd.grad(wanted, [p for p in twin.parameters() if p.requires_grad])
    assert all(torch.allclose(a, b, rtol=1e-8, atol=1e-10) for a, b in zip(ours, theirs, strict=True))


def test_nnclrs_neighbours_are_those_of_a_queue_filled_by_hand():
    method, _ = networks("nnclr")
    method.queue.copy_(torch.eye(8, dtype=torch.float64).repeat(12, 1))
    axes = torch.tensor([3, 0, 7])
    z = torch.full((3, 8), 0.1, dtype=torch.float64)
    z[torch.arange(3), axes] = 5.0
    assert torch.equal(method._neighbours(z), torch.eye(8, dtype=torch.float64)[axes])
    assert torch.equal(method._neighbours(100 * z), torch.eye(8, dtype=torch.float64)[axes])


def test_nnclrs_loss_is_not_that_of_lightlys_ntxent():
    n, p = rows(8, 5, 1), rows(8, 5, 2)
    assert not close(neighbour_contrast(n, p, 0.1), lightly.loss.NTXentLoss(temperature=0.1)(n, p), 1e-2)


def test_nnclrs_queue_takes_the_normalised_projections_of_view_1():
    method, _ = networks("nnclr")
    twin, views = copy.deepcopy(method), images("nnclr")
    method.oldest.fill_(92)
    _, step = step_loss(method, [], views)
    assert torch.equal(method.queue, twin.queue)
    method.after_step(step.clean, TrainProgress())
    z = twin.projector(twin.backbone(views[0])).detach()
    wanted = twin.queue.clone()
    for i in range(8):
        wanted[(92 + i) % 96] = z[i] / z[i].norm()
    assert torch.allclose(method.queue, wanted, rtol=0, atol=1e-12)
    assert method.oldest.item() == 4


# --- codes: SwAV and DINO ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.04, 0.1, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_code_loss_is_the_cross_entropy_of_codes_and_scores(size, temperature):
    codes, scores = torch.softmax(rows(*size, 1), 1), rows(*size, 2)
    assert code_loss(codes, scores, temperature).dtype == torch.float64
    assert close(code_loss(codes, scores, temperature), reference_code(codes, scores, temperature))
    same_gradients(lambda s: code_loss(codes, s, temperature), lambda s: reference_code(codes, s, temperature), scores)


def test_code_loss_of_even_scores_is_the_logarithm_of_the_number_of_prototypes():
    codes = torch.softmax(rows(4, 9), 1)
    assert close(code_loss(codes, torch.full((4, 9), 3.0, dtype=torch.float64), 0.1), math.log(9))


def test_code_loss_has_its_numerical_gradient_and_ignores_the_order_of_images_and_prototypes():
    codes, scores = torch.softmax(rows(5, 6, 1), 1), rows(5, 6, 2)
    assert torch.autograd.gradcheck(lambda s: code_loss(codes, s, 0.5), [scores.clone().requires_grad_()])
    value, rows_, columns = code_loss(codes, scores, 0.1), order_of(5), order_of(6)
    assert close(code_loss(codes[rows_], scores[rows_], 0.1), value)
    assert close(code_loss(codes[:, columns], scores[:, columns], 0.1), value)


def test_code_loss_stays_finite_where_a_softmax_underflows():
    scores = torch.tensor([[40.0, -40.0], [0.0, 90.0]], requires_grad=True)
    codes = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    loss = code_loss(codes, scores, 0.01)
    loss.backward()
    assert close(loss, (8000 + 9000) / 2, 1e-6)
    assert scores.grad.isfinite().all()


# --- SwAV ----------------------------------------------------------------------------------------------------------


def swav_scores(method, views):
    """Scores of all views; large ones through the backbone together, small ones too, all through the head together."""
    count = len(views[0])
    h = torch.cat([method.backbone(torch.cat(views[:2])), method.backbone(torch.cat(views[2:]))])
    z = method.projector(h)
    scores = (z / z.norm(dim=1, keepdim=True)) @ method.prototypes.weight.T
    return scores.split(count), z.split(count)


def unit_prototypes(method):
    with torch.no_grad():
        weight = method.prototypes.weight
        weight.copy_(weight / weight.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("size", [(4, 3), (7, 12), (16, 5)])
@pytest.mark.parametrize(("epsilon", "iterations"), [(0.05, 3), (0.3, 1), (1.0, 50)])
def test_swavs_codes_are_sinkhorns(size, epsilon, iterations):
    method, _ = networks(
        "swav", changes={"prototypes": size[1], "epsilon": epsilon, "iterations": iterations, "queue": None}
    )
    scores = rows(*size, 3, 0.3).clamp(-1, 1)
    codes = method.codes(scores, 0)
    assert codes.dtype == torch.float64
    assert torch.allclose(codes, reference_sinkhorn(scores, epsilon, iterations), rtol=0, atol=1e-10)
    assert torch.allclose(codes.sum(1), torch.ones(size[0], dtype=torch.float64), rtol=0, atol=1e-10)
    if iterations == 50:
        even = torch.full((size[1],), size[0] / size[1], dtype=torch.float64)
        assert torch.allclose(codes.sum(0), even, rtol=1e-6, atol=1e-6)


def test_swavs_codes_ignore_the_order_of_images_and_prototypes():
    method, _ = networks("swav")
    scores, images_, prototypes = rows(8, 12, 3, 0.3), order_of(8), order_of(12)
    codes = method.codes(scores, 0)
    assert torch.allclose(method.codes(scores[images_], 0), codes[images_], rtol=0, atol=1e-10)
    assert torch.allclose(method.codes(scores[:, prototypes], 0), codes[:, prototypes], rtol=0, atol=1e-10)


@pytest.mark.parametrize("full", [False, True])
def test_swavs_loss_is_the_mean_over_all_codes_and_other_views(full):
    method, _ = networks("swav")
    if full:
        method.queue.copy_(torch.stack([units(96, 8, 5), units(96, 8, 6)]))
    else:
        method.queue[:, :95] = torch.stack([units(95, 8, 5), units(95, 8, 6)])
    twin, views = copy.deepcopy(method), images("swav")
    total, step = step_loss(method, [], views)
    unit_prototypes(twin)
    scores, _ = swav_scores(twin, views)
    seen = [s.detach() for s in scores[:2]]
    stored = [(twin.queue[v] @ twin.prototypes.weight.T).detach() for v in (0, 1)]
    joined = [torch.cat([s, q]) if full else s for s, q in zip(seen, stored, strict=True)]
    codes = [reference_sinkhorn(s)[:8] for s in joined]
    for emb, q in zip(step.clean, codes, strict=False):
        assert torch.allclose(emb.codes, q, rtol=0, atol=1e-10)
        assert not emb.codes.requires_grad
    assert [emb.codes is None for emb in step.clean] == [False, False, True, True]
    wanted = reference_codes_loss(codes, scores, 0.1)
    assert close(total, wanted)
    trained = [p for p in method.parameters() if p.requires_grad]
    ours, theirs = torch.autograd.grad(total, trained), torch.autograd.grad(wanted, list(twin.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in zip(ours, theirs, strict=True))
    criterion = lightly.loss.SwaVLoss(temperature=0.1, sinkhorn_iterations=3, sinkhorn_epsilon=0.05)
    extra = stored if full else None
    assert close(total, criterion([e.scores for e in step.clean[:2]], [e.scores for e in step.clean[2:]], extra))


def test_swavs_queue_holds_the_newest_projections_first_from_its_epoch_on():
    method, _ = networks("swav", changes={"queue": 20, "queue_from_epoch": 1})
    optimizer = torch.optim.SGD(method.parameters(), lr=0.0)
    kept = []
    for step in range(4):
        views = images("swav", 8, step)
        twin = copy.deepcopy(method)
        train_step(method, [], views, optimizer, progress=TrainProgress(step, 4, int(step > 0)))
        if step == 0:
            assert not method.queue.any()
            continue
        _, z = swav_scores(twin, views)
        kept = [(z[v] / z[v].norm(dim=1, keepdim=True)).detach() for v in (0, 1)], *kept
        for v in (0, 1):
            wanted = torch.cat([new[v] for new in kept] + [torch.zeros(20, 8, dtype=torch.float64)])[:20]
            assert torch.allclose(method.queue[v], wanted, rtol=0, atol=1e-12)


def test_swavs_prototypes_are_unit_vectors_in_the_loss_and_stay_for_the_first_steps():
    method, _ = networks("swav")
    with torch.no_grad():
        method.prototypes.weight.mul_(3)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    for step in range(4):
        method.before_step(TrainProgress(step, 4))
        before = method.prototypes.weight.detach().clone()
        assert torch.allclose(before.norm(dim=1), torch.ones(12, dtype=torch.float64), rtol=0, atol=1e-12)
        train_step(method, [], images("swav", seed=step), optimizer, progress=TrainProgress(step, 4))
        assert torch.allclose(method.prototypes.weight, before, rtol=0, atol=1e-12) == (step < 2)


# --- DINO ----------------------------------------------------------------------------------------------------------


def dino_head(**changes):
    settings = tiny_spec("dino", changes=changes).method.dino
    torch.manual_seed(0)
    return DINOHead(settings, 16).double()


def test_dinos_last_layer_has_rows_of_length_1_on_a_normalised_bottleneck():
    head = dino_head()
    h = rows(6, 16)
    z, scores = head(h)
    weight = head.last.weight
    assert torch.allclose(weight.norm(dim=1), torch.ones(12, dtype=torch.float64), rtol=0, atol=1e-12)
    for i in range(6):
        for k in range(12):
            assert close(scores[i, k], cosine(z[i], weight[k]))
    assert not torch.allclose(z.norm(dim=1), torch.ones(6, dtype=torch.float64), atol=1e-2)


@pytest.mark.parametrize("fixed", [True, False])
def test_dinos_last_layer_keeps_its_length_in_training_unless_told_otherwise(fixed):
    head = dino_head(norm_last_layer=fixed)
    optimizer = torch.optim.SGD([p for p in head.parameters() if p.requires_grad], lr=1.0)
    for seed in range(3):
        _, scores = head(rows(6, 16, seed))
        optimizer.zero_grad()
        (scores.exp().square().mean() * 5).backward()
        optimizer.step()
    length = head.last.weight.norm(dim=1)
    assert torch.allclose(length, torch.ones(12, dtype=torch.float64), rtol=0, atol=1e-12) == fixed


@pytest.mark.parametrize("warm", [0, 1, 2, 3, 30])
def test_dinos_teacher_temperature_is_solo_learns_schedule(warm):
    method, _ = networks("dino", changes={"teacher_warmup_epochs": warm})
    schedule = np.concatenate([np.linspace(0.04, 0.07, warm), np.full(40 - warm, 0.07)])
    for epoch in range(40):
        method.before_step(TrainProgress(epoch, 40, epoch))
        assert close(method.teacher_temperature, schedule[epoch], 1e-12)


def test_dinos_loss_centre_and_teacher_are_those_of_the_formulas_over_several_epochs():
    method, _ = networks("dino", changes={"clip": None})
    criterion = lightly.loss.DINOLoss(12, 0.04, 0.07, 2, 0.1, 0.9).double()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    steps = 6
    for step in range(steps):
        epoch, views, twin = step // 2, images("dino", seed=step), copy.deepcopy(method)
        total, done = train_step(method, [], views, optimizer, progress=TrainProgress(step, steps, epoch))
        student = [twin.projector(twin.backbone(x))[1] for x in views]
        teacher = [twin.teacher_projector(twin.teacher_backbone(x))[1].detach() for x in views[:2]]
        temperature = (0.04, 0.07, 0.07)[epoch]
        codes = [reference_teacher(t, twin.center, temperature) for t in teacher]
        for emb, q in zip(done.clean, codes, strict=False):
            assert torch.allclose(emb.codes, q, rtol=0, atol=1e-10)
        wanted = reference_codes_loss(codes, student, 0.1)
        assert close(total, wanted)
        # Lightly keeps its temperatures in single precision.
        assert close(total, criterion(teacher, student, epoch=epoch), 1e-6)
        mean = sum(t.sum(0) for t in teacher) / 16
        assert torch.allclose(method.center, 0.9 * twin.center + 0.1 * mean, rtol=0, atol=1e-12)
        assert torch.allclose(method.center, criterion.center.flatten(), rtol=0, atol=1e-10)
        rate = 1.0 - (1.0 - 0.9) * (math.cos(math.pi * step / steps) + 1) / 2
        for part in ("backbone", "projector"):
            before = dict(getattr(twin, f"teacher_{part}").named_parameters())
            online = dict(getattr(method, part).named_parameters())
            for name, value in getattr(method, f"teacher_{part}").named_parameters():
                assert torch.allclose(value, rate * before[name] + (1 - rate) * online[name], rtol=0, atol=1e-12)


def test_dinos_clipping_and_frozen_last_layer_act_between_gradients_and_optimiser():
    method, _ = networks("dino", changes={"clip": 0.01})
    for epoch in (0, 1):
        total, _ = step_loss(method, [], images("dino"), progress=TrainProgress(0, 1, epoch))
        method.zero_grad()
        total.backward()
        free = {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}
        method.after_backward(TrainProgress(0, 1, epoch))
        clipped = 0
        for name, p in method.named_parameters():
            if name.startswith("projector.last"):
                assert (p.grad is None) == (epoch == 0 or not p.requires_grad)
            elif name.startswith("backbone"):
                length = free[name].norm().item()
                clipped += length > 0.01
                share = min(1.0, 0.01 / (length + 1e-6))
                assert torch.allclose(p.grad, free[name] * share, rtol=1e-8, atol=0)
            elif p.grad is not None:
                assert torch.equal(p.grad, free[name])
        assert clipped


# --- queues --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (2,)])
@pytest.mark.parametrize(
    ("size", "batches"),
    [(10, [3, 3, 3, 3, 3]), (8, [4, 4, 4]), (5, [5, 5]), (4, [9, 1, 6]), (7, [2, 7, 8, 1, 13]), (1, [3, 1])],
)
def test_a_ring_holds_the_newest_rows_and_replaces_the_oldest_ones(size, batches, lead):
    queue, oldest = torch.zeros(*lead, size, 3, dtype=torch.float64), torch.zeros((), dtype=torch.long)
    kept = [torch.zeros(*lead, 3, dtype=torch.float64)] * size
    place, address = 0, queue.data_ptr()
    for number, count in enumerate(batches):
        new = torch.randn(*lead, count, 3, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
        enqueue(queue, oldest, new)
        for i in range(max(0, count - size), count):
            kept[place] = new[..., i, :]
            place = (place + 1) % size
        assert torch.equal(queue, torch.stack(kept, dim=-2))
        assert oldest.item() == place
    assert queue.data_ptr() == address


def test_a_ring_keeps_its_precision_and_no_gradient():
    queue, oldest = torch.zeros(4, 2, dtype=torch.float64), torch.zeros((), dtype=torch.long)
    enqueue(queue, oldest, torch.ones(3, 2, dtype=torch.bfloat16, requires_grad=True))
    assert queue.dtype == torch.float64
    assert not queue.requires_grad
    assert queue.sum() == 6


# --- all base methods ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 7])
@pytest.mark.parametrize("base", METHODS)
def test_every_method_takes_small_and_odd_batches(base, count):
    method, _ = networks(base)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.01)
    for step in range(2):
        loss, done = train_step(method, [], images(base, count, step), optimizer, progress=TrainProgress(step, 2, step))
        assert loss.dtype == torch.float64
        assert loss.shape == ()
        assert loss.isfinite()
        assert len(done.clean) == len(images(base, count))
    assert all(p.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("base", METHODS)
def test_every_methods_loss_ignores_the_order_of_images(base):
    method, _ = networks(base)
    views, order = images(base), order_of(8)
    values = [step_loss(copy.deepcopy(method), [], xs)[0] for xs in (views, [x[order] for x in views])]
    assert close(*values)


@pytest.mark.parametrize("base", METHODS)
def test_momentum_encoders_get_no_gradient_and_all_else_does(base):
    method, _ = networks(base, **({"changes": {"norm_last_layer": False}} if base == "dino" else {}))
    total, step = step_loss(method, [], images(base))
    total.backward()
    online = {id(p) for module in method.online_modules() for p in module.parameters()}
    for name, p in method.named_parameters():
        assert (p.grad is None) == name.startswith(FOLLOWERS), name
        assert p.requires_grad == (not name.startswith(FOLLOWERS)), name
        assert (id(p) in online) == (not name.startswith(FOLLOWERS)), name
    for emb in step.clean:
        assert all(part is None or not part.requires_grad for part in (emb.target, emb.codes))


def tensors_within(module, path=""):
    """Every tensor that a module holds, registered or not, by a name of its own."""
    found = {}
    for name, value in vars(module).items():
        if name in ("_parameters", "_buffers"):
            found |= {f"{path}{key}": entry for key, entry in value.items() if entry is not None}
        elif isinstance(value, torch.Tensor):
            found[f"{path}{name}"] = value
    for name, child in module.named_children():
        found |= tensors_within(child, f"{path}{name}.")
    return found


@pytest.mark.parametrize("base", METHODS)
def test_whatever_a_step_changes_is_in_the_checkpoint(base):
    method, _ = networks(base)
    before = {name: value.detach().clone() for name, value in tensors_within(method).items()}
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    for step in range(3):
        train_step(method, [], images(base, seed=step), optimizer, progress=TrainProgress(step, 4, step))
    changed = {name for name, value in tensors_within(method).items() if not torch.equal(value, before[name])}
    kept = set(method.state_dict())
    assert changed <= kept
    memory = {
        "moco": {"queue", "oldest"},
        "mocoplus": {"queue", "oldest"},
        "nnclr": {"queue", "oldest"},
        "swav": {"queue"},
        "dino": {"center"},
    }
    assert memory.get(base, set()) <= changed
    followers = {"moco": "key_", "mocoplus": "key_", "byol": "target_", "dino": "teacher_"}
    if base in followers:
        assert any(name.startswith(followers[base]) and name.endswith("weight") for name in changed)
        assert {name for name in tensors_within(method) if name.startswith(followers[base])} <= kept


@pytest.mark.parametrize("base", METHODS)
def test_a_method_read_from_a_checkpoint_goes_on_as_the_one_that_was_saved(base, tmp_path):
    # A queue of 20 rows is full and has wrapped around when the state is saved.
    changes = {"queue": 20} if "queue" in METHODS[base] else {}
    method, _ = networks(base, changes=changes)
    other, _ = networks(base, changes=changes, seed=1)

    def go_on(network, first, last):
        optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
        return [
            train_step(network, [], images(base, seed=step), optimizer, progress=TrainProgress(step, 6, step // 2))[
                0
            ].item()
            for step in range(first, last)
        ]

    go_on(method, 0, 4)
    write_atomic(tmp_path / "state.pt", checkpoint.to_bytes({"method": method.state_dict()}))
    content = checkpoint.load(tmp_path / "state.pt")
    assert list(content["method"]) == list(method.state_dict())
    other.load_state_dict(content["method"])
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in method.state_dict().items())
    assert go_on(method, 4, 6) == go_on(other, 4, 6)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in method.state_dict().items())


def test_parts_of_embeddings_are_split_alike():
    emb = Embeddings(features=rows(5, 3), projection=rows(5, 2), codes=rows(5, 4))
    first, rest = emb.split(2)
    assert (first.features.shape, first.projection.shape, first.codes.shape) == ((2, 3), (2, 2), (2, 4))
    assert torch.equal(torch.cat([first.projection, rest.projection]), emb.projection)
    assert first.target is None


def test_gradients_of_constants_are_none():
    emb = Embeddings(projection=rows(3, 2).requires_grad_()).constant(torch.float32)
    assert emb.projection.dtype == torch.float32
    assert not emb.projection.requires_grad
    assert gradients(lambda z: (z * emb.projection.double()).sum(), rows(3, 2))[0].isfinite().all()
