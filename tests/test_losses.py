"""Losses against references in float64 that are written row by row from the papers' formulas."""

import math

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from sslpairs.config import recipes
from sslpairs.methods.byol import byol_loss
from sslpairs.methods.moco import queue_contrast
from sslpairs.methods.simclr import nt_xent
from sslpairs.pairs.dimcl import dimensional_contrast
from sslpairs.pairs.mixco import mix, soft_contrast
from sslpairs.training.optimization import base_rate, build_optimizer, rate_factor, set_rate

SIZES = [(2, 3), (6, 4), (5, 9), (16, 8)]


def rows(count, width, seed=0, scale=1.0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def close(a, b, tolerance=1e-8):
    a, b = (v.item() if isinstance(v, torch.Tensor) else float(v) for v in (a, b))
    return abs(a - b) <= tolerance * max(1.0, abs(b))


def cosine(a, b, eps=0.0):
    lengths = [torch.clamp((v * v).sum().sqrt(), min=eps) if eps else (v * v).sum().sqrt() for v in (a, b)]
    return (a * b).sum() / (lengths[0] * lengths[1])


# --- references: loops over rows, differentiable -------------------------------------------------------------------


def reference_nt_xent(z1, z2, temperature, eps=0.0):
    z = [*z1, *z2]
    count = len(z1)
    total = 0.0
    for i in range(2 * count):
        positive = (i + count) % (2 * count)
        similar = [cosine(z[i], z[j], eps) / temperature for j in range(2 * count)]
        below = torch.logsumexp(torch.stack([s for j, s in enumerate(similar) if j != i]), 0)
        total = total - (similar[positive] - below)
    return total / (2 * count)


def reference_byol(p1, p2, t1, t2):
    first = sum(2 - 2 * cosine(p, t) for p, t in zip(p1, t2, strict=True)) / len(p1)
    second = sum(2 - 2 * cosine(p, t) for p, t in zip(p2, t1, strict=True)) / len(p2)
    return first + second


def reference_queue(queries, keys, queue, temperature):
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        unit = query / query.norm()
        negatives = [torch.dot(unit, queue[:, j]) / temperature for j in range(queue.shape[1])]
        positive = cosine(query, key) / temperature
        total = total - (positive - torch.logsumexp(torch.stack([positive, *negatives]), 0))
    return total / len(queries)


def reference_soft(mixed, other, lam, temperature, queue=None):
    half = len(mixed)
    total = 0.0
    for i in range(half):
        logits = [cosine(mixed[i], o) / temperature for o in other]
        if queue is not None:
            logits += [torch.dot(mixed[i] / mixed[i].norm(), column) / temperature for column in queue.T]
        below = torch.logsumexp(torch.stack(logits), 0)
        label = [0.0] * len(logits)
        label[i], label[i + half] = float(lam[i]), 1 - float(lam[i])
        total = total - sum(y * (logit - below) for y, logit in zip(label, logits, strict=True))
    return total / half


def reference_dimensional(z1, z2, temperature):
    columns = []
    for z in (z1, z2):
        kept = []
        for d in range(z.shape[1]):
            column = z[:, d]
            mean = column.sum() / len(column)
            variance = ((column - mean) ** 2).sum() / len(column)
            kept.append((column - mean) / torch.sqrt(variance + 1e-5))
        columns.append(kept)
    units = []
    for column in [*columns[0], *columns[1]]:
        square = (column * column).sum()
        units.append(column / torch.sqrt(square) if square.item() > 1e-24 else column / 1e-12)
    width = z1.shape[1]
    total = 0.0
    for r in range(2 * width):
        logits = [torch.dot(units[r], units[s]) / temperature for s in range(2 * width)]
        below = torch.logsumexp(torch.stack([v for s, v in enumerate(logits) if s != r]), 0)
        total = total - (logits[(r + width) % (2 * width)] - below)
    return total / (2 * width)


def gradients(function, *tensors):
    inputs = [t.clone().requires_grad_() for t in tensors]
    return torch.autograd.grad(function(*inputs), inputs)


def same_gradients(ours, reference, *tensors):
    for a, b in zip(gradients(ours, *tensors), gradients(reference, *tensors), strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-8), (a - b).abs().max()


# --- NT-Xent -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_nt_xent_is_the_mean_over_all_rows_of_both_views(size, temperature):
    z1, z2 = rows(*size, 1), rows(*size, 2)
    assert nt_xent(z1, z2, temperature).dtype == torch.float64
    assert close(nt_xent(z1, z2, temperature), reference_nt_xent(z1, z2, temperature))


def test_nt_xent_has_the_reference_gradient_in_both_views():
    same_gradients(
        lambda a, b: nt_xent(a, b, 0.3), lambda a, b: reference_nt_xent(a, b, 0.3), rows(5, 4, 3), rows(5, 4, 4)
    )


def test_nt_xent_of_two_orthogonal_pairs_is_what_one_works_out_by_hand():
    # Two images, identical views, orthogonal to each other, T = 1: positive 1, two negatives of 0.
    z = torch.eye(2, dtype=torch.float64)
    assert close(nt_xent(z, z, 1.0), math.log((math.e + 2) / math.e))


def test_nt_xent_ignores_lengths_views_order_and_order_of_images():
    z1, z2 = rows(7, 5, 5), rows(7, 5, 6)
    value = nt_xent(z1, z2, 0.5)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    lengths = torch.linspace(0.1, 9, 7, dtype=torch.float64)[:, None]
    assert close(nt_xent(z1 * lengths, z2, 0.5), value)
    assert close(nt_xent(z2, z1, 0.5), value)
    assert close(nt_xent(z1[order], z2[order], 0.5), value)
    assert not close(nt_xent(z1[order], z2, 0.5), value, 1e-3)


# --- BYOL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_byol_loss_sums_two_minus_two_cosines_of_both_directions(size):
    p1, p2, t1, t2 = (rows(*size, seed) for seed in range(4))
    assert close(byol_loss(p1, p2, t1, t2), reference_byol(p1, p2, t1, t2))
    same_gradients(byol_loss, reference_byol, p1, p2, t1, t2)


def test_byol_loss_runs_from_0_to_8():
    p, q = rows(4, 3, 1), rows(4, 3, 2)
    assert close(byol_loss(p, q, 2 * q, 3 * p), 0)
    assert close(byol_loss(p, q, -q, -p), 8)


def test_byol_loss_ignores_the_order_of_images():
    parts = [rows(6, 4, seed) for seed in range(4)]
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert close(byol_loss(*(p[order] for p in parts)), byol_loss(*parts))


# --- MoCo ----------------------------------------------------------------------------------------------------------


def unit_columns(width, count, seed=9):
    queue = rows(width, count, seed)
    return queue / queue.norm(dim=0)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_queue_contrast_sets_each_key_against_the_queue(size, temperature):
    queries, keys, queue = rows(*size, 1), rows(*size, 2), unit_columns(size[1], 11)
    assert close(queue_contrast(queries, keys, queue, temperature), reference_queue(queries, keys, queue, temperature))


def test_queue_contrast_has_the_reference_gradient():
    queue = unit_columns(4, 7)
    same_gradients(
        lambda q, k: queue_contrast(q, k, queue, 0.2),
        lambda q, k: reference_queue(q, k, queue, 0.2),
        rows(5, 4, 1),
        rows(5, 4, 2),
    )


def test_queue_contrast_ignores_the_order_of_images_and_of_the_queue():
    queries, keys, queue = rows(6, 4, 1), rows(6, 4, 2), unit_columns(4, 9)
    value = queue_contrast(queries, keys, queue, 0.2)
    order = torch.tensor([5, 2, 0, 1, 3, 4])
    assert close(queue_contrast(queries[order], keys[order], queue.flip(1), 0.2), value)


# --- MixCo ---------------------------------------------------------------------------------------------------------


def test_mix_pairs_each_image_with_the_one_half_a_batch_later():
    x = rows(6, 12, 1).view(6, 3, 2, 2)
    lam = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    mixed = mix(x, lam)
    assert mixed.shape == (3, 3, 2, 2)
    for i in range(3):
        assert torch.allclose(mixed[i], lam[i] * x[i] + (1 - lam[i]) * x[i + 3], rtol=0, atol=1e-12)
    assert torch.equal(mixed[0], x[3])
    assert torch.equal(mixed[2], x[2])


@pytest.mark.parametrize("count", [1, 3, 7])
def test_an_odd_batch_is_an_error_that_says_so(count):
    with pytest.raises(ValueError, match=f"{count} images.*even batch"):
        mix(torch.zeros(count, 1, 2, 2), torch.zeros(count // 2))


@pytest.mark.parametrize("with_queue", [False, True])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("size", [(2, 3), (6, 4), (16, 5)])
def test_soft_contrast_is_the_soft_cross_entropy_over_the_other_view(size, temperature, with_queue):
    count, width = size
    mixed, other = rows(count // 2, width, 1), rows(count, width, 2)
    lam = torch.rand(count // 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    queue = unit_columns(width, 7) if with_queue else None
    ours = soft_contrast(mixed, other, lam, temperature, queue)
    assert ours.dtype == torch.float64
    assert close(ours, reference_soft(mixed, other, lam, temperature, queue))


@pytest.mark.parametrize("with_queue", [False, True])
def test_soft_contrast_sends_its_gradient_into_both_sides(with_queue):
    lam = torch.tensor([0.2, 0.9, 0.5], dtype=torch.float64)
    queue = unit_columns(4, 5) if with_queue else None
    same_gradients(
        lambda m, o: soft_contrast(m, o, lam, 0.3, queue),
        lambda m, o: reference_soft(m, o, lam, 0.3, queue),
        rows(3, 4, 1),
        rows(6, 4, 2),
    )


@pytest.mark.parametrize("with_queue", [False, True])
def test_soft_contrast_stays_finite_in_float32_at_temperature_001(with_queue):
    generator = torch.Generator().manual_seed(0)
    other = torch.randn(16, 8, generator=generator).requires_grad_()
    # Mixed images that are one of the parents: the other one has a softmax of 0 in float32.
    mixed = other.detach()[:8].clone().requires_grad_()
    lam = torch.full((8,), 0.5)
    queue = unit_columns(8, 32).float() if with_queue else None
    loss = soft_contrast(mixed, other, lam, 0.01, queue)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert mixed.grad.isfinite().all()
    assert other.grad.isfinite().all()
    wide = soft_contrast(mixed.double(), other.double(), lam, 0.01, None if queue is None else queue.double())
    assert close(loss, wide, 2e-4)


def test_soft_contrast_of_lambda_1_is_the_contrast_with_the_first_parent_alone():
    mixed, other, ones = rows(3, 4, 1), rows(6, 4, 2), torch.ones(3, dtype=torch.float64)
    by_hand = 0.0
    for i in range(3):
        logits = torch.stack([cosine(mixed[i], o) / 0.5 for o in other])
        by_hand -= (logits[i] - torch.logsumexp(logits, 0)) / 3
    assert close(soft_contrast(mixed, other, ones, 0.5), by_hand)


def test_soft_contrast_ignores_the_order_of_parents_of_mixed_images_and_of_the_queue():
    mixed, other, queue = rows(4, 5, 1), rows(8, 5, 2), unit_columns(5, 6)
    lam = torch.tensor([0.1, 0.4, 0.7, 0.95], dtype=torch.float64)
    value = soft_contrast(mixed, other, lam, 0.5, queue)
    order = torch.tensor([2, 0, 3, 1])
    both = torch.cat([order, order + 4])
    assert close(soft_contrast(mixed[order], other[both], lam[order], 0.5, queue.flip(1)), value)
    assert close(soft_contrast(mixed, other.roll(4, 0), 1 - lam, 0.5, queue), value)


# --- DimCL ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("size", [(8, 3), (4, 9), (2, 2), (16, 6)])
def test_dimensional_contrast_is_nt_xent_of_pearson_correlations(size, temperature):
    z1, z2 = rows(*size, 1, 3.0) + 2, rows(*size, 2, 0.5) - 1
    ours = dimensional_contrast(z1, z2, temperature)
    assert ours.dtype == torch.float64
    assert close(ours, reference_dimensional(z1, z2, temperature))


def test_dimensional_contrast_uses_correlations_as_numpy_has_them():
    import numpy as np

    z1, z2 = rows(20, 3, 1), rows(20, 3, 2)
    table = np.corrcoef(np.concatenate([z1.numpy().T, z2.numpy().T])) / 0.1
    by_hand = 0.0
    for r in range(6):
        others = [table[r, s] for s in range(6) if s != r]
        by_hand -= (table[r, (r + 3) % 6] - np.logaddexp.reduce(others)) / 6
    assert close(dimensional_contrast(z1, z2, 0.1), by_hand)


@pytest.mark.parametrize("size", [(8, 3), (4, 9), (12, 6)])
def test_dimensional_contrast_has_the_reference_gradient_in_both_views(size):
    same_gradients(
        lambda a, b: dimensional_contrast(a, b, 0.1),
        lambda a, b: reference_dimensional(a, b, 0.1),
        rows(*size, 1),
        rows(*size, 2),
    )


@pytest.mark.parametrize("size", [(8, 3), (4, 9)])
def test_a_constant_column_counts_as_uncorrelated_with_everything(size):
    z1, z2 = rows(*size, 1), rows(*size, 2)
    z1[:, 1] = 0.5
    z2[:, 1] = -2.0
    ours = dimensional_contrast(z1, z2, 0.1)
    assert ours.isfinite()
    assert close(ours, reference_dimensional(z1, z2, 0.1))
    only_first = z2.clone()
    only_first[:, 1] = rows(size[0], 1, 7)[:, 0]
    assert close(dimensional_contrast(z1, only_first, 0.1), reference_dimensional(z1, only_first, 0.1))
    # The other columns' gradient is the reference's; the dead column's own is finite.
    ours, wanted = (
        gradients(lambda a, b, f=f: f(a, b, 0.1), z1, z2) for f in (dimensional_contrast, reference_dimensional)
    )
    living = [d for d in range(size[1]) if d != 1]
    for a, b in zip(ours, wanted, strict=True):
        assert torch.allclose(a[:, living], b[:, living], rtol=1e-8, atol=1e-8)
        assert a.isfinite().all()


def test_dimensional_contrast_needs_the_centring():
    z1, z2 = rows(8, 4, 1), rows(8, 4, 2)
    value = dimensional_contrast(z1, z2, 0.1)
    assert close(dimensional_contrast(z1 + 5, z2 - 3, 0.1), value, 1e-8)
    assert not close(nt_xent((z1 + 5).T, (z2 - 3).T, 0.1), value, 1e-2)


def test_dimensional_contrast_ignores_the_order_of_images_dimensions_and_views():
    z1, z2 = rows(8, 4, 1), rows(8, 4, 2)
    value = dimensional_contrast(z1, z2, 0.1)
    images = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    assert close(dimensional_contrast(z1[images], z2[images], 0.1), value)
    assert close(dimensional_contrast(z1[:, [3, 1, 0, 2]], z2[:, [3, 1, 0, 2]], 0.1), value)
    assert close(dimensional_contrast(z2, z1, 0.1), value)


# --- schedules and optimisers --------------------------------------------------------------------------------------


def schedule(**values):
    return TypeAdapter(recipes.Schedule).validate_python(values)


def optimizer(name, **values):
    common = {"name": name, "lr": 0.3, "reference_batch": None, "weight_decay": 1e-4}
    extra = {"sgd": {"momentum": 0.9}, "adam": {}, "lars": {"momentum": 0.9, "trust_coefficient": 0.02}}
    extra["lars"] |= {"clip": False, "adapt_vectors": False}
    return TypeAdapter(recipes.OptimizerSettings).validate_python(common | extra[name] | values)


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (6, 0.8535533905932737), (8, 0.5), (10, 0.1464466094067262)],
)
def test_cosine_falls_on_half_a_cosine_after_a_linear_warm_up(step, factor):
    # 3 epochs of 4 steps, one epoch of warm-up: 4 steps up, 8 down.
    assert close(rate_factor(schedule(name="cosine", warmup_epochs=1, final=0.0), step, 4, 3), factor)


def test_cosine_ends_at_its_final_share_and_starts_at_1_without_warm_up():
    how = schedule(name="cosine", warmup_epochs=0, final=0.1)
    assert close(rate_factor(how, 0, 4, 2), 1.0)
    assert close(rate_factor(how, 4, 4, 2), 0.55)
    assert close(rate_factor(how, 8, 4, 2), 0.1)
    # Last step: 7/8 of the way, cos(7 pi / 8) = -0.9238795.
    assert close(rate_factor(how, 7, 4, 2), 0.1 + 0.9 * (1 - 0.9238795325112867) / 2)


def test_a_training_that_is_all_warm_up_has_no_division_by_zero():
    how = schedule(name="cosine", warmup_epochs=2, final=0.0)
    assert [rate_factor(how, step, 2, 2) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_steps_drop_at_the_start_of_each_milestone_epoch():
    how = schedule(name="steps", warmup_epochs=0, milestones=[2, 3], factors=[0.1, 0.05])
    values = [rate_factor(how, step, 5, 4) for step in (0, 9, 10, 14, 15, 19)]
    assert all(close(a, b) for a, b in zip(values, [1, 1, 0.1, 0.1, 0.05, 0.05], strict=True))


def test_steps_need_a_factor_for_each_milestone():
    for milestones, factors in (([2, 3], [0.1]), ([3, 2], [0.1, 0.05])):
        with pytest.raises(ValueError, match="must increase and match the factors"):
            schedule(name="steps", warmup_epochs=0, milestones=milestones, factors=factors)


def test_mixcos_schedule_stays_ten_epochs_and_ends_at_three_percent():
    # SimCLR of MixCo: 10 constant epochs, then a cosine of 100 epochs that 100 epochs of training cut off.
    how = schedule(name="cosine", warmup_epochs=0, final=0.0, hold_epochs=10, span_epochs=100, each="epoch")
    factors = [rate_factor(how, step, 7, 100) for step in range(700)]
    for epoch in range(100):
        wanted = 1.0 if epoch <= 10 else (1 + math.cos(math.pi * (epoch - 10) / 100)) / 2
        assert all(close(factor, wanted) for factor in factors[7 * epoch : 7 * epoch + 7])
    assert 0.029 < factors[-1] < 0.03


def test_a_warm_up_may_start_above_zero():
    how = schedule(name="cosine", warmup_epochs=2, final=0.0, initial=0.1)
    assert [round(rate_factor(how, step, 5, 20), 12) for step in (0, 4, 9, 10)] == [0.19, 0.55, 1.0, 1.0]


def test_constant_stays_after_half_an_epoch_of_warm_up():
    how = schedule(name="constant", warmup_epochs=0.5)
    assert [rate_factor(how, step, 4, 3) for step in (0, 1, 2, 11)] == [0.5, 1.0, 1.0, 1.0]


def test_the_rate_scales_with_the_batch_only_where_the_recipe_says_so():
    assert close(base_rate(optimizer("sgd"), 64), 0.3)
    assert close(base_rate(optimizer("sgd", reference_batch=256), 64), 0.075)
    assert close(base_rate(optimizer("lars", reference_batch=256), 1024), 1.2)


def lars_by_hand(weights, grads, rate, momentum, decay, eta, clip, adapt_vectors):
    """Parameters after steps with the given gradients, one list a step, number by number."""
    weights = [w.clone() for w in weights]
    buffers = [torch.zeros_like(w) for w in weights]
    for step in grads:
        for w, g, b in zip(weights, step, buffers, strict=True):
            change = g.clone()
            length, grad = math.sqrt((w * w).sum()), math.sqrt((g * g).sum())
            if (w.ndim > 1 or adapt_vectors) and length > 0 and grad > 0:
                ratio = eta * length / (grad + decay * length + 1e-8)
                ratio = min(ratio / rate, 1.0) if clip else ratio
                change = ratio * (g + decay * w)
            b.mul_(momentum).add_(change)
            w.sub_(rate * b)
    return weights


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("adapt_vectors", [False, True])
@pytest.mark.parametrize("rate", [0.5, 0.004])
def test_steps_of_lars_are_what_its_formula_says(clip, adapt_vectors, rate):
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4, bias=False)).double()
    how = optimizer("lars", lr=rate, weight_decay=0.01, clip=clip, adapt_vectors=adapt_vectors)
    built = build_optimizer(how, [network], 1)
    parameters = list(network.parameters())
    with torch.no_grad():
        parameters[1].zero_()  # a vector of length zero is never adapted
    grads = [[rows(p.numel(), 1, 7 * step + i).view_as(p) for i, p in enumerate(parameters)] for step in range(3)]
    wanted = lars_by_hand([p.detach() for p in parameters], grads, rate, 0.9, 0.01, 0.02, clip, adapt_vectors)
    for step in grads:
        for p, g in zip(parameters, step, strict=True):
            p.grad = g.clone()
        built.step()
    for p, w in zip(parameters, wanted, strict=True):
        assert torch.allclose(p, w, rtol=0, atol=1e-12)


def test_without_clipping_lars_is_lightlys():
    from lightly.utils.lars import LARS

    ours, theirs = nn.Linear(5, 3, bias=False).double(), nn.Linear(5, 3, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    built = build_optimizer(optimizer("lars", lr=0.4), [ours], 1)
    other = LARS(theirs.parameters(), 0.4, momentum=0.9, weight_decay=1e-4, trust_coefficient=0.02)
    for seed in range(3):
        for layer, stepper in ((ours, built), (theirs, other)):
            layer.weight.grad = rows(3, 5, seed)
            stepper.step()
    assert torch.allclose(ours.weight, theirs.weight, rtol=0, atol=1e-10)


def test_frozen_parameters_are_left_out_and_constant_networks_keep_their_rate():
    network, frozen, constant = nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 4)
    frozen.weight.requires_grad_(False)
    built = build_optimizer(optimizer("lars", reference_batch=256), [network, frozen, constant], 512, [constant])
    moving, staying = built.param_groups
    assert [tuple(p.shape) for p in moving["params"]] == [(2, 3), (2,), (2,)]
    assert [tuple(p.shape) for p in staying["params"]] == [(4, 2), (4,)]
    set_rate(built, 0.25)
    assert (moving["lr"], staying["lr"]) == (0.25, 0.6)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_plain_optimisers_take_all_parameters_and_the_recipes_values(name, kind):
    built = build_optimizer(optimizer(name), [nn.Linear(3, 2), nn.Linear(2, 2)], 32)
    (group,) = built.param_groups
    assert type(built) is kind
    assert len(group["params"]) == 4
    assert (group["lr"], group["weight_decay"]) == (0.3, 1e-4)
    assert group.get("momentum", 0.9) == 0.9
