"""The second generation's backbone: rotary positions, grouped queries, gated feed-forward."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .sizes import RopeDtype, RopeViTConfig
from .vit import PatchEmbed

__all__ = ["RopeVisionTransformer", "rope_periods"]

_TOKENIZER_CHUNK = 1024  # windows at a time: a 4K picture has 3072 per item


class RopeVisionTransformer(nn.Module):
    """Map normalised pixels to a grid of features.

    Parameters
    ----------
    config : RopeViTConfig
        Sizes and quirks.

    References
    ----------
    "Sapiens2", ICLR 2026, arXiv:2604.21681. Heo et al., "Rotary Position Embedding for Vision
    Transformer", ECCV 2024.
    """

    def __init__(self, config: RopeViTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.embed_dim
        self.patch_embed = PatchEmbed(width, config.patch_size, 0)
        self.tokenizer = Tokenizer(config) if config.tokenizer_depth else None
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.storage_tokens = nn.Parameter(torch.zeros(1, config.storage_tokens, width))
        self.rope_embed = RotaryPositions(
            width // config.num_heads, config.rope_base, config.rope_dtype
        )
        self.blocks = nn.ModuleList(
            Block(config, heads, qk_norm=config.qk_norm, layer_scale=config.layer_scale)
            for heads in config.key_value_heads
        )
        self.ln1 = nn.RMSNorm(width, eps=config.norm_eps)

    @property
    def embed_dim(self) -> int:
        """Channels of the features."""
        return self.config.embed_dim

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (batch, 3, height, width) to features (batch, embed_dim, rows, columns)."""
        patches = self.patch_embed(pixels)
        if self.tokenizer is not None:
            patches = self.tokenizer(patches)
        batch, _, rows, columns = patches.shape
        prefix = torch.cat([self.cls_token, self.storage_tokens], dim=1).expand(batch, -1, -1)
        tokens = torch.cat([prefix, patches.flatten(2).mT], dim=1)
        rotation = self.rope_embed(rows, columns)
        for block in self.blocks:
            tokens = block(tokens, rotation)
        return self.ln1(tokens)[:, prefix.shape[1] :].mT.unflatten(2, (rows, columns))


