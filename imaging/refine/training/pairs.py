"""Pairs of a picture and what linear reconstruction makes of its capture."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...files import atomic_path
from ..conditioning import to_model_range
from ..record import StartKind
from .cameras import TrainingCamera, draw_camera
from .model import linear_picture
from .pictures import PictureFolder
from .procedural import render_scene

__all__ = ["CachedPairs", "Pair", "PairSource", "SelectedPairs", "SimulatedPairs"]

#: Side of the squares over which coarse errors are averaged.
_COARSE = 16


@dataclass(frozen=True, eq=False)
class Pair:
    """One example.

    Attributes
    ----------
    picture : Tensor, shape (3, height, width)
        The truth as models see it: sRGB in [-1, 1].
    conditioning : Tensor, shape (channels, height, width)
        What the ControlNet sees: a description of the linear reconstruction, or a capture's
        planes, which may have another height and width.
    caption : str
        What the picture shows, empty where nobody said.
    """

    picture: Tensor
    conditioning: Tensor
    caption: str = ""


class PairSource(Protocol):
    """Numbered pairs; the same number gives the same pair, in any process."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pair: ...


class SimulatedPairs:
    """Pictures and renders, captured by simulated cameras on the fly.

    Parameters
    ----------
    number : int
        How many different pairs there are.
    side : int
        Height and width of the pictures.
    seed : int
        Seed of everything drawn.
    pictures : PictureFolder, optional
        Pictures to cut from; renders alone where left out.
    real_cameras : sequence of TrainingCamera, optional
        Cameras to use beside the drawn ones, for scenes of ``2 * side``.
    num_cameras : int, optional
        How many cameras to draw.
    render_share, real_share : float, optional
        Shares of renders among scenes and of real cameras among cameras, in [0, 1].
    start : {"linear", "total_variation"}, optional
        What the model starts from.

    Raises
    ------
    ValueError
        A share is out of range, or there is nothing to draw from.
    """

    def __init__(
        self,
        number: int,
        side: int,
        *,
        seed: int,
        pictures: PictureFolder | None = None,
        real_cameras: Sequence[TrainingCamera] = (),
        num_cameras: int = 32,
        render_share: float = 0.5,
        real_share: float = 0.25,
        start: StartKind = "linear",
    ) -> None:
        for name, share in (("render_share", render_share), ("real_share", real_share)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share}")
        if number < 1 or num_cameras < 1:
            raise ValueError(
                f"number and num_cameras must be at least 1, got {number} and {num_cameras}"
            )
        self._number, self._side, self._seed = number, side, seed
        self._pictures = pictures
        self._real, self._num_cameras = list(real_cameras), num_cameras
        self._render_share = render_share if pictures else 1.0
        self._real_share = real_share if self._real else 0.0
        self._start = start
        self._drawn = lru_cache(maxsize=num_cameras)(self._draw)

    def _draw(self, index: int) -> TrainingCamera:
        return draw_camera(self._side, seed=self._seed * 1_000_003 + index)

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> Pair:
        """Simulate one pair."""
        if not 0 <= index < self._number:
            raise IndexError(index)
        rng = np.random.default_rng([self._seed, index])
        scene_seed, capture_seed = (int(value) for value in rng.integers(2**31, size=2))
        if rng.random() < self._real_share:
            camera = self._real[rng.integers(len(self._real))]
        else:
            camera = self._drawn(int(rng.integers(self._num_cameras)))
        if self._pictures is None or rng.random() < self._render_share:
            scene = render_scene(camera.scene_side, seed=scene_seed)
        else:
            scene = self._pictures.cut(camera.scene_side, seed=scene_seed)
        # An all-black cut has no exposure; a trace of stray light gives it one.
        scene = scene + 1e-3
        start = camera.observe(scene, seed=capture_seed).start(self._start)
        truth = functional.adaptive_avg_pool2d(scene, self._side)[None]
        return Pair(
            picture=to_model_range(truth, start.white)[0],
            conditioning=start.conditioning()[0],
        )


class CachedPairs:
    """Pairs kept on disk in half precision, so that each is made once.

    Parameters
    ----------
    pairs : PairSource
        Where they come from.
    folder : Path
        Where to keep them; made if missing. It must hold pairs of this source only.
    """

    def __init__(self, pairs: PairSource, folder: Path) -> None:
        self._pairs, self._folder = pairs, folder
        folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Pair:
        """Read a pair, or make and keep it; both give the same bits."""
        from safetensors.torch import load_file, save_file

        path = self._folder / f"{index:06d}.safetensors"
        if not path.is_file():
            pair = self._pairs[index]
            halves = {
                "picture": pair.picture.to(torch.float16).contiguous(),
                "conditioning": pair.conditioning.to(torch.float16).contiguous(),
                "caption": torch.tensor(list(pair.caption.encode()), dtype=torch.uint8),
            }
            with atomic_path(path) as temporary:
                save_file(halves, temporary)
        stored = load_file(path)
        return Pair(
            picture=stored["picture"].float(),
            conditioning=stored["conditioning"].float(),
            caption=bytes(stored["caption"].tolist()).decode(),
        )


class SelectedPairs:
    """Pairs whose start is nearly right on the large scale.

    Where a camera is miscalibrated or loses the mean of its scenes, the start is too bright or too
    dark over wide parts of the picture. No crop shows that: such pairs only add noise to gradients.

    Parameters
    ----------
    pairs : PairSource
        Pairs of pictures and descriptions of reconstructions; all are looked at once.
    largest_error : float
        Largest root mean square difference of picture and start, as sRGB in [-1, 1] averaged over
        squares of 16 pixels.

    Raises
    ------
    ValueError
        No pair is left.
    """

    def __init__(self, pairs: PairSource, largest_error: float) -> None:
        self._pairs = pairs
        self._kept = [
            index for index in range(len(pairs)) if _coarse_error(pairs[index]) <= largest_error
        ]
        if not self._kept:
            raise ValueError(f"no pair has a coarse error of {largest_error} or less")

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Pair:
        """Give one of the pairs that were kept."""
        return self._pairs[self._kept[index]]


def _coarse_error(pair: Pair) -> float:
    difference = pair.picture - linear_picture(pair.conditioning[None])[0]
    return float(functional.avg_pool2d(difference, _COARSE).square().mean().sqrt())
