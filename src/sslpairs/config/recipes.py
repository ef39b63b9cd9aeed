"""``config/recipes/``: the hyper-parameters of a training. A recipe states everything; the few keys that may be left out
then do nothing (no second view of its own, no plateau of the learning rate, no value of a strategy for one method).

Words and symbols are the papers'; the formulas behind them stand in ``methods/`` and ``pairs/``.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from sslpairs.config.base import Count, Model, Name, NonNegative, Positive, Rate, Title, Width
from sslpairs.config.methods import BASES, WITHOUT_MIXED_TEMPERATURE
from sslpairs.errors import listed, nearest, shown

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=2, max_length=2)]
Momentum = Annotated[list[Fraction], Field(min_length=2, max_length=2)]


# --- views ---------------------------------------------------------------------------------------------------------


class Crop(Model):
    """Random resized crop."""

    scale: Range
    """Smallest and largest area of the crop, as a share of the image."""
    ratio: Range
    """Smallest and largest width:height, drawn uniformly in the logarithm."""

    @model_validator(mode="after")
    def _ordered(self):
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale {self.scale} must rise within (0, 1]")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio {self.ratio} must rise and be positive")
        return self


class Jitter(Model):
    """Colour jitter: factors drawn from [1 - x, 1 + x]."""

    probability: Fraction
    brightness: Fraction
    contrast: Fraction
    saturation: Fraction
    hue: Annotated[float, Field(ge=0, le=0.5)]
    """Largest shift, as a share of the full circle."""
    space: Literal["yiq", "hsv"] = "yiq"
    """``hsv``: as torchvision and the papers' code, one change after the other in random order, hue through HSV. ``yiq``: all as one
    map, in which hue turns the chroma plane (NVIDIA DALI), clamped once: faster. Grey images always get the one map."""


class Blur(Model):
    """Gaussian blur."""

    probability: Fraction
    sigma: Range
    """Standard deviation in pixels, drawn uniformly."""

    @model_validator(mode="after")
    def _ordered(self):
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma {self.sigma} must rise and be positive")
        return self


class SecondView(Model):
    """What the second view does otherwise (BYOL's and Barlow Twins' views differ in blur and solarisation)."""

    blur: Blur | None = None
    solarize: Fraction | None = None
    """null leaves it as in the first view."""


class Augmentation(Model):
    """Random transform of one view; a part that is null or 0 is off. Applied in the order of the fields."""

    crop: Crop | None
    flip: Fraction
    """Probability of a horizontal mirror image."""
    rotation: Annotated[float, Field(ge=0, le=6.2832)]
    """Largest angle in radians, either way."""
    jitter: Jitter | None
    grayscale: Fraction
    """Probability of dropping the colour."""
    blur: Blur | None
    solarize: Fraction
    """Probability of inverting the pixels above one half."""
    second: SecondView | None = None
    """The second of the two large views, where it differs; absent means that both are drawn alike."""

    def of_view(self, view: int) -> "Augmentation":
        """The transform of view 0, 1, ...; small crops are drawn like the first."""
        if view != 1 or self.second is None:
            return self.model_copy(update={"second": None})
        changes = {key: value for key, value in self.second if value is not None}
        return self.model_copy(update={"second": None, **changes})


class SmallCrops(Model):
    """Multi-crop: further views of a smaller size, which predict and are never predicted.

    They come from the two sources in turn: the third view from view 1's image, the fourth from view 2's.
    """

    count: Annotated[int, Field(gt=0, le=100)]
    size: Annotated[int, Field(gt=0, le=512)]
    """Edge in pixels."""
    scale: Range
    """Smallest and largest area of the crop, as a share of the image; everything else is as in the large views."""

    @model_validator(mode="after")
    def _ordered(self):
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale {self.scale} must rise within (0, 1]")
        return self


# --- networks ------------------------------------------------------------------------------------------------------


class ConvNet(Model):
    """A small plain network: 3x3 convolutions of stride 2, each with batch norm and ReLU, then a global mean."""

    kind: Literal["convnet"]
    widths: Annotated[list[Width], Field(min_length=1, max_length=6)]

    @property
    def label(self) -> str:
        """What tables print."""
        return "conv " + "-".join(map(str, self.widths))


class ResNet(Model):
    """torchvision's ResNet without its classifier."""

    kind: Literal["resnet"]
    depth: Literal[18, 34, 50]
    stem: Literal["cifar", "imagenet"]
    """``cifar``: 3x3 convolution of stride 1 and no max-pooling, for small images; ``imagenet``: the standard one."""

    @property
    def label(self) -> str:
        """What tables print."""
        return f"ResNet-{self.depth}" + (" (3x3 stem)" if self.stem == "cifar" else "")