def rope_periods(head_dim: int, base: float, dtype: torch.dtype) -> Tensor:
    """Periods of the rotations, a geometric sequence from 1 towards ``base``, computed in dtype."""
    steps = torch.arange(head_dim // 4, dtype=dtype)
    return base ** (2 * steps / (head_dim // 2))


class RotaryPositions(nn.Module):
    """Cosines and sines of the patches' rotations, from their centres scaled to [-1, 1]."""

    periods: Tensor

    def __init__(self, head_dim: int, base: float, dtype: RopeDtype) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.base = base
        self.dtype = torch.bfloat16 if dtype == "bf16" else torch.float32
        # Published files hold this buffer in bfloat16; fp32 angles are computed from the base.
        self.register_buffer("periods", rope_periods(head_dim, base, torch.bfloat16))

    def forward(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines, each of shape (rows * columns, head_dim)."""
        device = self.periods.device
        if self.dtype == torch.float32:
            periods = rope_periods(self.head_dim, self.base, self.dtype).to(device)
        else:
            periods = self.periods.to(self.dtype)
        centres = [
            2 * ((torch.arange(size, device=device, dtype=self.dtype) + 0.5) / size) - 1
            for size in (rows, columns)
        ]
        place = torch.stack(torch.meshgrid(*centres, indexing="ij"), dim=-1).flatten(0, 1)
        angles = 2 * math.pi * place[:, :, None] / periods
        angles = angles.flatten(1).tile(2)
        return angles.cos(), angles.sin()


class Block(nn.Module):
    """Attention and a gated feed-forward block, each on normalised tokens and with a shortcut."""

    def __init__(
        self, config: RopeViTConfig, key_value_heads: int, *, qk_norm: bool, layer_scale: bool
    ) -> None:
        super().__init__()
        self.ln1 = nn.RMSNorm(config.embed_dim, eps=config.norm_eps)
        self.attn = GroupedAttention(
            config, key_value_heads, qk_norm=qk_norm, layer_scale=layer_scale
        )
        self.ln2 = nn.RMSNorm(config.embed_dim, eps=config.norm_eps)
        self.ffn = GatedFeedForward(config.embed_dim, config.feedforward_dim)

    def forward(self, tokens: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        """Map (batch, tokens, embed_dim) to the same shape."""
        tokens = tokens + self.attn(self.ln1(tokens), rotation)
        return tokens + self.ffn(self.ln2(tokens))


class GroupedAttention(nn.Module):
    """Self-attention in which groups of queries may share keys and values."""

    def __init__(
        self, config: RopeViTConfig, key_value_heads: int, *, qk_norm: bool, layer_scale: bool
    ) -> None:
        super().__init__()
        width, self.head_dim = config.embed_dim, config.embed_dim // config.num_heads
        self.groups = config.num_heads // key_value_heads
        self.wq = nn.Linear(width, width)
        self.wk = nn.Linear(width, key_value_heads * self.head_dim)
        self.wv = nn.Linear(width, key_value_heads * self.head_dim)
        self.q_norm = nn.RMSNorm(self.head_dim, eps=config.norm_eps) if qk_norm else nn.Identity()
        self.k_norm = nn.RMSNorm(self.head_dim, eps=config.norm_eps) if qk_norm else nn.Identity()
        self.proj = nn.Linear(width, width)
        self.gamma = Gain(width) if layer_scale else nn.Identity()

    def forward(self, tokens: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        """Map (batch, tokens, embed_dim) to the same shape; only patches are rotated."""
        query = self.q_norm(self._split(self.wq(tokens)))
        key = self.k_norm(self._split(self.wk(tokens)))
        value = self._split(self.wv(tokens))
        if rotation is not None:
            query, key = _rotate(query, *rotation), _rotate(key, *rotation)
        if self.groups > 1:
            key = key.repeat_interleave(self.groups, dim=1)
            value = value.repeat_interleave(self.groups, dim=1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.gamma(self.proj(mixed.transpose(1, 2).flatten(2)))

    def _split(self, tokens: Tensor) -> Tensor:
        return torch.unflatten(tokens, -1, (-1, self.head_dim)).transpose(1, 2)


class GatedFeedForward(nn.Module):
    """SwiGLU: half of the hidden channels gate the other half."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(embed_dim, 2 * hidden_dim)
        self.w3 = nn.Linear(hidden_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (batch, tokens, embed_dim) to the same shape."""
        gate, value = self.w12(tokens).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


class Gain(nn.Module):
    """A learnt gain for each channel, small at first so that a new layer is almost a shortcut."""

    def __init__(self, embed_dim: int, initial: float = 1e-4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((embed_dim,), initial))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., embed_dim) to the same shape."""
        return tokens * self.weight


class Tokenizer(nn.Module):
    """Turn each window of patches of a 4K picture into one token, by attention inside it."""

    def __init__(self, config: RopeViTConfig) -> None:
        super().__init__()
        self.window = config.window
        self.w_cls = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.local_pos_embed = nn.Parameter(
            torch.zeros(1, config.local_positions, config.embed_dim)
        )
        self.blocks = nn.ModuleList(
            Block(config, config.num_heads, qk_norm=False, layer_scale=config.tokenizer_layer_scale)
            for _ in range(config.tokenizer_depth)
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Map (batch, embed_dim, rows, columns) to (.., rows / window, columns / window)."""
        batch, _, rows, columns = patches.shape
        window = self.window
        if rows % window or columns % window:
            raise ValueError(
                f"the tokenizer needs rows and columns of patches in multiples of {window}, got "
                f"{rows}x{columns}"
            )
        grid = (rows // window, columns // window)
        windows = patches.reshape(batch, -1, grid[0], window, grid[1], window)
        windows = windows.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2)
        tokens = torch.cat([self._encode(part) for part in torch.split(windows, _TOKENIZER_CHUNK)])
        return tokens.reshape(batch, -1, tokens.shape[-1]).mT.reshape(batch, -1, *grid)

    def _encode(self, windows: Tensor) -> Tensor:
        # The position embedding may or may not have a place for the window's class token.
        class_token = self.w_cls.expand(windows.shape[0], -1, -1)
        if self.local_pos_embed.shape[1] == windows.shape[1]:
            tokens = torch.cat([class_token, windows + self.local_pos_embed], dim=1)
        else:
            tokens = torch.cat([class_token, windows], dim=1) + self.local_pos_embed
        for block in self.blocks:
            tokens = block(tokens, None)
        return tokens[:, 0]


def _rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate the channels of the patches, the last tokens, in the precision of the angles.

    The prefix tokens are not rotated but rounded like the others, as the published models do.
    Every step is computed in the wider dtype of the two and rounded, which gives the same as
    arithmetic in bfloat16 and, unlike it, runs in every ONNX runtime.
    """

    def rounded(values: Tensor) -> Tensor:
        return values.to(cosine.dtype).to(wide)

    wide = torch.promote_types(heads.dtype, cosine.dtype)
    whole = rounded(heads)
    prefix, patches = whole.tensor_split([heads.shape[-2] - cosine.shape[0]], dim=-2)
    first, second = patches.chunk(2, dim=-1)
    across = torch.cat([-second, first], dim=-1)
    turned = rounded(rounded(patches * cosine.to(wide)) + rounded(across * sine.to(wide)))
    return torch.cat([prefix, turned], dim=-2).to(heads.dtype)
