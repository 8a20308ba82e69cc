"""A vision transformer between convolutions: it learns from little what a plain one needs much for.

Strided convolutions bring the picture down to the transformer's grid, step by step, and a trunk
that all heads share brings the transformer's output back up, adding at each step what the
convolutions saw at that size.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ...imaging.shapes import ShapeError
from .sizes import ViTConfig
from .vit import VisionTransformer

__all__ = ["PyramidConfig", "PyramidTransformer", "group_norm"]

_GROUPS = 8


@dataclass(frozen=True)
class PyramidConfig:
    """Convolutions around a transformer.

    Attributes
    ----------
    stem_channels : tuple of int
        Channels at 1/2, 1/4 ... of the picture; the next halving leads to the transformer's grid.
    stem_blocks : tuple of int
        Residual blocks at each of those sizes and, last, at the transformer's.
    trunk_channels : tuple of int
        Channels on the way back, from twice the transformer's grid on; each has a residual block.
    """

    stem_channels: tuple[int, ...]
    stem_blocks: tuple[int, ...]
    trunk_channels: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.stem_blocks) != len(self.stem_channels) + 1:
            raise ValueError(
                "stem_blocks must have one number more than stem_channels, got "
                f"{self.stem_blocks} for {self.stem_channels}"
            )
        if not 1 <= len(self.trunk_channels) <= len(self.stem_channels):
            raise ValueError(
                "trunk_channels must have one number or more, but no more than stem_channels, got "
                f"{self.trunk_channels} for {self.stem_channels}"
            )
        for name in ("stem_channels", "trunk_channels"):
            if any(width % _GROUPS for width in getattr(self, name)):
                raise ValueError(
                    f"{name} must be multiples of {_GROUPS}, got {getattr(self, name)}"
                )

    @property
    def stride(self) -> int:
        """Pixels from one token to the next."""
        return 2 ** len(self.stem_blocks)


class PyramidTransformer(VisionTransformer):
    """Convolutions down, a transformer, and convolutions up with shortcuts across.

    Parameters
    ----------
    config : ViTConfig
        Of the transformer.
    pyramid : PyramidConfig
        Of the convolutions around it.

    References
    ----------
    Early convolutions: Xiao et al., "Early Convolutions Help Transformers See Better", NeurIPS
    2021. A transformer in the middle of a U-Net: Chen et al., "TransUNet", arXiv 2102.04306.
    """

    def __init__(self, config: ViTConfig, pyramid: PyramidConfig) -> None:
        if pyramid.stride != config.patch_size:
            raise ValueError(
                f"patch_size must be {pyramid.stride}, 2 to the number of stem_blocks, got "
                f"{config.patch_size}"
            )
        super().__init__(config)
        self.pyramid = pyramid
        del self.patch_embed
        down = pairwise((3, *pyramid.stem_channels, config.embed_dim))
        self.stem = nn.ModuleList(
            _descent(before, after, blocks)
            for (before, after), blocks in zip(down, pyramid.stem_blocks, strict=True)
        )
        up = pairwise((config.embed_dim, *pyramid.trunk_channels))
        shortcuts = pyramid.stem_channels[::-1][: len(pyramid.trunk_channels)]
        self.trunk = nn.ModuleList(
            Rise(below, across, channels)
            for (below, channels), across in zip(up, shortcuts, strict=True)
        )

    @property
    def embed_dim(self) -> int:
        """Channels of the features."""
        return self.pyramid.trunk_channels[-1]

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (batch, 3, height, width) to features (batch, embed_dim, rows, columns).

        Raises
        ------
        ShapeError
            The height or width is no multiple of the patch size.
        """
        stride = self.pyramid.stride
        if pixels.ndim != 4 or pixels.shape[1] != 3 or any(n % stride for n in pixels.shape[2:]):
            raise ShapeError(
                "pixels must have shape (batch, 3, height, width), both of them multiples of "
                f"{stride}, got {tuple(pixels.shape)}"
            )
        levels = [pixels]
        for step in self.stem:
            levels.append(step(levels[-1]))
        features = self.mix(levels.pop())
        for rise in self.trunk:
            features = rise(features, levels.pop())
        return features


class Residual(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(*_conv(channels, channels), *_conv(channels, channels)[:-1])

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, channels, rows, columns) to the same shape."""
        return F.relu(features + self.inner(features))

    def start_as_identity(self) -> None:
        """Make the shortcut all there is, from which deep stacks learn best."""
        nn.init.zeros_(self.inner[-1].weight)  # type: ignore[arg-type]


class Rise(nn.Module):
    """Double the size of features and add those of a shortcut."""

    def __init__(self, below: int, across: int, channels: int) -> None:
        super().__init__()
        self.below = nn.Conv2d(below, channels, 1)
        self.across = nn.Conv2d(across, channels, 1, bias=False)
        self.norm = group_norm(channels)
        self.block = Residual(channels)

    def forward(self, features: Tensor, shortcut: Tensor) -> Tensor:
        """Map features, and a shortcut of twice their size, to ``channels`` of that size."""
        raised = F.interpolate(self.below(features), scale_factor=2.0, mode="nearest")
        return self.block(F.relu(self.norm(raised + self.across(shortcut))))


def group_norm(channels: int) -> nn.GroupNorm:
    """Return the norm of all these layers; it needs neither a batch nor running averages."""
    return nn.GroupNorm(_GROUPS, channels)


def _descent(before: int, after: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*_conv(before, after, stride=2), *(Residual(after) for _ in range(blocks)))


def _conv(before: int, after: int, *, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return [conv, group_norm(after), nn.ReLU()]
