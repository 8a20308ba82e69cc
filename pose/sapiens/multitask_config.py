"""Settings of our own multi-task model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .pyramid import PyramidConfig
from .sizes import ViTConfig

__all__ = ["MultiTaskConfig"]


@dataclass(frozen=True)
class MultiTaskConfig:
    """Settings of a :class:`MultiTaskModel`.

    Attributes
    ----------
    keypoints : tuple of str
        Name of each keypoint, in the manner of COCO: ``left_`` and ``right_`` trade places in a
        mirror.
    parts : tuple of str
        Name of each class of body parts, the background first.
    image_size : (int, int)
        Height and width of the crops of people in pixels.
    patch_size, embed_dim, depth, num_heads, feedforward_dim : int
        As in :class:`ViTConfig`.
    pose_channels, parts_channels, depth_channels, normals_channels : tuple of int
        Channels after each transposed convolution of a head; each doubles the size, so that two
        of them give maps of a quarter of ``image_size`` with patches of 16.
    head_channels, head_kernel : int
        Channels and kernel size of the last hidden layer of every head.
    stem_channels, stem_blocks, trunk_channels : tuple of int
        Convolutions around the transformer, see :class:`~barelens.pose.sapiens.PyramidConfig`;
        heads then start from the last of ``trunk_channels``. Empty for a plain transformer.
    """

    keypoints: tuple[str, ...]
    parts: tuple[str, ...]
    image_size: tuple[int, int] = (256, 192)
    patch_size: int = 16
    embed_dim: int = 192
    depth: int = 12
    num_heads: int = 3
    feedforward_dim: int = 768
    pose_channels: tuple[int, ...] = (128, 128)
    parts_channels: tuple[int, ...] = (128, 128)
    depth_channels: tuple[int, ...] = (128, 128)
    normals_channels: tuple[int, ...] = (128, 128)
    head_channels: int = 128
    head_kernel: int = 1
    stem_channels: tuple[int, ...] = ()
    stem_blocks: tuple[int, ...] = ()
    trunk_channels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("keypoints", "parts"):
            names = getattr(self, name)
            if not names or len(set(names)) != len(names):
                raise ValueError(f"{name} must hold different names, got {names}")
        if any(side % self.patch_size for side in self.image_size):
            raise ValueError(
                f"image_size must be a multiple of patch_size={self.patch_size}, got "
                f"{self.image_size}"
            )
        if self.pyramid is None and self.trunk_channels:
            raise ValueError(f"trunk_channels={self.trunk_channels} needs stem_channels, got none")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "MultiTaskConfig":
        """Read settings from JSON data, in which tuples are lists."""
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in record.items()
        }
        return cls(**settings)

    @property
    def backbone(self) -> ViTConfig:
        """Settings of the shared transformer."""
        return ViTConfig(
            self.embed_dim,
            self.depth,
            self.num_heads,
            self.feedforward_dim,
            image_size=self.image_size,
            patch_size=self.patch_size,
        )

    @property
    def pyramid(self) -> PyramidConfig | None:
        """Settings of the convolutions around the transformer, if there are any."""
        if not self.stem_channels:
            return None
        return PyramidConfig(self.stem_channels, self.stem_blocks, self.trunk_channels)

    def map_grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the finest maps of crops of a size."""
        heads = (
            self.pose_channels, self.parts_channels, self.depth_channels, self.normals_channels
        )  # fmt: skip
        doubled = len(self.trunk_channels) + max(len(channels) for channels in heads)
        rows, columns = (side // self.patch_size * 2**doubled for side in size)
        return rows, columns
