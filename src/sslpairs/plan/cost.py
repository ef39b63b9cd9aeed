"""What one training takes, from its specification alone: operations, parameters and memory. Never imports torch.

Operations are counted as torch's ``FlopCounterMode`` counts them (``bench/measure.py``): two for each multiply-add of
convolutions and matrix products, those with padding included; they are equal to its count. Images are square, and one process has
the whole batch.

Left out: the products that make the views and teach the online layer (1.5 % of SimCLR's step with a small convnet at 16 pixels,
0.01 % with ResNet-18 at 32); all element-wise work, which takes time but is no matrix product; what is no step: guides and the
tables of SPPS and GPS, rebuilt ones too, and the online layer's tests. SwAV's queue counts as full from the first step on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sslpairs.plan.spec import RunSpec

    Spec = RunSpec | dict[str, Any]
    """A specification, or its JSON values as a plan holds them."""


@dataclass(frozen=True)
class Cost:
    """What one step of the whole batch takes."""

    flops_per_step: float
    """Floating-point operations of convolutions and matrix products, forwards and backwards."""
    parameters: int
    """Numbers that are trained by gradient: backbone, heads, prototypes, CLAE's second norms."""
    copies: int
    """Numbers in the momentum encoder, which are not."""
    activations: float
    """Bytes kept for the backward pass where most are kept at once: an estimate from what torch 2.11's layers keep, without the
    temporary results of either pass."""
    state: int
    """Bytes that stay from step to step, in float32: weights, gradients, what the optimiser remembers, momentum encoder, queues;
    without the statistics of batch norms."""

    @property
    def memory(self) -> float:
        """Bytes held at the height of a step. A device needs more: temporary results, workspaces of convolutions, the data set,
        torch itself."""
        return self.state + self.activations


def step_cost(spec: "Spec", size: int, channels: int) -> Cost:
    """The cost of one step on images ``[channels, size, size]``, in microseconds: equal recipes are computed once."""
    return _step_cost(_setup(spec), size, channels)


def training_flops(spec: "Spec", items: int, size: int, channels: int) -> float:
    """Operations of all steps of all epochs over ``items`` pairs (SPPS has more than images); an incomplete batch is dropped."""
    setup = _setup(spec)
    return items // setup.batch * _of(spec, "epochs") * _step_cost(setup, size, channels).flops_per_step


def features_flops(spec: "Spec", images: int, size: int, channels: int) -> float:
    """Operations of the backbone's forward pass over un-augmented images: of an evaluation, a guide's embedding, one rebuild of
    GPS's table. What is then made of the features (linear layer, neighbours) is not counted."""
    return images * 2.0 * sum(conv.products for conv in _convolutions(_backbone(spec), size, channels))


# --- what decides the cost -----------------------------------------------------------------------------------------


class Head(NamedTuple):
    """``config.recipes.Head``."""

    hidden: tuple[int, ...]
    output: int
    norm: bool
    last_norm: bool | str


class Setup(NamedTuple):
    """The values of a specification on which the cost of a step depends."""

    backbone: tuple
    """``("convnet", width, ...)`` or ``("resnet", depth, stem)``."""
    base: str
    projector: Head
    predictor: Head | None
    prototypes: int
    queue: int
    """Rows of one queue."""
    small: tuple[tuple[int, int], ...]
    """How many small crops, and their edge in pixels; empty for none."""
    norm_last_layer: bool
    strategies: tuple[str, ...]
    """Those that change the step."""
    batch: int
    precision: int
    """Bytes of a number in the networks' activations."""
    slots: int
    """Numbers that the optimiser remembers for each parameter."""


def _fields(value: Any) -> dict[str, Any]:
    """Keys and values of a model or of its JSON object: a plan of thousands of runs has no time to validate each."""
    return value if isinstance(value, dict) else vars(value)


def _of(value: Any, key: str) -> Any:
    return _fields(value)[key]


def _backbone(spec: "Spec") -> tuple:
    how = _fields(_of(spec, "backbone"))
    return ("convnet", *how["widths"]) if how["kind"] == "convnet" else ("resnet", how["depth"], how["stem"])


def _head(how: Any) -> Head:
    how = _fields(how)
    return Head(tuple(how["hidden"]), how["output"], how["batch_norm"], how["last_batch_norm"])


