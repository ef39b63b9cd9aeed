"""The random part of a view: one row of uniform numbers per image, and their meaning.

All numbers of an image are in one row, each in its own column, drawn on the CPU. So a view depends (up to rounding) only on its
row: not on the device, the other images of the batch, the number of processes, or the other transforms of a recipe.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import permutations

import torch
from torch import Tensor

from sslpairs.config.views import Augmentation, Crop, Jitter

TRIES = 10
"""Crops drawn until one fits, as in torchvision."""
AREA, RATIO = slice(0, TRIES), slice(TRIES, 2 * TRIES)
LEFT, TOP, FLIP, ANGLE, JITTER, BRIGHTNESS, CONTRAST, SATURATION, HUE, ORDER, GRAYSCALE, BLUR, SIGMA, SOLARIZE = range(
    2 * TRIES, 2 * TRIES + 14
)
COLUMNS = 2 * TRIES + 14
CHANGES = {"brightness": BRIGHTNESS, "contrast": CONTRAST, "saturation": SATURATION, "hue": HUE}
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey, as in Pillow (torchvision's on tensors are rounded: 0.2989)."""


def draw(count: int, draws: torch.Generator) -> Tensor:
    """Rows for ``count`` images: float32 ``[count, COLUMNS]`` within [0, 1), on the CPU, from a CPU generator."""
    return torch.rand(count, COLUMNS, generator=draws)


