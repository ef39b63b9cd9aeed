"""What is measured: sizes, the benchmark's own recipe, and random images in the place of a data set.

The values are the benchmark's own, so that its numbers do not move when a recipe of ``config/`` changes. Of all of them only
sizes decide the speed: rates, temperatures and momenta do not.
"""

import copy
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from sslpairs.config.labels import parse_label
from sslpairs.config.methods import METHODS
from sslpairs.config.strategies import STRATEGIES
from sslpairs.data.arrays import ImageData, Split
from sslpairs.data.images import Resident
from sslpairs.errors import UserError
from sslpairs.plan.spec import RunSpec

NETWORKS: dict[str, dict[str, Any]] = {
    "convnet": {"kind": "convnet", "widths": [32, 64, 128]},
    "resnet18": {"kind": "resnet", "depth": 18, "stem": "cifar"},
}
CLASSES = 10
QUICK = ["simclr", "simclr+mixco", "simclr+clae", "byol"]
"""What ``--quick`` measures."""
QUICK_SECONDS = 60.0
"""How long ``--quick`` takes from the start of the command, at most: a slow machine measures fewer rounds."""


@dataclass(frozen=True)
class Setting:
    """One size at which methods are measured."""

    size: int = 16
    """Edge of the images in pixels."""
    batch: int = 256
    """Images a step; each gives two views."""
    steps: int = 12
    """Steps in one measurement of ours, and of the bare step."""
    stock_steps: int = 5
    """Steps in one measurement of lightly's pipeline, after its first one."""
    repeats: int = 7
    """Rounds; each measures everything once."""
    device: str = "cpu"
    network: Literal["convnet", "resnet18"] = "convnet"
    precision: Literal["float32", "bfloat16"] = "float32"
    compiled: bool = False
    """Whether torch compiles the networks of ours."""

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


_HEAD = {"hidden": [128], "output": 64, "batch_norm": True, "last_batch_norm": False}
_LINEAR = {"hidden": [], "output": 64, "batch_norm": False, "last_batch_norm": False}
_SIMCLR_HEAD = {"hidden": [128], "output": 64, "batch_norm": True, "last_batch_norm": True}
"""As lightly's SimCLRProjectionHead, which has a batch norm after the last layer too."""
_CODES = {"temperature": 0.1, "projector": _HEAD, "small": None}
_QUEUED = {"temperature": 0.2, "queue": 4096}
_METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"temperature": 0.5, "projector": _SIMCLR_HEAD},
    "moco": {**_QUEUED, "momentum": [0.99, 0.99], "projector": _HEAD},
    "mocoplus": {**_QUEUED, "momentum": [0.99, 0.99], "projector": _HEAD},
    "byol": {"momentum": [0.99, 1.0], "projector": _HEAD, "predictor": _HEAD},
    "simsiam": {"second_norm": False, "constant_predictor_rate": False, "projector": _HEAD, "predictor": _HEAD},
    "barlowtwins": {"lamb": 0.0051, "scale": 0.1, "projector": _HEAD},
    "vicreg": {"sim": 25.0, "var": 25.0, "cov": 1.0, "projector": _HEAD},
    "swav": {
        **_CODES,
        "prototypes": 64,
        "epsilon": 0.05,
        "iterations": 3,
        "queue": None,
        "queue_from_epoch": 0,
        "freeze_steps": 0,
    },
    "dino": {
        **_CODES,
        "prototypes": 256,
        "norm_last_layer": True,
        "teacher_temperature": [0.04, 0.07],
        "teacher_warmup_epochs": 10,
        "center_momentum": 0.9,
        "momentum": [0.99, 1.0],
        "freeze_epochs": 0,
        "clip": None,
    },
    "nnclr": {**_QUEUED, "projector": _HEAD, "predictor": _HEAD},
    "uel": {"temperature": 0.1, "m": 1.0, "projector": _LINEAR},
    "plain": {"temperature": 0.1, "projector": _LINEAR},
}
_PIXELS = {"guide": {"kind": "pixels"}}
_STRATEGIES: dict[str, dict[str, Any]] = {
    "spps": {
        **_PIXELS,
        "mode": "quantile",
        "low": 0.999,
        "high": 1.0,
        "inclusive": True,
        "ordered": False,
        "max_partners": 1,
        "share": 1.0,
    },
    "gps": {
        **_PIXELS,
        "choice": "nearest",
        "neighbours": 5,
        "radius": None,
        "candidates": None,
        "include_self": False,
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
ALL = [*(n for n in METHODS if n in _METHODS), *(f"simclr+{n}" for n in STRATEGIES if n in _STRATEGIES)]
"""What is measured unless methods are named."""
AUGMENTATION: dict[str, Any] = {
    # Those of lightly's SimCLRTransform(cj_strength=0.5, gaussian_blur=0.0), which is measured beside it.
    "crop": {"scale": [0.08, 1.0], "ratio": [0.75, 4 / 3]},
    "flip": 0.5,
    "rotation": 0.0,
    "jitter": {"probability": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "grayscale": 0.2,
    "blur": None,
    "solarize": 0.0,
}


def bench_spec(label: str, setting: Setting) -> RunSpec:
    """The training of a label such as ``byol+gps``. Raises ``UserError`` for a label without a meaning."""
    asked = parse_label(label)
    if unknown := [name for name in (asked.base, *asked.strategies) if name not in _METHODS | _STRATEGIES]:
        raise UserError(f"'{label}': src/sslpairs/bench/setting.py has no values for '{unknown[0]}'; write them there")
    content = {
        "dataset": "0" * 64,
        "backbone": NETWORKS[setting.network],
        "method": {asked.base: _METHODS[asked.base]},
        "strategies": {name: _STRATEGIES[name] for name in asked.strategies},
        "augmentation": AUGMENTATION,
        "optimizer": {"name": "sgd", "lr": 1e-3, "reference_batch": None, "momentum": 0.9, "weight_decay": 5e-4},
        "schedule": {"name": "cosine", "warmup_epochs": 10, "final": 0.0},
        # Tested in the last epoch only, which no measurement reaches.
        "online": {"lr": 1e-3, "weight_decay": 0.0, "every": 1_000_000},
        "precision": setting.precision,
        "batch_size": setting.batch,
        "epochs": 1_000_000,
        "seed": 0,
    }
    return RunSpec.model_validate(copy.deepcopy(content))


def random_images(size: int, count: int, device: torch.device | str) -> ImageData:
    """``count`` random colour images for training and ``CLASSES`` for testing: the same at every call."""
    draws = torch.Generator().manual_seed(0)

    def split(many: int) -> Split:
        images = torch.randint(256, (many, 3, size, size), dtype=torch.uint8, generator=draws)
        return Split(Resident(images.to(device)), (torch.arange(many) % CLASSES).to(device))

    return ImageData(
        train=split(count),
        test=split(CLASSES),
        classes=[str(number) for number in range(CLASSES)],
        mean=torch.full((3,), 0.5, device=device),
        std=torch.full((3,), 0.25, device=device),
        content="0" * 64,
        title="random images",
    )
