"""Settings of both Sapiens backbones, one table of named sizes each."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["BACKBONES", "BACKBONES_V2", "PatchPadding", "RopeDtype", "RopeViTConfig", "ViTConfig"]

PatchPadding = int | Literal["corner"]
RopeDtype = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class ViTConfig:
    """Settings of the first generation's backbone, a plain pre-norm vision transformer.

    Attributes
    ----------
    embed_dim, depth, num_heads, feedforward_dim : int
        Width of a token, number of layers, attention heads, width inside the feed-forward block.
    image_size : (int, int)
        Height and width in pixels that the position embedding belongs to.
    patch_size : int
        Side of a square patch in pixels.
    patch_padding : int or "corner"
        Zeros around the picture before it is cut into patches. The published pose and normal
        models were trained with 2, the others with "corner" (right and bottom, to a whole number
        of patches): the grid is the same, so that a wrong value loads and is badly wrong.
    class_token : bool
        A leading token that only the pretrained encoders keep.
    final_norm : bool
        LayerNorm after the last layer: every published model has it, other pre-norm ViTs do not.
    norm_eps : float
        The published models use 1e-6, PyTorch's own default is ten times that.
    """

    embed_dim: int
    depth: int
    num_heads: int
    feedforward_dim: int
    image_size: tuple[int, int] = (1024, 768)
    patch_size: int = 16
    patch_padding: PatchPadding = "corner"
    class_token: bool = False
    final_norm: bool = True
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        _check_width(self.embed_dim, self.num_heads)
        if self.patch_padding != "corner" and int(self.patch_padding) < 0:
            raise ValueError(
                f"patch_padding must be 'corner' or at least 0, got {self.patch_padding!r}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches at ``image_size``."""
        return patch_grid(self.image_size, self.patch_size, self.patch_padding)


@dataclass(frozen=True)
class RopeViTConfig:
    """Settings of the second generation's backbone, with rotary positions and grouped queries.

    Attributes
    ----------
    embed_dim, num_heads, feedforward_dim : int
        Width of a token, attention heads, width inside the gated feed-forward block.
    key_value_heads : tuple of int
        Heads of keys and values in each layer, so its length is the depth; fewer than
        ``num_heads`` where several queries share them.
    image_size : (int, int)
        Height and width in pixels the model was made for; others work too.
    patch_size, storage_tokens : int
        Side of a patch in pixels; number of extra tokens beside the class token.
    rope_dtype : "bf16" or "fp32"
        Precision of the rotary angles and of queries and keys while they are rotated. The
        published code rounds to bfloat16 even in a float32 model, transformers does not; the
        outputs differ by as much as 6e-2. torch.compile leaves out roundings between steps it
        joins, and so is between the two.
    rope_base : float
        Longest period over shortest.
    qk_norm, layer_scale : bool
        RMSNorm of queries and keys over a head, a learnt gain after attention (and none after
        the feed-forward block).
    norm_eps : float
        Of every RMSNorm.
    tokenizer_depth : int
        Layers of the windowed tokenizer of the 4K models, 0 for the others.
    window : int
        Side in patches of the tokenizer's windows.
    tokenizer_class_position, tokenizer_layer_scale : bool
        Whether the tokenizer's position embedding has a place for the class token of a window,
        and whether its attention has the learnt gain.
    """

    embed_dim: int
    num_heads: int
    feedforward_dim: int
    key_value_heads: tuple[int, ...]
    image_size: tuple[int, int] = (1024, 768)
    patch_size: int = 16
    storage_tokens: int = 8
    rope_dtype: RopeDtype = "bf16"
    rope_base: float = 100.0
    qk_norm: bool = True
    layer_scale: bool = True
    norm_eps: float = 1e-6
    tokenizer_depth: int = 0
    window: int = 4
    tokenizer_class_position: bool = False
    tokenizer_layer_scale: bool = True

    def __post_init__(self) -> None:
        _check_width(self.embed_dim, self.num_heads)
        if (self.embed_dim // self.num_heads) % 4:
            raise ValueError(
                "rotary positions in two axes need a head of a multiple of 4 channels, got "
                f"{self.embed_dim // self.num_heads} = {self.embed_dim} / {self.num_heads}"
            )
        if self.rope_dtype not in ("bf16", "fp32"):
            raise ValueError(f"rope_dtype must be 'bf16' or 'fp32', got {self.rope_dtype!r}")
        for heads in self.key_value_heads:
            if self.num_heads % heads:
                raise ValueError(
                    f"key_value_heads must divide num_heads={self.num_heads}, got {heads}"
                )

    @property
    def local_positions(self) -> int:
        """Tokens of a window that have a position of their own."""
        return self.window**2 + int(self.tokenizer_class_position)


def patch_grid(
    image_size: tuple[int, int], patch_size: int, patch_padding: PatchPadding
) -> tuple[int, int]:
    """Rows and columns of patches of a picture of the given height and width."""
    if patch_padding == "corner":
        rows, columns = (-(-side // patch_size) for side in image_size)
    else:
        rows, columns = ((side + 2 * patch_padding) // patch_size for side in image_size)
    return rows, columns


def _check_width(embed_dim: int, num_heads: int) -> None:
    if num_heads < 1 or embed_dim % num_heads:
        raise ValueError(f"embed_dim must be a multiple of num_heads={num_heads}, got {embed_dim}")


def _grouped(depth: int, num_heads: int) -> tuple[int, ...]:
    """Full heads in the first and last eight layers, half as many keys and values between."""
    return tuple(
        num_heads if layer < 8 or layer >= depth - 8 else num_heads // 2 for layer in range(depth)
    )


BACKBONES = {
    # Ours, for people in 256x192 crops.
    "nano": ViTConfig(64, 2, 4, 256, image_size=(256, 192)),
    "tiny": ViTConfig(192, 12, 3, 768, image_size=(256, 192)),
    "small": ViTConfig(256, 12, 4, 1024, image_size=(256, 192)),
    # The published sizes.
    "0.3b": ViTConfig(1024, 24, 16, 4096),
    "0.6b": ViTConfig(1280, 32, 16, 5120),
    "1b": ViTConfig(1536, 40, 24, 6144),
    "2b": ViTConfig(1920, 48, 32, 7680),
}

BACKBONES_V2 = {
    "0.1b": RopeViTConfig(768, 12, 3072, _grouped(12, 12)),
    "0.4b": RopeViTConfig(1024, 16, 4096, _grouped(24, 16)),
    "0.8b": RopeViTConfig(1280, 16, 5120, _grouped(32, 16)),
    "1b": RopeViTConfig(1536, 24, 6144, _grouped(40, 24)),
    "1b-4k": RopeViTConfig(
        1536, 24, 6144, _grouped(40, 24), image_size=(4096, 3072), tokenizer_depth=4
    ),
    "5b": RopeViTConfig(2432, 32, 9728, _grouped(56, 32)),
}