Backbone = Annotated[ConvNet | ResNet, Field(discriminator="kind")]


class Head(Model):
    """A multi-layer perceptron on the features: linear, optional batch norm, ReLU, ..., linear, optional batch norm."""

    hidden: Annotated[list[Width], Field(max_length=16)]
    output: Width
    batch_norm: bool
    """After every hidden layer."""
    last_batch_norm: bool | Literal["fixed"]
    """After the output layer; ``fixed`` has no scale and shift to learn (SimSiam)."""


# --- optimisation --------------------------------------------------------------------------------------------------


class SGD(Model):
    """Stochastic gradient descent (``torch.optim.SGD``)."""

    name: Literal["sgd"]
    lr: Rate
    reference_batch: Count | None
    """Multiply lr by batch_size / reference_batch; null leaves lr as it stands."""
    momentum: Fraction
    weight_decay: NonNegative


class Adam(Model):
    """Adam with the usual betas of 0.9 and 0.999 (``torch.optim.Adam``)."""

    name: Literal["adam"]
    lr: Rate
    reference_batch: Count | None
    """Multiply lr by batch_size / reference_batch; null leaves lr as it stands."""
    weight_decay: NonNegative


class LARS(Model):
    """Layer-wise adaptive rates (``training/lars.py``)."""

    name: Literal["lars"]
    lr: Rate
    reference_batch: Count | None
    """Multiply lr by batch_size / reference_batch; null leaves lr as it stands."""
    momentum: Fraction
    weight_decay: NonNegative
    trust_coefficient: Positive
    """eta: a layer's rate is lr * eta * |weights| / (|gradient| + weight_decay * |weights|)."""
    clip: bool
    """Never let a layer's rate exceed lr (solo-learn's ``clip_lars_lr``)."""
    adapt_vectors: bool
    """Whether biases and norms are decayed and adapted too; solo-learn's ``exclude_bias_n_norm`` is the opposite."""


Optimizer = Annotated[SGD | Adam | LARS, Field(discriminator="name")]


class Constant(Model):
    """The learning rate stays, after a linear warm-up."""

    name: Literal["constant"]
    warmup_epochs: NonNegative


class Cosine(Model):
    """Half a cosine from lr to final * lr, after a linear warm-up and a plateau."""

    name: Literal["cosine"]
    warmup_epochs: NonNegative
    final: Fraction
    initial: Fraction = 0.0
    """Share of lr at which the warm-up starts."""
    hold_epochs: NonNegative = 0.0
    """Epochs at lr itself, between the warm-up and the cosine."""
    span_epochs: Positive | None = None
    """Epochs that the half cosine would take in full; null fits it to the end of the training."""
    each: Literal["step", "epoch"] = "step"
    """Whether the rate changes at every step or at every epoch."""

    @model_validator(mode="after")
    def _warms_up(self):
        if self.initial and not self.warmup_epochs:
            raise ValueError(f"initial {self.initial} is where a warm-up starts, and warmup_epochs is 0: raise it")
        return self


class Steps(Model):
    """lr times a factor from each milestone on, after a linear warm-up."""

    name: Literal["steps"]
    warmup_epochs: NonNegative
    milestones: list[Count]
    """Epochs, counted from 0, from whose start on the next factor holds."""
    factors: list[Positive]
    """What lr is multiplied with from each milestone on; not accumulated."""

    @model_validator(mode="after")
    def _paired(self):
        if len(self.milestones) != len(self.factors) or self.milestones != sorted(self.milestones):
            raise ValueError(f"milestones {self.milestones} must rise and have one of the factors {self.factors} each")
        return self


