"""Benchmark settings: sizes, a recipe's methods and strategies, and random images instead of a data set.

Of a recipe's values only sizes affect speed: rates, temperatures and momenta do not. Views and optimiser are the benchmark's own,
the same as in lightly's pipeline.
"""

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

from sslpairs.config.labels import parse_label
from sslpairs.config.methods import METHODS
from sslpairs.config.reading import load_yaml
from sslpairs.config.recipes import Recipe
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
"""Labels measured by ``--quick``."""
QUICK_SECONDS = 60.0
"""Maximum seconds that ``--quick`` takes from the start of the command: a slow machine measures fewer rounds."""


@dataclass(frozen=True)
class Setting:
    """One size at which methods are measured."""

    size: int = 16
    """Edge of the images in pixels."""
    batch: int = 256
    """Images per step; each gives two views."""
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
    """Whether our networks are compiled with torch."""

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


RECIPE = "config/recipes/cifar10-mini.yaml"
OTHERWISE: dict[str, dict[str, Any]] = {
    # As lightly's SimCLRProjectionHead, which is measured for comparison: also a batch norm after the last layer.
    "simclr": {"projector": {"hidden": [128], "output": 64, "batch_norm": True, "last_batch_norm": True}},
    # Random images have no groups: all pairs of the quantile would make an epoch ten times as long.
    "spps": {"max_partners": 1},
}
"""The benchmark's changes to the recipe; strategies with a guide always use pixels here."""
AUGMENTATION: dict[str, Any] = {
    # Those of lightly's SimCLRTransform(cj_strength=0.5, gaussian_blur=0.0), which is measured for comparison.
    "crop": {"scale": [0.08, 1.0], "ratio": [0.75, 4 / 3]},
    "flip": 0.5,
    "rotation": 0.0,
    "jitter": {"probability": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "grayscale": 0.2,
    "blur": None,
    "solarize": 0.0,
}


@cache
def recipe() -> Recipe:
    """The recipe whose methods and strategies are measured."""
    root = Path(__file__).parents[3]
    return Recipe.model_validate(load_yaml(root / RECIPE, root))


def all_labels() -> list[str]:
    """Default labels: every base method of the recipe, and each of its strategies under SimCLR."""
    bases = [name for name in METHODS if getattr(recipe().methods, name)]
    return bases + [f"simclr+{name}" for name in STRATEGIES if recipe().strategy("simclr", name)]


def bench_spec(label: str, setting: Setting) -> RunSpec:
    """The training of a label such as ``byol+gps``. Raises ``UserError`` for an invalid label, or one without values."""
    parsed = parse_label(label)
    models = {parsed.base: getattr(recipe().methods, parsed.base)}
    models |= {name: recipe().strategy(parsed.base, name) for name in parsed.strategies}
    if missing := [name for name, settings in models.items() if settings is None]:
        raise UserError(
            f"'{label}': {RECIPE} has no values for '{missing[0]}', which the benchmark needs; add them there"
        )
    values = {name: settings.model_dump() | OTHERWISE.get(name, {}) for name, settings in models.items()}
    for name in parsed.strategies:
        if models[name].guided():
            values[name]["guide"] = {"kind": "pixels"}
    content = {
        "dataset": "0" * 64,
        "backbone": NETWORKS[setting.network],
        "method": {parsed.base: values.pop(parsed.base)},
        "strategies": values,
        "augmentation": AUGMENTATION,
        "optimizer": {"name": "sgd", "lr": 1e-3, "reference_batch": None, "momentum": 0.9, "weight_decay": 5e-4},
        "schedule": {"name": "cosine", "warmup_epochs": 10, "final": 0.0},
        # Evaluated in the last epoch only, which no measurement reaches.
        "online": {"lr": 1e-3, "weight_decay": 0.0, "every": 1_000_000},
        "precision": setting.precision,
        "batch_size": setting.batch,
        "epochs": 1_000_000,
        "seed": 0,
    }
    return RunSpec.model_validate(content)


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
