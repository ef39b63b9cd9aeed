"""ImageNet (Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge): the 1,000 classes of ILSVRC 2012."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource, Side, Storage, hub_caches

TRAIN = RemoteFile(
    "ILSVRC2012_img_train.tar",
    (),
    147_897_477_120,
    "b08200a27a8e34218a0e58fde36b0fe8f73bc377f4acea2d91602057c3ca45bb",
    "1d675b47d978889d74fa0da5fadfb00e",
)
VAL = RemoteFile(
    "ILSVRC2012_img_val.tar",
    (),
    6_744_924_160,
    "c7e06a6c0baccf06d8dbeb6577d71efff84673a5dbdd50633ab44f8ea0456ae0",
    "29b22e2961454d5413ddabcf34fc5622",
)
COMPRESSED = ("", ".gz", ".xz", ".bz2")
"""Suffixes that the names of these archives may have."""
KAGGLE = ("imagenet-object-localization-challenge.zip", "imagenet_object_localization_patched2019.tar.gz")
TREES = ("", "*/", "ILSVRC/Data/CLS-LOC/", "*/ILSVRC/Data/CLS-LOC/", "Data/CLS-LOC/", "CLS-LOC/")
"""Where the folders of the splits may be in the one that is named. The longer ones are Kaggle's."""
TRAIN_FOLDERS = ("train", "ILSVRC2012_img_train")
VAL_FOLDERS = ("val", "validation", "ILSVRC2012_img_val")
HUB, SHARDS = "ILSVRC/imagenet-1k", "timm/imagenet-1k-wds"
"""Copies on the Hugging Face Hub: parquet files, and shards in the WebDataset format. No digests of them are on record."""
COPIES = (
    "snapshots",
    "datasets--ILSVRC--imagenet-1k",
    "datasets--timm--imagenet-1k-wds",
    "data/train-*-of-*.parquet",
    "imagenet1k-train-*.tar",
)
"""What is in any folder that holds one of them."""
CACHES = ("$TFDS_DATA_DIR/downloads/manual", "~/tensorflow_datasets/downloads/manual", *hub_caches(HUB, SHARDS))
"""Where TensorFlow Datasets wants the two archives, and where the Hub's library keeps the copies."""


def marks_of(first_class: str) -> tuple[str, ...]:
    """Patterns of what is in any folder that holds ImageNet, or a part of it with this class: its folder or archive is in train/."""
    archives = tuple(TRAIN.name + suffix for suffix in COMPRESSED)
    return (
        archives + KAGGLE + COPIES + tuple(f"{tree}{train}/{first_class}*" for tree in TREES for train in TRAIN_FOLDERS)
    )


class ImageNetSettings(PublishedSource):
    """1,281,167 colour photographs of 1,000 classes for training; 50,000 for testing, 50 in each class: the validation split, since the
    labels of the test split are not public."""

    kind: Literal["imagenet"]
    size: Side = 224
    """Side of the square images in pixels: the shorter side is resized to it, then the centre is cropped."""
    storage: Storage = "auto"
    """Store decoded arrays, or the files unchanged. auto: arrays, unless they would take more than 32 GiB. Results are identical."""

    homepage = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php"
    terms = "for non-commercial research and education only; needs an account"
    by_hand = True
    marks = marks_of("n01440764")
    caches = CACHES
    classes = 1000
    official = (1_281_167, 50_000)
    balanced = False

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the two archives. The development kit is not needed: the labels of the validation split come with this program."""
        return TRAIN, VAL
