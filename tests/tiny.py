"""Recipes so small that a test can train them."""

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path

import torch
import yaml
from torch import nn

from sslpairs.config.datasets import DatasetSettings
from sslpairs.data.prepare import prepare
from sslpairs.methods.build import build_method
from sslpairs.pairs.build import build_pairs
from sslpairs.plan.spec import RunSpec

RECIPE = yaml.safe_load((Path(__file__).parents[1] / "config/recipes/digits.yaml").read_text())
SMALL = {
    "queue": 96,
    "prototypes": 12,
    "small": {"count": 2, "size": 6, "scale": [0.1, 0.4]},
    "freeze_steps": 2,
    "teacher_warmup_epochs": 2,
    "neighbours": 3,
    "guide": {"kind": "pixels"},
    "steps": "all",
}
"""Values of the digits' recipe that tests have smaller, whichever method or strategy has them."""


def tiny(settings: dict) -> dict:
    """The digits' settings of a method or strategy, with heads of 16 and 8 numbers, and what is in ``SMALL``."""
    own = {key: SMALL.get(key, value) for key, value in settings.items() if key not in ("strategies", "training")}
    for head in {"projector", "predictor"} & own.keys():
        own[head] = own[head] | {"hidden": [16][: len(own[head]["hidden"])], "output": 8}
    return own | ({"momentum": [0.9, own["momentum"][1]]} if "momentum" in own else {})


PROTOCOLS = {
    "linear": {
        "epochs": 40,
        "batch_size": 128,
        "optimizer": {"name": "adam", "lr": 0.01, "reference_batch": None, "weight_decay": 0.0},
        "schedule": {"name": "cosine", "warmup_epochs": 0, "final": 0.0},
        "standardize": True,
    },
    "knn": {"neighbours": 5, "temperature": 0.1},
}
METHODS = {name: tiny(settings) for name, settings in RECIPE["methods"].items()}
METHODS["dino"]["clip"] = 3.0  # null there, and then nothing is clipped
STRATEGIES = {name: tiny(settings) for name, settings in RECIPE["strategies"].items()}
PLAIN_VIEW = {
    "crop": None,
    "flip": 0.0,
    "rotation": 0.0,
    "jitter": None,
    "grayscale": 0.0,
    "blur": None,
    "solarize": 0.0,
}
STRONG_VIEW = PLAIN_VIEW | {
    "crop": {"scale": [0.4, 1.0], "ratio": [0.75, 1.3333]},
    "rotation": 0.3,
    "jitter": {"probability": 1.0, "brightness": 0.4, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
}


def tiny_spec(label: str, changes: dict | None = None, strategies: dict | None = None, **top) -> RunSpec:
    """The spec of a label such as ``simclr+mixco``; ``changes`` are for its method, ``strategies`` for those by name."""
    base, *names = label.split("+")
    content = {
        "dataset": "0" * 64,
        "backbone": {"kind": "convnet", "widths": [8, 16]},
        "method": {base: METHODS[base] | (changes or {})},
        "strategies": {name: STRATEGIES[name] | (strategies or {}).get(name, {}) for name in names},
        "augmentation": STRONG_VIEW,
        "optimizer": {"name": "adam", "lr": 1e-3, "reference_batch": None, "weight_decay": 0.0},
        "schedule": {"name": "cosine", "warmup_epochs": 1, "final": 0.0},
        "online": {"lr": 1e-2, "weight_decay": 0.0, "every": 1},
        "precision": "float32",
        "batch_size": 64,
        "epochs": 2,
        "seed": 0,
    }
    return RunSpec.model_validate(copy.deepcopy(content) | top)


def networks(label: str, channels: int = 1, size: int = 16, **how):
    """Base method in float64 and training mode, and its wrapped pair strategies."""
    spec = tiny_spec(label, **how)
    method = build_method(spec, channels, size).double().train()
    pairs = build_pairs(spec)
    for strategy in pairs:
        strategy.wrap(method)
    return method, pairs


def small_digits(root: Path) -> Path:
    """The root, with the digits at 8 pixels prepared, 297 of them for training."""
    source = {"kind": "digits", "size": 8, "test_per_class": 150}
    prepare("digits", DatasetSettings.model_validate({"title": "Digits", "source": source}), root)
    return root


@contextlib.contextmanager
def counting_kept(module: nn.Module) -> Iterator[list[int]]:
    """The bytes, in a list of one, that forward passes within keep for the backward pass, without the module's own weights."""
    weights, kept = {p.untyped_storage()._cdata for p in module.parameters()}, [0]

    def keep(tensor):
        kept[0] += tensor.nbytes * (tensor.untyped_storage()._cdata not in weights)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept
