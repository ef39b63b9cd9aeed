"""Pair strategies: what they find, draw and add, against brute force and the papers' formulas."""

import copy
import logging
import math

import pytest
import torch
from scipy import stats
from test_losses import (
    reference_byol,
    reference_dimensional,
    reference_nt_xent,
    reference_queue,
    reference_soft,
)
from tiny import METHODS, STRATEGIES, networks, tiny_spec
from torch import nn

from sslpairs.backbones.nearest import smallest_products
from sslpairs.config import recipes
from sslpairs.errors import UserError
from sslpairs.methods.base import Embeddings, TrainProgress
from sslpairs.methods.build import build_method
from sslpairs.methods.momentum import cosine_momentum, ema_update
from sslpairs.pairs.base import Step
from sslpairs.pairs.build import build_pairs
from sslpairs.pairs.clae import CLAE, TwoNorms, adversarial_norms, attack, double_norms, main_weights
from sslpairs.pairs.gps import GPS, neighbours
from sslpairs.pairs.mixco import MixCo
from sslpairs.pairs.spps import SPPS, cosine_quantiles, limit_partners, semantic_pairs
from sslpairs.training.step import step_loss, train_step


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def cloud(count, width, seed=0):
    return torch.randn(count, width, generator=draws(seed), dtype=torch.float64)


def batch(count=8, seed=0, channels=1):
    """Two views of a batch, in float64."""
    return [
        torch.randn(count, channels, 8, 8, generator=draws(seed + v), dtype=torch.float64).contiguous(
            memory_format=torch.channels_last
        )
        for v in (1, 2)
    ]


def streams(seed=0):
    return {name: draws(seed + i) for i, name in enumerate(STRATEGIES)}


# --- GPS: neighbours -----------------------------------------------------------------------------------------------


def by_distance(embedding, k, include_self):
    table = []
    for i, anchor in enumerate(embedding):
        others = [j for j in range(len(embedding)) if j != i]
        others.sort(key=lambda j, anchor=anchor: float(((embedding[j] - anchor) ** 2).sum()))
        table.append(([i] if include_self else []) + others)
    return torch.tensor([row[:k] for row in table])


@pytest.mark.parametrize("include_self", [False, True])
@pytest.mark.parametrize(("count", "width", "k"), [(30, 4, 1), (30, 4, 5), (12, 40, 11), (2, 1, 1)])
def test_neighbours_are_those_of_brute_force_nearest_first(count, width, k, include_self):
    embedding = cloud(count, width)
    table = neighbours(embedding, k, include_self)
    assert table.dtype == torch.int64
    assert torch.equal(table, by_distance(embedding, k, include_self))