Schedule = Annotated[Constant | Cosine | Steps, Field(discriminator="name")]


class Online(Model):
    """The ``online`` protocol: a linear layer trained beside the backbone on detached features, with Adam."""

    lr: Rate
    weight_decay: NonNegative
    every: Count
    """Test it every so many epochs; the last epoch is always tested."""


class Training(Model):
    """What all methods of a recipe share unless a method overrides it."""

    augmentation: str
    """Name of one of the recipe's augmentations."""
    optimizer: Optimizer
    schedule: Schedule
    precision: Literal["float32", "bfloat16"]
    online: Online
    gpus: Count = 1
    """GPUs that train one run together (``docs/several-gpus.md``). It is no part of a run's id: ``batch_size`` is the whole batch."""


class TrainingChange(Model):
    """What one method does otherwise."""

    augmentation: str | None = None
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    gpus: Count | None = None


# --- base methods --------------------------------------------------------------------------------------------------
# ``version`` is raised by a person when the method's code changes its results: its runs then get new ids.


class Method(Model):
    """What every base method's settings hold."""

    version: int = 1
    projector: Head
    training: TrainingChange | None = None
    strategies: dict[str, dict[str, Any]] = {}
    """Values of pair strategies that are different for this method, for example {mixco: {temperature: 0.05}}."""


class SimCLR(Method):
    """Settings of ``methods/simclr.py``."""

    version: Literal[1] = 1
    temperature: Positive


class MoCo(Method):
    """Settings of ``MoCo`` in ``methods/moco.py``: one-way, with one queue."""

    version: Literal[1] = 1
    temperature: Positive
    queue: Count
    """Keys kept as negatives."""
    momentum: Momentum
    """Of the key encoder: first and last value, cosine in between."""


class MoCoPlus(MoCo):
    """Settings of ``MoCoPlus`` in ``methods/moco.py``: symmetric, with two queues."""

    version: Literal[2] = 2


class BYOL(Method):
    """Settings of ``methods/byol.py``."""

    version: Literal[1] = 1
    momentum: Momentum
    """Of the target network: first and last value, cosine in between."""
    predictor: Head


class SimSiam(Method):
    """Settings of ``methods/simsiam.py``."""

    version: Literal[1] = 1
    predictor: Head
    second_norm: bool
    """Standardise the projections over the batch once more before the predictor and as targets, as DimCL's released code
    does (simsiam.py:145-163); solo-learn does not."""
    constant_predictor_rate: bool
    """Leave the predictor's learning rate at its peak (solo-learn's ``static_lr``)."""


class BarlowTwins(Method):
    """Settings of ``methods/barlowtwins.py``."""

    version: Literal[1] = 1
    lamb: NonNegative
    """Weight of the off-diagonal correlations."""
    scale: Positive
    """Of the whole loss (solo-learn's ``scale_loss``)."""


class VICReg(Method):
    """Settings of ``methods/vicreg.py``; weights in solo-learn's scale."""

    version: Literal[1] = 1
    sim: NonNegative
    """Weight of the invariance."""
    var: NonNegative
    """Weight of the variance, summed over both views."""
    cov: NonNegative
    """Weight of the covariance, summed over both views."""


class SwAV(Method):
    """Settings of ``methods/swav.py``."""

    version: Literal[1] = 1
    prototypes: Width
    temperature: Positive
    epsilon: Positive
    """Of Sinkhorn's algorithm: smaller gives sharper codes."""
    iterations: Count
    """Of Sinkhorn's algorithm."""
    queue: Count | None
    """Projections of earlier batches that take part in making the codes; null for none."""
    queue_from_epoch: Annotated[int, Field(ge=0, le=1_000_000)]
    """Epoch, counted from 0, from which on the queue is filled; it is used once it is full."""
    freeze_steps: Annotated[int, Field(ge=0, le=1_000_000)]
    """Steps in which the prototypes do not learn."""
    small: SmallCrops | None


