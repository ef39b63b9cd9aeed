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
}
STRATEGIES = {
    "spps": {
        "mode": "quantile",
        "low": 0.999,
        "high": 1.0,
        "ordered": False,
        "max_partners": None,
        "share": 1.0,
        "guide": {"kind": "pixels"},
    },
    "gps": {"neighbours": 3, "include_self": False, "guide": {"kind": "pixels"}},
    "mixco": {"temperature": 0.5, "weight": 1.0, "alpha": None},
    "clae": {"epsilon": 0.03, "weight": 1.0, "batch_norm_momentum": 0.01},
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
