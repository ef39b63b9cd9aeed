"""Training settings: optimisers, schedules, and the values that all methods of a recipe share."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sslpairs.config.base import Count, Fraction, Model, NonNegative, Positive, Rate


class SGDSettings(Model):
    """Stochastic gradient descent (``torch.optim.SGD``)."""

    name: Literal["sgd"]
    lr: Rate
    reference_batch: Count | None
    """Multiply lr by batch_size / reference_batch; null leaves lr unchanged."""
    momentum: Fraction
    weight_decay: NonNegative


class AdamSettings(Model):
    """Adam with the usual betas of 0.9 and 0.999 (``torch.optim.Adam``)."""

    name: Literal["adam"]
    lr: Rate
    reference_batch: Count | None
    """Multiply lr by batch_size / reference_batch; null leaves lr unchanged."""
    weight_decay: NonNegative


class AdamWSettings(Model):
    """Adam with the weight decay apart from the gradient (``torch.optim.AdamW``) and the usual betas of 0.9 and 0.999."""

    name: Literal["adamw"]
    lr: Rate
    reference_batch: Count | None
    """Multiply lr by batch_size / reference_batch; null leaves lr unchanged."""
    weight_decay: NonNegative
    """Per step, a parameter loses lr * weight_decay of itself."""
    decay_vectors: bool
    """Apply weight decay to biases and norms too. MoCo v3 does (main_moco.py), DINO does not (dino utils.py, get_params_groups)."""


class LARSSettings(Model):
    """Layer-wise adaptive rates (``training/lars.py``)."""

    name: Literal["lars"]
    lr: Rate
    reference_batch: Count | None
    """Multiply lr by batch_size / reference_batch; null leaves lr unchanged."""
    momentum: Fraction
    weight_decay: NonNegative
    trust_coefficient: Positive
    """eta: a layer's rate is lr * eta * |weights| / (|gradient| + weight_decay * |weights|)."""
    clip: bool
    """Clip each layer's rate at lr (solo-learn's ``clip_lars_lr``)."""
    adapt_vectors: bool
    """Apply weight decay and adaptation to biases and norms too; solo-learn's ``exclude_bias_n_norm`` is the opposite."""


OptimizerSettings = Annotated[SGDSettings | AdamSettings | AdamWSettings | LARSSettings, Field(discriminator="name")]


class Constant(Model):
    """Constant learning rate after a linear warm-up."""

    name: Literal["constant"]
    warmup_epochs: NonNegative


class Cosine(Model):
    """Half a cosine from lr to final * lr, after a linear warm-up and a plateau."""

    name: Literal["cosine"]
    warmup_epochs: NonNegative
    final: Fraction
    initial: Fraction = 0.0
    """Fraction of lr at which the warm-up starts."""
    hold_epochs: NonNegative = 0.0
    """Epochs at lr itself, between the warm-up and the cosine."""
    span_epochs: Positive | None = None
    """Epochs of the full half cosine; null ends it with the training."""
    each: Literal["step", "epoch"] = "step"
    """Whether the rate changes at every step or at every epoch."""

    @model_validator(mode="after")
    def _warms_up(self):
        if self.initial and not self.warmup_epochs:
            raise ValueError(f"initial {self.initial} is where the warm-up starts, but warmup_epochs is 0: increase it")
        return self


class Steps(Model):
    """Multiply lr by a factor from each milestone on, after a linear warm-up."""

    name: Literal["steps"]
    warmup_epochs: NonNegative
    milestones: list[Count]
    """Epochs (counted from 0) at whose start the next factor takes effect."""
    factors: list[Positive]
    """Factor of lr from each milestone on; factors do not accumulate."""

    @model_validator(mode="after")
    def _paired(self):
        if len(self.milestones) != len(self.factors) or self.milestones != sorted(self.milestones):
            raise ValueError(
                f"milestones {self.milestones} must increase and match the factors {self.factors} one to one"
            )
        return self


Schedule = Annotated[Constant | Cosine | Steps, Field(discriminator="name")]


class OnlineClassifierSettings(Model):
    """The ``online`` protocol: a linear layer trained along with the backbone on detached features, with Adam."""

    lr: Rate
    weight_decay: NonNegative
    every: Count
    """Evaluate it every n epochs; the last epoch is always evaluated."""


class Training(Model):
    """Values that all methods of a recipe share unless a method overrides them."""

    augmentation: str
    """Name of one of the recipe's augmentations."""
    optimizer: OptimizerSettings
    schedule: Schedule
    precision: Literal["float32", "bfloat16"]
    online: OnlineClassifierSettings
    gpus: Count = 1
    """GPUs that train one run together (``docs/several-gpus.md``). Not part of a run's id: ``batch_size`` is the total batch size."""


class TrainingChange(Model):
    """Training values that one method overrides."""

    augmentation: str | None = None
    optimizer: OptimizerSettings | None = None
    schedule: Schedule | None = None
    gpus: Count | None = None
    longer: Count | None = None
    """Times the scale's epochs: for a method that learns nothing yet in as few steps as the others."""
