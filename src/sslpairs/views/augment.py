"""Random views of a batch of images, computed in batches on the device: every image has its own draws (``draws.py``).

The transforms are torchvision's for tensors, with its parameters and distributions: crops in whole pixels, resized with
antialias; blur with reflected borders. Two things differ:
- with rotation, crop, flip and rotation are one bilinear resampling (a rotated crop sees the image beyond its border, and zeros
  beyond the image);
- all colour changes are one affine map per image, in which hue rotates the chroma plane of YIQ (as NVIDIA DALI does), clamped
  once. A recipe with ``space: hsv`` uses torchvision's own: one change after the other in random order, each clamped, hue
  through HSV.

The fastest variants were chosen by measurement: ``benchmarks/RESULTS.md``.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sslpairs.config.views import Augmentation
from sslpairs.random_streams import to_device
from sslpairs.views.draws import AugmentationParams, basis, draw, sample_params


def augment(
    images: Tensor,
    settings: Augmentation,
    mean: Tensor,
    std: Tensor,
    draws: torch.Generator | Tensor,
    size: int | None = None,
) -> Tensor:
    """One random view of each image, normalised.

    ``images`` is uint8 ``[B, C, H, W]``; ``mean`` and ``std`` are ``[C]`` on the scale 0 to 1; ``draws`` are rows of
    uniform numbers ``[B, draws.COLUMNS]``, or a generator to draw them from, both on the CPU. Returns float32
    ``[B, C, H, W]``, or ``[B, C, size, size]`` for small crops. ``settings.second`` is ignored: call ``settings.for_view`` first.
    """
    table = draws if isinstance(draws, Tensor) else draw(len(images), draws)
    return apply(images, sample_params(settings, table, images.shape[1:]), mean, std, size)


def apply(images: Tensor, params: AugmentationParams, mean: Tensor, std: Tensor, size: int | None = None) -> Tensor:
    """The views with these parameters, normalised; see ``augment``. Does not synchronise with the device.

    Blur and solarisation are applied to normalised pixels, which is equivalent and saves passes over the images.
    """
    x = _recolour(_look(images, params, size), params, mean, std)
    if params.sigmas is not None and len(rows := params.sigmas.nonzero()[:, 0]):
        here = to_device(rows, x.device)
        x = x.index_copy(0, here, _blur(x[here], params.sigmas[rows], params.reach))
    if params.solarized is not None and len(rows := params.solarized.nonzero()[:, 0]):
        here = to_device(rows, x.device)
        half, mirror = (((value - mean) / std).view(1, -1, 1, 1) for value in (0.5, 1 - mean))
        bright = x[here]
        x = x.index_copy(0, here, torch.where(bright >= half, mirror - bright, bright))
    return x


def normalize(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """``(x - mean) / std`` per channel, for ``x`` of shape ``[B, C, H, W]`` on the scale 0 to 1."""
    return (x - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


# --- geometry ------------------------------------------------------------------------------------------------------


def _look(images: Tensor, params: AugmentationParams, size: int | None) -> Tensor:
    """Crop, flip and rotation, on the scale 0 to 1."""
    height, width = images.shape[2:]
    to = (size or height, size or width)
    if params.angles is not None:
        return _rotate(images, params, to)
    if params.cropped or to != (height, width):
        return _crop(images, params.boxes, to)
    x = images.float().div_(255)
    mirrored = params.boxes[:, 4] > 0
    return torch.where(to_device(mirrored, x.device).view(-1, 1, 1, 1), x.flip(3), x) if mirrored.any() else x


def _crop(images: Tensor, boxes: Tensor, to: tuple[int, int]) -> Tensor:
    """Crops, resized to height and width ``to`` with a triangle filter that widens with the reduction (antialias).

    The filter is separable: two products of small matrices per image. ``grid_sample`` gathers four pixels each, which is not
    faster, and has no antialias.
    """
    count, channels, height, width = images.shape
    reduces = height > to[0] or width > to[1]  # a crop may be larger than its view
    # Horizontal, then vertical; flipped horizontally only.
    box = to_device(boxes, images.device)
    start, extent, mirrored = box[:, :2].T, box[:, 2:4].T, torch.stack([box[:, 4], torch.zeros_like(box[:, 4])])
    if height == width:  # both at once
        across, down = _filter(start.flatten(), extent.flatten(), width, to[1], reduces, mirrored.flatten()).chunk(2)
    else:
        across, down = (
            _filter(start[axis], extent[axis], size, to[1 - axis], reduces, mirrored[axis])
            for axis, size in enumerate((width, height))
        )
    x = images.float().view(count, channels * height, width)
    y = torch.bmm(x, across.transpose(1, 2)).view(count * channels, height, to[1])
    # Convert to the scale 0 to 1 on the smallest of the factors.
    down = down * (1 / 255)
    y = torch.bmm(down.repeat_interleave(channels, 0) if channels > 1 else down, y)
    return y.view(count, channels, *to)


def _filter(start: Tensor, extent: Tensor, size: int, to: int, reduces: bool, mirrored: Tensor) -> Tensor:
    """Weights ``[B, to, size]`` of the input's pixels in the output's, along one axis; each row sums to 1.

    A crop is cut out before it is resized: pixels beyond it have no weight.
    """
    start, end, scale = start[:, None], (start + extent)[:, None], (extent / to)[:, None]
    output = torch.arange(to, device=start.device) + 0.5
    centre = start + (output + mirrored[:, None] * (to - 2 * output)) * scale
    pixel = torch.arange(size, device=start.device) + 0.5
    if not reduces:  # border pixels are repeated, and the weights of two neighbours sum to 1
        centre = torch.minimum(torch.maximum(centre, start + 0.5), end - 0.5)
        return torch.rsub((pixel - centre[:, :, None]).abs_(), 1).relu_()
    weights = torch.rsub((pixel - centre[:, :, None]).abs_() / scale.clamp_min(1)[:, :, None], 1).relu_()
    weights *= ((pixel > start) & (pixel < end))[:, None]
    return weights / weights.sum(2, keepdim=True)


def _rotate(images: Tensor, params: AugmentationParams, to: tuple[int, int]) -> Tensor:
    """Crop, flip and rotation as one bilinear resampling, without antialias."""
    count, _, height, width = images.shape
    left, top, w, h, mirrored = params.boxes.T
    cx, cy, hx, hy = (2 * left + w) / width - 1, (2 * top + h) / height - 1, w / width, h / height
    sign, cos, sin = 1 - 2 * mirrored, params.angles.cos(), params.angles.sin()
    # An output pixel p samples the input at centre + half size * flip * (rotation p).
    theta = torch.stack([hx * sign * cos, -hx * sign * sin, cx, hy * sin, hy * cos, cy], dim=1).view(-1, 2, 3)
    theta = to_device(theta, images.device)
    # Equivalent to torch's affine_grid, which takes ten times as long.
    grid = torch.baddbmm(theta[:, :, 2:], theta[:, :, :2], _coordinates(to, images.device).expand(count, 2, -1))
    grid = grid.view(count, 2, *to).permute(0, 2, 3, 1)
    x = images.float().div_(255)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@cache
def _coordinates(to: tuple[int, int], device: torch.device) -> Tensor:
    """Coordinates of an image's pixels, horizontal and vertical, from -1 to 1: ``[2, H * W]``."""
    down, across = ((torch.arange(size) + 0.5) * 2 / size - 1 for size in to)
    return torch.stack([across.expand(to), down[:, None].expand(to)]).view(2, -1).to(device)


