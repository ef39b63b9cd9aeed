"""Checkpoint files: tensors and plain values only, so that reading one can never run code."""

import io
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from sslpairs.backbones.build import build_backbone
from sslpairs.config.recipes import Backbone
from sslpairs.errors import UserError
from sslpairs.files import read_json, sha256_file, write_atomic


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically. Equal contents give equal bytes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getbuffer())


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint, weights only; ``UserError`` when it is missing or damaged."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; build again, which trains the run anew") from None
    except Exception:  # damage shows as many kinds of error; reading weights runs no code of ours that could fail
        raise UserError(f"{path}: not a readable checkpoint; delete it and build again") from None


def check_digest(path: Path) -> None:
    """``UserError`` unless the checkpoint is the one that the receipt beside it names."""
    receipt = read_json(path.parent / "run.json")
    if receipt is None:
        raise UserError(f"{path.parent / 'run.json'}: missing or not readable: train the run first")
    if not path.exists() or sha256_file(path) != receipt["checkpoint"]["sha256"]:
        raise UserError(f"{path}: not the checkpoint that run.json names; delete {path.parent} and build again")


def load_backbone(path: Path, channels: int) -> nn.Module:
    """The trained backbone of a checkpoint, on the CPU."""
    content = load(path)
    try:
        network, _ = build_backbone(TypeAdapter(Backbone).validate_python(content["architecture"]), channels)
        network.load_state_dict(content["backbone"])
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise UserError(f"{path}: not the checkpoint of a backbone; delete it and build again") from None
    return network
