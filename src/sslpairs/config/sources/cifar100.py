"""CIFAR-100 (Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images)."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource, Side, hub_caches
from sslpairs.config.sources.cifar10 import CONNECTIONS, HOSTS


class CIFAR100Settings(PublishedSource):
    """60,000 colour images of 32 x 32 pixels in a hundred fine classes: 500 for training and 100 for testing in each."""

    kind: Literal["cifar100"]
    size: Side = 32
    """Side of the square images in pixels; the originals have 32."""

    homepage = "https://www.cs.toronto.edu/~kriz/cifar.html"
    terms = "none stated; cite Krizhevsky 2009"
    marks = ("cifar-100-*", "cifar100", "snapshots", "datasets--uoft-cs--cifar100")
    caches = ("~/.keras/datasets", *hub_caches("uoft-cs/cifar100"))
    classes = 100
    official = (50_000, 10_000)

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the binary archive, which holds no pickles."""
        return (BINARY,)


BINARY = RemoteFile(
    "cifar-100-binary.tar.gz",
    tuple(host + "cifar-100-binary.tar.gz" for host in HOSTS),
    168_513_733,
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    "03b5dce01913d631647c71ecec9e9cb8",
    CONNECTIONS,
)
PYTHON = RemoteFile(
    "cifar-100-python.tar.gz",
    tuple(host + "cifar-100-python.tar.gz" for host in HOSTS),
    169_001_437,
    "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",  # Keras's
    "eb9058c3a382ffc7106e4002c42a8d85",
    CONNECTIONS,
)
