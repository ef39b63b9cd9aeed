"""Estimate operations, parameters and memory of a training from its specification. Never imports torch.

Counts the networks' convolutions, attention and matrix products, two operations per multiply-add, times the passes that a method and its
strategies make through them; a backward pass counts as two. Not counted: the matrix products of the losses, element-wise operations,
views, guides. Time is the count divided by a speed, which is taken from receipts once there are some.
"""

import json
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from sslpairs.config.backbones import Backbone
from sslpairs.config.backbones.base import Layer
from sslpairs.config.methods import METHODS, Method
from sslpairs.config.strategies import STRATEGIES
from sslpairs.files import canonical

Spec = dict[str, Any]
"""A specification as JSON values, as a plan holds it (``RunSpec.plain``)."""
_KEYS = ("backbone", "method", "strategies", "optimizer", "precision", "batch_size")


@dataclass(frozen=True)
class Cost:
    """Cost of one step on the whole batch."""

    flops_per_step: float
    """Floating-point operations, forward and backward."""
    parameters: int
    """Number of parameters trained by gradient."""
    copies: int
    """Number of parameters of the momentum encoder, which are not."""
    activations: float
    """Bytes kept for the backward pass."""
    state: float
    """Bytes that persist between steps, in float32: weights, gradients, optimiser state, momentum encoder, queue."""


def step_cost(spec: Spec, size: int, channels: int) -> Cost:
    """Return the cost of one step on images ``[channels, size, size]``; cached for equal recipes."""
    return _step_cost(canonical({key: spec[key] for key in _KEYS}), size, channels)


def training_flops(spec: Spec, items: int, size: int, channels: int) -> float:
    """Return the operations of all epochs over ``items`` pairs (SPPS has more pairs than images); incomplete batches are dropped."""
    return items // spec["batch_size"] * spec["epochs"] * step_cost(spec, size, channels).flops_per_step


def features_flops(spec: Spec, images: int, size: int, channels: int) -> float:
    """Return the operations of the backbone's forward pass over un-augmented images, for an evaluation or a guide's embedding."""
    return 2.0 * images * sum(layer.products for layer in _layers(canonical(spec["backbone"]), size, channels))


@cache
def _step_cost(key: str, size: int, channels: int) -> Cost:
    spec = json.loads(key)
    ((name, settings),) = spec["method"].items()
    method = METHODS.get(name, Method)  # a receipt may name a method that no longer exists
    used = [STRATEGIES[strategy] for strategy in spec["strategies"] if strategy in STRATEGIES]
    batch, wide = spec["batch_size"], 4 if spec["precision"] == "float32" else 2
    network = _network(spec, settings, size, channels)
    passes = 3 * method.views + method.targets + sum(strategy.passes(method) for strategy in used)
    kept = network.kept * (method.views + sum(strategy.kept(method) for strategy in used))
    products = passes * network.products
    if small := settings.get("small"):
        small_network = _network(spec, settings, small["size"], channels)
        products += 3 * small["count"] * small_network.products
        kept += small["count"] * small_network.kept
    copies = network.parameters if method.targets else 0
    remembered = {"adam": 2, "adamw": 2, "sgd": 1, "lars": 1}[spec["optimizer"]["name"]]
    queue = (settings.get("queue") or 0) * settings["projector"]["output"]
    return Cost(
        flops_per_step=2.0 * batch * products,
        parameters=network.parameters,
        copies=copies,
        activations=float(batch * kept * wide),
        state=4.0 * (network.parameters * (2 + remembered) + copies + queue),
    )


class Network(NamedTuple):
    """Backbone and heads."""

    products: int
    """Multiply-adds of one image's forward pass."""
    parameters: int
    kept: int
    """Values kept for the backward pass, per image."""


def _network(spec: Spec, settings: dict[str, Any], size: int, channels: int) -> Network:
    backbone = _layers(canonical(spec["backbone"]), size, channels)
    products, parameters = (sum(getattr(layer, what) for layer in backbone) for what in ("products", "parameters"))
    kept = channels * size**2 + sum(layer.kept for layer in backbone)
    heads = [(backbone[-1].outputs, settings["projector"])]
    if predictor := settings.get("predictor"):
        heads.append((settings["projector"]["output"], predictor))
    for inputs, head in heads:
        widths = (inputs, *head["hidden"], head["output"])
        layers = sum(a * b for a, b in pairwise(widths))
        products += layers
        parameters += layers + 2 * sum(widths[1:])
        kept += 2 * sum(widths)
    last = (settings.get("prototypes") or 0) * settings["projector"]["output"]
    return Network(products + last, parameters + last, kept)


@cache
def _layers(backbone: str, size: int, channels: int) -> tuple[Layer, ...]:
    return tuple(TypeAdapter(Backbone).validate_json(backbone).layers(size, channels))
