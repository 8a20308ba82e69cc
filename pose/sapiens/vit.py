"""The first generation's backbone: a plain vision transformer with published key names."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...imaging.shapes import ShapeError
from .sizes import PatchPadding, ViTConfig

__all__ = [
    "VisionTransformer",
    "fit_position_embedding",
    "resize_position_embedding",
    "stored_grid",
]


class VisionTransformer(nn.Module):
    """Map normalised pixels to a grid of features.

    Parameters
    ----------
    config : ViTConfig
        Sizes and quirks.

    References
    ----------
    Khirodkar et al., "Sapiens: Foundation for Human Vision Models", ECCV 2024.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        rows, columns = config.grid
        tokens = rows * columns + int(config.class_token)
        self.patch_embed = PatchEmbed(config.embed_dim, config.patch_size, config.patch_padding)
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, config.embed_dim))
        if config.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        if config.final_norm:
            self.ln1 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)

    @property
    def embed_dim(self) -> int:
        """Channels of the features."""
        return self.config.embed_dim

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (batch, 3, height, width) to features (batch, embed_dim, rows, columns)."""
        return self.mix(self.patch_embed(pixels))

    def mix(self, patches: Tensor) -> Tensor:
        """Map projected patches (batch, embed_dim, rows, columns) to features of that shape."""
        grid = (patches.shape[-2], patches.shape[-1])
        tokens = patches.flatten(2).mT
        prefix = int(self.config.class_token)
        if prefix:
            tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        position = resize_position_embedding(self.pos_embed, self.config.grid, grid, prefix)
        tokens = tokens + position
        for layer in self.layers:
            tokens = layer(tokens)
        if self.config.final_norm:
            tokens = self.ln1(tokens)
        return torch.unflatten(tokens[:, prefix:].mT, 2, grid)


class PatchEmbed(nn.Module):
    """Cut a picture into patches and project each to a token, as one strided convolution."""

    def __init__(self, embed_dim: int, patch_size: int, padding: PatchPadding) -> None:
        super().__init__()
        self.corner = padding == "corner"
        self.projection = nn.Conv2d(
            3,
            embed_dim,
            kernel_size=patch_size,
            stride=patch_size,
            padding=0 if padding == "corner" else padding,
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (batch, 3, height, width) to (batch, embed_dim, rows, columns)."""
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ShapeError(
                f"pixels must have shape (batch, 3, height, width), got {tuple(pixels.shape)}"
            )
        if self.corner:
            patch = self.projection.kernel_size[0]
            # Not "-size % patch", which torch.compile cannot yet express for sizes that vary.
            height, width = pixels.shape[-2:]
            right, bottom = (patch - width % patch) % patch, (patch - height % patch) % patch
            pixels = F.pad(pixels, (0, right, 0, bottom))
        return self.projection(pixels)


class Layer(nn.Module):
    """Self-attention and a feed-forward block, each on normalised tokens and with a shortcut."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.attn = Attention(config.embed_dim, config.num_heads)
        self.ln2 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.ffn = FeedForward(config.embed_dim, config.feedforward_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (batch, tokens, embed_dim) to the same shape."""
        tokens = tokens + self.attn(self.ln1(tokens))
        return tokens + self.ffn(self.ln2(tokens))


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (batch, tokens, embed_dim) to the same shape."""
        qkv = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear maps with an exact GELU between; the nesting gives the published key names."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(embed_dim, hidden_dim), nn.GELU()),
            nn.Linear(hidden_dim, embed_dim),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (batch, tokens, embed_dim) to the same shape."""
        return self.layers(tokens)


def resize_position_embedding(
    embedding: Tensor, source: tuple[int, int], target: tuple[int, int], prefix: int = 0
) -> Tensor:
    """Interpolate a position embedding to another grid of patches.

    Parameters
    ----------
    embedding : Tensor, shape (1, prefix + rows * columns, embed_dim)
        One vector for each token.
    source, target : (int, int)
        Rows and columns now and wanted.
    prefix : int
        Leading tokens that have no place in the grid and stay as they are.

    Returns
    -------
    Tensor, shape (1, prefix + target rows * target columns, embed_dim)
        Bicubic, computed in float32 at least, because bfloat16 would move the patches;
        ``embedding`` itself where the grids are equal.
    """
    if source == target:
        return embedding
    grid = torch.unflatten(embedding[:, prefix:].mT, 2, source)
    wide = grid.to(torch.promote_types(grid.dtype, torch.float32))
    resized = F.interpolate(wide, size=target, mode="bicubic", align_corners=False)
    return torch.cat([embedding[:, :prefix], resized.to(embedding.dtype).flatten(2).mT], dim=1)


def fit_position_embedding(
    embedding: Tensor, target: tuple[int, int], *, class_token: bool
) -> Tensor:
    """Fit a checkpoint's position embedding to a model, whatever grid it comes from.

    Parameters
    ----------
    embedding : Tensor, shape (1, tokens, embed_dim)
        As stored; an odd number of tokens includes a class token in front.
    target : (int, int)
        Rows and columns of the model.
    class_token : bool
        Whether the model has a class token; where it has none, the stored one is left out.

    Raises
    ------
    ShapeError
        The stored tokens are neither the model's grid, nor a square, nor 4:3.
    """
    tokens = embedding.shape[1]
    wanted = target[0] * target[1]
    # The model's own grid goes first: an odd grid without a class token exists at small sizes.
    prefix = 0 if tokens == wanted else 1 if tokens == wanted + 1 else tokens % 2
    source = target if tokens - prefix == wanted else stored_grid(tokens - prefix)
    if class_token and not prefix:
        raise ShapeError(
            f"pos_embed has {tokens} tokens and none for the class token the model has"
        )
    kept = embedding if class_token else embedding[:, prefix:]
    return resize_position_embedding(kept, source, target, int(class_token))


def stored_grid(patches: int) -> tuple[int, int]:
    """Rows and columns of that many patches: a square if they make one, else 4:3.

    Raises
    ------
    ShapeError
        They make neither.
    """
    side = math.isqrt(patches)
    if side * side == patches:
        return side, side
    unit = math.isqrt(patches // 12)
    if 12 * unit * unit == patches:
        return 4 * unit, 3 * unit
    raise ShapeError(f"pos_embed has {patches} patches, which is neither a square nor a 4:3 grid")