def test_neighbours_use_distance_and_not_the_angle():
    embedding = torch.tensor([[1.0, 0.0], [10.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    assert neighbours(embedding, 1).flatten().tolist() == [2, 0, 0]


def test_neighbours_are_the_same_in_blocks(monkeypatch):
    embedding = cloud(30, 4)
    whole = neighbours(embedding, 5), neighbours(embedding, 5, True)
    monkeypatch.setattr("sslpairs.backbones.nearest.BLOCK_ENTRIES", 7 * 30)
    assert torch.equal(neighbours(embedding, 5), whole[0])
    assert torch.equal(neighbours(embedding, 5, True), whole[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_exact_duplicate_is_a_neighbour_and_the_image_itself_is_not(dtype):
    half = cloud(10, 6).to(dtype)
    embedding = torch.cat([half, half])
    own = torch.arange(20)
    twin = (own + 10) % 20
    alone = neighbours(embedding, 3)
    assert torch.equal(alone[:, 0], twin)
    assert not (alone == own[:, None]).any()
    both = neighbours(embedding, 3, include_self=True)
    assert torch.equal(both[:, 0], own)
    assert torch.equal(both[:, 1], twin)


def test_without_self_no_row_holds_its_own_index_even_among_many_equal_images():
    table = neighbours(torch.ones(9, 3), 8)
    for i, row in enumerate(table.tolist()):
        assert sorted(row) == [j for j in range(9) if j != i]


def test_float32_neighbours_are_as_near_as_the_true_ones():
    # Features after a ReLU: far from the origin, compared with their distances.
    embedding = (cloud(200, 64).abs() * 0.3 + 2).float()
    table, true = neighbours(embedding, 5), neighbours(embedding.double(), 5)
    wide = embedding.double()
    reached, best = ((wide[:, None] - wide[t]).square().sum(2) for t in (table, true))
    assert torch.allclose(reached, best, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("k", "include_self", "most"), [(5, False, 4), (6, True, 5), (0, False, 4)])
def test_more_neighbours_than_images_is_an_error_with_both_numbers(k, include_self, most):
    with pytest.raises(ValueError, match=f"{k} neighbours of 5 images: there are {most}"):
        neighbours(cloud(5, 2), k, include_self)


def gps(**changes):
    return GPS(recipes.GPSSettings.model_validate(STRATEGIES["gps"] | changes))


def test_too_many_neighbours_in_a_recipe_name_the_key():
    with pytest.raises(UserError, match=r"strategies\.gps\.neighbours.*9 neighbours of 5 images"):
        gps(neighbours=9).prepare(lambda: cloud(5, 2), draws())


def test_the_partner_is_one_of_the_neighbours_drawn_uniformly():
    strategy = gps(neighbours=4)
    strategy.prepare(lambda: cloud(20, 3), draws())
    allowed = neighbours(cloud(20, 3), 4)
    items = torch.arange(20).repeat(200)[:, None].repeat(1, 2)
    drawn = strategy.sample_positives(items, draws(5))
    assert torch.equal(drawn[:, 0], items[:, 0])
    place = drawn[:, 1, None] == allowed[items[:, 0]]
    assert (place.sum(1) == 1).all()
    assert stats.chisquare(place.sum(0).numpy()).pvalue > 1e-4
    each = torch.stack([place[items[:, 0] == i].sum(0) for i in range(20)])
    assert (each > 0).all()


def test_partners_are_drawn_anew_at_every_fetch_and_equally_from_equal_streams():
    strategy = gps()
    strategy.prepare(lambda: cloud(50, 3), draws())
    items, stream = torch.arange(50)[:, None].repeat(1, 2), draws(1)
    first, second = strategy.sample_positives(items, stream), strategy.sample_positives(items, stream)
    assert not torch.equal(first, second)
    assert torch.equal(strategy.sample_positives(items, draws(1)), first)


def test_partners_leave_the_pairs_of_spps_alone():
    strategy = gps()
    strategy.prepare(lambda: cloud(50, 3), draws())
    items = torch.tensor([[i, i] if i % 2 else [i, (i + 25) % 50] for i in range(50)])
    drawn = strategy.sample_positives(items, draws(2))
    mined = items[:, 0] != items[:, 1]
    assert torch.equal(drawn[mined], items[mined])
    assert (drawn[~mined, 0] != drawn[~mined, 1]).all()


def test_one_neighbour_with_self_would_do_nothing_and_is_refused():
    with pytest.raises(ValueError, match="is the image itself"):
        gps(neighbours=1, include_self=True)


def test_neighbours_far_from_the_origin_are_found_in_float32():
    embedding = cloud(300, 32) * 0.05 + 30
    assert (neighbours(embedding.float(), 5) == neighbours(embedding, 5)).double().mean() > 0.99


def in_a_ball(embedding, i, radius, include_self, strictly):
    """Other images (or all) within a squared distance of image i, nearest first."""
    distance = {j: float(((embedding[j] - embedding[i]) ** 2).sum()) for j in range(len(embedding))}
    found = [j for j in distance if (distance[j] < radius if strictly else distance[j] <= radius)]
    return sorted((j for j in found if include_self or j != i), key=lambda j: (j != i, distance[j]))


@pytest.mark.parametrize("include_self", [False, True])
def test_threshold_draws_uniformly_among_all_within_the_radius(include_self):
    embedding = cloud(20, 2)
    strategy = gps(choice="threshold", neighbours=None, radius=0.5, candidates=2048, include_self=include_self)
    line = strategy.prepare(lambda: embedding, draws())
    items = torch.arange(20).repeat(400)[:, None].repeat(1, 2)
    drawn = strategy.sample_positives(items, draws(5))
    alone = 0
    for i in range(20):
        wanted = in_a_ball(embedding, i, 0.5, include_self, strictly=False)
        alone += not wanted
        counts = torch.tensor([(drawn[items[:, 0] == i, 1] == j).sum() for j in wanted or [i]])
        assert counts.sum() == 400, "nothing else is drawn, and an image without candidates keeps itself"
        assert len(counts) == 1 or stats.chisquare(counts.numpy()).pvalue > 1e-4
    assert f"{alone} of 20" in line
    assert (alone > 0) is not include_self


@pytest.mark.parametrize("include_self", [False, True])
def test_farthest_is_the_farthest_image_of_the_open_ball(include_self):
    embedding = cloud(20, 2)
    strategy = gps(choice="farthest", neighbours=None, radius=0.5, candidates=2048, include_self=include_self)
    strategy.prepare(lambda: embedding, draws())
    items = torch.arange(20)[:, None].repeat(1, 2)
    for seed in (1, 2):
        drawn = strategy.sample_positives(items, draws(seed))[:, 1].tolist()
        assert drawn == [(in_a_ball(embedding, i, 0.5, include_self, strictly=True) or [i])[-1] for i in range(20)]


def test_an_image_exactly_at_the_radius_is_within_the_threshold_and_outside_the_open_ball():
    embedding = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    items = torch.arange(3)[:, None].repeat(1, 2)
    for choice, wanted in (("threshold", [1, 0, 1]), ("farthest", [1, 0, 2])):
        strategy = gps(choice=choice, neighbours=None, radius=4.0, candidates=9)
        strategy.prepare(lambda: embedding, draws())
        drawn = strategy.sample_positives(items, draws())[:, 1].tolist()
        assert (drawn[0], drawn[2]) == (wanted[0], wanted[2])


def test_only_so_many_candidates_are_looked_at_and_a_full_ball_is_said(caplog):
    embedding = torch.arange(10, dtype=torch.float64)[:, None]
    strategy = gps(choice="farthest", neighbours=None, radius=1000.0, candidates=3)
    strategy.prepare(lambda: embedding, draws())
    assert strategy.sample_positives(torch.tensor([[0, 0], [9, 9]]), draws())[:, 1].tolist() == [3, 6]
    assert "contains all 3 candidates that are considered for 10 of 10 images" in caplog.text


def test_a_table_comes_back_only_where_it_is_not_the_guides():
    fixed = gps()
    fixed.prepare(lambda: cloud(20, 3), draws())
    assert fixed.state() == {}
    moving = gps(rebuild={"every": 2, "layer": "backbone"})
    moving.prepare(lambda: cloud(20, 3), draws())
    moving.rebuild(lambda layer: cloud(20, 3, seed=1))
    again = gps(rebuild={"every": 2, "layer": "backbone"})
    again.prepare(lambda: cloud(20, 3), draws())
    again.restore(moving.state())
    items = torch.arange(20)[:, None].repeat(1, 2)
    assert torch.equal(again.sample_positives(items, draws(1)), moving.sample_positives(items, draws(1)))
    assert torch.equal(moving.table, neighbours(cloud(20, 3, seed=1), 3))


# --- nearest of many -----------------------------------------------------------------------------------------------


def smallest_by_sorting(left, right, k, own):
    """Each row's k smallest products by a stable sort of Python's."""
    found = []
    for i, row in enumerate((left.double() @ right.double().T).tolist()):
        if own is not None:
            row[i] = own
        found.append(sorted(range(len(row)), key=row.__getitem__)[:k])
    return torch.tensor(found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("own", [None, math.inf, -math.inf])
@pytest.mark.parametrize(("count", "k"), [(700, 1), (700, 4), (640, 10), (641, 10), (700, 60), (90, 89)])
def test_the_smallest_products_are_those_of_a_stable_sort_with_many_ties(count, k, own, dtype, monkeypatch):
    # Small whole numbers: products are exact, and most of them are equal to many others.
    draws = torch.Generator().manual_seed(count + k)
    right = torch.randint(-2, 3, (count, 3), generator=draws).to(dtype)
    left = right if own is not None else torch.randint(-2, 3, (77, 3), generator=draws).to(dtype)
    wanted = smallest_by_sorting(left, right, k, own)
    for entries in (1 << 26, 13 * 704):
        monkeypatch.setattr("sslpairs.backbones.nearest.BLOCK_ENTRIES", entries)
        values, columns = smallest_products(left, right, k, own)
        assert torch.equal(columns, wanted)
        inner = columns != torch.arange(len(left))[:, None]
        exact = (left[:, None] * right[columns]).sum(2)
        assert values.dtype == dtype
        assert torch.equal(values[inner], exact[inner]) if own is not None else torch.equal(values, exact)


@pytest.mark.parametrize("k", [5, 200])
def test_of_thousands_the_chunks_with_the_smallest_minima_hold_the_nearest(k):
    embedding = cloud(2000, 8)
    difference = (embedding[:50, None] - embedding[None]).square().sum(2)
    difference[torch.arange(50), torch.arange(50)] = torch.inf
    assert torch.equal(neighbours(embedding, k)[:50], difference.argsort(1)[:, :k])


# --- SPPS: pairs ---------------------------------------------------------------------------------------------------


def angle(a, b):
    return ((a * b).sum() / (a.norm() * b.norm())).item()


def by_cosine(embedding, low, high, ordered):
    pairs = []
    for i in range(len(embedding)):
        for j in range(len(embedding)):
            if (i != j if ordered else i < j) and low <= angle(embedding[i], embedding[j]) <= high:
                pairs.append([i, j])
    return pairs


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.5, 0.9), (-0.2, 0.1), (0.999, 1.0)])
def test_semantic_pairs_are_those_of_brute_force(low, high, ordered):
    embedding = cloud(30, 4)
    found = semantic_pairs(embedding, low, high, ordered)
    assert found.dtype == torch.int64
    assert found.shape[1] == 2
    assert found.tolist() == by_cosine(embedding, low, high, ordered)


def test_semantic_pairs_are_the_same_in_blocks(monkeypatch):
    embedding = cloud(30, 4)
    whole = semantic_pairs(embedding, 0.2, 0.9, True), cosine_quantiles(embedding, [0.3, 0.9])
    monkeypatch.setattr("sslpairs.pairs.spps.BLOCK_ENTRIES", 7 * 30)
    assert torch.equal(semantic_pairs(embedding, 0.2, 0.9, True), whole[0])
    assert cosine_quantiles(embedding, [0.3, 0.9]) == whole[1]


def test_both_bounds_belong_to_the_interval():
    # Right angles, equal and opposite directions: their cosines are exact.
    embedding = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    assert semantic_pairs(embedding, 0.0, 0.5).tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]
    assert semantic_pairs(embedding, 0.5, 1.0).tolist() == [[0, 2]]
    assert semantic_pairs(embedding, -1.0, -0.5).tolist() == [[1, 3]]


def test_open_bounds_leave_out_what_lies_on_them():
    embedding = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    assert semantic_pairs(embedding, 0.0, 1.0, inclusive=False).tolist() == [[0, 3], [1, 3], [2, 3]]
    assert len(semantic_pairs(embedding, 0.0, 1.0)) == 6


@pytest.mark.parametrize("ordered", [False, True])
def test_a_limit_of_partners_within_the_blocks_is_the_one_over_the_whole_list(ordered, monkeypatch):
    embedding = cloud(30, 4)
    pairs = semantic_pairs(embedding, 0.1, 1.0, ordered)
    similarity = torch.tensor([angle(embedding[a], embedding[b]) for a, b in pairs.tolist()], dtype=torch.float64)
    monkeypatch.setattr("sslpairs.pairs.spps.BLOCK_ENTRIES", 7 * 30)
    limited = semantic_pairs(embedding, 0.1, 1.0, ordered, max_partners=2)
    assert torch.equal(limited, limit_partners(pairs, similarity, 2))


def test_more_pairs_than_memory_has_room_for_are_an_error_that_names_the_remedy(monkeypatch):
    monkeypatch.setattr("sslpairs.pairs.spps.MOST_PAIRS", 100)
    with pytest.raises(UserError, match=r"strategies\.spps: more than 100 pairs among 30 images.*max_partners"):
        spps(mode="interval", low=-1.0, high=1.0).prepare(lambda: cloud(30, 4), draws())


@pytest.mark.parametrize("width", [8, 64, 256])
def test_an_upper_bound_of_1_keeps_exact_duplicates_in_float32(width):
    half = torch.randn(50, width, generator=draws(3))
    pairs = {tuple(pair) for pair in semantic_pairs(torch.cat([half, half]), 0.9999, 1.0).tolist()}
    missing = [i for i in range(50) if (i, i + 50) not in pairs]
    assert not missing


def test_an_upper_bound_below_1_drops_exact_duplicates():
    half = cloud(10, 6)
    assert len(semantic_pairs(torch.cat([half, half]), 0.97, 0.99)) == 0


@pytest.mark.parametrize("width", [3, 32])
def test_quantiles_are_numpys_over_all_pairs(width):
    import numpy as np

    embedding = cloud(120, width)
    cosines = [angle(embedding[i], embedding[j]) for i in range(120) for j in range(i)]
    at = [0.01, 0.25, 0.5, 0.9, 0.99, 0.999]
    ours = cosine_quantiles(embedding, at)
    exact = np.quantile(cosines, at, method="inverted_cdf")
    for a, b in zip(ours, exact, strict=True):
        assert b - 3e-6 <= a <= b + 1e-9
    assert np.allclose(ours, np.quantile(cosines, at), atol=2e-2)


def test_the_quantiles_0_and_1_hold_all_pairs():
    embedding = cloud(40, 5).float()
    low, high = cosine_quantiles(embedding, [0.0, 1.0])
    assert len(semantic_pairs(embedding, low, high)) == 40 * 39 // 2


def test_the_share_between_two_quantiles_is_the_share_of_pairs():
    embedding = cloud(120, 16).float()
    low, high = cosine_quantiles(embedding, [0.9, 1.0])
    assert abs(len(semantic_pairs(embedding, low, high)) / (120 * 119 / 2) - 0.1) < 0.002


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("ordered", [False, True])
def test_limit_partners_keeps_the_most_similar_ones_of_each_first_image(most, ordered):
    embedding = cloud(25, 4)
    pairs = semantic_pairs(embedding, 0.0, 1.0, ordered)
    similarity = torch.tensor([angle(embedding[a], embedding[b]) for a, b in pairs.tolist()], dtype=torch.float64)
    kept = limit_partners(pairs, similarity, most).tolist()
    wanted = []
    for (a, b), s in zip(pairs.tolist(), similarity.tolist(), strict=True):
        rivals = [t for (c, _), t in zip(pairs.tolist(), similarity.tolist(), strict=True) if c == a]
        if sum(t > s for t in rivals) < most:
            wanted.append([a, b])
    assert kept == wanted


def spps(**changes):
    return SPPS(recipes.SPPSSettings.model_validate(STRATEGIES["spps"] | changes))


def test_spps_appends_its_pairs_to_the_instance_pairs():
    strategy, embedding = spps(mode="interval", low=0.8, high=1.0), cloud(30, 4)
    line = strategy.prepare(lambda: embedding, draws())
    wanted = by_cosine(embedding, 0.8, 1.0, False)
    items = torch.arange(30)[:, None].repeat(1, 2)
    longer = strategy.pair_indices(items, draws())
    assert torch.equal(longer[:30], items)
    assert longer[30:].tolist() == wanted
    assert f"{len(wanted)} pairs" in line


def test_spps_mines_only_the_stated_share_and_names_images_by_their_index():
    strategy, embedding = spps(mode="interval", low=0.5, high=1.0, share=0.5), cloud(40, 4)
    strategy.prepare(lambda: embedding, draws(1))
    assert len(strategy.pairs.unique()) <= 20
    everything = by_cosine(embedding, 0.5, 1.0, False)
    assert all(pair in everything for pair in strategy.pairs.tolist())
    used = set(strategy.pairs.flatten().tolist())
    assert [p for p in everything if set(p) <= used] == strategy.pairs.tolist()


def test_spps_with_a_limit_has_no_image_with_more_partners():
    strategy = spps(mode="interval", low=0.0, high=1.0, ordered=True, max_partners=2)
    strategy.prepare(lambda: cloud(30, 4), draws())
    assert strategy.pairs[:, 0].bincount().max() == 2


def test_spps_without_a_pair_warns_with_numbers_and_goes_on(caplog):
    strategy, embedding = spps(mode="interval", low=0.9999, high=1.0), cloud(20, 8)
    with caplog.at_level(logging.WARNING):
        line = strategy.prepare(lambda: embedding, draws())
    largest = max(angle(embedding[i], embedding[j]) for i in range(20) for j in range(i))
    (record,) = caplog.records
    for number in ("[0.9999, 1.0000]", "20 images", f"{largest:.4f}", "strategies.spps"):
        assert number in record.getMessage()
    assert "0 pairs" in line
    items = torch.arange(20)[:, None].repeat(1, 2)
    assert torch.equal(strategy.pair_indices(items, draws()), items)


# --- MixCo ---------------------------------------------------------------------------------------------------------


def mixco(**changes):
    return MixCo(recipes.MixCoSettings.model_validate(STRATEGIES["mixco"] | changes))


@pytest.mark.parametrize("alpha", [None, 0.3, 1.0, 4.0])
def test_lambda_is_uniform_or_beta_and_independent_for_each_image(alpha):
    shares = mixco(alpha=alpha)._shares(6000, draws(1))
    assert shares.shape == (6000,)
    assert shares.min() >= 0
    assert shares.max() <= 1
    law = stats.uniform if alpha is None else stats.beta(alpha, alpha)
    assert stats.kstest(shares.double().numpy(), law.cdf).pvalue > 1e-3
    assert abs(torch.corrcoef(torch.stack([shares[:-1], shares[1:]]))[0, 1]) < 0.05


def test_each_view_has_shares_of_its_own_and_equal_streams_give_equal_ones():
    method, (strategy,) = networks("simclr+mixco")
    xs = batch()
    strategy.extra_views(Step(method, xs, draws=streams()))
    first = {view: lam.clone() for view, lam in strategy.lam.items()}
    assert not torch.equal(first[0], first[1])
    strategy.extra_views(Step(method, xs, draws=streams()))
    assert all(torch.equal(first[v], strategy.lam[v]) for v in (0, 1))


def test_one_way_moco_mixes_the_queries_only():
    method, (strategy,) = networks("moco+mixco")
    first, second = strategy.extra_views(Step(method, batch(), draws=streams()))
    assert len(first) == 4
    assert second is None


def test_an_odd_batch_is_refused_in_a_step():
    method, pairs = networks("simclr+mixco")
    with pytest.raises(ValueError, match="even batch"):
        step_loss(method, pairs, batch(7), streams())


def plain_forward(method, x):
    h = method.backbone(x)
    return method.projector(h)


def test_simclr_with_mixco_adds_the_mean_of_both_soft_contrasts():
    method, (strategy,) = networks("simclr+mixco", strategies={"mixco": {"weight": 0.7, "temperature": 0.3}})
    twin = copy.deepcopy(method)
    x1, x2 = batch()
    total, _ = step_loss(method, [strategy], (x1, x2), streams())
    z = [plain_forward(twin, x) for x in (x1, x2)]
    terms = []
    for v, x in enumerate((x1, x2)):
        lam = strategy.lam[v].double()
        images = torch.stack([lam[i] * x[i] + (1 - lam[i]) * x[i + 4] for i in range(4)])
        terms.append(reference_soft(plain_forward(twin, images), z[1 - v], lam, 0.3))
    wanted = reference_nt_xent(*z, 0.5) + 0.7 * (terms[0] + terms[1]) / 2
    assert abs((total - wanted).item()) < 1e-8
    ours = torch.autograd.grad(total, method.parameters())
    theirs = torch.autograd.grad(wanted, twin.parameters())
    assert all(torch.allclose(a, b, rtol=1e-7, atol=1e-8) for a, b in zip(ours, theirs, strict=True))


def test_moco_with_mixco_embeds_queries_and_mixed_images_in_one_batch():
    method, (strategy,) = networks("moco+mixco", strategies={"mixco": {"temperature": 0.3}})
    twin = copy.deepcopy(method)
    x1, x2 = batch()
    queue = method.queue[0].T.clone()
    total, step = step_loss(method, [strategy], (x1, x2), streams())
    lam = strategy.lam[0].double()
    images = torch.stack([lam[i] * x1[i] + (1 - lam[i]) * x1[i + 4] for i in range(4)])
    joint = plain_forward(twin, torch.cat([x1, images]))
    # Before the first step the key encoder equals the online network, and following it changes nothing.
    keys = twin.key_projector(twin.key_backbone(x2)).detach()
    hard = reference_queue(joint[:8], keys, queue, 0.2)
    soft = reference_soft(joint[8:], keys, lam, 0.3, queue)
    assert abs((total - (hard + soft)).item()) < 1e-8
    assert not step.clean[1].target.requires_grad


def test_mocoplus_is_the_mean_of_both_directions_with_a_queue_each():
    method, _ = networks("mocoplus")
    twin = copy.deepcopy(method)
    x1, x2 = batch()
    total, _ = step_loss(method, [], (x1, x2), {})
    z = [plain_forward(twin, x) for x in (x1, x2)]
    t = [twin.key_projector(twin.key_backbone(x)) for x in (x1, x2)]
    wanted = [reference_queue(z[v], t[1 - v], twin.queue[1 - v].T, 0.2) for v in (0, 1)]
    assert abs((total - sum(wanted) / 2).item()) < 1e-8


def test_byol_with_mixco_sums_lambda_weighted_losses_of_both_parents():
    method, (strategy,) = networks("byol+mixco")
    twin = copy.deepcopy(method)
    x1, x2 = batch()
    total, _ = step_loss(method, [strategy], (x1, x2), streams())
    xs = (x1, x2)
    p = [twin.predictor(plain_forward(twin, x)) for x in xs]
    t = [twin.target_projector(twin.target_backbone(x)).detach() for x in xs]
    wanted = reference_byol(*p, *t)
    for v, x in enumerate(xs):
        lam = strategy.lam[v].double()
        images = torch.stack([lam[i] * x[i] + (1 - lam[i]) * x[i + 4] for i in range(4)])
        mixed = twin.predictor(plain_forward(twin, images))
        for i in range(4):
            parts = [2 - 2 * angle(mixed[i], t[1 - v][j]) for j in (i, i + 4)]
            wanted = wanted + (lam[i] * parts[0] + (1 - lam[i]) * parts[1]) / 4
    assert abs((total - wanted).item()) < 1e-6


# --- CLAE: attack --------------------------------------------------------------------------------------------------


def test_the_attack_goes_upwards_by_epsilon_along_the_sign_of_the_slope():
    x = torch.randn(3, 1, 2, 2, generator=draws(), dtype=torch.float64)
    weight = torch.randn(4, generator=draws(1), dtype=torch.float64)

    def loss(images):
        return (images.flatten(1) @ weight).sin().square().sum()

    made = attack(x, loss, 0.03)
    for place in range(x.numel()):
        up, down = x.clone().flatten(), x.clone().flatten()
        up[place] += 1e-6
        down[place] -= 1e-6
        grad = (loss(up.view_as(x)) - loss(down.view_as(x))).item()
        assert (made - x).flatten()[place].item() == pytest.approx(math.copysign(0.03, grad), abs=1e-12)
    assert loss(made) > loss(x)


def test_the_attack_is_a_constant_without_clipping_that_changes_neither_input_nor_gradients():
    network = nn.Linear(4, 2).double()
    network.weight.grad = torch.full_like(network.weight, 7.0)
    x = torch.full((2, 1, 2, 2), 50.0, dtype=torch.float64)
    before = x.clone()
    made = attack(x, lambda images: network(images.flatten(1)).square().sum(), 0.5)
    assert not made.requires_grad
    assert torch.equal((made - x).abs(), torch.full_like(x, 0.5))
    assert torch.equal(x, before)
    assert x.grad is None
    assert torch.equal(network.weight.grad, torch.full_like(network.weight, 7.0))
    assert network.bias.grad is None


def test_a_pixel_without_slope_stays():
    x = torch.randn(2, 1, 2, 2, generator=draws(), dtype=torch.float64)
    made = attack(x, lambda images: images[:, :, 0].sum(), 0.1)
    assert torch.equal(made[:, :, 1], x[:, :, 1])
    assert torch.allclose(made[:, :, 0], x[:, :, 0] + 0.1)


def test_the_attack_works_where_gradients_are_switched_off():
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(attack(x, lambda images: images.square().sum(), 0.25), x + 0.25)


def trained(method):
    return [p for p in method.parameters() if p.requires_grad]


def spread_apart(method):
    """Make main and adversarial norms different, as they are after some training."""
    for i, twin in enumerate(m for m in method.modules() if isinstance(m, TwoNorms)):
        with torch.no_grad():
            for j, value in enumerate((twin.adversarial.weight, twin.adversarial.bias)):
                noise = torch.randn(value.shape, generator=draws(10 * i + j), dtype=value.dtype)
                value.add_(0.3 * noise)


@pytest.mark.parametrize("base", ["simclr", "moco", "byol"])
def test_clae_attacks_view_1_against_the_base_loss_with_everything_in_the_adversarial_norms(base):
    method, (strategy,) = networks(f"{base}+clae", strategies={"clae": {"weight": 0.6}})
    spread_apart(method)
    twin = copy.deepcopy(method)
    x1, x2 = batch()
    total, _ = step_loss(method, [strategy], (x1, x2), streams())

    def online(x, adversarial=False):
        with adversarial_norms(twin) if adversarial else torch.enable_grad():
            z = plain_forward(twin, x)
            return twin.predictor(z) if base == "byol" else z

    main = online(x1), online(x2)
    if base == "simclr":
        anchor = online(x1, True).detach()
        clean = reference_nt_xent(*main, 0.5)
        against = [lambda a: reference_nt_xent(anchor, a, 0.5), lambda a: reference_nt_xent(main[0], a, 0.5)]
    elif base == "moco":
        key = twin.key_projector(twin.key_backbone(x2))
        clean = reference_queue(main[0], key, twin.queue[0].T, 0.2)
        against = [lambda a: reference_queue(a, key, twin.queue[0].T, 0.2)] * 2
    else:
        targets = [twin.target_projector(twin.target_backbone(x)) for x in (x1, x2)]
        clean = reference_byol(*main, *targets)

        def one_way(a):
            units = [v / v.norm(dim=1, keepdim=True) for v in (a, targets[1])]
            return (2 - 2 * (units[0] * units[1]).sum(1)).mean()

        against = [one_way, one_way]
    start = x1.clone().requires_grad_()
    (grad,) = torch.autograd.grad(against[0](online(start, True)), start)
    wanted = clean + 0.6 * against[1](online(x1 + 0.03 * grad.sign(), True))
    assert abs((total - wanted).item()) < 1e-8
    ours = torch.autograd.grad(total, trained(method), allow_unused=True)
    theirs = torch.autograd.grad(wanted, trained(twin), allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-6, atol=1e-8)


def test_a_clipped_attack_stays_within_the_valid_range_and_an_unclipped_one_need_not():
    x1, x2 = batch()
    bounds = torch.tensor([-1.0]), torch.tensor([1.0])
    for clip in (False, True):
        method, (strategy,) = networks("simclr+clae", strategies={"clae": {"clip": clip, "epsilon": 0.5}})
        _, step = step_loss(method, [strategy], (x1.clamp(-1, 1), x2), streams(), bounds=bounds)
        made = strategy.perturb(step)
        assert (made.abs().max() <= 1).item() is clip


def test_a_clipped_attack_without_the_valid_range_is_an_error():
    method, pairs = networks("simclr+clae", strategies={"clae": {"clip": True}})
    with pytest.raises(ValueError, match="pass bounds"):
        step_loss(method, pairs, batch(), streams())


def test_an_attack_that_must_not_count_leaves_its_statistics_to_the_adversarial_images():
    x1, x2 = batch()
    seen = {}
    for counts in (True, False):
        method, (strategy,) = networks("simclr+clae", strategies={"clae": {"attack_updates_norms": counts}})
        total, _ = step_loss(method, [strategy], (x1, x2), streams())
        norm = method.backbone[1].adversarial
        seen[counts] = (total.item(), norm.num_batches_tracked.item(), norm.running_mean.clone(), norm.momentum)
    assert (seen[True][1], seen[False][1]) == (3, 1)
    assert seen[True][0] == seen[False][0], "the loss is the same: training takes the statistics of the batch"
    assert not torch.equal(seen[True][2], seen[False][2])
    assert seen[False][3] == 0.01


def test_the_attack_within_a_step_leaves_gradients_of_parameters_alone():
    method, (strategy,) = networks("simclr+clae")
    for p in method.parameters():
        p.grad = torch.full_like(p, 3.0)
    step_loss(method, [strategy], batch(), streams())
    assert all(torch.equal(p.grad, torch.full_like(p, 3.0)) for p in method.parameters())


# --- CLAE: norms ---------------------------------------------------------------------------------------------------


def test_each_set_of_norms_sees_its_own_images_and_no_others():
    method, (strategy,) = networks("simclr+clae", strategies={"clae": {"batch_norm_momentum": 0.2}})
    seen = {"main": [], "adversarial": []}
    norm = method.backbone[1]
    norm.main.register_forward_hook(lambda m, inputs, _: seen["main"].append(inputs[0].detach().clone()))
    norm.adversarial.register_forward_hook(lambda m, inputs, _: seen["adversarial"].append(inputs[0].detach().clone()))
    x1, x2 = batch()
    step_loss(method, [strategy], (x1, x2), streams())
    convolve = method.backbone[0]
    assert len(seen["main"]) == 2
    for got, x in zip(seen["main"], (x1, x2), strict=True):
        assert torch.allclose(got, convolve(x), atol=1e-12)
    assert len(seen["adversarial"]) == 3
    for got in seen["adversarial"][:2]:
        assert torch.allclose(got, convolve(x1), atol=1e-12)
    assert not torch.allclose(seen["adversarial"][2], convolve(x1), atol=1e-4)
    # The running means are those of torch's update with each set's own momentum.
    for which, momentum in (("main", 0.1), ("adversarial", 0.2)):
        running = torch.zeros(8, dtype=torch.float64)
        for got in seen[which]:
            running = (1 - momentum) * running + momentum * got.mean((0, 2, 3))
        kept = getattr(norm, which)
        assert torch.allclose(kept.running_mean, running, atol=1e-12)
        assert kept.num_batches_tracked.item() == len(seen[which])


def test_every_norm_gets_a_twin_with_equal_weights_and_its_own_momentum():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    double_norms(network, 0.01)
    twins = [m for m in network.modules() if isinstance(m, TwoNorms)]
    assert len(twins) == 2
    for twin in twins:
        assert twin.adversarial.momentum == 0.01
        assert twin.main.momentum == 0.1
        assert torch.equal(twin.main.weight, twin.adversarial.weight)
        assert twin.main.weight is not twin.adversarial.weight


def test_the_adversarial_norms_are_switched_off_again_after_an_error():
    method, _ = networks("simclr+clae")
    with pytest.raises(RuntimeError, match="inside"), adversarial_norms(method):
        raise RuntimeError("inside")
    assert not any(m.use_adversarial for m in method.modules() if isinstance(m, TwoNorms))


@pytest.mark.parametrize(
    "backbone", [{"kind": "convnet", "widths": [8, 16]}, {"kind": "resnet", "depth": 18, "stem": "cifar"}]
)
def test_what_is_evaluated_has_the_plain_networks_names_and_the_main_norms_values(backbone):
    plain = build_method(tiny_spec("simclr", backbone=backbone), 1, 16)
    doubled = build_method(tiny_spec("simclr+clae", backbone=backbone), 1, 16)
    CLAE(recipes.CLAESettings.model_validate(STRATEGIES["clae"])).wrap(doubled)
    kept = main_weights(doubled.backbone.state_dict())
    assert list(kept) == list(plain.backbone.state_dict())
    plain.backbone.load_state_dict(kept)
    x = torch.randn(4, 1, 8, 8, generator=draws())
    assert torch.equal(plain.backbone.eval()(x), doubled.backbone.eval()(x))


def test_main_weights_leaves_a_network_without_twins_as_it_is():
    state = build_method(tiny_spec("simclr"), 1, 16).backbone.state_dict()
    assert list(main_weights(state)) == list(state)


# --- momentum encoders and queues ----------------------------------------------------------------------------------


def test_momentum_runs_from_first_to_last_on_half_a_cosine():
    assert cosine_momentum(0.9, 1.0, 0.0) == pytest.approx(0.9, abs=1e-12)
    assert cosine_momentum(0.9, 1.0, 0.5) == pytest.approx(0.95, abs=1e-12)
    assert cosine_momentum(0.9, 1.0, 0.25) == pytest.approx(0.914644660940673, abs=1e-12)
    assert cosine_momentum(0.9, 1.0, 1.0) == pytest.approx(1.0, abs=1e-12)
    assert cosine_momentum(0.99, 0.99, 0.3) == pytest.approx(0.99, abs=1e-12)


def test_a_follower_skips_adversarial_norms_and_keeps_its_buffers():
    online = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)).double()
    follower = copy.deepcopy(online)
    double_norms(online, 0.01)
    with torch.no_grad():
        for i, value in enumerate([*online.parameters(), online[1].main.running_mean]):
            value.copy_(torch.randn(value.shape, generator=draws(i), dtype=value.dtype))
        online[1].adversarial.weight.fill_(1e6)
    before = copy.deepcopy(follower.state_dict())
    ema_update(follower, online, 0.8)
    leaders = main_weights(online.state_dict())
    assert list(leaders) == list(before)
    parameters = dict(follower.named_parameters())
    for name, value in follower.state_dict().items():
        wanted = 0.8 * before[name] + 0.2 * leaders[name] if name in parameters else before[name]
        assert torch.allclose(value, wanted, rtol=0, atol=1e-12), name


