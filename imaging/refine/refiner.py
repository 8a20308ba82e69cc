"""Refining linear reconstructions: imagine with a diffusion model, then answer to the capture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .conditioning import from_model_range, to_model_range
from .control import CaptureControlNet
from .denoiser import Control
from .measurement import Measurement, Tether
from .parts import RefinerParts
from .resample import resize
from .sampling import Sampler
from .settings import RefinerSettings
from .start import Start

__all__ = ["Refined", "Refiner"]


@dataclass(frozen=True, eq=False)
class Refined:
    """Refined pictures beside what was measured.

    Attributes
    ----------
    image : Tensor, shape (batch, 3, height, width)
        Linear light in units of the scene, of the model's size; not clipped.
    linear : Tensor, shape (batch, 3, scene_height, scene_width)
        The linear reconstruction, as it was given.
    white : Tensor, shape (batch,)
        The linear value that the model saw as white.
    residual, linear_residual : Tensor, shape (batch, planes)
        Root mean square of what the image, and what the linear reconstruction, leave unexplained
        of the capture, over its noise; about 1 where the noise is all that is left.
    imagined_residual : Tensor, shape (batch, planes)
        The same of the picture as the model imagined it.
    settings : RefinerSettings
        How it was made.
    """

    image: Tensor
    linear: Tensor
    white: Tensor
    residual: Tensor
    linear_residual: Tensor
    imagined_residual: Tensor
    settings: RefinerSettings


class Refiner:
    """A diffusion model that refines what lensless cameras capture.

    Parameters
    ----------
    parts : RefinerParts
        The networks.
    **options
        Device, layout and compilation, see :class:`~barelens.imaging.refine.sampling.Sampler`.
    """

    def __init__(self, parts: RefinerParts, **options: Any) -> None:
        self.parts = parts
        self.sample = Sampler(parts, **options)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        base: str | Path | None = None,
        tiny_vae: str | Path | None = None,
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ) -> "Refiner":
        """Read a refiner's folder or hub id; see :meth:`RefinerParts.load` and :class:`Refiner`."""
        return cls(RefinerParts.load(model, base=base, tiny_vae=tiny_vae, dtype=dtype), **options)

    def save(self, folder: str | Path) -> None:
        """Write the refiner's folder."""
        self.parts.save(folder)

    @property
    def settings(self) -> RefinerSettings:
        """The settings that the model recommends."""
        return RefinerSettings(**self.parts.record.settings)

    @property
    def capture_size(self) -> tuple[int, int] | None:
        """(height, width) of a capture's plane, of a model that sees captures; else None."""
        controlnet = self.parts.controlnet
        if isinstance(controlnet, CaptureControlNet):
            return controlnet.transform.capture_size
        return None

    @torch.no_grad()
    def __call__(
        self,
        linear: Tensor,
        measurement: Measurement,
        settings: RefinerSettings | None = None,
        *,
        controls: Sequence[Control] = (),
    ) -> Refined:
        """Refine a batch of linear reconstructions.

        Parameters
        ----------
        linear : Tensor of float32, shape (batch, 3 or 1, scene_height, scene_width)
            Linear reconstructions in units of the scene, neither clipped nor scaled, on the
            refiner's device.
        measurement : Measurement
            What they were made from, there too.
        settings : RefinerSettings, optional
            How to refine; what the model recommends by default.
        controls : sequence of Control, optional
            Further ControlNets and what they see, of the size that :meth:`picture_size` gives.

        Returns
        -------
        Refined
            The pictures and what ties them to the measurement.

        Raises
        ------
        ShapeError, TypeError, ValueError
            The arguments do not fit each other or the model.
        """
        settings = settings or self.settings
        linear = measurement.check_linear(linear)
        start = Start.of(self.parts.record.start, linear, measurement)
        white = start.white
        size = self.picture_size((linear.shape[-2], linear.shape[-1]), settings)
        tether = Tether(measurement, size, white)
        picture = self.sample(
            self._conditioning(start, size),
            settings,
            linear=to_model_range(resize(start.picture, size), white),
            correction=tether.correct,
            controls=controls,
        )
        imagined = from_model_range(picture, white)
        image = tether.blend(linear, imagined, settings.imagination)
        return Refined(
            image=image,
            linear=linear,
            white=white,
            residual=tether.residual(image),
            linear_residual=tether.consistency.whitened_residual(linear),
            imagined_residual=tether.residual(imagined),
            settings=settings,
        )

    def from_capture(self, capture: Tensor, settings: RefinerSettings | None = None) -> Tensor:
        """Sample pictures for captures alone, as DifuzCam does.

        Parameters
        ----------
        capture : Tensor, shape (batch, 4, sensor_height, sensor_width)
            Prepared captures, planes R, Gr, Gb and B.
        settings : RefinerSettings, optional
            How to sample.

        Returns
        -------
        Tensor of float32, shape (batch, 3, height, width)
            Pictures, sRGB in about [-1, 1].

        Raises
        ------
        ValueError
            The model sees linear reconstructions, not captures.
        """
        return self.sample(self._transformed(capture), settings or self.settings)

    def picture_size(
        self, scene_size: tuple[int, int], settings: RefinerSettings
    ) -> tuple[int, int]:
        """(height, width) of the pictures that scenes become.

        A model of captures has one size; else the settings decide, then what the model was
        trained for, then the scene's own size, made larger where the networks need multiples.
        """
        if isinstance(self.parts.controlnet, CaptureControlNet):
            return self.parts.controlnet.transform.size
        fixed = settings.size or self.parts.record.size
        if fixed is not None:
            return fixed
        multiple = self.sample.multiple
        height, width = (-(-side // multiple) * multiple for side in scene_size)
        return height, width

    def _conditioning(self, start: Start, size: tuple[int, int]) -> Tensor:
        if self.parts.record.conditioning == "capture":
            return self._transformed(start.measurement.capture)
        return resize(start.conditioning(), size)

    @torch.no_grad()
    def _transformed(self, capture: Tensor) -> Tensor:
        if not isinstance(self.parts.controlnet, CaptureControlNet):
            raise ValueError("this refiner sees linear reconstructions, not captures")
        transform = self.parts.controlnet.transform
        return transform(capture.to(transform.weight_left))