class DINO(Method):
    """Settings of ``methods/dino.py``. The projector's output is the bottleneck."""

    version: Literal[1] = 1
    prototypes: Width
    """Width of the last layer."""
    norm_last_layer: bool
    """Keep the last layer's weight vectors at length 1."""
    temperature: Positive
    """Of the student."""
    teacher_temperature: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    """First and last value."""
    teacher_warmup_epochs: Annotated[int, Field(ge=0, le=1_000_000)]
    """Epochs from the first value to the last, linearly."""
    center_momentum: Fraction
    momentum: Momentum
    """Of the teacher: first and last value, cosine in between."""
    freeze_epochs: Annotated[int, Field(ge=0, le=1_000_000)]
    """Epochs in which the last layer does not learn."""
    clip: Positive | None
    """Largest norm of the gradient of each parameter of the backbone; null for no limit."""
    small: SmallCrops | None


class NNCLR(Method):
    """Settings of ``methods/nnclr.py``."""

    version: Literal[1] = 1
    temperature: Positive
    queue: Count
    """Projections among which nearest neighbours are sought."""
    predictor: Head


class UEL(Method):
    """Settings of ``methods/uel.py``."""

    version: Literal[1] = 1
    temperature: Positive
    m: Positive
    """Weight of the negatives."""


class Plain(Method):
    """Settings of ``methods/plain.py``."""

    version: Literal[1] = 1
    temperature: Positive


class Methods(Model):
    """The base methods that a recipe has values for."""

    simclr: SimCLR | None = None
    moco: MoCo | None = None
    mocoplus: MoCoPlus | None = None
    byol: BYOL | None = None
    simsiam: SimSiam | None = None
    barlowtwins: BarlowTwins | None = None
    vicreg: VICReg | None = None
    swav: SwAV | None = None
    dino: DINO | None = None
    nnclr: NNCLR | None = None
    uel: UEL | None = None
    plain: Plain | None = None


# --- guides and pair strategies ------------------------------------------------------------------------------------


Layer = Literal["backbone", "projection"]
"""Features of the backbone, or raw projections of the method's head."""


class PixelGuide(Model):
    """Similarity of the raw pixels."""

    kind: Literal["pixels"]


class RandomGuide(Model):
    """Similarity under an untrained network of the run's own architecture."""

    kind: Literal["random"]


class RunGuide(Model):
    """Similarity under the backbone that another run of the workflow trained: an edge in the DAG."""

    kind: Literal["run"]
    method: str
    """Label of that run's method, for example 'simclr': same data, network, epochs and seed, the scale's default batch
    size, and the recipe as it stands (without the changes of a table's ``set``)."""
    augmentation: str
    """Name of one of the recipe's augmentations."""
    layer: Layer
    """Ours: no source says which layer SPPS compares; GPS's code takes pooled backbone features."""


class CheckpointGuide(Model):
    """A ``RunGuide`` after planning: the run has a name. Not for recipes."""

    kind: Literal["checkpoint"]
    run: str
    layer: Layer


Guide = Annotated[PixelGuide | RandomGuide | RunGuide | CheckpointGuide, Field(discriminator="kind")]


class SPPS(Model):
    """Settings of ``pairs/spps.py``. No code was released: every number is ours or from memory, never the paper's."""

    version: Literal[1] = 1
    mode: Literal["interval", "quantile"]
    """``interval``: low and high are cosines; ``quantile``: they are quantiles of the cosines of all pairs (ours)."""
    low: Annotated[float, Field(ge=-1, le=1)]
    """0.97 in interval mode is from memory, unconfirmed; the scale of cosines depends on the encoder."""
    high: Annotated[float, Field(ge=-1, le=1)]
    """0.99 in interval mode is from memory, unconfirmed; it drops copies of the same image."""
    inclusive: bool
    """Whether pairs exactly at low or high count. Ours: yes."""
    ordered: bool
    """Count (a, b) and (b, a) as two items instead of one. Ours: one."""
    max_partners: Count | None
    """Keep at most so many partners of an image, the most similar ones; null keeps all. Ours."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the training images, drawn at random once, among which pairs are mined. Ours."""
    guide: Guide
    """The abstract says: a self-supervised encoder that was trained before; on un-augmented images is from memory."""

    @model_validator(mode="after")
    def _ordered(self):
        if self.low > self.high:
            raise ValueError(f"low {self.low} exceeds high {self.high}")
        if self.mode == "quantile" and self.low < 0:
            raise ValueError(f"low {self.low} is no quantile: quantiles lie within [0, 1]")
        return self


