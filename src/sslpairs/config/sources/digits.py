"""scikit-learn's digits."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.sources.base import Source


class DigitsSettings(Source):
    """scikit-learn's 1,797 handwritten digits, which are included in the library: nothing is downloaded."""

    kind: Literal["digits"]
    size: Annotated[int, Field(ge=8, le=256)] = 16
    """Side of the square images in pixels; the originals are 8x8."""
    test_per_class: Annotated[int, Field(ge=1, le=150)] = 50
    """Test images per class, held out by a fixed stratified split."""

    def image(self) -> tuple[int, int]:
        """One channel (greyscale)."""
        return 1, self.size

    def counts(self) -> tuple[int, int]:
        """Return the split of the 1,797 images."""
        return 1797 - 10 * self.test_per_class, 10 * self.test_per_class
