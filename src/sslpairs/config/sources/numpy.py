"""Arrays of pixels that the user has in NumPy's files."""

from typing import Literal

from sslpairs.config.sources.base import OwnSource


class NumpySettings(OwnSource):
    """An .npz file, or a folder of .npy files, with train_images and train_labels, and the same of test or val.

    The names x_train and y_train, and so on, mean the same. Images are uint8 ``[N, H, W]``, ``[N, H, W, C]`` or ``[N, C, H, W]`` with
    C of 1 or 3. Labels are ``[N]`` or ``[N, 1]``: integers, of which -1 stands for none (in train only), or text. Limits per class, and
    held_out, count rows.
    """

    kind: Literal["numpy"]
