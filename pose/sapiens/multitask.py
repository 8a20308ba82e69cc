"""Our own model: one small vision transformer that tells pose, parts, depth and normals at once."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from ..labels import KeypointLayout, PartLabels, named_layout, named_parts
from .heads import DeconvHead
from .model import HumanModel
from .multitask_config import MultiTaskConfig
from .pyramid import PyramidTransformer, Residual, group_norm
from .stored import CheckpointError, read_state_dict, write_state_dict
from .tasks import Task
from .vit import VisionTransformer

__all__ = [
    "MULTITASK_FORMAT",
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
            backbone = _backbone(config)
            heads = _heads(config, backbone.embed_dim)
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

    @property
    def flip_tasks(self) -> tuple[Task, ...]:
        """All of them: it learnt from mirrored people too."""
        return self.tasks

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


def _backbone(config: MultiTaskConfig) -> VisionTransformer:
    if config.pyramid is None:
        return VisionTransformer(config.backbone)
    return PyramidTransformer(config.backbone, config.pyramid)


def _heads(config: MultiTaskConfig, in_channels: int) -> dict[Task, nn.Module]:
    sizes: dict[Task, tuple[tuple[int, ...], int]] = {
        "pose": (config.pose_channels, len(config.keypoints)),
        "segmentation": (config.parts_channels, len(config.parts)),
        "depth": (config.depth_channels, 1),
        "normal": (config.normals_channels, 3),
    }
    return {
        task: DeconvHead(
            in_channels,
            channels,
            (config.head_channels,),
            outputs,
            final="final_layer" if task == "pose" else "conv_seg",
            conv_kernels=(config.head_kernel,),
            norm=nn.InstanceNorm2d if config.pyramid is None else group_norm,
        )
        for task, (channels, outputs) in sizes.items()
    }


@torch.no_grad()
def _initialise(model: MultiTaskModel, seed: int) -> None:
    """Draw the weights: small in the transformer, of kept variance in the heads, last ones tiny."""
    generator = torch.Generator().manual_seed(seed)
    model.backbone.pos_embed.normal_(std=0.02, generator=generator)  # type: ignore[operator]
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm):
            module.weight.fill_(1)
            module.bias.zero_()
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if module.bias is not None:
                module.bias.zero_()
            module.weight.normal_(std=_deviation(name, module), generator=generator)
    for module in model.modules():
        if isinstance(module, Residual):
            module.start_as_identity()


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
