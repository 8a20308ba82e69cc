"""The networks that training works on, and the refiner's folder that comes of it."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...files import linear_to_srgb
from ..control import CaptureControlNet
from ..libraries import need_diffusers
from ..parts import RefinerParts
from ..text import embed_prompt

__all__ = [
    "Prompts",
    "TrainingModel",
    "export",
    "linear_picture",
    "noise_schedule",
    "trainable",
]


class TrainingModel(nn.Module):
    """UNet and ControlNet as one module, as data-parallel training wants it.

    Parameters
    ----------
    parts : RefinerParts
        The networks.
    """

    def __init__(self, parts: RefinerParts) -> None:
        super().__init__()
        self.unet = parts.unet
        self.controlnet = parts.controlnet

    def forward(
        self, noisy: Tensor, timesteps: Tensor, prompts: Tensor, conditioning: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Predict, and give the transform's own picture where there is a transform.

        Parameters
        ----------
        noisy : Tensor, shape (batch, channels, height, width)
            Noisy samples.
        timesteps : Tensor, shape (batch,)
            Their timesteps.
        prompts : Tensor, shape (batch, tokens, features)
            Embedded captions.
        conditioning : Tensor, shape (batch, channels, height, width)
            What the ControlNet sees.
        """
        network, preview = self.controlnet, None
        if isinstance(network, CaptureControlNet):
            conditioning = network.transform(conditioning)
            preview = network.preview(conditioning)
            network = network.controlnet
        down, middle = network(
            noisy, timesteps, prompts, controlnet_cond=conditioning, return_dict=False
        )
        prediction = self.unet(
            noisy,
            timesteps,
            prompts,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return prediction, preview


def linear_picture(conditioning: Tensor) -> Tensor:
    """Give the reconstruction that a conditioning image describes, as sRGB in [-1, 1]."""
    return 2 * linear_to_srgb(conditioning[:, :3].clamp(0, 1)) - 1


def noise_schedule(parts: RefinerParts) -> Any:
    """Give diffusers' noise schedule of a refiner."""
    return need_diffusers().DDPMScheduler.from_config(parts.scheduler_config)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that are trained, by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


class Prompts:
    """Captions, embedded; each different one once.

    Parameters
    ----------
    parts : RefinerParts
        With or without a text encoder.
    """

    def __init__(self, parts: RefinerParts) -> None:
        self._parts = parts
        self._known: dict[str, Tensor] = {}

    def __call__(self, captions: list[str]) -> Tensor:
        """Embed captions, shape (batch, tokens, features); without an encoder all are empty."""
        if self._parts.text_encoder is None:
            captions = [""] * len(captions)
        if len(self._known) > 4096:
            self._known.clear()
        for caption in captions:
            if caption not in self._known:
                self._known[caption] = embed_prompt(self._parts, caption)
        return torch.cat([self._known[caption] for caption in captions])


def export(
    parts: RefinerParts,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    settings: dict[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write a refiner's folder: low-rank updates merged in, what a base model has left out.

    Parameters
    ----------
    parts : RefinerParts
        What was trained.
    folder : Path
        Where to write.
    dtype : torch.dtype, optional
        Of the stored weights.
    settings, provenance : dict, optional
        For the record.
    """
    # diffusers' own to() warns of modules that lose precision, of which these have none.
    unet, controlnet = (
        nn.Module.to(_merged(copy.deepcopy(network)), dtype)
        for network in (parts.unet, parts.controlnet)
    )
    record = replace(parts.record, settings=settings or {}, provenance=provenance or {})
    exported = RefinerParts(
        record=record,
        unet=unet,
        controlnet=controlnet,
        scheduler_config=parts.scheduler_config,
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        null_prompt=parts.null_prompt,
    )
    exported.save(folder)


def _merged(network: Any) -> Any:
    """Fold low-rank updates into the weights they update."""
    inner = network.controlnet if isinstance(network, CaptureControlNet) else network
    if getattr(inner, "peft_config", None):
        inner.fuse_lora()
        inner.unload_lora()
    return network
