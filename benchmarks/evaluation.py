"""Speed of the evaluations and of the neighbour tables, each as a ratio to something measured beside it.

    python benchmarks/evaluation.py [--quick] [--repeats 3] [--threads 2] [--device cpu] [--accuracy-epochs 100] [--json FILE]

- linear: ``lightly.utils.benchmarking.LinearClassifier`` under a Lightning trainer, over a DataLoader of the same features,
  with its own defaults (SGD, cosine), against ``evaluation/linear.py`` with the same recipe. Both test after every epoch. Times
  are those of an epoch, the median of a few; accuracies come from one full training of each.
- knn, neighbours, SPPS: against the product of the same features in blocks of the same rows, and nothing else.

Features are overlapping Gaussian classes. Numbers of a busy machine scatter: lowest and highest ratio are shown too.
"""

import argparse
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightly.utils.benchmarking import LinearClassifier
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sslpairs.backbones.nearest import BLOCK_ENTRIES
from sslpairs.config.protocols.linear import LinearSettings
from sslpairs.distributed.device import configure_process
from sslpairs.evaluation.encoded import Encoded
from sslpairs.evaluation.knn import knn_predict
from sslpairs.evaluation.linear import measure
from sslpairs.pairs.gps import neighbours
from sslpairs.pairs.spps import cosine_quantiles, semantic_pairs

CLASSES, BATCH = 10, 256


def gaussian_classes(count: int, width: int, seed: int, device: str) -> tuple[Tensor, Tensor]:
    """Features ``[N, D]`` and labels ``[N]``; a linear layer gets 80 to 90 % of them right."""
    draws = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, width, generator=draws) / width**0.5
    draws.manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=draws)
    return (2.8 * centres[labels] + torch.randn(count, width, generator=draws)).to(device), labels.to(device)


def seconds(work: Callable[[], object], device: str) -> float:
    """Of the clock, until the device has finished."""
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


# --- linear ---------------------------------------------------------------------------------------------------------


class Clock(pl.Callback):
    """When each epoch began, and the last one ended."""

    def __init__(self):
        self.times = []

    def on_train_epoch_start(self, *_):
        self.times.append(time.perf_counter())

    def on_fit_end(self, *_):
        self.times.append(time.perf_counter())


def lightly_loop(train, test, epochs: int, device: str) -> tuple[list[float], float]:
    """Seconds of each epoch, and top-1 in percent after the last."""
    torch.manual_seed(0)
    clock = Clock()
    model = LinearClassifier(nn.Identity(), BATCH, feature_dim=train[0].shape[1], num_classes=CLASSES)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu" if device == "cpu" else "gpu", devices=1, logger=False, callbacks=[clock],
        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    loaders = DataLoader(TensorDataset(*train), BATCH, shuffle=True), DataLoader(TensorDataset(*test), BATCH)
    trainer.fit(model, *loaders)
    with torch.no_grad():
        predicted = model.to(device)(test[0].to(device)).argmax(1)
    took = [end - start for start, end in zip(clock.times, clock.times[1:], strict=False)]
    return took, 100 * (predicted == test[1].to(device)).double().mean().item()


def recipe(epochs: int) -> LinearSettings:
    """What lightly's classifier does by default."""
    sgd = {"name": "sgd", "lr": 0.1, "reference_batch": 256, "momentum": 0.9, "weight_decay": 0.0}
    cosine = {"name": "cosine", "warmup_epochs": 0, "final": 0.0}
    return LinearSettings(epochs=epochs, batch_size=BATCH, optimizer=sgd, schedule=cosine, standardize=False)


