"""Our own model: one small vision transformer that tells pose, parts, depth and normals at once."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..labels import KeypointLayout, PartLabels, named_layout, named_parts
from .heads import DeconvHead
from .model import HumanModel
from .sizes import ViTConfig
from .stored import CheckpointError, read_state_dict, write_state_dict
from .tasks import Task
from .vit import VisionTransformer

__all__ = [
    "MULTITASK_FORMAT",
    "MultiTaskConfig",
    "MultiTaskModel",
    "build_multitask",
    "load_multitask",
    "save_multitask",
]

MULTITASK_FORMAT = "barelens.multitask"

# What the model's forward calls the output of each head.
_OUTPUTS: dict[Task, str] = {
    "pose": "pose",
    "segmentation": "parts",
    "depth": "depth",
    "normal": "normals",
}


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
    head_channels : int
        Channels of the last hidden layer of every head.
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


class MultiTaskModel(HumanModel):
    """One vision transformer and four heads on its features.

    Parameters
    ----------
    config : MultiTaskConfig
        Sizes, keypoints and parts.
    seed : int
        Of the initial weights.

    Attributes
    ----------
    card : dict
        How it was trained and what it can do, as far as its file says.

    References
    ----------
    Layers as in Khirodkar et al., "Sapiens: Foundation for Human Vision Models", ECCV 2024; one
    model for all tasks, learnt from synthetic people, as in Saleh et al., "DAViD: Data-efficient
    and Accurate Vision Models from Synthetic Data", ICCV 2025.
    """

    def __init__(self, config: MultiTaskConfig, *, seed: int = 0) -> None:
        # On "meta", so that no layer draws initial weights from the global generator.
        with torch.device("meta"):
            heads = _heads(config)
            backbone = VisionTransformer(config.backbone)
        super().__init__(backbone, heads, family="barelens")
        self.config = config
        self.card: dict[str, Any] = {}
        self.to_empty(device="cpu")
        _initialise(self, seed)

    @property
    def keypoint_layout(self) -> KeypointLayout:
        """Names, mirror pairs and skeleton of the keypoints."""
        return named_layout(self.config.keypoints)

    @property
    def part_labels(self) -> PartLabels:
        """Names and colours of the parts."""
        return named_parts(self.config.parts)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Map normalised pixels to the raw output of every head, from one pass of the backbone.

        Parameters
        ----------
        pixels : Tensor, shape (batch, 3, height, width)
            RGB crops of people with the mean and deviation of
            :class:`~barelens.pose.Preparation` taken out.

        Returns
        -------
        dict of str to Tensor
            ``pose``, heatmaps (batch, keypoints, rows, columns); ``parts``, logits (batch, parts,
            rows, columns); ``depth`` (batch, 1, rows, columns); ``normals`` (batch, 3, rows,
            columns), not yet of unit length.
        """
        outputs = self.read(self.features(pixels))
        return {_OUTPUTS[task]: output for task, output in outputs.items()}


def save_multitask(
    model: MultiTaskModel,
    path: str | os.PathLike[str],
    *,
    card: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Save a model as one safetensors file that holds its settings and its card.

    Parameters
    ----------
    model : MultiTaskModel
        The model.
    path : path
        Where to write; the file appears whole or not at all.
    card : mapping, optional
        JSON data about how it was trained and what it can do.
    dtype : dtype, optional
        To store weights in, for example ``torch.float16`` for half the size; as they are where
        not given.
    """
    state = {name: tensor.to(dtype or tensor.dtype) for name, tensor in model.state_dict().items()}
    write_state_dict(
        path, state, MULTITASK_FORMAT, config=asdict(model.config), card=dict(card or {})
    )


def load_multitask(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> MultiTaskModel:
    """Load what :func:`save_multitask` wrote, in evaluation mode.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file.
    device, dtype
        Where and in which precision to compute; in float32 where not given, however the weights
        are stored.

    Raises
    ------
    CheckpointError
        The file is damaged, of another format, or was written by a later release.
    """
    state, metadata = read_state_dict(path)
    if metadata.get("format") != MULTITASK_FORMAT:
        found = metadata.get("format", "no format of ours")
        raise CheckpointError(f"{path} must be of format {MULTITASK_FORMAT}, got {found}")
    return build_multitask(state, metadata, device=device, dtype=dtype)


def build_multitask(
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> MultiTaskModel:
    """Make the model that a file's tensors and metadata describe; see :func:`load_multitask`."""
    model = MultiTaskModel(MultiTaskConfig.from_record(json.loads(metadata["config"])))
    model.load_state_dict(state, strict=True)
    model.card = json.loads(metadata.get("card", "{}"))
    return model.to(device=device, dtype=dtype or torch.float32).eval()


def _heads(config: MultiTaskConfig) -> dict[Task, nn.Module]:
    sizes: dict[Task, tuple[tuple[int, ...], int]] = {
        "pose": (config.pose_channels, len(config.keypoints)),
        "segmentation": (config.parts_channels, len(config.parts)),
        "depth": (config.depth_channels, 1),
        "normal": (config.normals_channels, 3),
    }
    return {
        task: DeconvHead(
            config.embed_dim,
            channels,
            (config.head_channels,),
            outputs,
            final="final_layer" if task == "pose" else "conv_seg",
        )
        for task, (channels, outputs) in sizes.items()
    }


@torch.no_grad()
def _initialise(model: MultiTaskModel, seed: int) -> None:
    """Draw the weights: small in the transformer, of kept variance in the heads, last ones tiny."""
    generator = torch.Generator().manual_seed(seed)
    model.backbone.pos_embed.normal_(std=0.02, generator=generator)  # type: ignore[operator]
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.fill_(1)
            module.bias.zero_()
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if module.bias is not None:
                module.bias.zero_()
            module.weight.normal_(std=_deviation(name, module), generator=generator)


def _deviation(name: str, module: nn.Module) -> float:
    if isinstance(module, nn.Linear):
        return 0.02
    if name.endswith(("final_layer", "conv_seg")):
        return 0.01
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    # Of a transposed convolution of stride 2, a quarter of the kernel meets each output.
    inputs = module.in_channels * math.prod(module.kernel_size) / math.prod(module.stride)
    if isinstance(module, nn.Conv2d):
        inputs = module.in_channels * math.prod(module.kernel_size)
    return math.sqrt(1 / inputs)
