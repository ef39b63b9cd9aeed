"""Oxford-IIIT Pet (Parkhi et al. 2012, Cats and Dogs)."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PhotographSource

HOSTS = ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/", "https://thor.robots.ox.ac.uk/~vgg/data/pets/")


class PetsSettings(PhotographSource):
    """7,349 photographs of cats and dogs of 37 breeds: trained on trainval, tested on test."""

    kind: Literal["pets"]

    homepage = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
    terms = "CC BY-SA 4.0"
    marks = ("oxford-iiit-pet", "annotations.tar.gz", "annotations/trainval.txt")
    classes = 37
    balanced = False
    official = (3_680, 3_669)

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the archives of images and lists."""
        return FILES


FILES = (
    RemoteFile(
        "images.tar.gz",
        tuple(host + "images.tar.gz" for host in HOSTS),
        791_918_971,
        "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
        "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    ),
    RemoteFile(
        "annotations.tar.gz",
        tuple(host + "annotations.tar.gz" for host in HOSTS),
        19_173_078,
        "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
        "95a8c909bbe2e81eed6a22bccdf3f68f",
    ),
)
