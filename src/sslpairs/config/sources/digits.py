"""scikit-learn's digits."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.sources.base import Source


class Digits(Source):
    """scikit-learn's 1,797 handwritten digits, which come with the library: nothing is downloaded."""

    kind: Literal["digits"]
    size: Annotated[int, Field(ge=8, le=256)] = 16
    """Side of the square images in pixels; the originals have 8."""
    test_per_class: Annotated[int, Field(ge=1, le=150)] = 50
    """Images of each class set aside for testing, by a fixed stratified split."""

    def image(self) -> tuple[int, int]:
        """Grey."""
        return 1, self.size

    def counts(self) -> tuple[int, int]:
        """Of 1,797."""
        return 1797 - 10 * self.test_per_class, 10 * self.test_per_class
