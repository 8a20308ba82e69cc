"""What training minimises, example by example."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..parts import RefinerParts
from ..spaces import space_of
from .batches import Batch
from .model import Prompts, linear_picture, noise_schedule

__all__ = [
    "DenoisingObjective",
    "Noising",
    "NoisyBatch",
    "Objective",
    "edge_dissimilarity",
    "mean_square",
]


#: Keeps the weight of an almost perfect reconstruction finite.
_BALANCE_FLOOR = 0.1
#: Squared slope, of pictures in [-1, 1], below which edges do not count; Xue et al.'s constant.
_EDGE_FLOOR = 4 * 170 / 255**2


class Objective(Protocol):
    """What training minimises."""

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Give the loss of each example of a batch, shape (batch,)."""
        ...


@dataclass(frozen=True, eq=False)
class NoisyBatch:
    """A batch on its way through the noise schedule.

    Attributes
    ----------
    clean, noise, noisy : Tensor, shape (batch, channels, height, width)
        Samples without and with noise.
    timesteps : Tensor, shape (batch,)
        How far each has gone.
    conditioning : Tensor, shape (batch, channels, height, width)
        What the ControlNet sees.
    prompts : Tensor, shape (batch, tokens, features)
        Embedded captions.
    """

    clean: Tensor
    noise: Tensor
    noisy: Tensor
    timesteps: Tensor
    conditioning: Tensor
    prompts: Tensor


class Noising:
    """Encode batches and add their noise.

    Parameters
    ----------
    parts : RefinerParts
        The refiner in training.
    """

    def __init__(self, parts: RefinerParts) -> None:
        self.schedule: Any = noise_schedule(parts)
        self._space = space_of(parts)
        self._prompts = Prompts(parts)

    @property
    def last(self) -> int:
        """The last timestep."""
        return len(self.schedule.alphas_cumprod) - 1

    @torch.no_grad()
    def __call__(self, batch: Batch, timesteps: Tensor) -> NoisyBatch:
        """Bring a batch to timesteps of shape (batch,), with noise that its seeds decide."""
        linear = linear_picture(batch.conditioning)
        clean = self._space.encode(batch.picture, linear)
        shape = clean.shape[1:]
        noise = torch.stack(
            [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in batch.seeds]
        ).to(clean)
        return NoisyBatch(
            clean=clean,
            noise=noise,
            noisy=self.schedule.add_noise(clean, noise, timesteps),
            timesteps=timesteps,
            conditioning=self._space.conditioning(batch.conditioning, linear),
            prompts=self._prompts(batch.captions).to(clean),
        )


class DenoisingObjective:
    """Squared error of the prediction, and of the transform's own picture.

    Parameters
    ----------
    parts : RefinerParts
        The refiner in training.
    preview_weight : float, optional
        Weight of the squared error of the transform's picture, of captures only.
    balanced : bool, optional
        Whether to divide an example's loss by the mean square of its sample. Of residuals that
        makes captures count alike, however noisy.
    edge_weight : float, optional
        Weight of :func:`edge_dissimilarity`, for models that predict pictures in a pixel space. The
        squared error alone makes edges soft where they are uncertain.

    References
    ----------
    Yosef & Giryes, "DifuzCam: Replacing Camera Lens with a Mask and a Diffusion Model",
    Scientific Reports 15, 2025, for the first two terms together.
    """

    def __init__(
        self,
        parts: RefinerParts,
        *,
        preview_weight: float = 0.0,
        balanced: bool = False,
        edge_weight: float = 0.0,
    ) -> None:
        self._noising, self._space = Noising(parts), space_of(parts)
        self._preview_weight, self._balanced = preview_weight, balanced
        self._edge_weight = edge_weight

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Give the loss of each example."""
        timesteps = (batch.level * self._noising.last).round().long()
        noisy = self._noising(batch, timesteps)
        prediction, preview = model(noisy.noisy, timesteps, noisy.prompts, noisy.conditioning)
        loss = mean_square(prediction.float() - self._target(noisy))
        if self._balanced:
            loss = loss / (mean_square(noisy.clean) + _BALANCE_FLOOR)
        if preview is not None and self._preview_weight:
            loss = loss + self._preview_weight * mean_square(preview.float() - batch.picture)
        if self._edge_weight:
            picture = self._space.decode(prediction.float(), linear_picture(batch.conditioning))
            loss = loss + self._edge_weight * edge_dissimilarity(picture, batch.picture)
        return loss

    def _target(self, noisy: NoisyBatch) -> Tensor:
        schedule = self._noising.schedule
        kind = schedule.config.prediction_type
        if kind == "sample":
            return noisy.clean
        if kind == "epsilon":
            return noisy.noise
        velocity: Tensor = schedule.get_velocity(noisy.clean, noisy.noise, noisy.timesteps)
        return velocity


def mean_square(images: Tensor) -> Tensor:
    """Mean square of each image of a batch."""
    return images.square().flatten(1).mean(1)


def edge_dissimilarity(picture: Tensor, truth: Tensor) -> Tensor:
    """Compare the strengths of edges, colour by colour, at half the size.

    Parameters
    ----------
    picture, truth : Tensor, shape (batch, 3, height, width)
        sRGB in [-1, 1].

    Returns
    -------
    Tensor, shape (batch,)
        From 0, for the same strengths everywhere, to 1.

    References
    ----------
    Xue, Zhang, Mou & Bovik, "Gradient Magnitude Similarity Deviation: A Highly Efficient Perceptual
    Image Quality Index", IEEE Transactions on Image Processing, 2014; this is one less the mean of
    their similarity.
    """
    first, second = _squared_slope(picture), _squared_slope(truth)
    # The floor within the root keeps its gradient finite on flat parts.
    product = ((first + _EDGE_FLOOR / 100) * (second + _EDGE_FLOOR / 100)).sqrt()
    similarity = (2 * product + _EDGE_FLOOR) / (first + second + 1.02 * _EDGE_FLOOR)
    return 1 - similarity.flatten(1).mean(1)


def _squared_slope(picture: Tensor) -> Tensor:
    """Squared Prewitt gradient at half the size."""
    column = torch.tensor([[1.0, 0.0, -1.0]] * 3).to(picture) / 3
    kernels = torch.stack([column, column.T]).repeat(picture.shape[1], 1, 1)[:, None]
    small = functional.avg_pool2d(picture, 2)
    slopes = functional.conv2d(small, kernels, groups=picture.shape[1])
    pairs = slopes.reshape(*picture.shape[:2], 2, *slopes.shape[-2:])
    return pairs.square().sum(2)
