"""Sampling pictures with a refiner's networks; nothing here knows of cameras."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .control import CaptureControlNet
from .denoiser import Control, Denoiser
from .parts import RefinerParts
from .schedules import Schedule
from .settings import RefinerSettings
from .spaces import LatentSpace, space_of
from .text import embed_prompt

__all__ = ["Correction", "Sampler"]

#: From pictures in [-1, 1] to pictures that agree with a measurement.
Correction = Callable[[Tensor], Tensor]


class Sampler:
    """The networks of a refiner, ready to sample.

    Parameters
    ----------
    parts : RefinerParts
        The networks; they are moved to the device and set to inference.
    device : torch.device or str, optional
        Where to compute.
    channels_last : bool, optional
        Whether to lay out images channel by channel, which suits bfloat16 on processors and
        tensor cores.
    compiled : bool, optional
        Whether to compile UNet and ControlNet; the first call of each size is then slow.
    """

    def __init__(
        self,
        parts: RefinerParts,
        *,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
        compiled: bool = False,
    ) -> None:
        self.parts = parts
        self.device = torch.device(device)
        for module in parts.modules:
            module.to(self.device).eval().requires_grad_(False)
            if channels_last:
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._space = space_of(parts)
        controlnet: Any = parts.controlnet
        if isinstance(controlnet, CaptureControlNet):
            controlnet = controlnet.controlnet
        self._unet: Any = torch.compile(parts.unet) if compiled else parts.unet
        self._controlnet: Any = torch.compile(controlnet) if compiled else controlnet

    @property
    def _needs_linear(self) -> bool:
        record = self.parts.record
        return record.residual_scale is not None or record.folded_conditioning

    @property
    def multiple(self) -> int:
        """What a picture's sides must be multiples of."""
        return self._space.patch * 2 ** (len(self.parts.unet.config["block_out_channels"]) - 1)

    @torch.no_grad()
    def __call__(
        self,
        image: Tensor,
        settings: RefinerSettings,
        *,
        linear: Tensor | None = None,
        correction: Correction | None = None,
        controls: Sequence[Control] = (),
    ) -> Tensor:
        """Sample pictures.

        Parameters
        ----------
        image : Tensor, shape (batch, channels, height, width)
            What the ControlNet sees, of the picture's size.
        settings : RefinerSettings
            How to sample.
        linear : Tensor, shape (batch, 3, height, width), optional
            Linear reconstructions as sRGB in [-1, 1], to start from and for models of residuals.
        correction : callable, optional
            From pictures in [-1, 1] to pictures that agree with the measurement, for the steps
            that ``settings.consistency_steps`` names.
        controls : sequence of Control, optional
            Further ControlNets.

        Returns
        -------
        Tensor of float32, shape (batch, 3, height, width)
            Pictures, sRGB in about [-1, 1].

        Raises
        ------
        ValueError
            A reconstruction is needed and not given, or the size does not suit the model.
        """
        batch, size = image.shape[0], tuple(image.shape[-2:])
        if any(side % self.multiple for side in size):
            raise ValueError(f"a picture's sides must be multiples of {self.multiple}, got {size}")
        if linear is None:
            if settings.strength < 1 or self._needs_linear:
                raise ValueError("this model, or a strength below 1, needs linear")
            linear = image.new_zeros(batch, 3, *size)
        if isinstance(self._space, LatentSpace):
            self._space.set_tiling(settings.tile is not None)
        schedule = Schedule(
            settings.scheduler,
            self.parts.scheduler_config,
            self.parts.record.prediction,
            steps=settings.steps,
            strength=settings.strength,
            device=self.device,
        )
        generators = [torch.Generator().manual_seed(settings.seed) for _ in range(batch)]
        latents = self._space.encode(linear, linear) if settings.strength < 1 else None
        latents = schedule.run(
            schedule.start(self._noise(size, generators), latents),
            self._denoiser(self._space.conditioning(image, linear), settings, controls),
            generators,
            self._step_correction(settings, linear, correction),
        )
        return self._space.decode(latents, linear)

    def _noise(self, size: Sequence[int], generators: Sequence[torch.Generator]) -> Tensor:
        """Draw on the processor, so that a seed means the same on every device."""
        channels = self.parts.unet.config["in_channels"]
        shape = (channels, *(side // self._space.patch for side in size))
        return torch.stack([torch.randn(shape, generator=g) for g in generators]).to(self.device)

    def _denoiser(
        self, image: Tensor, settings: RefinerSettings, controls: Sequence[Control]
    ) -> Denoiser:
        prompts = embed_prompt(self.parts, settings.prompt).expand(image.shape[0], -1, -1)
        negative = None
        if settings.guidance_scale > 1:
            negative = embed_prompt(self.parts, settings.negative_prompt).expand_as(prompts)
        own = Control(self._controlnet, image.to(prompts), settings.conditioning_scale)
        others = [
            Control(other.network, other.image.to(prompts), other.scale) for other in controls
        ]
        return Denoiser(
            unet=self._unet,
            controls=[own, *others],
            prompts=prompts,
            negative_prompts=negative,
            guidance_scale=settings.guidance_scale,
            tile=settings.tile and settings.tile // self._space.patch,
            overlap=settings.tile_overlap // self._space.patch,
        )

    def _step_correction(
        self, settings: RefinerSettings, linear: Tensor, correction: Correction | None
    ) -> Callable[[int, Tensor], Tensor] | None:
        """Give what becomes of the estimate at each step, or None where nothing ever does.

        Estimates in a pixel space are kept to the range of pictures. Latents have no such range.
        """
        bounded = self.parts.record.space == "pixel"
        if not bounded and (correction is None or settings.consistency_steps == 0):
            return None

        def correct(step: int, clean: Tensor) -> Tensor:
            corrected = correction is not None and settings.corrects(step)
            if not bounded and not corrected:
                return clean
            picture = self._space.decode(clean, linear)
            if correction is not None and corrected:
                return self._space.encode(correction(picture), linear)
            return self._space.encode(picture.clamp(-1, 1), linear)

        return correct
