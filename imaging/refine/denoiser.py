"""One evaluation of UNet and ControlNets: with guidance, and tile by tile for large fields."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Control", "Denoiser", "tile_starts", "tile_window"]


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlNet and what it sees.

    Attributes
    ----------
    network : diffusers.ControlNetModel
        The network.
    image : Tensor, shape (batch, channels, height, width)
        Its conditioning, of the picture's size.
    scale : float
        Factor of what it adds.
    """

    network: Any
    image: Tensor
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Denoiser:
    """Predict from a noisy state.

    Attributes
    ----------
    unet : diffusers.UNet2DConditionModel
        The denoiser.
    controls : sequence of Control
        What steers it; their contributions are added.
    prompts : Tensor, shape (batch, tokens, features)
        Embedded prompts.
    negative_prompts : Tensor or None
        The same of what to stay away from; None without guidance.
    guidance_scale : float
        How far past the prediction for the prompts to go.
    tile, overlap : int or None, int
        Side and overlap of tiles, in latent pixels.
    """

    unet: Any
    controls: Sequence[Control]
    prompts: Tensor
    negative_prompts: Tensor | None = None
    guidance_scale: float = 1.0
    tile: int | None = None
    overlap: int = 0

    def __call__(self, state: Tensor, timestep: Tensor) -> Tensor:
        """Map a state (batch, channels, height, width) to the float32 prediction of its shape."""
        dtype = self.prompts.dtype
        state = state.to(dtype)
        if self.tile is None or self.tile >= max(state.shape[-2:]):
            return self._guided(state, timestep, [control.image for control in self.controls])
        total = torch.zeros(state.shape, dtype=torch.float32, device=state.device)
        weight = torch.zeros(state.shape[-2:], dtype=torch.float32, device=state.device)
        for rows, columns in self._tiles(state.shape[-2:]):
            images = [_crop(control.image, state, rows, columns) for control in self.controls]
            prediction = self._guided(state[..., rows, columns], timestep, images)
            window = tile_window(prediction.shape[-2:], self.overlap).to(weight)
            total[..., rows, columns] += window * prediction
            weight[rows, columns] += window
        return total / weight

    def _guided(self, state: Tensor, timestep: Tensor, images: list[Tensor]) -> Tensor:
        if self.negative_prompts is None:
            return self._predict(state, timestep, self.prompts, images)
        both = self._predict(
            torch.cat([state, state]),
            timestep,
            torch.cat([self.negative_prompts, self.prompts]),
            [torch.cat([image, image]) for image in images],
        )
        away, towards = both.chunk(2)
        return away + self.guidance_scale * (towards - away)

    def _predict(
        self, state: Tensor, timestep: Tensor, prompts: Tensor, images: list[Tensor]
    ) -> Tensor:
        down: list[Tensor] | None = None
        middle: Tensor | None = None
        for control, image in zip(self.controls, images, strict=True):
            added, added_middle = control.network(
                state,
                timestep,
                encoder_hidden_states=prompts,
                controlnet_cond=image,
                conditioning_scale=control.scale,
                return_dict=False,
            )
            down = added if down is None else [a + b for a, b in zip(down, added, strict=True)]
            middle = added_middle if middle is None else middle + added_middle
        prediction = self.unet(
            state,
            timestep,
            encoder_hidden_states=prompts,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return prediction.float()

    def _tiles(self, size: torch.Size) -> Iterator[tuple[slice, slice]]:
        assert self.tile is not None
        rows, columns = (
            [
                slice(start, start + self.tile)
                for start in tile_starts(side, self.tile, self.overlap)
            ]
            for side in size
        )
        return ((row, column) for row in rows for column in columns)


def tile_starts(side: int, tile: int, overlap: int) -> list[int]:
    """Place tiles along one side so that neighbours share ``overlap`` or more."""
    if side <= tile:
        return [0]
    count = 1 + -(-(side - tile) // (tile - overlap))
    return [round(index * (side - tile) / (count - 1)) for index in range(count)]


def tile_window(size: Sequence[int], overlap: int) -> Tensor:
    """Weights of a tile, shape (height, width): 1 inside, falling linearly over the overlap."""
    sides = []
    for side in size:
        distance = torch.arange(side) + 0.5
        sides.append((torch.minimum(distance, side - distance) / max(overlap, 1)).clamp(max=1.0))
    return sides[0][:, None] * sides[1]


def _crop(image: Tensor, state: Tensor, rows: slice, columns: slice) -> Tensor:
    """Cut the part of a conditioning image that belongs to a tile of the state."""
    factor = image.shape[-1] // state.shape[-1]
    return image[
        ...,
        factor * rows.start : factor * rows.stop,
        factor * columns.start : factor * columns.stop,
    ]
