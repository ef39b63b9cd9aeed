"""Encoders that others have trained: a library's network with weights from a file."""

import logging
from pathlib import Path

import torch
from torch import nn

from sslpairs.backbones.layouts import fitting, in_order, tensors_of
from sslpairs.config.guides import EncoderIdentity
from sslpairs.errors import UserError, nearest, shown

log = logging.getLogger(__name__)
HEADS = ("fc", "classifier", "head", "heads")
"""Names of classifiers in torchvision's networks."""


def load_pretrained(encoder: EncoderIdentity, path: Path, size: int) -> nn.Module:
    """A network from images ``[N, 3, size, size]`` to features ``[N, D]`` or maps, on the CPU, in evaluation mode, with weights from a
    file.

    Weights only are read: a file that would run code is refused. Every parameter and every buffer of the network must be in the file with
    its shape; what else the file has is logged. ``UserError`` otherwise, and for a network that takes images of another size only.
    """
    network = without_head(encoder.network)
    if size != (side := getattr(network, "image_size", size)):  # a vision transformer's positions are learned
        raise UserError(
            f"guide: torchvision's {encoder.network} takes images of {side} pixels, not {size}: write size: {side}"
        )
    state = tensors_of(path, read(path))
    wanted = {
        key: value.shape for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")
    }
    found = in_order(path, state, wanted) if encoder.keys == "ordered" else fitting(path, state, wanted)
    network.load_state_dict(found.state, strict=False)  # `found` has all of `wanted`
    others = f"; not used: {len(found.ignored)} others, such as {found.ignored[0]}" if found.ignored else ""
    log.info("%s: %d tensors under '%s'%s", path.name, len(found.state), found.prefix, others)
    return network.eval().to(memory_format=torch.channels_last)


def without_head(name: str) -> nn.Module:
    """A network of torchvision without its classifier. ``UserError`` if there is none of this name, or it has no classifier to remove."""
    from torchvision import models

    if name not in (known := models.list_models(module=models)):
        raise UserError(f"encoder: torchvision has no network '{shown(name)}'{nearest(name, known)}")
    with torch.random.fork_rng():
        network = models.get_model(name, weights=None)
    for head in HEADS:
        if isinstance(getattr(network, head, None), nn.Module):
            setattr(network, head, nn.Identity())
            return network
    raise UserError(
        f"encoder: it is not known how to remove the classifier of torchvision's '{name}'; use another network"
    )


def read(path: Path) -> dict:
    """The content of a file of weights. ``UserError`` for one that holds more than numbers, with the names of what else there is."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except Exception as error:  # damage raises many kinds of error
        raise UserError(f"{path}: {_why(path, error)}") from None


def _why(path: Path, error: Exception) -> str:
    try:
        objects = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not a file of torch
        return f"not a readable file of weights ({str(error).splitlines()[0][:120]})"
    if not objects:
        return "not a readable file of weights"
    return (
        f"holds more than weights ({', '.join(objects[:3])}), which could run code when it is read; where you trust it, save the weights "
        f"alone: torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW_FILE)"
    )