@pytest.mark.parametrize("label", ["byol", "byol+clae", "moco", "moco+clae", "mocoplus"])
def test_the_momentum_network_follows_in_a_step_and_is_never_trained_by_gradient(label):
    method, pairs = networks(label)
    parts = ("target_backbone", "target_projector") if label.startswith("byol") else ("key_backbone", "key_projector")
    following = [getattr(method, part) for part in parts]
    assert not any(p.requires_grad for part in following for p in part.parameters())
    old = [copy.deepcopy(part.state_dict()) for part in following]
    with torch.no_grad():
        for module in (method.backbone, method.projector):
            for p in module.parameters():
                p.add_(0.01)
    _, step = step_loss(method, pairs, batch(), streams(), TrainProgress(1, 2))
    method.after_step(step.clean, TrainProgress(1, 2))
    momentum = {"byol": 0.95, "moco": 0.945, "mocoplus": 0.9495}[label.partition("+")[0]]
    for part, before, online in zip(following, old, (method.backbone, method.projector), strict=True):
        leaders = main_weights(online.state_dict())
        for name, value in part.named_parameters():
            wanted = momentum * before[name] + (1 - momentum) * leaders[name]
            assert torch.allclose(value, wanted, rtol=0, atol=1e-12), name


def keyed(method, keys):
    method.after_step([Embeddings(target=keys[0]), Embeddings(target=keys[1])], TrainProgress())


