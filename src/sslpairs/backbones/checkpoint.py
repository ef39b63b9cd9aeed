"""Checkpoint files: tensors and plain values only, so that reading one can never run code."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from sslpairs.backbones.build import build_backbone
from sslpairs.config.recipes import Backbone
from sslpairs.errors import UserError
from sslpairs.files import write_atomic


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
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError):
        raise UserError(f"{path}: not a readable checkpoint; delete it and build again") from None


def load_backbone(path: Path, channels: int) -> nn.Module:
    """The trained backbone of a checkpoint, on the CPU."""
    content = load(path)
    network, _ = build_backbone(TypeAdapter(Backbone).validate_python(content["architecture"]), channels)
    network.load_state_dict(content["backbone"])
    return network
