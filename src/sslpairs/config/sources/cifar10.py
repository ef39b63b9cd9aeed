"""CIFAR-10 (Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images)."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource, Side, hub_caches

HOSTS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
CONNECTIONS = 4
"""The host limits the speed of each connection: users report 0.5 to 90 kB/s (pytorch/vision#9536)."""


class CIFAR10Settings(PublishedSource):
    """60,000 colour images of 32 x 32 pixels in ten classes: 5,000 for training and 1,000 for testing in each."""

    kind: Literal["cifar10"]
    size: Side = 32
    """Side of the square images in pixels; the originals have 32."""

    homepage = "https://www.cs.toronto.edu/~kriz/cifar.html"
    terms = "none stated; cite Krizhevsky 2009"
    marks = ("cifar-10-*", "cifar10", "plain_text", "snapshots", "datasets--uoft-cs--cifar10")
    caches = ("~/.keras/datasets", *hub_caches("uoft-cs/cifar10"))
    classes = 10
    official = (50_000, 10_000)

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the binary archive, which holds no pickles."""
        return (BINARY,)


BINARY = RemoteFile(
    "cifar-10-binary.tar.gz",
    tuple(host + "cifar-10-binary.tar.gz" for host in HOSTS),
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "c32a1d4ab5d03f1284b67883e8d87530",
    CONNECTIONS,
)
PYTHON = RemoteFile(
    "cifar-10-python.tar.gz",
    tuple(host + "cifar-10-python.tar.gz" for host in HOSTS),
    170_498_071,
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    "c58f30108f718f92721af3b95e74349a",
    CONNECTIONS,
)
PARQUET = {
    "train": RemoteFile(
        "train-00000-of-00001.parquet",
        (),
        sha256="8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883",
    ),
    "test": RemoteFile(
        "test-00000-of-00001.parquet",
        (),
        sha256="841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de",
    ),
}
"""Of ``uoft-cs/cifar10`` on the Hugging Face Hub, at revision 0b2714987fa478483af9968de7c934580d0bb9a2."""
