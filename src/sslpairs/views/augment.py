"""Random views of a batch of images, made in batches on the device: every image has draws of its own.

The transforms are torchvision's in meaning; three things differ, so that a batch needs one resampling and one colour map:
crop, mirror image and rotation are one bilinear resampling (a rotated crop sees the image beyond its border, and zeros
beyond the image); the colour changes come in a fixed order; hue turns the chroma plane of YIQ instead of going through HSV.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sslpairs.config.recipes import Augmentation, Blur, Crop, Jitter

LUMA = (0.299, 0.587, 0.114)
_RGB_TO_YIQ = torch.tensor([[*LUMA], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64)


def augment(
    images: Tensor, how: Augmentation, mean: Tensor, std: Tensor, draws: torch.Generator, size: int | None = None
) -> Tensor:
    """One random view of each image, normalised.

    ``images`` is uint8 ``[B, C, H, W]``; ``mean`` and ``std`` are ``[C]`` on the scale 0 to 1; ``draws`` lives on the
    images' device. Returns float32 ``[B, C, H, W]``, or ``[B, C, size, size]`` for small crops. ``how.second`` is not looked
    at: ask ``how.of_view`` first.
    """
    x = images.float() / 255
    if how.crop or how.flip or how.rotation or size:
        x = _resample(x, how, draws, size)
    if how.jitter:
        x = _jitter(x, how.jitter, draws)
    if how.grayscale and x.shape[1] == 3:
        gray = x * (1 - (chosen := _chosen(x, how.grayscale, draws))) + _luma(x) * chosen
        x = gray
    if how.blur:
        x = _blur(x, how.blur, draws)
    if how.solarize:
        chosen = _chosen(x, how.solarize, draws).bool()
        x = torch.where(chosen & (x >= 0.5), 1 - x, x)
    return normalize(x, mean, std)


def normalize(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """``(x - mean) / std`` per channel, for ``x`` of shape ``[B, C, H, W]`` on the scale 0 to 1."""
    return (x - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


def _uniform(count: int, low: float, high: float, draws: torch.Generator) -> Tensor:
    return torch.rand(count, generator=draws, device=draws.device) * (high - low) + low


def _chosen(x: Tensor, probability: float, draws: torch.Generator) -> Tensor:
    """1.0 for the images to which a change applies, ``[B, 1, 1, 1]``."""
    return (_uniform(len(x), 0, 1, draws) < probability).to(x.dtype).view(-1, 1, 1, 1)


def crop_boxes(count: int, crop: Crop, height: int, width: int, draws: torch.Generator) -> tuple[Tensor, ...]:
    """Centre and half size of random crops, in coordinates from -1 to 1: ``cx, cy, hx, hy``, each ``[count]``.

    Area and log-ratio are uniform as in torchvision's RandomResizedCrop. A crop that does not fit is drawn again up to ten
    times there; here ten are drawn at once and the first that fits is taken, else the whole image.
    """
    tries = 10
    area = _uniform(count * tries, *crop.scale, draws).view(count, tries) * height * width
    ratio = _uniform(count * tries, math.log(crop.ratio[0]), math.log(crop.ratio[1]), draws).view(count, tries).exp()
    w, h = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (w <= width) & (h <= height)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    w = torch.where(fits.any(1), w.gather(1, first)[:, 0], float(width))
    h = torch.where(fits.any(1), h.gather(1, first)[:, 0], float(height))
    hx, hy = w / width, h / height
    cx = (_uniform(count, -1, 1, draws)) * (1 - hx)
    cy = (_uniform(count, -1, 1, draws)) * (1 - hy)
    return cx, cy, hx, hy


def _resample(x: Tensor, how: Augmentation, draws: torch.Generator, size: int | None) -> Tensor:
    count, channels, height, width = x.shape
    zeros, ones = x.new_zeros(count), x.new_ones(count)
    cx, cy, hx, hy = crop_boxes(count, how.crop, height, width, draws) if how.crop else (zeros, zeros, ones, ones)
    mirror = 1 - 2 * _chosen(x, how.flip, draws).flatten() if how.flip else ones
    angle = _uniform(count, -how.rotation, how.rotation, draws) if how.rotation else zeros
    cos, sin = angle.cos(), angle.sin()
    # An output pixel p looks at centre + half size * mirror * (rotation p) of the input.
    theta = torch.stack([hx * mirror * cos, -hx * mirror * sin, cx, hy * sin, hy * cos, cy], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [count, channels, size or height, size or width], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _luma(x: Tensor) -> Tensor:
    """Brightness ``[B, 1, H, W]``: the weighted mean of the colours, or the image itself when it is grey."""
    if x.shape[1] == 1:
        return x
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _jitter(x: Tensor, how: Jitter, draws: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue as one 3x3 map and one offset per image, then back into [0, 1]."""
    count = len(x)

    def factor(amount: float) -> Tensor:
        return _uniform(count, 1 - amount, 1 + amount, draws) if amount else x.new_ones(count)

    brightness, contrast, saturation = factor(how.brightness), factor(how.contrast), factor(how.saturation)
    angle = _uniform(count, -how.hue, how.hue, draws) * 2 * math.pi if how.hue else x.new_zeros(count)
    chosen = _chosen(x, how.probability, draws) if how.probability < 1 else x.new_ones(count, 1, 1, 1)
    scale = (brightness * contrast).view(-1, 1, 1, 1)
    offset = ((1 - contrast) * brightness).view(-1, 1, 1, 1) * _luma(x).mean((1, 2, 3), keepdim=True)
    changed = x * scale + offset
    if x.shape[1] == 3 and (how.saturation or how.hue):
        changed = torch.einsum("bij,bjhw->bihw", _chroma(saturation, angle), changed)
    changed = changed.clamp(0, 1)
    return torch.where(chosen.bool(), changed, x)


def _chroma(saturation: Tensor, angle: Tensor) -> Tensor:
    """RGB maps ``[B, 3, 3]`` that scale the chroma and turn it by an angle, and leave grey as it is."""
    there = _RGB_TO_YIQ.to(saturation.device)
    back = torch.linalg.inv(there)
    turn = torch.zeros(len(saturation), 3, 3, dtype=there.dtype, device=there.device)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 1, 2] = -saturation * angle.sin()
    turn[:, 2, 1] = saturation * angle.sin()
    return (back @ turn @ there).float()


def _blur(x: Tensor, how: Blur, draws: torch.Generator) -> Tensor:
    """Separable Gaussian of a width of its own for each image; the border is mirrored."""
    count, channels, height, width = x.shape
    sigma = _uniform(count, *how.sigma, draws)
    chosen = _chosen(x, how.probability, draws).bool()
    reach = min(math.ceil(3 * how.sigma[1]), height - 1, width - 1)
    offsets = torch.arange(-reach, reach + 1, device=x.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    y = F.pad(x, (reach,) * 4, mode="reflect").reshape(1, count * channels, height + 2 * reach, width + 2 * reach)
    y = F.conv2d(y, kernel[:, None, None, :], groups=count * channels)
    y = F.conv2d(y, kernel[:, None, :, None], groups=count * channels)
    return torch.where(chosen, y.view_as(x), x)
