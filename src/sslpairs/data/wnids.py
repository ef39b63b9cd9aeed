"""Classes named by WordNet IDs, such as n01440764: the lists of ImageNet and its parts, and the labels of its validation split.

A class's label is its index in the sorted list, as in the code of all papers. The IDs of ImageNet's development kit are others.
"""

import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

LISTS = Path(__file__).parent / "lists"
"""Sources: ``imagenet.txt`` and ``imagenet_val.z`` from TensorFlow Datasets 4.9.10 (``datasets/imagenet2012``), ``imagenet100.txt``
from HobbitLong/CMC, ``imagenet100_scan.txt`` from wvangansbeke/Unsupervised-Classification, ``tiny_imagenet.txt`` from two public
copies of the sorted list."""
WNID = re.compile(r"n\d{8}")


def wnids(name: str) -> list[str]:
    """The sorted WordNet IDs of a list."""
    return (LISTS / f"{name}.txt").read_text().split()


def validation_labels() -> np.ndarray:
    """Labels of ILSVRC2012_val_00000001 to 00050000: uint16 ``[50000]``, indices of the sorted 1,000 WordNet IDs."""
    return np.frombuffer(zlib.decompress((LISTS / "imagenet_val.z").read_bytes()), "<u2")


def another_list(found: Iterable[str], wanted: Iterable[str]) -> str:
    """Describe classes that are another selection than ``wanted``, for an error."""
    found, wanted = set(found), set(wanted)
    known = {"SCAN's": set(wnids("imagenet100_scan")), "stable-datasets'": set(wnids("imagenet")[:100])}
    whose = next((f" ({owner})" for owner, classes in known.items() if classes == found), "")
    return f"another list of {len(found):,} classes{whose}, {len(found & wanted)} in common"