def _setup(spec: "Spec") -> Setup:
    spec = _fields(spec)
    base, method = next((name, how) for name, how in _fields(spec["method"]).items() if how is not None)
    method, used = _fields(method), _fields(spec["strategies"])
    predictor, small, optimizer = method.get("predictor"), method.get("small"), _fields(spec["optimizer"])
    return Setup(
        backbone=_backbone(spec),
        base=base,
        projector=_head(method["projector"]),
        predictor=predictor and _head(predictor),
        prototypes=method.get("prototypes", 0),
        queue=method.get("queue") or 0,
        small=((_of(small, "count"), _of(small, "size")),) if small else (),
        norm_last_layer=method.get("norm_last_layer", False),
        strategies=tuple(name for name in ("mixco", "clae", "dimcl") if used.get(name) is not None),
        batch=spec["batch_size"],
        precision=4 if spec["precision"] == "float32" else 2,
        slots=2 if optimizer["name"] == "adam" else int(optimizer["momentum"] > 0 or optimizer["name"] == "lars"),
    )


# --- networks ------------------------------------------------------------------------------------------------------


class Conv(NamedTuple):
    """A square convolution without bias; every one in ``backbones/build.py`` is followed by a batch norm."""

    inputs: int
    outputs: int
    kernel: int
    edge: int
    """Of its output, in pixels."""
    rectified: bool = True
    """Whether a ReLU's output of the same size comes after it."""

    @property
    def weights(self) -> int:
        """How many."""
        return self.kernel**2 * self.inputs * self.outputs

    @property
    def products(self) -> int:
        """Multiply-adds for one image."""
        return self.weights * self.edge**2

    @property
    def kept(self) -> int:
        """Numbers kept of one image: the input of the norm, and the output of the ReLU, which works in place."""
        return self.outputs * self.edge**2 * (1 + self.rectified)


_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
"""Residual blocks of each of torchvision's four stages."""


