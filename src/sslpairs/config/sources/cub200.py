"""CUB-200-2011 (Wah et al. 2011, The Caltech-UCSD Birds-200-2011 Dataset)."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PhotographSource


class CUB200Settings(PhotographSource):
    """11,788 photographs of birds of 200 species, about 30 of each for training and 30 for tests."""

    kind: Literal["cub200"]

    homepage = "https://www.vision.caltech.edu/datasets/cub_200_2011/"
    terms = "see the homepage"
    marks = ("CUB_200_2011", "CUB_200_2011.tgz", "train_test_split.txt")
    classes = 200
    balanced = False
    official = (5_994, 5_794)

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the archive of images and lists."""
        return FILES


FILES = (
    RemoteFile(
        "CUB_200_2011.tgz",
        ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",),
        1_150_585_339,
        "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
        "97eceeb196236b17998738112f37df78",
    ),
)