@pytest.mark.parametrize("base", ["moco", "mocoplus"])
def test_the_newest_keys_replace_the_oldest_ones_and_wrap_around(base):
    method, _ = networks(base, changes={"queue": 5})
    views = (1,) if base == "moco" else (0, 1)
    expected = [[row.clone() for row in queue] for queue in method.queue]
    place = 0
    for number in range(6):
        keys = [cloud(2, 8, 10 * number + v) for v in (0, 1)]
        keyed(method, keys)
        for offset in range(2):
            for queue, v in enumerate(views):
                key = keys[v][offset]
                expected[queue][(place + offset) % 5] = key / key.norm()
        place = (place + 2) % 5
        for queue in range(len(views)):
            assert torch.allclose(method.queue[queue], torch.stack(expected[queue]), rtol=0, atol=1e-12), number
    assert torch.allclose(method.queue.norm(dim=2), torch.ones(len(views), 5, dtype=torch.float64))


def test_a_batch_larger_than_the_queue_leaves_its_last_keys():
    method, _ = networks("moco", changes={"queue": 3})
    keys = cloud(8, 8)
    keyed(method, [None, keys])
    assert torch.allclose(method.queue[0], keys[5:] / keys[5:].norm(dim=1, keepdim=True), rtol=0, atol=1e-12)


