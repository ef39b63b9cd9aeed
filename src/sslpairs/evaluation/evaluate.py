"""Evaluate one checkpoint under all protocols, in one go."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sslpairs.backbones.checkpoint import check_digest, load_backbone
from sslpairs.backbones.features import features
from sslpairs.config.protocols import Protocols
from sslpairs.data.arrays import load
from sslpairs.distributed.device import describe, pick_device, settle
from sslpairs.evaluation.knn import evaluate_knn
from sslpairs.evaluation.linear import evaluate_linear
from sslpairs.files import write_record
from sslpairs.plan.fingerprint import evaluation_code
from sslpairs.plan.paths import evaluation_file, run_folder


def weights_digest(network: nn.Module) -> str:
    """sha256 of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def evaluate(
    run: str,
    key: str,
    protocols: dict[str, Any],
    root: Path,
    device: str,
    threads: int,
    other: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluate a finished run and answer (and write) its evaluation.

    ``online`` was measured while the run trained; it is copied from the receipt, so that tables read one file. ``other`` is a data
    set (name and content hash) to evaluate on instead of the run's own; then there is no ``online``.
    Raises ``UserError`` when the checkpoint is not the one that the receipt names.
    """
    settle(threads)
    how = Protocols.model_validate(protocols)
    folder = root / run_folder(run)
    path = folder / "checkpoint.pt"
    receipt = check_digest(path, root)
    place = pick_device(device)
    name, content = other or (receipt["dataset"], receipt["spec"]["dataset"])
    data = load(name, root, place, content)
    network = load_backbone(path, data.train.images.shape[1]).to(place)
    before = weights_digest(network)
    train, test = (
        (features(network, split.images, data.mean, data.std), split.labels) for split in (data.train, data.test)
    )
    classes = len(data.classes)
    results = {
        "linear": evaluate_linear(how.linear, train, test, classes, receipt["seed"]),
        "online": receipt["online"],
        "knn": evaluate_knn(how.knn, train, test, classes),
    }
    if other:
        results.pop("online")
    if weights_digest(network) != before:
        raise RuntimeError(f"{run}: the backbone changed during its evaluation; this is a mistake in the code")
    result = {
        "format": 1,
        "run": run,
        "key": key,
        "protocols": results,
        "settings": protocols,
        "checkpoint": receipt["checkpoint"]["sha256"],
        **({"dataset": name, "content": content} if other else {}),
        "backbone_unchanged": True,
        "features": train[0].shape[1],
        "device": describe(place, threads),
        "code": evaluation_code(),
    }
    return write_record(root / evaluation_file(f"{run}/{key}"), result)
