"""The base method of a run, with fresh weights."""

import torch
from torch import nn

from sslpairs.backbones.build import seeded_backbone
from sslpairs.config.registry import other_half
from sslpairs.methods.base import BaseMethod
from sslpairs.plan.spec import RunSpec
from sslpairs.random_streams import stream_seed


def fresh_backbone(spec: RunSpec, channels: int, size: int, stream: str = "backbone") -> tuple[nn.Module, int]:
    """The run's network with weights from the named stream of its seed, and its feature width."""
    return seeded_backbone(spec.backbone, channels, size, spec.seed, stream)


def build_method(spec: RunSpec, channels: int, size: int) -> BaseMethod:
    """The base method of a run, for images ``[channels, size, size]``. Equal seeds give equal backbones for all methods."""
    backbone, width = fresh_backbone(spec, channels, size)
    settings = getattr(spec.method, spec.base)
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(spec.seed, "heads"))
        return other_half("sslpairs.methods", spec.base, type(settings))(settings, backbone, width)
