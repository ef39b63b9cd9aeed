"""Checkpoint files: only tensors and plain values, so reading one can never run code."""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from sslpairs.backbones.build import build_backbone
from sslpairs.config.backbones import Backbone
from sslpairs.errors import UserError
from sslpairs.files import read_record, sha256_file, write_atomic


def to_bytes(content: dict[str, Any]) -> memoryview:
    """The bytes of a checkpoint file. Equal contents give equal bytes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint, weights only; ``UserError`` if it is missing or damaged."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; build again to retrain the run") from None
    except Exception:  # damage raises many kinds of error; reading weights runs no code of ours that could fail
        raise UserError(f"{path}: not a readable checkpoint; delete it and build again") from None


def save_state(path: Path, content: dict[str, Any]) -> None:
    """Write a resumable state: its sha256, then the state. Not fsynced, since it is written every epoch: a power cut may
    damage it, which the digest detects."""
    buffer = io.BytesIO()
    buffer.write(bytes(32))
    torch.save(content, buffer)
    data = buffer.getbuffer()
    data[:32] = hashlib.sha256(data[32:]).digest()
    write_atomic(path, data, durable=False)


def load_state(path: Path, device: torch.device | str) -> dict[str, Any]:
    """Read a resumable state, weights only; ``UserError`` if it is damaged."""
    data = path.read_bytes()
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        raise UserError(f"{path}: damaged, so it is not used.")
    return torch.load(io.BytesIO(data[32:]), map_location=device, weights_only=True)


def check_digest(path: Path, root: Path) -> dict[str, Any]:
    """The receipt of a checkpoint; ``UserError`` unless the checkpoint is the one that it names."""
    run = path.parent.name
    receipt = read_record(path.parent / "run.json", root)
    if receipt is None:
        raise UserError(
            f"{path.parent.relative_to(root) / 'run.json'}: missing: train the run first: sslpairs train {run}"
        )
    if not path.exists():
        raise UserError(
            f"{path.relative_to(root)}: missing: `sslpairs restore {run}` if it was published, else `sslpairs train {run}`"
        )
    if sha256_file(path) != receipt["checkpoint"]["sha256"]:
        raise UserError(
            f"{path.relative_to(root)}: damaged, or not the checkpoint that run.json names; `sslpairs restore {run}` fetches it if "
            f"it was published, `sslpairs train {run}` recreates it"
        )
    return receipt


def load_backbone(path: Path, channels: int, size: int) -> nn.Module:
    """The trained backbone of a checkpoint, on the CPU, for images ``[channels, size, size]``. ``UserError`` if it was trained on
    images with other channels, or of another size and it takes no other."""
    content = load(path)
    try:
        weights = content["backbone"]
        first = next((value for value in weights.values() if value.ndim == 4), None)
        if first is not None and first.shape[1] != channels:
            raise UserError(f"{path}: trained on images of {first.shape[1]} channels, but these have {channels}")
        settings = TypeAdapter(Backbone).validate_python(content["architecture"])
        network, _ = build_backbone(settings, channels, size)
        if settings.one_size and _shapes(weights) != _shapes(network.state_dict()):
            raise UserError(
                f"{path}: {settings.label} takes only images of the size it was trained on, and these, of {size} pixels, have another"
            )
        network.load_state_dict(weights)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError):
        raise UserError(f"{path}: not the checkpoint of a backbone; delete it and build again") from None
    return network


def _shapes(weights: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}