@pytest.mark.parametrize("label", ["moco+mixco", "moco+clae", "moco+mixco+clae", "mocoplus+mixco+clae+dimcl"])
def test_extra_views_never_enter_the_queue(label):
    method, pairs = networks(label)
    twin = copy.deepcopy(method)
    x1, x2 = batch()
    before = method.queue.clone()
    _, step = step_loss(method, pairs, (x1, x2), streams())
    assert torch.equal(method.queue, before)
    method.after_step(step.clean, TrainProgress())
    assert method.oldest.item() == 8
    for queue, v in enumerate(method.answering):
        keys = twin.key_projector(twin.key_backbone((x1, x2)[v]))
        keys = keys / keys.norm(dim=1, keepdim=True)
        assert torch.allclose(method.queue[queue][:8], keys, rtol=0, atol=1e-10)
        assert torch.equal(method.queue[queue][8:], before[queue][8:])


def test_the_momentum_networks_norms_see_clean_views_only():
    for label in ("moco+mixco+clae", "byol+mixco+clae"):
        method, pairs = networks(label)
        part = method.key_backbone if label.startswith("moco") else method.target_backbone
        step_loss(method, pairs, batch(), streams())
        assert part[1].num_batches_tracked.item() == (1 if label.startswith("moco") else 2)


