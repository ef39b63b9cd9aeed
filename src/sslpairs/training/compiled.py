"""Compilation of networks with torch.compile."""

from collections.abc import Callable, Iterable

import torch
from torch import nn


def compile_networks(
    networks: Iterable[nn.Module], device: torch.device, alone: bool = True, backend: str = "inductor"
) -> Callable[[], None]:
    """Compile every network with torch.compile; the first step of each takes long. Names and weights are unchanged. Returns a
    function to call at the beginning of each step.

    On a GPU without other processes (``alone``) a network's kernels are launched as CUDA graphs: one by one, the nine hundred of a
    ResNet-18's step take the host longer than the GPU (``benchmarks/RESULTS.md``). Collectives stay outside graphs.
    """
    graphs = device.type == "cuda" and alone and backend == "inductor"
    for network in networks:
        network.compile(mode="reduce-overhead") if graphs else network.compile(backend=backend)
    return torch.compiler.cudagraph_mark_step_begin if graphs else nothing


def nothing() -> None:
    """No-op at the beginning of a step, for networks that are not compiled."""