class MixCo(Model):
    """Settings of ``pairs/mixco.py``."""

    version: Literal[1] = 1
    temperature: Positive | None
    """T_mix. Released: SimCLR 0.5, MoCo 0.05 (TinyImageNet) or 1 (ImageNet), SwAV 0.1. Base methods whose mixed term has no
    temperature (BYOL, SimSiam, Barlow Twins, VICReg) are planned with null."""
    weight: NonNegative
    """Of the mixed term, beside the base loss (released: ``mix_param`` = 1)."""
    alpha: Positive | None
    """The mixing share comes from Beta(alpha, alpha); null means uniform, as released (simclr/pretrain.py:189)."""
    hard_codes: bool
    """SwAV and DINO only: mix one-hot codes instead of soft ones (released: ``--hard_mix``, off by default)."""


class DimCL(Model):
    """Settings of ``pairs/dimcl.py``."""

    version: Literal[1] = 1
    weight: Fraction
    """lambda in (1 - lambda) * base + lambda * dimensional contrast (released: 0.1, byol.py:176)."""
    temperature: Positive
    """tau (released: 0.1)."""


class Rebuild(Model):
    """GPS's neighbours anew from the network in training (released: ``reload_freq``, base_datamodule.py:54-118)."""

    every: Count
    """Epochs between two tables; the first one, from the guide, serves as many epochs."""
    layer: Layer
    """Released: either, by key ``feats`` or ``z``."""


class GPS(Model):
    """Settings of ``pairs/gps.py``."""

    version: Literal[1] = 1
    choice: Literal["nearest", "threshold", "farthest"]
    """``nearest``: uniform among the k nearest (released: gps_dataset.py:143-144). ``threshold``: uniform among all
    candidates within the radius (released: ``nn_threshold``, gps_dataset.py:245-268). ``farthest``: the farthest candidate
    within the radius (the paper's abstract)."""
    neighbours: Count | None
    """k, for ``nearest``; null otherwise."""
    radius: Positive | None
    """Largest squared Euclidean distance, for ``threshold`` and ``farthest``; null otherwise."""
    candidates: Count | None
    """How many nearest images are looked at for ``threshold`` and ``farthest`` (released: 2048, utils/misc.py:579-602); null
    for ``nearest``."""
    include_self: bool
    """Whether the image itself is a candidate and counts as one of the k. Released: off for CIFAR-10, on by default."""
    guide: Guide
    rebuild: Rebuild | None

    @model_validator(mode="after")
    def _contradictions(self):
        ball = (self.radius, self.candidates)
        if self.choice == "nearest" and (self.neighbours is None or ball != (None, None)):
            raise ValueError("choice 'nearest' needs neighbours alone: write radius: null and candidates: null")
        if self.choice != "nearest" and (None in ball or self.neighbours is not None):
            raise ValueError(
                f"choice '{self.choice}' needs a radius and candidates: give them and write neighbours: null"
            )
        if self.neighbours == 1 and self.include_self:
            raise ValueError(
                "the one nearest candidate is the image itself, so that GPS would do nothing: raise neighbours"
            )
        return self


class CLAE(Model):
    """Settings of ``pairs/clae.py``."""

    version: Literal[1] = 1
    epsilon: Positive
    """Size of the attack, in units of normalised pixels (released scripts: 0.03)."""
    weight: NonNegative
    """alpha: of the adversarial term, beside the base loss (released: 1)."""
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)]
    """Of the second set of batch norms (released: 0.01)."""
    clip: bool
    """Keep attacked pixels within the valid range. Released: off, images leave it."""
    attack_updates_norms: bool
    """Whether the attack's own forward passes, on clean images, count in the running statistics of the second norms.
    Released: yes, so that they are two thirds clean."""


