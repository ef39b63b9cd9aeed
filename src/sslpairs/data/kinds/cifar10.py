"""CIFAR-10."""

from pathlib import Path

from sslpairs.config.sources.cifar10 import BINARY, PARQUET, PYTHON, CIFAR10Settings
from sslpairs.data.cifar import Forms, open_cifar
from sslpairs.data.hub import Hub
from sslpairs.data.sources import Opened

FORMS = Forms(
    title="CIFAR-10",
    classes=["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    binary=BINARY,
    python=PYTHON,
    binary_folder="cifar-10-batches-bin",
    python_folder="cifar-10-batches-py",
    folder="cifar10",
    members={  # as public downloaders state them (CMake files of two projects and a Go library); not verified by a download
        "train": {
            "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
            "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
            "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
            "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
            "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        },
        "test": {"test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d"},
    },
    batches={
        "train": {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
    },
    images={"train": 50_000, "test": 10_000},
    label_bytes=1,
    label_key="labels",
    hub=Hub("uoft-cs/cifar10", "plain_text", "label", files=PARQUET),
)


def open_source(name: str, source: CIFAR10Settings, path: Path) -> Opened:
    """Any of its forms, in the order of labels and pixels."""
    return open_cifar(name, source, path, FORMS)
