"""Views a second: sslpairs, torchvision's transforms, and kornia, by transform, side by side in one process.

    python benchmarks/views.py [--threads 1] [--rounds 7] [--device cpu] [--json FILE]

Each round times every library after the other; printed are medians over the rounds, and the ratio to sslpairs with its
spread. torchvision's transforms draw once a call, so a batch with draws of its own for each image is a loop over images.
kornia draws for each image, but is no dependency of sslpairs: `pip install kornia` to compare with it.
"""

import argparse
import json
import time
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torchvision.transforms import v2

from sslpairs.config.views import Augmentation
from sslpairs.distributed.device import configure_process
from sslpairs.views.augment import apply
from sslpairs.views.draws import draw, sample_params

try:
    import kornia.augmentation as kornia
except ImportError:
    kornia = None

NOTHING = {"crop": None, "flip": 0.0, "rotation": 0.0, "jitter": None, "grayscale": 0.0, "blur": None, "solarize": 0.0}
CROP = {"crop": {"scale": [0.08, 1.0], "ratio": [0.75, 4 / 3]}, "flip": 0.5}
JITTER = {"probability": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
BLUR = {"probability": 0.5, "sigma": [0.1, 2.0]}
CASES = {
    "crop and flip": CROP,
    "colour jitter (YIQ, one map)": {"jitter": JITTER},
    "colour jitter (HSV)": {"jitter": JITTER | {"space": "hsv"}},
    "grayscale": {"grayscale": 0.2},
    "blur": {"blur": BLUR},
    "solarize": {"solarize": 0.2},
    "SimCLR's view (YIQ)": CROP | {"jitter": JITTER, "grayscale": 0.2},
    "SimCLR's view (HSV)": CROP | {"jitter": JITTER | {"space": "hsv"}, "grayscale": 0.2},
}
SAMPLED = 16
"""Batches whose draws are made at once, as in training."""


def ours(how: dict, size: int, device: torch.device):
    recipe, draws = Augmentation.model_validate(NOTHING | how), torch.Generator().manual_seed(0)
    mean = torch.full((3,), 0.5, device=device)

    def run(images: torch.Tensor) -> None:
        whole = sample_params(recipe, draw(SAMPLED * len(images), draws), images.shape[1:])
        for part in range(SAMPLED):
            rows = slice(part * len(images), (part + 1) * len(images))
            apply(images, whole[rows], mean, mean).contiguous(memory_format=torch.channels_last)

    return run, SAMPLED


def torchvision_loop(how: dict, size: int, device: torch.device):
    steps = [v2.ToDtype(torch.float32, scale=True)]
    if how.get("crop"):
        steps += [v2.RandomResizedCrop(size, tuple(CROP["crop"]["scale"]), antialias=True), v2.RandomHorizontalFlip()]
    if how.get("jitter"):
        steps.append(v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8))
    if how.get("grayscale"):
        steps.append(v2.RandomGrayscale(0.2))
    if how.get("blur"):
        steps.append(v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], 0.5))
    if how.get("solarize"):
        steps.append(v2.RandomSolarize(0.5, 0.2))
    pipeline = v2.Compose([*steps, v2.Normalize([0.5] * 3, [0.5] * 3)])
    return lambda images: torch.stack([pipeline(image) for image in images]), 1


def kornias(how: dict, size: int, device: torch.device):
    steps = []
    if how.get("crop"):
        scale, ratio = CROP["crop"]["scale"], CROP["crop"]["ratio"]
        steps += [kornia.RandomResizedCrop((size, size), scale, ratio), kornia.RandomHorizontalFlip(p=0.5)]
    if how.get("jitter"):
        steps.append(kornia.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8))
    if how.get("grayscale"):
        steps.append(kornia.RandomGrayscale(p=0.2))
    if how.get("blur"):
        steps.append(kornia.RandomGaussianBlur((13, 13), (0.1, 2.0), p=0.5))
    if how.get("solarize"):
        steps.append(kornia.RandomSolarize(0.0, 0.0, p=0.2))
    mean = torch.full((3,), 0.5, device=device)
    pipeline = kornia.AugmentationSequential(*steps, kornia.Normalize(mean, mean)).to(device)
    return lambda images: pipeline(images.float() / 255), 1


def seconds(run, images: torch.Tensor) -> float:
    if images.is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    run(images)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--batch", type=int, default=256)
    words.add_argument("--sizes", type=int, nargs="+", default=[16, 32])
    words.add_argument("--device", default="cpu")
    words.add_argument("--json")
    given = words.parse_args()
    configure_process(given.threads)
    device = torch.device(given.device)
    libraries = {"sslpairs": ours, "torchvision": torchvision_loop} | ({"kornia": kornias} if kornia else {})
    table = Table(title=f"Thousand views a second, batch {given.batch}, {given.device}, {given.threads} threads")
    for column in ("px", "views", *libraries, *(f"sslpairs / {name}" for name in libraries if name != "sslpairs")):
        table.add_column(column, justify="left" if column == "views" else "right")
    rows = []
    for size in given.sizes:
        images = torch.randint(0, 256, (given.batch, 3, size, size), dtype=torch.uint8).to(device)
        for case, how in CASES.items():
            runs = {name: make(how, size, device) for name, make in libraries.items()}
            for run, _ in runs.values():
                run(images)
            rates = {name: [] for name in runs}
            for _ in range(given.rounds):
                for name, (run, batches) in runs.items():
                    rates[name].append(batches * given.batch / seconds(run, images))
            row = {"size": size, "views": case, "views_per_second": {name: median(r) for name, r in rates.items()}}
            ratios = {
                name: [a / b for a, b in zip(rates["sslpairs"], r, strict=True)]
                for name, r in rates.items()
                if name != "sslpairs"
            }
            row["ratio"] = {name: {"median": median(r), "min": min(r), "max": max(r)} for name, r in ratios.items()}
            rows.append(row)
            shown = [f"{rate / 1000:,.1f}" for rate in row["views_per_second"].values()]
            shown += [f"{r['median']:.1f} ({r['min']:.1f} to {r['max']:.1f})" for r in row["ratio"].values()]
            table.add_row(str(size), case, *shown)
    Console().print(table)
    if given.json:
        with open(given.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
