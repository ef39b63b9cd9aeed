"""Where the weights of an encoder are in a file that others have saved: the container, the prefix of the keys, and their names.

Layouts as in the files of solo-learn, lightly, MoCo, SimSiam, DINO, VICReg and VISSL, and in plain state dicts. The layers must have
torchvision's names, as ResNets have everywhere; vision transformers have timm's in most files, and are not found here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslpairs.errors import UserError

CONTAINERS = (
    *("state_dict_ema", "model_ema", "state_dict", "teacher", "student", "model", "model_state_dict"),
    *("base_model", "trunk", "classy_state_dict"),
)
"""Keys under which others save a state dict, also nested; the first that is there. Averaged weights come first, as timm takes them, and
DINO's teacher before its student, as its authors evaluate it."""
SECOND = re.compile(r"(^|\.)(momentum|key|target|student|teacher)_?|encoder_k\.|_m\.")
"""Prefixes of a second network beside the trained one: momentum encoders, and lightly's ``teacher_backbone``, ``student_backbone``."""
SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""A ResNet as a Sequential of its children, as in lightly's examples."""


@dataclass(frozen=True)
class Found:
    """The encoder's tensors in a file."""

    state: dict[str, Tensor]
    """By the network's own keys."""
    prefix: str
    ignored: list[str]
    """The file's other keys."""


def tensors_of(path: Path, content: Any) -> dict[str, Tensor]:
    """The state dict in the content of a file, from whatever container. ``UserError`` if there is none."""
    for _ in range(6):
        if not isinstance(content, Mapping):
            break
        tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
        container = next((key for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
        if container is None:
            if tensors:
                return tensors
            break
        content = content[container]
    raise UserError(
        f"{path}: has no state dict, a dictionary of tensors, under any of the usual keys ({', '.join(CONTAINERS)})"
    )


def fitting(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, torch.Size]) -> Found:
    """The tensors under the one prefix below which the file has all ``wanted`` keys with their shapes.

    Of several, a prefix that names no momentum encoder, teacher or student comes first, then the shortest one. ``UserError`` with the
    nearest miss if there is none.
    """
    best: tuple[int, str, list[str]] = (0, "", [])
    for prefix in _prefixes(state, wanted):
        for renamed in (state, _from_sequential(state, prefix)):
            below = {key: renamed[prefix + key] for key in wanted if prefix + key in renamed}
            wrong = [key for key in wanted if key not in below or below[key].shape != wanted[key]]
            if not wrong:
                used = {id(value) for value in below.values()}
                return Found(below, prefix, [key for key, value in state.items() if id(value) not in used])
            if len(wanted) - len(wrong) > best[0]:
                best = (len(wanted) - len(wrong), prefix, wrong)
    count, prefix, wrong = best
    if not count:
        raise UserError(
            f"{path}: none of its {len(state)} tensors, such as {next(iter(state))}, is one of the network's {len(wanted)}, such as "
            f"{next(iter(wanted))}: it is another network, or saved in an unknown layout"
        )
    there = state.get(prefix + wrong[0])
    what = "is missing" if there is None else f"has shape {tuple(there.shape)} instead of {tuple(wanted[wrong[0]])}"
    raise UserError(
        f"{path}: fits {count} of the network's {len(wanted)} tensors under '{prefix}', but {prefix + wrong[0]} {what}; name the network "
        "that it was trained with"
    )


def in_order(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, torch.Size]) -> Found:
    """The first tensors of the file as those of the network, in their order, whatever their names. ``UserError`` unless all shapes
    agree."""
    kept = [(key, value) for key, value in state.items() if not key.endswith("num_batches_tracked")]
    if len(kept) < len(wanted):
        raise UserError(
            f"{path}: has {len(kept)} tensors, but the network has {len(wanted)}; name the network that it was trained with"
        )
    for (key, value), (name, shape) in zip(kept, wanted.items(), strict=False):
        if value.shape != shape:
            raise UserError(
                f"{path}: {key} has shape {tuple(value.shape)}, but {name}, which is at its place in the network, has {tuple(shape)}; name "
                "the network that it was trained with"
            )
    pairs = zip(wanted, (value for _, value in kept), strict=False)
    return Found(dict(pairs), "", [key for key, _ in kept[len(wanted) :]])


def _prefixes(state: Mapping[str, Tensor], wanted: Mapping[str, torch.Size]) -> list[str]:
    """Prefixes below which a key of the network, or of its Sequential, may be."""
    found = {""}
    for key in state:
        parts = key.split(".")
        found |= {".".join(parts[:count]) + "." for count in range(1, min(len(parts), 6))}
    heads = {key.split(".")[0] for key in wanted} | set(SEQUENTIAL)
    begun = {
        prefix
        for prefix in found
        if any(key.startswith(prefix) and key[len(prefix) :].split(".")[0] in heads for key in state)
    }
    return sorted(begun, key=lambda prefix: (bool(SECOND.search(prefix)), prefix.count("."), prefix))


def _from_sequential(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The state with a ResNet's children by name instead of by number, below a prefix."""
    renamed = {}
    for key, value in _below(state, prefix):
        first, dot, rest = key.partition(".")
        renamed[prefix + SEQUENTIAL.get(first, first) + dot + rest] = value
    return renamed


def _below(state: Mapping[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    return ((key[len(prefix) :], value) for key, value in state.items() if key.startswith(prefix))
