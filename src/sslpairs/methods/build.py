"""The base method of a run, with fresh weights."""

import torch
from torch import nn

from sslpairs.backbones.build import build_backbone
from sslpairs.methods.barlowtwins import BarlowTwins
from sslpairs.methods.base import BaseMethod
from sslpairs.methods.byol import BYOL
from sslpairs.methods.dino import DINO
from sslpairs.methods.moco import MoCo, MoCoPlus
from sslpairs.methods.nnclr import NNCLR
from sslpairs.methods.plain import Plain
from sslpairs.methods.simclr import SimCLR
from sslpairs.methods.simsiam import SimSiam
from sslpairs.methods.swav import SwAV
from sslpairs.methods.uel import UEL
from sslpairs.methods.vicreg import VICReg
from sslpairs.plan.spec import RunSpec
from sslpairs.streams import stream_seed

CLASSES: dict[str, type[BaseMethod]] = {
    "simclr": SimCLR,
    "moco": MoCo,
    "mocoplus": MoCoPlus,
    "byol": BYOL,
    "simsiam": SimSiam,
    "barlowtwins": BarlowTwins,
    "vicreg": VICReg,
    "swav": SwAV,
    "dino": DINO,
    "nnclr": NNCLR,
    "uel": UEL,
    "plain": Plain,
}


def fresh_backbone(spec: RunSpec, channels: int, stream: str = "backbone") -> tuple[nn.Module, int]:
    """The run's network with weights from the named stream of its seed, and its feature width."""
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(spec.seed, stream))
        return build_backbone(spec.backbone, channels)


def build_method(spec: RunSpec, channels: int) -> BaseMethod:
    """The base method of a run. Equal seeds give equal backbones, whatever the method."""
    backbone, width = fresh_backbone(spec, channels)
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(spec.seed, "heads"))
        return CLASSES[spec.base](getattr(spec.method, spec.base), backbone, width)