class Strategies(Model):
    """The pair strategies that a recipe has values for."""

    spps: SPPS | None = None
    gps: GPS | None = None
    mixco: MixCo | None = None
    clae: CLAE | None = None
    dimcl: DimCL | None = None


# --- evaluation ----------------------------------------------------------------------------------------------------


class Linear(Model):
    """The ``linear`` protocol: a linear layer trained on frozen features of un-augmented images."""

    version: Literal[1] = 1
    epochs: Count
    batch_size: Count
    optimizer: Optimizer
    schedule: Schedule
    standardize: bool
    """Bring every feature to mean 0 and variance 1 over the training images first."""

    @model_validator(mode="after")
    def _warms_up(self):
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"{self.epochs} epochs leave nothing after a warm-up of {self.schedule.warmup_epochs}; lengthen the one or shorten "
                "the other"
            )
        return self


class KNN(Model):
    """The ``knn`` protocol: weighted vote of the nearest training images, cosine similarity of the features."""

    version: Literal[1] = 1
    neighbours: Count
    temperature: Positive


class Protocols(Model):
    """How checkpoints are evaluated; the ``online`` protocol belongs to the training."""

    linear: Linear
    knn: KNN


class Recipe(Model):
    """One file of ``config/recipes/``."""

    title: Title
    about: str
    """Where the values come from, what they reach, at which cost, on which hardware."""
    augmentations: Annotated[dict[Name, Augmentation], Field(min_length=1)]
    training: Training
    methods: Methods
    strategies: Strategies
    evaluation: Protocols

    @model_validator(mode="after")
    def _names(self):
        entries = [("training", self.training.augmentation)]
        for name in type(self.methods).model_fields:
            settings = getattr(self.methods, name)
            if settings and settings.training and settings.training.augmentation:
                entries.append((f"methods.{name}.training", settings.training.augmentation))
        for name in ("spps", "gps"):
            settings = getattr(self.strategies, name)
            where = f"strategies.{name}.guide"
            if settings and settings.guide.kind == "checkpoint":
                raise _at(
                    f"{where}.kind", "'checkpoint' is for plans; write kind: run and a method, such as method: simclr"
                )
            if settings and settings.guide.kind == "run":
                entries.append((where, settings.guide.augmentation))
        for base in type(self.methods).model_fields:
            if settings := getattr(self.methods, base):
                for name in settings.strategies:
                    self.strategy(base, name)
        for where, value in entries:
            if value not in self.augmentations:
                known = list(self.augmentations)
                raise _at(
                    f"{where}.augmentation",
                    f"'{shown(value)}' is not one of the recipe's augmentations{nearest(value, known)} ({listed(known)})",
                )
        return self

    def strategy(self, base: str, name: str) -> Any:
        """Settings of a pair strategy under a base method: the recipe's, with the method's own values in their place.

        None when the recipe has none. Raises a validation error that names the key.
        """
        where = f"methods.{base}.strategies.{name}"
        if name not in Strategies.model_fields:
            raise _at(where, f"'{shown(name)}' is not a pair strategy{nearest(name, list(Strategies.model_fields))}")
        settings, change = getattr(self.strategies, name), getattr(self.methods, base).strategies.get(name)
        if not change:
            return settings
        if settings is None:
            raise _at(where, f"changes values of '{name}', and strategies.{name} has none; add them there")
        if name == "mixco" and "temperature" in change and base in WITHOUT_MIXED_TEMPERATURE:
            raise _at(f"{where}.temperature", f"the mixed term of {BASES[base]} has no temperature; leave it out")
        if "guide" in change:
            raise _at(f"{where}.guide", "a guide is the same for all methods; change it in strategies")
        try:
            return type(settings).model_validate(settings.model_dump() | change)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise _at(f"{where}.{key}".rstrip("."), first["msg"].removeprefix("Value error, ")) from None


def _at(key: str, message: str) -> PydanticCustomError:
    """A problem of a key further inside, which the message of ``config/reading.py`` then names."""
    return PydanticCustomError("at_key", "{message}", {"key": key, "message": message})
