"""Batches as functions of the step alone, so that a resumed run continues to the bit."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .pairs import Pair, PairSource
from .settings import TrainingSettings

__all__ = ["Batch", "BatchMaker"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples of one step, and the noise they are trained with.

    Attributes
    ----------
    picture, conditioning : Tensor, shape (batch, channels, height, width)
        See :class:`~barelens.imaging.refine.training.pairs.Pair`.
    captions : list of str
        With some dropped.
    seeds : list of int
        Seed of each example's noise.
    level : Tensor, shape (batch,)
        Where each is on the noise schedule, from 0 (none) to 1 (nothing else).
    """

    picture: Tensor
    conditioning: Tensor
    captions: list[str]
    seeds: list[int]
    level: Tensor

    def __len__(self) -> int:
        return len(self.captions)

    def part(self, start: int, stop: int) -> "Batch":
        """Give some of the examples."""
        return Batch(
            self.picture[start:stop],
            self.conditioning[start:stop],
            self.captions[start:stop],
            self.seeds[start:stop],
            self.level[start:stop],
        )

    def to(self, device: torch.device) -> "Batch":
        """Move to a device."""
        return Batch(
            self.picture.to(device),
            self.conditioning.to(device),
            self.captions,
            self.seeds,
            self.level.to(device),
        )


class BatchMaker:
    """Make the batch of any step: every pair once an epoch, cut and flipped at random.

    Parameters
    ----------
    pairs : PairSource
        All pairs.
    settings : TrainingSettings
        Batch size, crop and seed.
    rank, world : int, optional
        Which of how many processes this is; each gets an equal part of every batch.

    Raises
    ------
    ValueError
        The batch cannot be divided so.
    """

    def __init__(
        self, pairs: PairSource, settings: TrainingSettings, *, rank: int = 0, world: int = 1
    ) -> None:
        if settings.batch_size % world:
            raise ValueError(
                f"batch_size must be a multiple of the {world} processes, got {settings.batch_size}"
            )
        self._pairs, self._settings = pairs, settings
        self._rank, self._world = rank, world
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        rng = np.random.default_rng([self._settings.seed, epoch])
        return rng.permutation(len(self._pairs))

    def __call__(self, step: int) -> Batch:
        """Make this process's part of a step's batch."""
        settings = self._settings
        share = settings.batch_size // self._world
        first = step * settings.batch_size + self._rank * share
        examples = [self._example(position) for position in range(first, first + share)]
        pairs, rngs = zip(*examples, strict=True)
        levels = [
            1.0 if rng.random() < settings.terminal_share else float(rng.random()) for rng in rngs
        ]
        captions = [
            "" if rng.random() < settings.prompt_dropout else pair.caption
            for pair, rng in zip(pairs, rngs, strict=True)
        ]
        return Batch(
            picture=torch.stack([pair.picture for pair in pairs]),
            conditioning=torch.stack([pair.conditioning for pair in pairs]),
            captions=captions,
            seeds=[int(rng.integers(2**31)) for rng in rngs],
            level=torch.tensor(levels),
        )

    def _example(self, position: int) -> tuple[Pair, np.random.Generator]:
        epoch, place = divmod(position, len(self._pairs))
        rng = np.random.default_rng([self._settings.seed, position, 1])
        pair = self._pairs[int(self._order(epoch)[place])]
        if self._settings.crop is None:
            return pair, rng
        return _cropped(pair, self._settings.crop, rng), rng


def _cropped(pair: Pair, side: int, rng: np.random.Generator) -> Pair:
    """Cut the same window of picture and conditioning, mirrored and turned at random."""
    height, width = pair.picture.shape[-2:]
    if tuple(pair.conditioning.shape[-2:]) != (height, width):
        raise ValueError("crop needs a conditioning of the picture's size; a capture has none")
    if min(height, width) < side:
        raise ValueError(f"crop is {side}, pairs are {height}x{width}")
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    flips = [axis for axis in (-2, -1) if rng.random() < 0.5]
    turned = rng.random() < 0.5

    def cut(image: Tensor) -> Tensor:
        window = image[:, top : top + side, left : left + side].flip(flips)
        return window.mT if turned else window

    return Pair(cut(pair.picture), cut(pair.conditioning), pair.caption)
