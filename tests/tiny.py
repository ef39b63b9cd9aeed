"""Recipes so small that a test can train them."""

import copy

from sslpairs.methods.build import build_method
from sslpairs.pairs.build import build_pairs
from sslpairs.plan.spec import RunSpec

HEAD = {"hidden": [16], "output": 8, "batch_norm": True, "last_batch_norm": False}
METHODS = {
    "simclr": {"temperature": 0.5, "projector": HEAD},
    "moco": {"temperature": 0.2, "queue": 96, "momentum": [0.9, 0.99], "projector": HEAD},
    "mocoplus": {"temperature": 0.2, "queue": 96, "momentum": [0.9, 0.99], "projector": HEAD},
    "byol": {"momentum": [0.9, 1.0], "projector": HEAD, "predictor": HEAD},
    "simsiam": {
        "second_norm": False,
        "constant_predictor_rate": False,
        "projector": HEAD | {"last_batch_norm": "fixed"},
        "predictor": HEAD,
    },
    "barlowtwins": {"lamb": 0.0051, "scale": 0.1, "projector": HEAD},
    "vicreg": {"sim": 25.0, "var": 25.0, "cov": 1.0, "projector": HEAD},
    "swav": {
        "prototypes": 12,
        "temperature": 0.1,
        "epsilon": 0.05,
        "iterations": 3,
        "queue": 96,
        "queue_from_epoch": 0,
        "freeze_steps": 2,
        "small": {"count": 2, "size": 6, "scale": [0.1, 0.4]},
        "projector": HEAD,
    },
    "dino": {
        "prototypes": 12,
        "norm_last_layer": True,
        "temperature": 0.1,
        "teacher_temperature": [0.04, 0.07],
        "teacher_warmup_epochs": 2,
        "center_momentum": 0.9,
        "momentum": [0.9, 1.0],
        "freeze_epochs": 1,
        "clip": 3.0,
        "small": {"count": 2, "size": 6, "scale": [0.1, 0.4]},
        "projector": HEAD,
    },
    "nnclr": {"temperature": 0.2, "queue": 96, "projector": HEAD | {"last_batch_norm": True}, "predictor": HEAD},
    "uel": {"temperature": 0.1, "m": 1.0, "projector": HEAD | {"hidden": [], "batch_norm": False}},
    "plain": {"temperature": 0.1, "projector": HEAD | {"hidden": [], "batch_norm": False}},
}
STRATEGIES = {
    "spps": {
        "mode": "quantile",
        "low": 0.999,
        "high": 1.0,
        "inclusive": True,
        "ordered": False,
        "max_partners": None,
        "share": 1.0,
        "guide": {"kind": "pixels"},
    },
    "gps": {
        "choice": "nearest",
        "neighbours": 3,
        "radius": None,
        "candidates": None,
        "include_self": False,
        "guide": {"kind": "pixels"},
        "rebuild": None,
    },
    "mixco": {"temperature": 0.5, "weight": 1.0, "alpha": None, "hard_codes": False},
    "clae": {
        "epsilon": 0.03,
        "weight": 1.0,
        "batch_norm_momentum": 0.01,
        "clip": False,
        "attack_updates_norms": True,
    },
    "dimcl": {"weight": 0.1, "temperature": 0.1},
}
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


def networks(label: str, channels: int = 1, **how):
    """Base method in float64 and training mode, and its wrapped pair strategies."""
    spec = tiny_spec(label, **how)
    method = build_method(spec, channels).double().train()
    pairs = build_pairs(spec)
    for strategy in pairs:
        strategy.wrap(method)
    return method, pairs
