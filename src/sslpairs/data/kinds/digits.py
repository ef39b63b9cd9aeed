"""scikit-learn's 1,797 handwritten digits, enlarged."""

import hashlib

import numpy as np

from sslpairs.config.sources.digits import DigitsSettings
from sslpairs.data.sources import Opened


def open_source(name: str, source: DigitsSettings, path: None) -> Opened:
    """The images, in the library's order."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    images = enlarge_digits(bunch.images.astype(np.int64), source.size)[:, None]
    test = _test_indices(labels, source.test_per_class)
    rows = {"train": np.setdiff1d(np.arange(len(labels)), test), "test": test}
    return Opened(
        where=f"data set '{name}'",
        classes=[str(number) for number in range(10)],
        labels={split: labels[index] for split, index in rows.items()},
        images=lambda split: iter([images[rows[split]]]),
    )


def _test_indices(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Sorted indices of the test images: in each class, the first ones in the order of a hash of their index.

    A hash, since no random generator guarantees the same stream in every version of its library.
    """

    def key(index: int) -> str:
        return hashlib.sha256(f"sslpairs digits {index}".encode()).hexdigest()

    chosen = [sorted(np.flatnonzero(labels == label).tolist(), key=key)[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def enlarge_digits(images: np.ndarray, size: int) -> np.ndarray:
    """Integer images ``[N, S, S]`` with values 0..16 as uint8 ``[N, size, size]`` with values 0..255; size >= S.

    Bilinear with half-pixel centres and repeated edges, as ``interpolate(align_corners=False)``, in integers:
    every weight is a fraction over 2 size, and the one rounding (half up) is at the end. So all machines agree.
    """
    side = images.shape[1]
    # Output pixel i lies at ((2i + 1) side - size) / (2 size) of the input.
    position = np.clip((2 * np.arange(size) + 1) * side - size, 0, 2 * size * (side - 1))
    low, weight = np.divmod(position, 2 * size)
    high = np.minimum(low + 1, side - 1)
    rows = images[:, low] * (2 * size - weight)[:, None] + images[:, high] * weight[:, None]
    both = rows[:, :, low] * (2 * size - weight) + rows[:, :, high] * weight
    whole = 16 * (2 * size) ** 2
    return ((2 * 255 * both + whole) // (2 * whole)).astype(np.uint8)
