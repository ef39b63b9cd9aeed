"""How views are made: random crops, colours, blur, and further small views."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sslpairs.config.base import Fraction, Model, Range


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
