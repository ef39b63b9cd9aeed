"""From the bytes of an image file to pixels: one code path for all, with fixed size limits."""

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

# Pillow supports formats, such as EPS, that run other programs: a file that is only named .jpg must not reach them.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "PPM", "TIFF")
MAX_PIXELS = 178_956_970
"""Maximum pixels of an image: where Pillow itself raises a decompression bomb error. Decoded they take up to 0.7 GB."""
MAX_BYTES = 1 << 30
"""Maximum bytes of an image file: ``MAX_PIXELS``, uncompressed, with three channels of 16 bits."""
LONGEST = 64
"""Images with one side longer than this many times the other are cropped before they are resized, else afterwards."""


def decode(data: bytes, size: int, channels: int, upright: bool = True) -> np.ndarray:
    """Decode an image to uint8 ``[channels, size, size]``: turned ``upright`` as its EXIF says, shorter side resized to ``size``
    (bicubic), centre cropped.

    ValueError, with the reason, if the bytes are not a complete image, or if its pixel values are not defined.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's warnings are for programmers, and name its own files
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            image.load()
            if reason := _undefined(image):
                raise ValueError(f"{reason}: save it with 8 bits per channel, or with unsigned 16 bits")
            if image.format == "PNG":
                _scale_transparency(image, depth=data[24])
            image = _eight_bits(ImageOps.exif_transpose(image) if upright else image)
            return _fitted(image, size, channels)
    except Exception as error:  # on damaged bytes Pillow's readers raise nearly anything
        raise ValueError(_reason(error)) from error


def decode_exact(data: bytes, side: int) -> np.ndarray:
    """Decode an image that must have ``side`` x ``side`` pixels, not turned, to uint8 ``[3, side, side]``: an image of another size is
    not a copy of the same pixels. ValueError as ``decode``."""
    from PIL import Image

    try:
        width, height = Image.open(io.BytesIO(data), formats=FORMATS).size
    except Exception as error:
        raise ValueError(_reason(error)) from error
    if (width, height) != (side, side):
        raise ValueError(f"it has {width} x {height} pixels instead of {side} x {side}")
    return decode(data, side, 3, upright=False)


def fit(images: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Images uint8 ``[B, C, H, W]`` with C of 1 or 3 as ``[B, channels, size, size]``, as ``decode`` fits them; the same array if they
    already are."""
    if images.shape[1:] == (channels, size, size):
        return images
    from PIL import Image

    fitted = np.empty((len(images), channels, size, size), np.uint8)
    for image, to in zip(images, fitted, strict=True):
        to[:] = _fitted(Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)), size, channels)
    return fitted


def _fitted(image: "Image.Image", size: int, channels: int) -> np.ndarray:
    from PIL import Image

    image = _middle(image.convert("RGB" if channels == 3 else "L"))
    short = min(image.size)
    if short != size:
        # Python rounds halves to even; half up keeps a side from ending below size.
        width, height = ((2 * side * size + short) // (2 * short) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    return pixels.reshape(size, size, channels).transpose(2, 0, 1)


def _reason(error: Exception) -> str:
    match type(error).__name__:
        case "UnidentifiedImageError":
            return "unknown format"
        case "DecompressionBombError":
            return f"it has more than {MAX_PIXELS:,} pixels: make it smaller"
        case "MemoryError":
            return "this machine's memory is too small for it"
    return " ".join(str(error).split()) or type(error).__name__


def _middle(image: "Image.Image") -> "Image.Image":
    """Crop the ends that the centre crop will not show, if resizing them would take gigabytes."""
    most = LONGEST * min(image.size)
    # The same amount from both ends, so that the centre stays in place.
    left, top = (max(0, side - most) // 2 for side in image.size)
    return image.crop((left, top, image.width - left, image.height - top)) if left or top else image


def _undefined(image: "Image.Image") -> str | None:
    """Why the values of black and white in an opened image are unknown, or None; Pillow would just assume them."""
    if image.mode == "F":
        return "its pixels are fractions, whose range is unknown"
    if image.format != "TIFF":
        return None
    bits, signs = image.tag_v2.get(258, (1,)), image.tag_v2.get(339, (1,))
    if max(bits) not in (1, 2, 4, 8, 16):
        return f"its pixels have {max(bits)} bits, and their range is unknown"
    if set(signs) != {1}:
        return "its pixels are signed numbers, whose range is unknown"
    if max(bits) == 16 and image.tag_v2.get(262) == 0:
        return "its pixels have 16 bits, and 0 is white"
    return None


def _scale_transparency(image: "Image.Image", depth: int) -> None:
    """Scale the transparent colour of a PNG to 8 bits, as Pillow does for the pixels, which have ``depth`` bits in the file."""
    colour = image.info.get("transparency")
    if colour is not None and image.mode == "L" and depth < 8:
        image.info["transparency"] = colour * 255 // (2**depth - 1)
    elif colour is not None and image.mode == "RGB" and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """The image with 8 bits per channel; 16-bit greys are scaled, transparent parts become white."""
    from PIL import Image

    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int32)
        grey[grey == image.info.get("transparency", -1)] = 65535
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB") if image.mode == "LAB" else image  # LAB cannot be converted to grey directly
