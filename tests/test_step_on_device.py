"""A step never waits for the device: run on torch's "meta" device, which has shapes but no values, so that whatever would have
to look at a value on the host (``item``, a boolean mask, ``nonzero``) raises an error."""

import contextlib
from pathlib import Path

import pytest
import torch
from tiny import METHODS, PLAIN_VIEW, STRATEGIES, STRONG_VIEW, tiny_spec

from sslpairs.config.labels import parse_label
from sslpairs.data.arrays import ImageData, Split
from sslpairs.data.images import Resident
from sslpairs.errors import UserError
from sslpairs.training.step import step_loss
from sslpairs.training.trainer import Trainer

META = torch.device("meta")
COLOURED = PLAIN_VIEW | {
    "crop": {"scale": [0.2, 1.0], "ratio": [0.75, 1.3333]},
    "flip": 0.5,
    "jitter": {"probability": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "space": "yiq"},
    "grayscale": 0.2,
    "blur": {"probability": 0.5, "sigma": [0.1, 2.0]},
    "solarize": 0.2,
}
HSV = COLOURED | {"jitter": COLOURED["jitter"] | {"space": "hsv"}}


def labels():
    for base in METHODS:
        yield base
        for name in ("mixco", "clae", "dimcl"):
            with contextlib.suppress(UserError):
                label = str(parse_label(f"{base}+{name}"))
                yield label if base in ("simclr", "dino") else pytest.param(label, marks=pytest.mark.slow)


def nothing(channels):
    """A data set without values."""

    def split(count):
        images = torch.empty(count, channels, 8, 8, dtype=torch.uint8, device=META)
        return Split(Resident(images), torch.empty(count, dtype=torch.long, device=META))

    mean, std = torch.empty(channels, device=META), torch.empty(channels, device=META)
    return ImageData(split(256), split(64), ["a", "b"], mean, std, "0" * 64, "nothing")


@pytest.fixture
def without_values(monkeypatch):
    """What torch does not offer on its meta device, and which does not look at values either."""
    for name in ("SGD", "Adam"):
        made = getattr(torch.optim, name)
        monkeypatch.setattr(
            torch.optim, name, lambda *given, made=made, fused, **how: made(*given, foreach=True, **how)
        )
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


def steps(label, channels=1, **how):
    sgd = {"name": "sgd", "lr": 0.1, "reference_batch": None, "momentum": 0.9, "weight_decay": 1e-4}
    trainer = Trainer("a run", tiny_spec(label, **{"optimizer": sgd} | how), nothing(channels), Path(), META)
    trainer.method.train()
    if hasattr(trainer.method, "queued"):
        trainer.method.queued = 0  # looked up once, at the first step of a process
    draws = {name: torch.Generator() for name in STRATEGIES}
    taken = [
        trainer._step(views, seen, step, draws, step_loss) for step, (views, seen) in enumerate(trainer._batches(0))
    ]
    assert len(taken) == 4
    return taken


FAST = ("simclr", "moco", "swav", "dino", "uel", "simclr+mixco", "simclr+dimcl", "simclr+clae")
"""One of each mechanism: a queue, a momentum encoder, an assignment, a memory bank, mixtures and attacks."""


@pytest.mark.parametrize(
    "label",
    [one if one in FAST or not isinstance(one, str) else pytest.param(one, marks=pytest.mark.slow) for one in labels()],
)
def test_no_method_and_no_strategy_waits_for_the_device(label, without_values):
    steps(label)


@pytest.mark.parametrize("view", [COLOURED, HSV, COLOURED | {"rotation": 0.3}, PLAIN_VIEW | {"flip": 0.5}, STRONG_VIEW])
def test_no_view_waits_for_the_device(view, without_values):
    steps("simclr", 3, augmentation=view)
    steps("swav", 3, augmentation=view)  # with small crops


@pytest.mark.parametrize("name", ["sgd", "adam", "lars"])
def test_no_optimiser_waits_for_the_device(name, without_values):
    more = {
        "sgd": {"momentum": 0.9},
        "adam": {},
        "lars": {"momentum": 0.9, "trust_coefficient": 0.02, "clip": True, "adapt_vectors": False},
    }
    steps("byol", optimizer={"name": name, "lr": 0.1, "reference_batch": None, "weight_decay": 1e-4} | more[name])


def test_waiting_would_be_noticed(without_values, monkeypatch):
    monkeypatch.setattr("sslpairs.methods.simclr.nt_xent", lambda z1, z2, t: (z1 - z2)[z1 > 0].sum())
    with pytest.raises(NotImplementedError, match="nonzero"):
        steps("simclr")
    monkeypatch.setattr("sslpairs.methods.simclr.nt_xent", lambda z1, z2, t: (z1 - z2).sum() * z1.sum().item())
    with pytest.raises(RuntimeError, match="item"):
        steps("simclr")