# --- composition ---------------------------------------------------------------------------------------------------


def main_gradients(loss, method):
    named = [(n, p) for n, p in method.named_parameters() if p.requires_grad and ".adversarial." not in n]
    grads = torch.autograd.grad(loss, [p for _, p in named])
    return {name.replace(".main.", "."): grad for (name, _), grad in zip(named, grads, strict=True)}


@pytest.mark.parametrize(
    "label",
    [
        "simclr+mixco",
        "simclr+clae",
        "simclr+dimcl",
        "simclr+mixco+clae+dimcl",
        "byol+mixco",
        "byol+clae",
        "byol+dimcl",
        "moco+clae",
        "mocoplus+dimcl",
    ],
)
def test_a_strategy_of_weight_0_gives_the_loss_and_gradients_of_its_base(label):
    base, *names = label.split("+")
    plain, _ = networks(base)
    method, pairs = networks(label, strategies={name: {"weight": 0.0} for name in names})
    x1, x2 = batch()
    wanted, _ = step_loss(plain, [], (x1, x2), {})
    total, _ = step_loss(method, pairs, (x1, x2), streams())
    assert abs((total - wanted).item()) < 1e-12
    ours, theirs = main_gradients(total, method), main_gradients(wanted, plain)
    assert list(ours) == list(theirs)
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-10, atol=1e-12) for name in ours)


