"""Networks that torch compiles."""

from collections.abc import Callable, Iterable

import torch
from torch import nn


def compile_networks(
    networks: Iterable[nn.Module], device: torch.device, alone: bool = True, backend: str = "inductor"
) -> Callable[[], None]:
    """Let torch compile every network; the first step of each takes long. Names and weights stay as they are. Answers what is to be
    called at the beginning of each step.

    On a GPU of its own (``alone``) a network's kernels are launched as CUDA graphs: one by one, the nine hundred of a ResNet-18's
    step take the host longer than the GPU (``benchmarks/RESULTS.md``). What several processes do together stays outside graphs.
    """
    graphs = device.type == "cuda" and alone and backend == "inductor"
    for network in networks:
        network.compile(mode="reduce-overhead") if graphs else network.compile(backend=backend)
    return torch.compiler.cudagraph_mark_step_begin if graphs else nothing


def nothing() -> None:
    """What a step of networks that are not compiled begins with."""
