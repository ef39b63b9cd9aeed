"""Evaluate one checkpoint under several protocols in one pass."""

import hashlib
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sslpairs.backbones.checkpoint import check_digest, load_backbone
from sslpairs.backbones.features import features
from sslpairs.config.protocols import Protocols
from sslpairs.data.arrays import load
from sslpairs.distributed.device import configure_process, describe, pick_device
from sslpairs.evaluation.encoded import Encoded
from sslpairs.files import write_record
from sslpairs.plan.answers import Coded
from sslpairs.plan.fingerprint import evaluation_code
from sslpairs.plan.paths import checkpoint_file, evaluation_file


def weights_digest(network: nn.Module) -> str:
    """sha256 of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def measure(
    protocols: dict[str, Any], encoded: Encoded
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Coded]]]:
    """Protocol -> metric -> value, and the same for answers to single images, where a protocol keeps them.

    ``protocols`` have their settings as JSON values (null for a protocol without settings).
    """
    chosen = Protocols.model_validate({name: plain for name, plain in protocols.items() if plain is not None}).chosen()
    values, answers = {}, {}
    for name in protocols:
        one = replace(encoded, answers={})
        values[name] = import_module(f"sslpairs.evaluation.{name}").measure(chosen.get(name), one)
        if one.answers:
            answers[name] = one.answers
    return values, answers


def evaluate(
    run: str,
    key: str,
    protocols: dict[str, Any],
    root: Path,
    device: str,
    threads: int,
    other: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluate a finished run; returns (and writes) its evaluation.

    ``other`` is a data set (name and content hash) to evaluate on instead of the run's own; ``protocols`` then excludes those that
    are measured during training.
    Raises ``UserError`` if the checkpoint is not the one that the receipt names.
    """
    configure_process(threads)
    path = root / checkpoint_file(run)
    receipt = check_digest(path, root)
    torch_device = pick_device(device)
    name, content = other or (receipt["dataset"], receipt["spec"]["dataset"])
    data = load(name, root, torch_device, content)
    network = load_backbone(path, *data.train.images.shape[1:3]).to(torch_device)
    before = weights_digest(network)
    train, test = (
        (features(network, split.images, data.mean, data.std), split.labels)
        for split in (data.train.labelled(), data.test)
    )
    encoded = Encoded(train, test, len(data.classes), receipt["seed"], receipt)
    results, answers = measure(protocols, encoded)
    if weights_digest(network) != before:
        raise RuntimeError(f"{run}: the backbone changed during its evaluation; this is a bug")
    result = {
        "format": 2,
        "run": run,
        "key": key,
        "protocols": results,
        **({"answers": answers} if answers else {}),
        "settings": {name: settings for name, settings in protocols.items() if settings is not None},
        "checkpoint": receipt["checkpoint"]["sha256"],
        **({"dataset": name, "content": content} if other else {}),
        "backbone_unchanged": True,
        "features": train[0].shape[1],
        "device": describe(torch_device, threads),
        "code": evaluation_code(tuple(protocols), receipt["spec"]["backbone"]["kind"]),
    }
    return write_record(root / evaluation_file(f"{run}/{key}"), result)
