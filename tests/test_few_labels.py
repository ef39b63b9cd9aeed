"""The protocol of few labels: a ridge classifier in closed form, equal to scikit-learn's, on draws that all encoders share."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from sslpairs.config.protocols.few_labels import FewLabelsSettings
from sslpairs.evaluation.encoded import Encoded
from sslpairs.evaluation.few_labels import labelled, measure, ridge


def clouds(count: int, classes: int = 7, width: int = 24, seed: int = 0, noise: float = 2.0) -> tuple:
    draws = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(count) % classes
    return centres[labels] + noise * torch.randn(count, width, generator=draws), labels


@pytest.mark.parametrize("count", [7, 20, 24, 25, 300])
def test_the_ridge_is_scikit_learns_whichever_side_is_solved(count):
    x, y = clouds(count)
    weight, bias = ridge(x, y, 7, 2.4)
    other = Ridge(alpha=2.4).fit(x.double().numpy(), np.eye(7)[y.numpy()])
    assert torch.allclose(weight, torch.from_numpy(other.coef_.T), atol=1e-10)
    assert torch.allclose(bias, torch.from_numpy(other.intercept_), atol=1e-10)


def test_each_class_has_its_labels_and_draws_differ_and_repeat():
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 4)[torch.randperm(84, generator=torch.Generator().manual_seed(1))]
    how = FewLabelsSettings(per_class=3, share=0.1)
    first, second = (labelled(labels, how, draw) for draw in (0, 1))
    assert labels[first["per_class"]].bincount().tolist() == [3, 3, 3]
    assert labels[first["share"]].bincount().tolist() == [5, 3, 1], "at least one"
    assert not torch.equal(first["share"].sort().values, second["share"].sort().values)
    assert all(torch.equal(labelled(labels, how, 0)[name], first[name]) for name in first)


def test_a_class_with_fewer_images_gives_all_it_has():
    labels = torch.tensor([0, 0, 0, 0, 1])
    assert labels[labelled(labels, FewLabelsSettings(per_class=2), 0)["per_class"]].tolist() == [0, 0, 1]


def test_more_labels_tell_more_and_draws_do_not_hang_on_the_run():
    train, test = clouds(700), clouds(350, seed=1)
    few = measure(FewLabelsSettings(), Encoded(train, test, 7, seed=3))
    assert measure(FewLabelsSettings(), Encoded(train, test, 7, seed=4)) == few
    assert 100 / 7 + 5 < few["per_class"] < few["share"] < 99


def test_it_is_the_mean_over_draws_of_what_each_draw_predicts():
    (x, y), (queries, answers) = clouds(140), clouds(70, seed=1)
    how = FewLabelsSettings(per_class=2, share=0.2, draws=3)
    mean, std = x.mean(0), x.std(0, correction=0)
    scaled, asked = ((part - mean) / std for part in (x, queries))
    right = []
    for draw in range(3):
        rows = labelled(y, how, draw)["share"]
        weight, bias = ridge(scaled[rows], y[rows], 7, 0.1 * 24)
        right.append(((asked.double() @ weight + bias).argmax(1) == answers).double().mean().item())
    found = measure(how, Encoded((x, y), (queries, answers), 7, seed=0))
    assert found["share"] == pytest.approx(100 * np.mean(right))


def test_a_feature_that_never_varies_is_no_obstacle_and_separable_classes_need_one_label():
    train, test = clouds(70, noise=0.05), clouds(70, seed=1, noise=0.05)
    for x, _ in (train, test):
        x[:, 3] = 1e4
    assert measure(FewLabelsSettings(), Encoded(train, test, 7, seed=0)) == {"per_class": 100.0, "share": 100.0}


def test_titles_say_how_many_labels():
    quantities = FewLabelsSettings(per_class=4, share=0.05).quantities()
    assert quantities["per_class"].what == "top-1 accuracy with 4 labels a class (%)"
    assert quantities["share"].title == "5 %"
