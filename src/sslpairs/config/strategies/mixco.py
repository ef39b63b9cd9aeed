"""MixCo: mixed images are pulled towards both of their parents."""

from typing import ClassVar, Literal, Self

from sslpairs.config.base import NonNegative, Positive
from sslpairs.config.meaning import Meaning
from sslpairs.config.methods.base import Method
from sslpairs.config.strategies.base import Problem, Strategy

_PER_IMAGE = (
    "The loss of a mixed image is lam * loss against parent i + (1 - lam) * loss against parent j, with the base's own loss for "
    "one image."
)
_MIXED_TARGETS = "The base's loss compares mixed projections with equally mixed clean projections. There is no T_mix."


class MixCoSettings(Strategy):
    """Settings of ``pairs/mixco.py``."""

    title: ClassVar[str] = "MixCo"
    order: ClassVar[int] = 30
    together: ClassVar[int] = 2
    meanings: ClassVar[dict[str, Meaning]] = {
        "simclr": Meaning("released", "The mixed images have a soft cross entropy over the other view's projections."),
        "moco": Meaning(
            "released",
            "Mixed queries, in one batch with the clean ones, are contrasted with the clean keys and the queue.",
        ),
        "mocoplus": Meaning(
            "ours", "As MoCo v2, in both directions, each with its own queue. The term is the mean of both."
        ),
        "byol": Meaning("ours", f"{_PER_IMAGE} Both directions are summed, as in the base. There is no T_mix."),
        "simsiam": Meaning("ours", f"{_PER_IMAGE} Both directions are averaged, as in the base. There is no T_mix."),
        "barlowtwins": Meaning("ours", _MIXED_TARGETS),
        "vicreg": Meaning("ours", _MIXED_TARGETS),
        "swav": Meaning(
            "released", "Mixed crops predict equally mixed codes. The loss is the mean over all cross entropies."
        ),
        "dino": Meaning("ours", "As SwAV, with the teacher's centred and sharpened outputs as codes."),
        "nnclr": Meaning(
            "ours", "The mixed predictions have a soft cross entropy over the neighbours of the other view."
        ),
        "uel": Meaning("ours", "As SimCLR, on UEL's unit features. The gradient flows into the mixed side only."),
        "plain": Meaning("ours", "As SimCLR, on Plain's unit features and in its one direction: only view 1 is mixed."),
    }

    version: Literal[1] = 1
    temperature: Positive | None
    """T_mix. Released: SimCLR 0.5, MoCo 0.05 (TinyImageNet) or 1 (ImageNet), SwAV 0.1. For base methods whose mixed term has
    no temperature (BYOL, SimSiam, Barlow Twins, VICReg) it is set to null."""
    weight: NonNegative
    """Weight of the mixed term, added to the base loss (released: ``mix_param`` = 1)."""
    alpha: Positive | None
    """The mixing ratio is drawn from Beta(alpha, alpha); null means uniform, as released (simclr/pretrain.py:189)."""
    hard_codes: bool
    """SwAV and DINO only: mix one-hot codes instead of soft ones (released: ``--hard_mix``, off by default)."""

    @classmethod
    def passes(cls, base: type[Method]) -> float:
        """Half as many mixed images as there are views to mix, forward and backward."""
        return 3 * cls.kept(base)

    @classmethod
    def kept(cls, base: type[Method]) -> float:
        """The mixed images."""
        return base.directions / 2

    @classmethod
    def unused(cls, key: str, base: type[Method]) -> str | None:
        """T_mix does not apply if the base's loss has no softmax."""
        return (
            f"the mixed term of {base.title} has no temperature" if key == "temperature" and not base.softmax else None
        )

    def under(self, base: type[Method]) -> Self:
        """Without a temperature if the base's loss has no softmax."""
        return self if base.softmax else self.model_copy(update={"temperature": None})

    def problem(self, base: type[Method], batch_size: int, images: int | None, data: str) -> Problem | None:
        """A missing temperature, a batch that cannot be mixed, or codes for a method that has none."""
        if base.softmax and self.temperature is None:
            words = f"null, but the mixed term of {base.title} has a softmax; write a number"
            return Problem("strategies.mixco.temperature", words)
        if batch_size % 2:
            words = f"MixCo mixes the two halves of a batch, but {batch_size} is odd; write an even number"
            return Problem("batch_sizes", words)
        if batch_size < 4:
            words = (
                f"MixCo makes one mixed image from a batch of {batch_size}, too few for batch norms; write at least 4"
            )
            return Problem("batch_sizes", words)
        if self.hard_codes and not base.codes:
            words = f"{base.title} predicts no codes, so it would be ignored; write it under methods.swav.strategies instead"
            return Problem("strategies.mixco.hard_codes", words)
        return None
