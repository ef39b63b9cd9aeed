"""Vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929)."""

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from sslpairs.config.backbones.base import BackboneSettings, Layer
from sslpairs.config.base import Width

NAMES = {(192, 12, 3): "tiny", (384, 12, 6): "small", (768, 12, 12): "base", (1024, 24, 16): "large"}
"""Width, depth and heads of the models that have a name."""


class Patches(NamedTuple):
    """The embedding of the patches with class token and positions, and the norm of the features."""

    channels: int
    outputs: int
    patch: int
    tokens: int

    @property
    def parameters(self) -> int:
        """Weights and bias of the embedding; class token; positions; the norm's scales and shifts."""
        return (self.patch**2 * self.channels + 1 + 1 + self.tokens + 2) * self.outputs

    @property
    def products(self) -> int:
        """Multiply-adds for one image."""
        return self.patch**2 * self.channels * self.outputs * (self.tokens - 1)

    @property
    def kept(self) -> int:
        """Values kept for the backward pass, per image, besides the image: the input of the norm."""
        return self.outputs


class Block(NamedTuple):
    """Self-attention, then two linear layers, each with a layer norm before it."""

    outputs: int
    hidden: int
    heads: int
    tokens: int

    @property
    def weights(self) -> int:
        """Number of weights of the linear maps: queries, keys, values, output; the two layers."""
        return 4 * self.outputs**2 + 2 * self.outputs * self.hidden

    @property
    def parameters(self) -> int:
        """Weights and biases of the linear maps, and the norms' scales and shifts."""
        return self.weights + 5 * self.outputs + self.hidden + 4 * self.outputs

    @property
    def products(self) -> int:
        """Multiply-adds for one image: the linear maps; queries by keys, and shares by values."""
        return self.tokens * self.weights + 2 * self.tokens**2 * self.outputs

    @property
    def kept(self) -> int:
        """Values kept for the backward pass, per image: inputs of the norms and of what follows them; queries, keys, values and the
        attention's output; the hidden layer before and after its GELU; each head's shares."""
        return self.tokens * (8 * self.outputs + 2 * self.hidden) + self.heads * self.tokens**2


class ViTSettings(BackboneSettings):
    """torchvision's vision transformer without its classifier, with learned positions, for images of one size."""

    one_size: ClassVar[bool] = True

    kind: Literal["vit"]
    patch: Annotated[int, Field(gt=0, le=512)]
    """Side of a patch in pixels; it must divide the images' side."""
    dim: Width
    """Width of the tokens, and number of features."""
    depth: Annotated[int, Field(gt=0, le=64)]
    """Number of blocks."""
    heads: Annotated[int, Field(gt=0, le=64)]
    """Attention heads; they must divide ``dim``."""
    mlp_ratio: Annotated[int, Field(gt=0, le=16)] = 4
    """Width of a block's hidden layer, as a multiple of ``dim``."""
    pool: Literal["token", "avg"]
    """Features: ``token``, the class token's; ``avg``, the mean of the patches' tokens, as timm's. The last norm is applied to them."""
    freeze_patch_embedding: bool = False
    """Leave the embedding of the patches at its initial values, for stability (MoCo v3's ``stop_grad_conv1``: moco-v3 vits.py)."""

    @model_validator(mode="after")
    def _shared_by_heads(self):
        if self.dim % self.heads:
            raise ValueError(
                f"heads: {self.heads} do not divide dim {self.dim}: write a number that does, or another dim"
            )
        return self

    @property
    def label(self) -> str:
        """Name printed in tables: with the patch's side, and whatever is not usual."""
        size = NAMES.get((self.dim, self.depth, self.heads)) or f"{self.dim}x{self.depth}, {self.heads} heads"
        words = [f"MLP {self.mlp_ratio}"] * (self.mlp_ratio != 4) + ["mean"] * (self.pool == "avg")
        words += ["frozen patches"] * self.freeze_patch_embedding
        return f"ViT-{size}/{self.patch}" + (f" ({', '.join(words)})" if words else "")

    def layers(self, size: int, channels: int) -> list[Layer]:
        """The patches, then the blocks."""
        tokens = (size // self.patch) ** 2 + 1
        block = Block(self.dim, self.mlp_ratio * self.dim, self.heads, tokens)
        return [Patches(channels, self.dim, self.patch, tokens), *[block] * self.depth]

    def problem(self, size: int) -> tuple[str, str] | None:
        """A patch that does not divide the images' side."""
        if size % self.patch:
            divisors = ", ".join(str(n) for n in range(2, size + 1) if size % n == 0)
            return (
                "patch",
                f"{self.patch} does not divide the images' {size} pixels; write one of {divisors}, or resize the images",
            )
        return None