@dataclass(frozen=True)
class AugmentationParams:
    """Parameters of the transforms of N images, on the CPU. Parts that a recipe does not have are None."""

    boxes: Tensor
    """Crops in pixels: left, top, width, height, and whether flipped; ``[N, 5]``."""
    angles: Tensor | None = None
    """Rotation in radians ``[N]``."""
    gains: Tensor | None = None
    """All colour changes at once ``[N, 4]``, see ``colour_gains``."""
    passes: Tensor | None = None
    """Instead, for hue through HSV, one change after the other ``[N, changes, 3]``, see ``change_passes``."""
    shifts: Tensor | None = None
    """Used with ``passes``: shift of hue in each pass, as a fraction of the circle ``[N, changes]``."""
    gray: Tensor | None = None
    """Used with ``passes``: whether colour is dropped ``[N]``."""
    sigmas: Tensor | None = None
    """Standard deviation of the blur in pixels, 0 for none; ``[N]``."""
    solarized: Tensor | None = None
    """Whether bright pixels are inverted ``[N]``."""
    reach: int = 0
    """Radius in pixels of the widest blur of the recipe."""
    cropped: bool = False
    """Whether boxes may be smaller than the whole image."""

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: slice | Tensor) -> "AugmentationParams":
        """The parameters of some of the images."""
        return replace(self, **{name: value[rows] for name, value in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}


def sample_params(settings: Augmentation, table: Tensor, shape: tuple[int, int, int]) -> AugmentationParams:
    """Parameters from rows of uniform numbers ``[N, COLUMNS]``, under the settings of a recipe, for images of ``shape`` C, H, W.

    ``settings.second`` is ignored: call ``settings.for_view`` first.
    """
    channels, height, width = shape
    whole = torch.tensor([0.0, 0.0, width, height]).expand(len(table), 4)
    box = crop_boxes(table, settings.crop, height, width) if settings.crop else whole
    mirrored = (table[:, FLIP] < settings.flip).float()
    parts = {"boxes": torch.cat([box, mirrored[:, None]], dim=1)}
    if settings.rotation:
        parts["angles"] = between(table[:, ANGLE], -settings.rotation, settings.rotation)
    gray = table[:, GRAYSCALE] < settings.grayscale if settings.grayscale and channels == 3 else None
    changes_colour = settings.jitter and any(getattr(settings.jitter, name) for name in CHANGES)
    if changes_colour and settings.jitter.space == "hsv" and channels == 3:
        parts["passes"], parts["shifts"] = change_passes(table, settings.jitter)
        parts["gray"] = gray
    elif changes_colour or gray is not None:
        parts["gains"] = colour_gains(table, settings.jitter, gray)
    if settings.blur:
        parts["sigmas"] = between(table[:, SIGMA], *settings.blur.sigma) * (table[:, BLUR] < settings.blur.probability)
    if settings.solarize:
        parts["solarized"] = table[:, SOLARIZE] < settings.solarize
    reach = math.ceil(3 * settings.blur.sigma[1]) if settings.blur else 0
    return AugmentationParams(**parts, reach=reach, cropped=settings.crop is not None)


def between(u: Tensor, low: float, high: float) -> Tensor:
    """Uniform numbers within [low, high), from uniform numbers within [0, 1)."""
    return u * (high - low) + low


def crop_boxes(table: Tensor, crop: Crop, height: int, width: int) -> Tensor:
    """Random crops in whole pixels, drawn as in torchvision's RandomResizedCrop: left, top, width, height, ``[N, 4]``.

    Area and log-ratio are uniform; a crop that does not fit is drawn again, up to ten draws in all; after that it is the
    largest central crop with a ratio in range.
    """
    logs = math.log(crop.ratio[0]), math.log(crop.ratio[1])

    def tried(rows: Tensor, areas: int | slice, ratios: int | slice) -> tuple[Tensor, Tensor, Tensor]:
        area, ratio = between(rows[:, areas], *crop.scale) * (height * width), between(rows[:, ratios], *logs).exp()
        w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        return w, h, (w > 0) & (w <= width) & (h > 0) & (h <= height)

    w, h, there = tried(table, AREA.start, RATIO.start)
    if len(again := (~there).nonzero()[:, 0]):  # a few
        more_w, more_h, fits = tried(table[again], AREA, RATIO)
        first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
        w[again], h[again], there[again] = more_w.gather(1, first)[:, 0], more_h.gather(1, first)[:, 0], fits.any(1)
    narrowest, widest = crop.ratio
    most_w, most_h = min(width, round(height * widest)), min(height, round(width / narrowest))
    w, h = torch.where(there, w, float(most_w)), torch.where(there, h, float(most_h))
    left = torch.where(there, (table[:, LEFT] * (width - w + 1)).floor(), float((width - most_w) // 2))
    top = torch.where(there, (table[:, TOP] * (height - h + 1)).floor(), float((height - most_h) // 2))
    return torch.stack([left, top, w, h], dim=1)


# --- colours -------------------------------------------------------------------------------------------------------


@cache
def basis(device: torch.device) -> Tensor:
    """Colour maps ``[3, 9]``: to grey, the remainder, and the remainder rotated by a quarter turn in YIQ.

    The first two are projections and the third is a quarter turn of the second's plane, so colour changes multiply like a
    number for the brightness and a complex number for the chroma.
    """
    to_yiq = torch.tensor([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)]).double()
    to_yiq[1:] -= to_yiq[1:].mean(1, keepdim=True)  # the constants are rounded: grey has exactly no chroma
    quarter = torch.tensor([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]]).double()
    grey = torch.tensor(LUMA).expand(3, 3)
    turned = (torch.linalg.inv(to_yiq) @ quarter @ to_yiq).float()
    # In float32, grey and the remainder sum to the identity: an image without changes stays the same, bit for bit.
    return torch.stack([grey, torch.eye(3) - grey, turned]).view(3, 9).to(device)


def changes(table: Tensor, settings: Jitter) -> dict[str, Tensor]:
    """Factors of brightness, contrast and saturation and the shift of hue of each image ``[N]``; 1, 1, 1 and 0 for an image that is
    not chosen."""
    chosen = (table[:, JITTER] < settings.probability).float()

    def change(amount: float, column: int) -> Tensor:
        return between(table[:, column], -amount, amount) * chosen

    factors = {name: 1 + change(getattr(settings, name), column) for name, column in CHANGES.items()}
    return factors | {"hue": change(settings.hue, HUE)}


def colour_gains(table: Tensor, settings: Jitter | None, gray: Tensor | None) -> Tensor:
    """All colour changes as four numbers per image ``[N, 4]``: gain of the brightness, gain of the chroma, the part of the chroma
    rotated by a quarter turn, and the share of the image's mean brightness that is added everywhere.

    Exact in any order, except for the clamping between changes, which is done once at the end.
    """
    gains = torch.zeros(len(table), 4)
    gains[:, :2] = 1
    if settings:
        factors = changes(table, settings)
        light = factors["brightness"] * factors["contrast"]
        turn = factors["hue"] * (2 * math.pi)
        chroma = light * factors["saturation"]
        gains = torch.stack([light, chroma * turn.cos(), chroma * turn.sin(), factors["brightness"] - light], dim=1)
    if gray is not None:
        gains[:, 1:3] *= (~gray)[:, None]
    return gains


def change_passes(table: Tensor, settings: Jitter) -> tuple[Tensor, Tensor]:
    """The same as one change after the other, in a separate order for each image, for hue through HSV.

    ``[N, changes, 3]``: gains of brightness and chroma, share of the mean brightness; and ``[N, changes]``: shift of hue.
    """
    factors = changes(table, settings)
    ones, zeros = torch.ones(len(table)), torch.zeros(len(table))
    kinds = {
        "brightness": (factors["brightness"], factors["brightness"], zeros, zeros),
        "contrast": (factors["contrast"], factors["contrast"], 1 - factors["contrast"], zeros),
        "saturation": (ones, factors["saturation"], zeros, zeros),
        "hue": (ones, ones, zeros, factors["hue"]),
    }
    passes = torch.stack([torch.stack(kinds[name], 1) for name in CHANGES if getattr(settings, name)], dim=1)
    orders = torch.tensor(list(permutations(range(passes.shape[1]))))
    order = orders[(table[:, ORDER] * len(orders)).long()]
    passes = passes.gather(1, order[:, :, None].expand(-1, -1, 4))
    return passes[:, :, :3], passes[:, :, 3]
