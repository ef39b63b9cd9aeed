"""STL-10 (Coates, Lee and Ng 2011, An Analysis of Single-Layer Networks in Unsupervised Feature Learning)."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource, Side

LABELLED, FOLD, UNLABELED, TEST = 5_000, 1_000, 100_000, 8_000
"""Images: with labels for training, in each fold of these, without labels, and for testing."""
ARCHIVE = RemoteFile(
    "stl10_binary.tar.gz",
    (
        "https://cs.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    ),
    2_640_397_119,
    "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
    "91f7769df0f17e558f3565bffb0c7dfb",
)


class STL10Settings(PublishedSource):
    """Colour images of 96 x 96 pixels: 5,000 with a label (500 in each of ten classes) and 100,000 without for training, 8,000 for
    testing."""

    kind: Literal["stl10"]
    size: Side = 96
    """Side of the square images in pixels; the originals have 96."""
    unlabeled: bool = True
    """Also train on the 100,000 images without labels, after the 5,000 with one. Evaluations never use them."""
    fold: Annotated[int, Field(ge=0, le=9)] | None = None
    """Which of the authors' ten folds of 1,000 images keeps its labels; the other labelled images are trained on as if they had none.
    The authors report the mean over all ten. null: all 5,000."""

    homepage = "https://cs.stanford.edu/~acoates/stl10/"
    terms = "no licence stated; the images are from ImageNet; cite Coates, Lee and Ng 2011"
    marks = ("stl10_binary*", "stl10")
    classes = 10

    @property
    def official(self) -> tuple[int, int]:
        """Training images, with those without a label if they are used, and test images."""
        return LABELLED + self.unlabeled * UNLABELED, TEST

    def counts(self) -> tuple[int, int] | None:
        """Return the authors' numbers, or what the limits per class leave of the labelled images; None for limits within a fold."""
        if not self.original or (self.fold is not None and self.train_per_class):
            return None
        labelled, test = LABELLED, TEST
        if self.train_per_class:
            labelled = min(labelled, self.train_per_class * self.classes)
        if self.test_per_class:
            test = min(test, self.test_per_class * self.classes)
        return labelled + self.unlabeled * UNLABELED, test

    def unlabelled(self) -> int:
        """Return the number of images without a label: of the originals."""
        return self.unlabeled * UNLABELED + (LABELLED - FOLD) * (self.fold is not None)

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the archive."""
        return (ARCHIVE,)