# --- colours -------------------------------------------------------------------------------------------------------


def _recolour(x: Tensor, params: AugmentationParams, mean: Tensor, std: Tensor) -> Tensor:
    """Colour changes, clamping to 0 to 1, and normalisation."""
    if params.passes is not None:
        x = _jitter(x, params)
    elif params.gains is not None:
        x = _blend(x, to_device(params.gains, x.device)).clamp_(0, 1)
    return x.sub_(mean.view(1, -1, 1, 1)).div_(std.view(1, -1, 1, 1))


def _blend(x: Tensor, gains: Tensor) -> Tensor:
    """Apply the gains ``[B, 4]`` of ``draws.colour_gains``."""
    count, channels, *size = x.shape
    flat = x.view(count, channels, -1)
    if channels == 1:
        y = torch.addcmul(gains[:, 3].view(-1, 1, 1) * flat.mean(2, keepdim=True), flat, gains[:, 0].view(-1, 1, 1))
    else:
        maps = basis(x.device)
        grey = flat.mean(2) @ maps[0, :3]
        shift = (gains[:, 3] * grey).view(-1, 1, 1)
        y = torch.baddbmm(shift, (gains[:, :3] @ maps).view(count, 3, 3), flat)
    return y.view(count, channels, *size)


def _jitter(x: Tensor, params: AugmentationParams) -> Tensor:
    """One change after the other, each clamped to 0 to 1, hue through HSV, then grayscale."""
    for gains, shifts in zip(params.passes.unbind(1), params.shifts.unbind(1), strict=True):
        gains = torch.stack([gains[:, 0], gains[:, 1], torch.zeros(len(gains)), gains[:, 2]], dim=1)
        x = _blend(x, to_device(gains, x.device)).clamp_(0, 1)
        if len(rows := shifts.nonzero()[:, 0]):
            here = to_device(rows, x.device)
            x = x.index_copy(0, here, shift_hue(x[here], to_device(shifts[rows], x.device)))
    if params.gray is not None:
        grey = torch.einsum("bchw,c->bhw", x, basis(x.device)[0, :3])[:, None]
        x = torch.where(to_device(params.gray, x.device).view(-1, 1, 1, 1), grey, x)
    return x


