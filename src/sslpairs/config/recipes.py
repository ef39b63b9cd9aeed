"""``config/recipes/``: the hyper-parameters of a training. Nothing has a default in code: a recipe states everything.

Words and symbols are the papers'; the formulas behind them stand in ``methods/`` and ``pairs/``.
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from sslpairs.config.base import Model
from sslpairs.errors import nearest

Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]


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
    """Colour jitter: factors drawn from [1 - x, 1 + x]; hue as a rotation of the chroma plane (YIQ)."""

    probability: Fraction
    brightness: Fraction
    contrast: Fraction
    saturation: Fraction
    hue: Annotated[float, Field(ge=0, le=0.5)]
    """Largest shift, as a share of the full circle."""


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


class Augmentation(Model):
    """Random transform of one view; a part that is null or 0 is off. Applied in the order of the fields."""

    crop: Crop | None
    flip: Fraction
    """Probability of a horizontal mirror image."""
    rotation: NonNegative
    """Largest angle in radians, either way."""
    jitter: Jitter | None
    grayscale: Fraction
    """Probability of dropping the colour."""
    blur: Blur | None
    solarize: Fraction
    """Probability of inverting the pixels above one half."""


# --- networks ------------------------------------------------------------------------------------------------------


class ConvNet(Model):
    """A small plain network: 3x3 convolutions of stride 2, each with batch norm and ReLU, then a global mean."""

    kind: Literal["convnet"]
    widths: Annotated[list[PositiveInt], Field(min_length=1, max_length=6)]

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

    hidden: list[PositiveInt]
    output: PositiveInt
    batch_norm: bool
    """After every hidden layer."""
    last_batch_norm: bool
    """After the output layer."""


# --- optimisation --------------------------------------------------------------------------------------------------


class SGD(Model):
    """Stochastic gradient descent (``torch.optim.SGD``)."""

    name: Literal["sgd"]
    lr: PositiveFloat
    reference_batch: PositiveInt | None
    """Multiply lr by batch_size / reference_batch; null leaves lr as it stands."""
    momentum: Fraction
    weight_decay: NonNegative


class Adam(Model):
    """Adam with the usual betas of 0.9 and 0.999 (``torch.optim.Adam``)."""

    name: Literal["adam"]
    lr: PositiveFloat
    reference_batch: PositiveInt | None
    """Multiply lr by batch_size / reference_batch; null leaves lr as it stands."""
    weight_decay: NonNegative


class LARS(Model):
    """Layer-wise adaptive rates (``lightly.utils.lars.LARS``); biases and norms are neither decayed nor adapted."""

    name: Literal["lars"]
    lr: PositiveFloat
    reference_batch: PositiveInt | None
    """Multiply lr by batch_size / reference_batch; null leaves lr as it stands."""
    momentum: Fraction
    weight_decay: NonNegative
    trust_coefficient: PositiveFloat


Optimizer = Annotated[SGD | Adam | LARS, Field(discriminator="name")]


class Constant(Model):
    """The learning rate stays, after a linear warm-up."""

    name: Literal["constant"]
    warmup_epochs: NonNegative


class Cosine(Model):
    """Half a cosine per step from lr to final * lr, after a linear warm-up."""

    name: Literal["cosine"]
    warmup_epochs: NonNegative
    final: Fraction


class Steps(Model):
    """lr times ``factor`` at each milestone, after a linear warm-up."""

    name: Literal["steps"]
    warmup_epochs: NonNegative
    milestones: list[PositiveInt]
    """Epochs, counted from 0, at whose start the rate drops."""
    factor: PositiveFloat


Schedule = Annotated[Constant | Cosine | Steps, Field(discriminator="name")]


class Online(Model):
    """The ``online`` protocol: a linear layer trained beside the backbone on detached features, with Adam."""

    lr: PositiveFloat
    weight_decay: NonNegative
    every: PositiveInt
    """Test it every so many epochs; the last epoch is always tested."""


class Training(Model):
    """What all methods of a recipe share unless a method overrides it."""

    augmentation: str
    """Name of one of the recipe's augmentations."""
    optimizer: Optimizer
    schedule: Schedule
    precision: Literal["float32", "bfloat16"]
    online: Online


class TrainingChange(Model):
    """What one method does otherwise."""

    augmentation: str | None = None
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None


# --- base methods --------------------------------------------------------------------------------------------------
# ``version`` is raised by a person when the method's code changes its results: its runs then get new ids.


class SimCLR(Model):
    """Settings of ``methods/simclr.py``."""

    version: Literal[1] = 1
    temperature: PositiveFloat
    projector: Head
    training: TrainingChange | None = None


