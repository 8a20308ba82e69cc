"""Pictures and numbers that show how a refiner in training does."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...display import side_by_side
from ...files import write_png
from ...metrics import psnr, ssim
from ..parts import RefinerParts
from ..schedules import Schedule
from ..spaces import space_of
from .model import Prompts, TrainingModel, linear_picture
from .pairs import PairSource

__all__ = ["Validation", "sample"]


@torch.no_grad()
def sample(
    parts: RefinerParts, conditioning: Tensor, *, steps: int, seed: int = 0, captions: Any = None
) -> Tensor:
    """Sample pictures (batch, 3, height, width) in [-1, 1] by DDIM, in the networks' own dtype.

    Parameters
    ----------
    parts : RefinerParts
        The networks as they are, on their device.
    conditioning : Tensor, shape (batch, channels, height, width)
        What the ControlNet sees.
    steps : int
        Evaluations of the networks.
    seed : int, optional
        Seed of the noise.
    captions : list of str, optional
        One a picture; empty ones by default.
    """
    space, model = space_of(parts), TrainingModel(parts)
    batch = conditioning.shape[0]
    size = parts.record.size or tuple(conditioning.shape[-2:])
    prompts = Prompts(parts)(captions or [""] * batch).to(conditioning)
    schedule = Schedule(
        "ddim",
        parts.scheduler_config,
        parts.record.prediction,
        steps=steps,
        device=conditioning.device,
    )
    generators = [torch.Generator().manual_seed(seed) for _ in range(batch)]
    shape = (parts.unet.config["in_channels"], *(side // space.patch for side in size))
    noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])

    linear = linear_picture(conditioning)
    seen = space.conditioning(conditioning, linear)

    def predict(state: Tensor, timestep: Tensor) -> Tensor:
        return model(state, timestep.expand(batch), prompts, seen)[0]

    latents = schedule.run(schedule.start(noise.to(conditioning), None), predict, generators)
    return space.decode(latents, linear).clamp(-1, 1)


class Validation:
    """Refine a few pairs, compare with the truth, and keep the pictures.

    Parameters
    ----------
    pairs : PairSource
        Pairs that are not trained on.
    number : int
        How many of them to use.
    folder : Path
        Where the pictures go.
    steps : int, optional
        Steps of the sampler.
    """

    def __init__(self, pairs: PairSource, number: int, folder: Path, *, steps: int = 1) -> None:
        chosen = [pairs[index] for index in range(min(number, len(pairs)))]
        self._truth = torch.stack([pair.picture for pair in chosen])
        self._conditioning = torch.stack([pair.conditioning for pair in chosen])
        self._captions = [pair.caption for pair in chosen]
        self._folder, self._steps = folder, steps
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, parts: RefinerParts, step: int) -> dict[str, float]:
        """Refine, write ``NNNNNNNN.png`` and give PSNR and SSIM, also of the linear pictures."""
        device = next(parts.unet.parameters()).device
        refined = torch.cat(
            [
                sample(parts, image[None].to(device), steps=self._steps, captions=[caption]).cpu()
                for image, caption in zip(self._conditioning, self._captions, strict=True)
            ]
        )
        shown = {"refined": refined, "truth": self._truth}
        numbers = _quality("refined", refined, self._truth)
        if parts.record.conditioning == "linear":
            shown = {"linear": linear_picture(self._conditioning), **shown}
            numbers |= _quality("linear", shown["linear"], self._truth)
        rows = [
            ((picture.movedim(0, -1) + 1) * 127.5).round().to(torch.uint8)
            for row in zip(*shown.values(), strict=True)
            for picture in row
        ]
        labels = list(shown) * len(self._truth)
        write_png(self._folder / f"{step:08d}.png", side_by_side(rows, labels, columns=len(shown)))
        return numbers


def _quality(name: str, pictures: Tensor, truth: Tensor) -> dict[str, float]:
    return {
        f"{name}_psnr": float(psnr(pictures, truth, data_range=2.0).mean()),
        f"{name}_ssim": float(ssim(pictures, truth, data_range=2.0).mean()),
    }