def _halved(edge: int) -> int:
    """Edge after a stride of 2 with half a kernel's padding."""
    return -(-edge // 2)


@cache
def _convolutions(backbone: tuple, size: int, channels: int) -> tuple[Conv, ...]:
    return tuple((_convnet if backbone[0] == "convnet" else _resnet)(*backbone[1:], size=size, channels=channels))


def _convnet(*widths: int, size: int, channels: int) -> Iterator[Conv]:
    for width in widths:
        size = _halved(size)
        yield Conv(channels, width, 3, size)
        channels = width


def _resnet(depth: int, stem: str, size: int, channels: int) -> Iterator[Conv]:
    """torchvision's ``resnet.py``: basic blocks to depth 34, bottlenecks with the stride in their 3x3 from 50 on."""
    edge = size if stem == "cifar" else _halved(size)
    yield Conv(channels, 64, 3 if stem == "cifar" else 7, edge)
    edge, inputs = edge if stem == "cifar" else _halved(edge), 64  # the standard stem's max-pooling
    for stage, blocks in enumerate(_BLOCKS[depth]):
        width = 64 << stage
        outputs = width if depth < 50 else 4 * width
        for block in range(blocks):
            before, edge = edge, _halved(edge) if stage and not block else edge
            if depth < 50:
                yield Conv(inputs, width, 3, edge)
            else:
                yield Conv(inputs, width, 1, before)
                yield Conv(width, width, 3, edge)
            yield Conv(width, outputs, 3 if depth < 50 else 1, edge)
            if edge != before or inputs != outputs:
                yield Conv(inputs, outputs, 1, edge, rectified=False)
            inputs = outputs


class Layers(NamedTuple):
    """A network, or a part of one."""

    products: int = 0
    """Multiply-adds of one image's forward pass."""
    parameters: int = 0
    norms: int = 0
    """Those of them that scale and shift after a batch norm."""
    kept: int = 0
    """Numbers kept of one image for the backward pass."""

    def plus(self, *others: "Layers") -> "Layers":
        """All of them together."""
        return Layers(*map(sum, zip(self, *others, strict=True)))


def _trunk(setup: Setup, size: int, channels: int) -> Layers:
    convs = _convolutions(setup.backbone, size, channels)
    norms = sum(2 * conv.outputs for conv in convs)
    kept = channels * size**2 + sum(conv.kept for conv in convs)
    if setup.backbone[-1] == "imagenet":  # max-pooling: its output, and places of eight bytes
        kept += 64 * _halved(convs[0].edge) ** 2 * (1 + 8 // setup.precision)
    return Layers(sum(c.products for c in convs), sum(c.weights for c in convs) + norms, norms, kept)


def _perceptron(how: Head | None, width: int, gelu: bool = False) -> Layers:
    """A projector or predictor (``methods/base.py``); a linear layer before a norm has no bias, and GELU keeps its input."""
    if how is None:
        return Layers()
    widths = (width, *how.hidden, how.output)
    products = sum(a * b for a, b in pairwise(widths))
    hidden = sum(how.hidden)
    norms = 2 * hidden * how.norm + 2 * how.output * (how.last_norm is True)
    biases = hidden * (not how.norm) + how.output * (not how.last_norm)
    kept = width + hidden * (1 + how.norm + gelu) + how.output * bool(how.last_norm)
    return Layers(products, products + norms + biases, norms, kept)


def _last(setup: Setup) -> Layers:
    """SwAV's prototypes, or DINO's last layer with its vectors' lengths; both see unit vectors, and keep what these come from."""
    products = setup.prototypes * setup.projector.output
    lengths = setup.prototypes * (setup.base == "dino")
    return Layers(products, products + lengths, 0, 2 * setup.projector.output * bool(products))


def _online(setup: Setup, size: int, channels: int) -> Layers:
    """The network that learns, with its heads."""
    features, output = _convolutions(setup.backbone, size, channels)[-1].outputs, setup.projector.output
    return _trunk(setup, size, channels).plus(
        _perceptron(setup.projector, features, gelu=setup.base == "dino"),
        _perceptron(setup.predictor, output),
        _last(setup),
    )


# --- a step --------------------------------------------------------------------------------------------------------


class Loss(NamedTuple):
    """A base method's objective, by the code in ``methods/``: how often its one matrix product (``_product``) is made.

    Each time counts one forwards, and one backwards for each factor that has a gradient.
    """

    passes: int = 0
    """Between two clean views."""
    attack: int = 0
    """In CLAE's attack, where clean embeddings are constants."""
    adversarial: int = 0
    """In CLAE's term."""
    mixed: int = 0
    """In MixCo's term of one view, whose product is another (``_mixed_product``)."""
    kept: int = 0
    """Bytes kept for the backward pass for each entry of the product between two clean views: float32 and masks."""


_LOSSES = {
    "simclr": Loss(3, 3, 3, 3, kept=5),
    "moco": Loss(2, 2, 2, 2, kept=4),
    "mocoplus": Loss(4, 2, 2, 2, kept=8),
    "barlowtwins": Loss(3, 2, 3, 3, kept=4),
    "vicreg": Loss(6, 4, 6, 6, kept=8),
    "nnclr": Loss(4, 3, 4, 2, kept=8),
    "uel": Loss(2, 2, 2, 2, kept=14),
    "plain": Loss(3, 2, 3, 3, kept=4),
}
_CORRELATED = ("barlowtwins", "vicreg")
"""Whose objective compares dimensions, not images."""
_WITH_QUEUE = ("moco", "mocoplus")
"""Whose negatives are a queue."""
_EMBEDS_ANCHOR = ("simclr", "barlowtwins", "vicreg", "nnclr", "uel", "plain")
"""Whose attack embeds the clean image too (``BaseMethod.attacks_with_anchor``)."""
_TARGETS = {"moco": 1, "mocoplus": 2, "byol": 2, "dino": 2}
"""Views that the momentum encoder sees."""
_ONE_WAY = ("moco", "plain")
"""Of which MixCo mixes one view only (``BaseMethod.mixed_views``)."""


class Product(NamedTuple):
    """A matrix product ``[rows, inner] @ [inner, columns]``."""

    rows: float = 0
    inner: int = 0
    columns: int = 0

    @property
    def size(self) -> float:
        """Multiply-adds."""
        return self.rows * self.inner * self.columns

    @property
    def entries(self) -> float:
        """Of the result."""
        return self.rows * self.columns


def _product(setup: Setup) -> Product:
    """In the base's objective: images or dimensions against each other, or queries against a queue."""
    n, d = setup.batch, setup.projector.output
    if setup.base in ("simclr", "uel"):
        return Product(2 * n, d, 2 * n)
    if setup.base in _CORRELATED:
        return Product(d, n, d)
    if setup.base in _WITH_QUEUE:
        return Product(n, d, setup.queue)
    return Product(n, d, n) if setup.base in _LOSSES else Product()


def _mixed_product(setup: Setup) -> Product:
    """In MixCo's term: half a batch against all of the other view and the queue, or the base's own on half a batch."""
    n, d = setup.batch, setup.projector.output
    if setup.base in _CORRELATED:
        return Product(d, n // 2, d)
    return Product(n / 2, d, n + setup.queue * (setup.base in _WITH_QUEUE)) if setup.base in _LOSSES else Product()


class Images(NamedTuple):
    """How many images of full size the online network sees in a step."""

    clean: int
    mixed: int
    adversarial: int
    """CLAE's third view; Plain embeds the clean one again beside it."""
    attacked: int
    """With gradient into the image, and none into the weights."""
    anchors: int
    """Without gradient."""


def _images(setup: Setup) -> Images:
    n, mixco, clae = setup.batch, "mixco" in setup.strategies, "clae" in setup.strategies
    return Images(
        clean=n * (1 if setup.base == "moco" else 2),
        mixed=n // 2 * mixco * (1 if setup.base in _ONE_WAY else 2),
        adversarial=n * clae * (2 if setup.base == "plain" else 1),
        attacked=n * clae,
        anchors=n * clae * (setup.base in _EMBEDS_ANCHOR),
    )


def _network_products(setup: Setup, size: int, channels: int) -> float:
    """Multiply-adds of all passes through networks; a pass backwards is one for the weights and one for a layer's input.

    The first convolution has no gradient of its input, but in CLAE's attack.
    """
    seen, n, predictor = _images(setup), setup.batch, _perceptron(setup.predictor, setup.projector.output)
    forwards, stem = _online(setup, size, channels).products, _convolutions(setup.backbone, size, channels)[0].products
    total = (seen.clean + seen.mixed + seen.adversarial) * (3 * forwards - stem)
    total += (2 * seen.attacked + seen.anchors) * forwards
    total += _TARGETS.get(setup.base, 0) * n * (forwards - predictor.products)
    for count, edge in setup.small:
        stem = _convolutions(setup.backbone, edge, channels)[0].products
        total += count * n * (3 * _online(setup, edge, channels).products - stem)
    return total


def _objective_products(setup: Setup) -> float:
    """Multiply-adds of all terms of the loss, and of what is looked up in queues without gradient."""
    n, d, loss, seen = setup.batch, setup.projector.output, _LOSSES.get(setup.base, Loss()), _images(setup)
    clae = "clae" in setup.strategies
    total = _product(setup).size * (loss.passes + clae * (loss.attack + loss.adversarial))
    total += _mixed_product(setup).size * loss.mixed * seen.mixed / (n / 2)
    if "dimcl" in setup.strategies:
        total += 3 * Product(2 * d, n, 2 * d).size
    if setup.base == "nnclr":  # a nearest neighbour for every embedding
        total += sum(seen) * setup.queue * d
    if setup.base == "swav":  # scores of both queues
        total += 2 * setup.queue * d * setup.prototypes
    return total


def _objective_kept(setup: Setup) -> float:
    """Bytes that the loss keeps for the backward pass, in float32: its large matrices, and unit or centred projections."""
    n, d, loss, seen = setup.batch, setup.projector.output, _LOSSES.get(setup.base, Loss()), _images(setup)
    clae, mixco, dimcl = (name in setup.strategies for name in ("clae", "mixco", "dimcl"))
    total = loss.kept * _product(setup).entries * (1 + clae * loss.adversarial / max(1, loss.passes))
    total += (loss.kept if setup.base in _CORRELATED else 4) * _mixed_product(setup).entries * seen.mixed / (n / 2)
    total += dimcl * (5 * Product(2 * d, n, 2 * d).entries + 16 * n * d)
    if not setup.prototypes:
        return total + 16 * n * d * (1 + mixco + clae)
    # Codes of two views, a softmax for every other view that predicts them, mixed codes and their softmax.
    views = 2 + sum(count for count, _ in setup.small)
    total += 4 * n * setup.prototypes * (2 + 2 * (views - 1) + 2 * mixco + clae)
    if setup.base == "dino":  # the last layer's weights, made anew from lengths and directions in every pass
        total += 4 * d * setup.prototypes * (views + 2 * mixco + clae)
    return total


def _activations(setup: Setup, size: int, channels: int) -> float:
    """Clean and mixed views stay while CLAE's attack is made, in float32, and then, without the attack, while its result is seen.

    Below float32, every round of the networks keeps its weights in that precision too.
    """
    seen, wide, online = _images(setup), setup.precision, _online(setup, size, channels)
    lowered = online.parameters * wide * (wide < 4)
    total = (seen.clean + seen.mixed) * online.kept * wide + lowered
    for count, edge in setup.small:
        total += count * setup.batch * _online(setup, edge, channels).kept * wide
    if seen.attacked:
        total += max(seen.attacked * online.kept * 4, seen.adversarial * online.kept * wide + lowered)
    return total + _objective_kept(setup)


@cache
def _step_cost(setup: Setup, size: int, channels: int) -> Cost:
    online, predictor = _online(setup, size, channels), _perceptron(setup.predictor, setup.projector.output)
    twins = online.norms * ("clae" in setup.strategies)
    lengths = setup.prototypes * setup.norm_last_layer
    parameters = online.parameters + twins - lengths
    copies = (online.parameters - predictor.parameters) * (setup.base in _TARGETS)
    queues = setup.queue * setup.projector.output * (2 if setup.base in ("mocoplus", "swav") else 1)
    return Cost(
        flops_per_step=2.0 * (_network_products(setup, size, channels) + _objective_products(setup)),
        parameters=parameters,
        copies=copies,
        activations=_activations(setup, size, channels),
        state=4 * (parameters * (2 + setup.slots) + lengths + copies + queues),
    )