@pytest.mark.parametrize("base", ["moco", "mocoplus"])
def test_mixco_on_moco_changes_even_the_clean_loss_since_both_share_a_batch(base):
    plain, _ = networks(base)
    method, pairs = networks(f"{base}+mixco", strategies={"mixco": {"weight": 0.0}})
    x1, x2 = batch()
    wanted, _ = step_loss(plain, [], (x1, x2), {})
    total, _ = step_loss(method, pairs, (x1, x2), streams())
    assert abs((total - wanted).item()) > 1e-6


def test_clae_leaves_the_statistics_of_the_main_norms_alone_and_mixco_moves_them():
    x1, x2 = batch()
    states = {}
    for label in ("simclr", "simclr+clae", "simclr+mixco"):
        method, pairs = networks(label)
        step_loss(method, pairs, (x1, x2), streams())
        states[label] = main_weights(method.backbone.state_dict())
    for name, value in states["simclr"].items():
        assert torch.equal(states["simclr+clae"][name], value), name
    assert states["simclr"]["1.num_batches_tracked"] == 2
    assert states["simclr+mixco"]["1.num_batches_tracked"] == 4


def test_one_strategy_does_not_shift_the_draws_of_another():
    shares = []
    for label in ("simclr+mixco", "simclr+mixco+clae+dimcl"):
        method, pairs = networks(label)
        step_loss(method, pairs, batch(), streams())
        shares.append(next(p for p in pairs if p.name == "mixco").lam[0])
    assert torch.equal(*shares)


