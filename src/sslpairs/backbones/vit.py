"""Vision transformers: torchvision's, with the initial weights of timm's, on which DimCL's and solo-learn's code rests."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models.vision_transformer import VisionTransformer

from sslpairs.config.backbones.vit import ViTSettings


class ViT(VisionTransformer):
    """Images ``[B, channels, size, size]`` to features ``[B, dim]``.

    With the same weights, the features are those of timm's model of the same size (``vit_tiny_patch16_224(img_size=32,
    patch_size=4, num_classes=0)`` for a width of 192, 12 blocks and 3 heads), also with ``global_pool="avg"``.
    """

    def __init__(self, settings: ViTSettings, channels: int, size: int):
        super().__init__(
            size,
            settings.patch,
            settings.depth,
            settings.heads,
            settings.dim,
            settings.mlp_ratio * settings.dim,
            num_classes=1,
        )
        self.heads = nn.Identity()
        self.conv_proj = nn.Conv2d(channels, settings.dim, settings.patch, stride=settings.patch)
        self.mean = settings.pool == "avg"
        self._start()
        self.conv_proj.requires_grad_(not settings.freeze_patch_embedding)

    @torch.no_grad()
    def _start(self) -> None:
        """Initial weights as in timm's vision_transformer.py: linear maps and positions from a normal distribution of 0.02, cut at 2;
        biases 0; the class token next to 0; the patches' embedding as torch's convolutions."""
        for module in self.modules():
            if isinstance(module, nn.MultiheadAttention):
                nn.init.trunc_normal_(module.in_proj_weight, std=0.02)
                nn.init.zeros_(module.in_proj_bias)
            elif isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.encoder.pos_embedding, std=0.02)
        nn.init.normal_(self.class_token, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), self._process_input(x)], 1)
        # The plain products: on a GPU, the backward passes of the faster ones may sum in another order each time.
        with sdpa_kernel(SDPBackend.MATH):
            tokens = self.encoder.layers(tokens + self.encoder.pos_embedding)
        return self.encoder.ln(tokens[:, 1:].mean(1) if self.mean else tokens[:, 0])


def build(settings: ViTSettings, channels: int, size: int) -> tuple[nn.Module, int]:
    """Fresh weights from torch's global generator."""
    return ViT(settings, channels, size), settings.dim
