"""Augmentations of views: random crops, colours, blur, and additional small views."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sslpairs.config.base import Fraction, Model, Range


class Crop(Model):
    """Random resized crop."""

    scale: Range
    """Smallest and largest area of the crop, as a share of the image."""
    ratio: Range
    """Smallest and largest width:height, drawn log-uniformly."""

    @model_validator(mode="after")
    def _ordered(self):
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale {self.scale} must increase within (0, 1]")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio {self.ratio} must increase and be positive")
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
    """``hsv``: as in torchvision and the papers' code, one change after the other in random order, hue in HSV. ``yiq``: all changes as
    one linear map, in which hue rotates the chroma plane (NVIDIA DALI), clamped once: faster. Greyscale images always use this map."""


class Blur(Model):
    """Gaussian blur."""

    probability: Fraction
    sigma: Range
    """Standard deviation in pixels, drawn uniformly."""

    @model_validator(mode="after")
    def _ordered(self):
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma {self.sigma} must increase and be positive")
        return self


class SecondView(Model):
    """Differences of the second view (BYOL's and Barlow Twins' views differ in blur and solarisation)."""

    blur: Blur | None = None
    solarize: Fraction | None = None
    """null means the same as in the first view."""


class Augmentation(Model):
    """Random transform of one view; a part that is null or 0 is off. Applied in the order of the fields."""

    crop: Crop | None
    flip: Fraction
    """Probability of a horizontal flip."""
    rotation: Annotated[float, Field(ge=0, le=6.2832)]
    """Largest angle in radians, in either direction."""
    jitter: Jitter | None
    grayscale: Fraction
    """Probability of conversion to greyscale."""
    blur: Blur | None
    solarize: Fraction
    """Probability of inverting the pixels above one half."""
    second: SecondView | None = None
    """Differences of the second of the two large views; if absent, both views use the same transform."""

    def for_view(self, view: int) -> "Augmentation":
        """Return the transform of view 0, 1, ...; small crops use that of the first view."""
        if view != 1 or self.second is None:
            return self.model_copy(update={"second": None})
        changes = {key: value for key, value in self.second if value is not None}
        return self.model_copy(update={"second": None, **changes})


class SmallCrops(Model):
    """Multi-crop: additional smaller views that predict other views but are never predicted.

    They alternate between the two sources: the third view from view 1's image, the fourth from view 2's.
    """

    count: Annotated[int, Field(gt=0, le=100)]
    size: Annotated[int, Field(gt=0, le=512)]
    """Side in pixels."""
    scale: Range
    """Smallest and largest area of the crop, as a share of the image; everything else as in the large views."""

    @model_validator(mode="after")
    def _ordered(self):
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale {self.scale} must increase within (0, 1]")
        return self