class MoCo(Model):
    """Settings of ``methods/moco.py``: one-way with one queue (``moco``), or symmetric with two (``mocoplus``)."""

    version: Literal[1] = 1
    temperature: PositiveFloat
    queue: PositiveInt
    """Keys kept as negatives."""
    momentum: Range
    """Of the key encoder: first and last value, cosine in between."""
    projector: Head
    training: TrainingChange | None = None

    @model_validator(mode="after")
    def _momentum(self):
        return _check_momentum(self)


class BYOL(Model):
    """Settings of ``methods/byol.py``."""

    version: Literal[1] = 1
    momentum: Range
    """Of the target network: first and last value, cosine in between."""
    projector: Head
    predictor: Head
    training: TrainingChange | None = None

    @model_validator(mode="after")
    def _momentum(self):
        return _check_momentum(self)


def _check_momentum(settings):
    if not all(0 <= m <= 1 for m in settings.momentum):
        raise ValueError(f"momentum {settings.momentum} must lie within [0, 1]")
    return settings


class Methods(Model):
    """The base methods that a recipe has values for."""

    simclr: SimCLR | None = None
    moco: MoCo | None = None
    mocoplus: MoCo | None = None
    byol: BYOL | None = None


# --- guides and pair strategies ------------------------------------------------------------------------------------


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


class CheckpointGuide(Model):
    """A ``RunGuide`` after planning: the run has a name. Not for recipes."""

    kind: Literal["checkpoint"]
    run: str


Guide = Annotated[PixelGuide | RandomGuide | RunGuide | CheckpointGuide, Field(discriminator="kind")]


class SPPS(Model):
    """Settings of ``pairs/spps.py``."""

    version: Literal[1] = 1
    mode: Literal["interval", "quantile"]
    """``interval``: low and high are cosines; ``quantile``: they are quantiles of the cosines of all pairs."""
    low: Annotated[float, Field(ge=-1, le=1)]
    high: Annotated[float, Field(ge=-1, le=1)]
    ordered: bool
    """Count (a, b) and (b, a) as two items instead of one."""
    max_partners: PositiveInt | None
    """Keep at most so many partners of an image, the most similar ones; null keeps all."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the training images, drawn at random, among which pairs are mined."""
    guide: Guide

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
    temperature: PositiveFloat
    weight: NonNegative
    """Of the mixed term, beside the base loss."""
    alpha: PositiveFloat | None
    """The mixing share comes from Beta(alpha, alpha); null means uniform, as released."""


class DimCL(Model):
    """Settings of ``pairs/dimcl.py``."""

    version: Literal[1] = 1
    weight: Fraction
    """lambda in (1 - lambda) * base + lambda * dimensional contrast."""
    temperature: PositiveFloat


class GPS(Model):
    """Settings of ``pairs/gps.py``."""

    version: Literal[1] = 1
    neighbours: PositiveInt
    """k: the partner is drawn uniformly among the k nearest images, anew at every fetch."""
    include_self: bool
    """Whether the image itself counts as one of the k."""
    guide: Guide


class CLAE(Model):
    """Settings of ``pairs/clae.py``."""

    version: Literal[1] = 1
    epsilon: PositiveFloat
    """Size of the attack, in units of normalised pixels."""
    weight: NonNegative
    """alpha: of the adversarial term, beside the base loss."""
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)]
    """Of the second set of batch norms."""


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
    epochs: PositiveInt
    batch_size: PositiveInt
    optimizer: Optimizer
    schedule: Schedule
    standardize: bool
    """Bring every feature to mean 0 and variance 1 over the training images first."""


class KNN(Model):
    """The ``knn`` protocol: weighted vote of the nearest training images, cosine similarity of the features."""

    version: Literal[1] = 1
    neighbours: PositiveInt
    temperature: PositiveFloat


class Protocols(Model):
    """How checkpoints are evaluated; the ``online`` protocol belongs to the training."""

    linear: Linear
    knn: KNN


class Recipe(Model):
    """One file of ``config/recipes/``."""

    title: str
    about: str
    """Where the values come from, what they reach, at which cost, on which hardware."""
    augmentations: Annotated[dict[str, Augmentation], Field(min_length=1)]
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
        for where, value in entries:
            if value not in self.augmentations:
                known = list(self.augmentations)
                raise _at(
                    f"{where}.augmentation",
                    f"'{value}' is not one of the recipe's augmentations{nearest(value, known)} ({', '.join(known)})",
                )
        return self


def _at(key: str, message: str) -> PydanticCustomError:
    """A problem of a key further inside, which the message of ``config/reading.py`` then names."""
    return PydanticCustomError("at_key", "{message}", {"key": key, "message": message})
