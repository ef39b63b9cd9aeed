"""CIFAR-100, with its fine classes."""

from pathlib import Path

from sslpairs.config.sources.cifar100 import BINARY, PYTHON, CIFAR100Settings
from sslpairs.data.cifar import Forms, open_cifar
from sslpairs.data.hub import Hub
from sslpairs.data.sources import Opened

NAMES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar "
    "cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster "
    "house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree "
    "orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose "
    "sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television "
    "tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)
"""Of the fine classes, in the order of their labels."""
FORMS = Forms(
    title="CIFAR-100",
    classes=NAMES.split(),
    binary=BINARY,
    python=PYTHON,
    binary_folder="cifar-100-binary",
    python_folder="cifar-100-python",
    folder="cifar100",
    members={
        "train": {"train.bin": "6172c7755cfe09b2fe270c85cebc1b15"},
        "test": {"test.bin": "4499cfba6c016c1be1438163640a0898"},
    },
    batches={
        "train": {"train": "16019d7e3df5f24257cddd939b257f8d"},
        "test": {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    },
    images={"train": 50_000, "test": 10_000},
    label_bytes=2,
    label_key="fine_labels",
    hub=Hub("uoft-cs/cifar100", "cifar100", "fine_label"),
)


def open_source(name: str, source: CIFAR100Settings, path: Path) -> Opened:
    """Any of its forms, in the order of labels and pixels."""
    return open_cifar(name, source, path, FORMS)