def measure_linear(count: int, width: int, repeats: int, accuracy_epochs: int, device: str) -> dict:
    """Ratios lightly : ours of an epoch's time, and both accuracies (in percent)."""
    train, test = (gaussian_classes(n, width, seed, device) for n, seed in ((count, 1), (count // 5, 2)))
    loaded = [tuple(part.cpu() for part in split) for split in (train, test)]  # as data loaders have them
    epochs, ours, theirs = 3, [], []
    for _ in range(repeats):
        theirs.append(statistics.median(lightly_loop(*loaded, epochs, device)[0]))
        # All of it, the drawing of weights included, by its epochs.
        ours.append(seconds(lambda: measure(recipe(10), Encoded(train, test, CLASSES, 0)), device) / 10)
    accuracies = {}
    if accuracy_epochs:
        accuracies = {
            "epochs": accuracy_epochs,
            "lightly": lightly_loop(*loaded, accuracy_epochs, device)[1],
            "sslpairs": measure(recipe(accuracy_epochs), Encoded(train, test, CLASSES, 0))["top1"],
        }
    return {"lightly": theirs, "sslpairs": ours, "accuracy": accuracies}


# --- nearest ones ---------------------------------------------------------------------------------------------------


def product(x: Tensor) -> None:
    """All products of the features with one another, block after block in the same memory."""
    rows = min(len(x), max(1, BLOCK_ENTRIES // len(x)))
    block = x.new_empty(rows, len(x))
    for part in x.split(rows):
        torch.mm(part, x.T, out=block[: len(part)])


def measure_nearest(count: int, width: int, repeats: int, device: str) -> dict[str, dict[str, list[float]]]:
    """Seconds of each task and of the product before it."""
    x, labels = gaussian_classes(count, width, 1, device)
    low = cosine_quantiles(x[: min(count, 5000)], [0.9995])[0]
    tasks = {
        "knn, k = 20": lambda: knn_predict(x, labels, x, 20, 0.1, CLASSES),
        "knn, k = 200": lambda: knn_predict(x, labels, x, 200, 0.1, CLASSES),
        "neighbours, k = 5": lambda: neighbours(x, 5),
        "neighbours, k = 200": lambda: neighbours(x, 200),
        "SPPS pairs": lambda: semantic_pairs(x, low, 1.0),
        "SPPS pairs, ordered": lambda: semantic_pairs(x, low, 1.0, ordered=True),
        "SPPS quantiles": lambda: cosine_quantiles(x, [0.9995, 1.0]),
    }
    product(x)
    found = {name: {"product": [], "task": []} for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            found[name]["product"].append(seconds(lambda: product(x), device))
            found[name]["task"].append(seconds(task, device))
    return found


# --- the table ------------------------------------------------------------------------------------------------------


def line(name: str, above: list[float], below: list[float]) -> None:
    """A row of the table: medians, and the ratio with its spread over the repetitions."""
    ratios = sorted(a / b for a, b in zip(above, below, strict=True))
    print(
        f"{name:24} {statistics.median(above):10.3f} {statistics.median(below):10.3f} "
        f"{statistics.median(ratios):8.2f}   {ratios[0]:.2f} to {ratios[-1]:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the images and 10 epochs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--accuracy-epochs", type=int, help="0 leaves the full trainings out; 100, with --quick 10")
    parser.add_argument("--only", choices=["linear", "nearest"])
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    configure_process(asked.threads)
    count, width = (5_000 if asked.quick else 50_000), 512
    epochs = (10 if asked.quick else 100) if asked.accuracy_epochs is None else asked.accuracy_epochs
    facts = {"images": count, "width": width, "threads": asked.threads, "device": asked.device}
    print(f"{count:,} x {width} features, {asked.threads} threads, {asked.device}, {asked.repeats} repetitions")
    if asked.only != "nearest":
        facts["linear"] = found = measure_linear(count, width, asked.repeats, epochs, asked.device)
        print(f"{'':24} {'lightly s':>10} {'ours s':>10} {'ratio':>8}   spread")
        line("linear, an epoch", found["lightly"], found["sslpairs"])
        if found["accuracy"]:
            print(
                "accuracy after {epochs} epochs: lightly {lightly:.2f}, ours {sslpairs:.2f}".format(**found["accuracy"])
            )
    if asked.only != "linear":
        facts["nearest"] = measure_nearest(count, width, asked.repeats, asked.device)
        print(f"{'':24} {'task s':>10} {'product s':>10} {'ratio':>8}   spread")
        for name, times in facts["nearest"].items():
            line(name, times["task"], times["product"])
    if asked.json:
        asked.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