@pytest.mark.parametrize("order", [1, -1])
def test_dimcl_wraps_the_base_with_its_mixed_and_adversarial_terms(order):
    weights = {"mixco": {"weight": 0.8}, "clae": {"weight": 0.6}, "dimcl": {"weight": 0.25, "temperature": 0.2}}
    method, pairs = networks("simclr+dimcl+clae+mixco", strategies=weights)
    assert [p.name for p in pairs] == ["mixco", "clae", "dimcl"]
    spread_apart(method)
    twin = copy.deepcopy(method)
    x1, x2 = batch()
    total, _ = step_loss(method, pairs[::order], (x1, x2), streams())

    z = [plain_forward(twin, x) for x in (x1, x2)]
    base = reference_nt_xent(*z, 0.5)
    mixed = 0.0
    shares = next(p for p in pairs if p.name == "mixco").lam
    for v, x in enumerate((x1, x2)):
        lam = shares[v].double()
        images = torch.stack([lam[i] * x[i] + (1 - lam[i]) * x[i + 4] for i in range(4)])
        mixed = mixed + reference_soft(plain_forward(twin, images), z[1 - v], lam, 0.5) / 2
    start = x1.clone().requires_grad_()
    with adversarial_norms(twin):
        anchor = plain_forward(twin, x1).detach()
        (grad,) = torch.autograd.grad(reference_nt_xent(anchor, plain_forward(twin, start), 0.5), start)
        attacked = plain_forward(twin, x1 + 0.03 * grad.sign())
    adversarial = reference_nt_xent(z[0], attacked, 0.5)
    dimensional = reference_dimensional(*z, 0.2)
    wanted = (1 - 0.25) * (base + 0.8 * mixed + 0.6 * adversarial) + 0.25 * dimensional
    assert abs((total - wanted).item()) < 1e-8
    ours = torch.autograd.grad(total, list(method.parameters()))
    theirs = torch.autograd.grad(wanted, list(twin.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-8) for a, b in zip(ours, theirs, strict=True))


def test_strategies_are_composed_in_the_papers_order_whatever_the_label_says():
    spec = tiny_spec("byol+dimcl+clae+mixco+gps+spps")
    assert [p.name for p in build_pairs(spec)] == ["spps", "gps", "mixco", "clae", "dimcl"]


# --- lower precision -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", METHODS)
def test_a_step_in_bfloat16_is_near_the_one_in_float32(base):
    label = f"{base}+mixco+clae" + ("" if base == "moco" else "+dimcl")
    losses = []
    for precision in (None, torch.bfloat16):
        method, pairs = networks(label)
        method.float()
        xs = [x.float() for x in batch(16)]
        optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.1)
        loss, _ = train_step(method, pairs, xs, optimizer, streams(), autocast=precision)
        losses.append(loss.item())
        assert loss.dtype == torch.float32
        assert all(p.isfinite().all() for p in method.parameters())
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_the_attack_is_made_in_float32_whatever_the_step_is_made_in():
    method, (strategy,) = networks("simclr+clae")
    method.float()
    step = Step(method, [x.float() for x in batch()], draws=streams())
    step.clean, _ = method.views(step.xs, [None, None])
    wanted = strategy.perturb(step)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(strategy.perturb(step), wanted)
