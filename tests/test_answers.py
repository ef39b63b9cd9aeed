"""Answers to single test images: what is written is read again, damage is told, and they average to the metric."""

import base64
import json
import zlib

import numpy as np
import pytest
import torch
from tiny import PROTOCOLS

from sslpairs.config.protocols.few_labels import FewLabelsSettings
from sslpairs.errors import UserError
from sslpairs.evaluation import knn
from sslpairs.evaluation.encoded import Encoded
from sslpairs.evaluation.evaluate import measure
from sslpairs.plan.answers import Answers, decode, encode


@pytest.mark.parametrize("of", [1, 20, 255, 256, 70_000])
@pytest.mark.parametrize("images", [1, 7, 8, 500])
def test_what_is_written_is_read_again(of, images):
    right = np.random.default_rng(images).integers(0, of, images, endpoint=True)
    coded = json.loads(json.dumps(encode(right, of)))
    assert (decode(coded) == right).all()
    assert (coded["of"], coded["images"]) == (of, images)


def test_fifty_thousand_images_take_kilobytes():
    rng = np.random.default_rng(0)
    assert len(encode(rng.random(50_000) < 0.7)["packed"]) < 9_000
    assert len(encode(rng.binomial(20, rng.beta(2, 1, 50_000)), 20)["packed"]) < 50_000


def test_more_right_answers_than_answers_are_not_written():
    with pytest.raises(ValueError, match="range from 0 to 3, but there are 2"):
        encode(np.array([0, 3]), 2)


WHOLE = encode(np.arange(500) % 21, 20)


@pytest.mark.parametrize(
    "change",
    [
        {"packed": WHOLE["packed"][:40]},
        {"packed": "Häh?"},
        {"packed": None},
        {"packed": base64.b64encode(b"made up").decode()},
        {"packed": base64.b64encode(zlib.compress(bytes(10_000_000))).decode()},
        {"images": 499},
        {"images": 501},
        {"images": 0},
        {"images": "500"},
        {"of": 19},
        {"of": 1},
        {"of": True},
    ],
)
def test_damage_is_told_in_one_line_with_the_file_and_the_remedy(change):
    answers = Answers(WHOLE | change, "images", "results/evals/a/b.json")
    with pytest.raises(
        UserError, match=r"^results/evals/a/b.json: damaged answers .*git checkout.*else remove it"
    ) as told:
        answers.shares()
    assert "\n" not in str(told.value)
    for text in (None, [], "text", {"of": 1}):
        with pytest.raises(UserError, match="damaged answers"):
            Answers(text, "images", "results/evals/a/b.json").shares()


def clouds(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    centres = torch.randn(7, 24, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(count) % 7
    return centres[labels] + 2 * torch.randn(count, 24, generator=torch.Generator().manual_seed(seed)), labels


def test_a_protocols_answers_average_to_exactly_its_metric():
    online = {"last": 100 / 3, "best": 100 / 3, "best_epoch": 1, "answers": encode(np.arange(333) % 3 == 0)}
    encoded = Encoded(clouds(350, 0), clouds(333, 1), 7, 0, {"online": online})
    few = FewLabelsSettings(draws=9).model_dump(mode="json")
    values, answers = measure(PROTOCOLS | {"few_labels": few, "online": None}, encoded)
    assert {name: list(kept) for name, kept in answers.items()} == {
        "linear": ["top1"],
        "knn": ["top1"],
        "few_labels": ["per_class", "share"],
        "online": ["top1"],
    }
    for name, kept in answers.items():
        for metric, coded in kept.items():
            total = 333 * coded["of"]
            assert (coded["images"], coded["of"]) == (333, 9 if name == "few_labels" else 1)
            assert round(values[name][metric] * total / 100) == decode(coded).sum()
            assert values[name][metric] == pytest.approx(100 * decode(coded).sum() / total, rel=1e-15)
    assert encoded.answers == {}, "each protocol has its own"


def test_a_protocol_may_return_nothing_but_numbers_and_a_receipt_of_before_has_no_answers(monkeypatch):
    monkeypatch.setattr(knn, "measure", lambda settings, encoded: {"top1": 50.0, "top5": 90.0})
    encoded = Encoded(clouds(70, 0), clouds(35, 1), 7, 0, {"online": {"last": 1.0, "best": 2.0, "best_epoch": 1}})
    values, answers = measure({"knn": PROTOCOLS["knn"], "online": None}, encoded)
    assert values["online"] == {"top1": 1.0, "best_top1": 2.0, "best_epoch": 1}
    assert answers == {}
