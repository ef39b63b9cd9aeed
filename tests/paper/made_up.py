"""Made-up results: table plans with evaluations, receipts and curves as the workflow writes them."""

import hashlib

import numpy as np

from sslpairs.config.protocols import described
from sslpairs.files import sha256_file, write_record

LABELS = {"simclr": "SimCLR", "byol": "BYOL", "gps": "GPS", "mixco": "MixCo"}
COLUMN = {
    "id": "c0",
    "label": "batch 64",
    "dataset": "Digits",
    "stands_for": ["CIFAR-10, batch 256", "STL-10, batch 256"],
    "settings": {
        "dataset": "digits",
        "backbone": "convnet 32-64-128",
        "batch_size": 64,
        "epochs": 30,
        "augmentation": "weak",
    },
}


def column(number, batch_size):
    """Another column, which differs in its batch size."""
    settings = {**COLUMN["settings"], "batch_size": batch_size}
    return {**COLUMN, "id": f"c{number}", "label": f"batch {batch_size}", "settings": settings}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def evaluation(root, run, linear, best=None):
    """Write one evaluation; returns its name."""
    best = linear + 0.5 if best is None else best
    protocols = {
        "linear": {"last": linear, "best": best, "best_epoch": 9},
        "online": {"last": linear - 1, "best": linear - 0.6, "best_epoch": 8},
        "knn": {"last": linear - 2},
    }
    path = root / "results" / "evals" / run / "3f2a9c01d4e7.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"settings": {}, "checkpoint": digest(run), "code": digest("code")}
    write_record(path, {"format": 1, "run": run, "key": path.stem, "protocols": protocols} | facts)
    return f"{run}/{path.stem}"


def receipt(root, run, label, seed, dirty=False):
    """Write one receipt and one curve."""
    value = {
        "format": 1,
        "run": run,
        "spec": {"format": 1, "dataset": digest("data"), "batch_size": 64, "epochs": 30, "seed": seed},
        "label": label,
        "dataset": "digits",
        "seed": seed,
        "checkpoint": {"sha256": digest(run), "bytes": 373212},
        "git": {"commit": "9fceb02d0ae598e95dc970b74767f19372d61af8", "dirty": dirty},
        "code": digest("code"),
        "versions": {"torch": "2.11.0"},
        "device": "cpu <made up>",
        "timing": {"seconds": 31.5, "images_per_second": 1500.0},
        "finished": "2026-01-02T03:04:05+00:00",
    }
    path = root / "results" / "runs" / run
    path.mkdir(parents=True, exist_ok=True)
    lines = ["epoch,steps,loss,learning_rate,online_top1"]
    lines += [
        f"{epoch},{20 * epoch},{5 / epoch + 0.1 * seed},0.001,{90 + epoch if epoch % 2 else ''}"
        for epoch in range(1, 7)
    ]
    (path / "metrics.csv").write_text("\n".join(lines) + "\n")
    write_record(path / "run.json", value | {"metrics": {"sha256": sha256_file(path / "metrics.csv")}})


def plan(root, rows, columns=(COLUMN,), seeds=3, metrics=("linear.top1", "online.top1", "knn.top1"), rng=0, **changes):
    """A table plan whose evaluations and receipts are written below ``root``; a strategy adds about 2 points."""
    rng = np.random.default_rng(rng)
    cells = []
    for row in rows:
        for place in columns:
            replicates = []
            for seed in range(seeds):
                run = f"{row}-digits-{digest(row + place['id'] + str(seed))[:12]}"
                linear = round(94 + 2 * row.count("+") + rng.normal(0, 0.3), 2)
                receipt(root, run, row, seed, dirty=seed == 1)
                replicates.append({"seed": seed, "run": run, "evaluation": evaluation(root, run, linear)})
            cells.append({"row": row, "column": place["id"], "replicates": replicates})
    return {
        "id": "gps-weak",
        "paper": "gps",
        "paper_title": "Guided Positive Sampling",
        "arxiv": "2401.01990",
        "title": "GPS under weak augmentation",
        "axes": "paper",
        "note": "",
        "scale": "digits",
        "scale_title": "Digits (toy scale)",
        "key": "0123456789ab",
        "rows": [
            {
                "id": row,
                "label": " + ".join(LABELS[word] for word in row.split("+")),
                "base": row.split("+")[0],
                "strategies": row.split("+")[1:],
            }
            for row in rows
        ],
        "columns": list(columns),
        "metrics": list(metrics),
        "measures": {metric: described(metric) for metric in metrics},
        "cells": cells,
        "baselines": {"rows": [], "cells": []},
        "claims": [],
        "published": [],
        **changes,
    }


def claim(better="simclr+gps", than="simclr", metric="linear.top1", **changes):
    """``better`` minus ``than`` in the first column."""
    return {
        "id": f"gps-weak-{better}",
        "text": "GPS improves SimCLR under weak augmentation",
        "metric": metric,
        "source": "abstract of arXiv 2401.01990",
        "terms": [{"row": better, "column": "c0", "weight": 1}, {"row": than, "column": "c0", "weight": -1}],
        "setting": "batch 64",
        "published": None,
        **changes,
    }


def published(row="simclr+gps", metric="linear.top1", value=85.58, comparable=False, **changes):
    """A value on record for the first column."""
    entry = {
        "row": row,
        "column": "c0",
        "metric": metric,
        "value": value,
        "setting": "CIFAR-10, weak",
        "source": "p. 7",
    }
    return {**entry, "comparable": comparable, **changes}