def shift_hue(x: Tensor, shift: Tensor) -> Tensor:
    """Hue through HSV, as torchvision's ``adjust_hue``: ``x`` ``[B, 3, H, W]`` within [0, 1], ``shift`` ``[B]`` of the circle.

    In one formula of the largest and smallest channel and the hue in sixths, without the sectors of HSV.
    """
    red, green, blue = x.unbind(1)
    largest = x.amax(1)
    spread = largest - x.amin(1)
    by = spread.clamp_min(1e-12)
    sixths = torch.where(
        red == largest,
        (green - blue) / by,
        torch.where(green == largest, (blue - red) / by + 2, (red - green) / by + 4),
    )
    sixths += 6 * shift.view(-1, 1, 1)
    colours = []
    for offset in (5, 3, 1):
        k = sixths + offset
        k -= (k / 6).floor_().mul_(6)
        colours.append(largest - torch.minimum(k, 4 - k).clamp_(0, 1).mul_(spread))
    return torch.stack(colours, dim=1)


# --- blur ----------------------------------------------------------------------------------------------------------


def _blur(x: Tensor, sigmas: Tensor, reach: int) -> Tensor:
    """Separable Gaussian blur with a separate width for each image, ``sigmas`` ``[B]`` on the CPU, up to ``reach`` pixels; the border
    is reflected.

    Two products of banded matrices per image, as in ``_crop``.
    """
    count, channels, height, width = x.shape
    reach = min(reach, height - 1, width - 1)
    offsets = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-0.5 * (offsets / sigmas[:, None]) ** 2)
    kernel = to_device(kernel / kernel.sum(1, keepdim=True), x.device)
    across, down = ((kernel @ _seen(size, reach, x.device)).view(count, size, size) for size in (width, height))
    y = torch.bmm(x.reshape(count, channels * height, width), across.transpose(1, 2))
    y = torch.bmm(down.repeat_interleave(channels, 0), y.view(count * channels, height, width))
    return y.view_as(x)


@cache
def _seen(size: int, reach: int, device: torch.device) -> Tensor:
    """0 and 1, ``[2 * reach + 1, size * size]``: which input pixel each output pixel reads at an offset."""
    seen = (torch.arange(size) + torch.arange(-reach, reach + 1)[:, None]).abs()
    seen = torch.where(seen >= size, 2 * (size - 1) - seen, seen)
    return F.one_hot(seen, size).flatten(1).float().to(device)
