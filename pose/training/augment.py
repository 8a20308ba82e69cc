"""Rendered people to batches: turned, shifted, mirrored, and as other cameras would see them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..labels import named_layout, named_parts
from ..synthetic import KEYPOINTS, OUTSIDE, PARTS
from .store import LABEL_STEP, PeopleStore, StoredPerson

__all__ = ["Batch", "BatchMaker"]

Array = NDArray[Any]
_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops with their labels on the grid of the model's finest maps.

    Attributes
    ----------
    pixels : Tensor, shape (batch, 3, height, width)
        Normalised.
    keypoints : Tensor, shape (batch, keypoints, 2)
        x and y in pixels of the crop.
    visibility : Tensor of uint8, shape (batch, keypoints)
        As in :class:`~barelens.pose.synthetic.PersonSample`.
    parts : Tensor of int64, shape (batch, rows, columns)
        Classes; 0 is the background.
    depth : Tensor, shape (batch, 1, rows, columns)
        In metres, 0 where the person is not.
    normals : Tensor, shape (batch, 3, rows, columns)
        Unit vectors, zero where the person is not.
    """

    pixels: Tensor
    keypoints: Tensor
    visibility: Tensor
    parts: Tensor
    depth: Tensor
    normals: Tensor

    @property
    def mask(self) -> Tensor:
        """Where the person is; bool, shape (batch, 1, rows, columns)."""
        return self.parts[:, None] > 0

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the labels."""
        return self.parts.shape[-2], self.parts.shape[-1]

    def to(self, device: torch.device | str) -> "Batch":
        """Return the same batch on another device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


@dataclass(frozen=True, eq=False)
class BatchMaker:
    """Make batches that depend on nothing but a seed and their number.

    Attributes
    ----------
    store : PeopleStore
        Rendered people.
    size : (int, int)
        Height and width of the model's crops.
    grid : (int, int)
        Rows and columns of its finest maps.
    batch_size : int
        People in a batch.
    seed : int
        Of the order of people and of all changes to them.
    """

    store: PeopleStore
    size: tuple[int, int]
    grid: tuple[int, int]
    batch_size: int
    seed: int
    plain_steps: int = 0

    def training(self, step: int) -> Batch:
        """Return the batch of a step, everybody changed at random."""
        crops = []
        for place in range(step * self.batch_size, (step + 1) * self.batch_size):
            random = np.random.default_rng([self.seed, 1, place])
            person = self.store[self._person(place)]
            if step < self.plain_steps:
                person = _before_plain(person, contrast=step / self.plain_steps)
            crop = self._crop(person, _change(random))
            crops.append(replace(crop, pixels=_other_camera(random, crop.pixels)))
        return _batch(crops)

    def plain(self, indices: Sequence[int]) -> Batch:
        """Return people as they are, brought to the model's size."""
        return _batch([self._crop(self.store[index], _Change()) for index in indices])

    def _person(self, place: int) -> int:
        """Give everybody a turn before anybody's second."""
        epoch, turn = divmod(place, len(self.store))
        return int(_order(len(self.store), self.seed, epoch)[turn])

    def _crop(self, person: StoredPerson, change: "_Change") -> "_Crop":
        import cv2

        height, width = person.image.shape[:2]
        matrix = change.matrix((height, width), self.size)
        image = cv2.warpAffine(
            person.image.numpy(), matrix, self.size[::-1], flags=cv2.INTER_LINEAR
        )
        to_labels = self._label_matrix(matrix)
        # Nearest neighbours only copy, so that bits may pass for numbers that OpenCV can warp.
        parts, depth, normals = (
            cv2.warpAffine(
                label.numpy().view(bits),
                to_labels,
                self.grid[::-1],
                flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            ).view(label.numpy().dtype)
            for label, bits in (
                (person.parts, np.uint8),
                (person.depth, np.uint16),
                (person.normals, np.uint8),
            )
        )
        keypoints = person.keypoints.numpy() @ matrix[:, :2].T + matrix[:, 2]
        limit = np.array([self.size[1] - 1, self.size[0] - 1])
        inside = ((keypoints >= 0) & (keypoints <= limit)).all(axis=1)
        visibility = np.where(inside, person.visibility.numpy(), OUTSIDE)
        if change.mirror:
            keypoints, visibility = keypoints[_FLIPPED_KEYPOINTS], visibility[_FLIPPED_KEYPOINTS]
            parts = _FLIPPED_PARTS[parts]
        return _Crop(image, keypoints, visibility, parts, depth, normals, change.linear())

    def _label_matrix(self, matrix: Array) -> Array:
        """Return the map from cells of the model's grid to stored labels."""
        rows, columns = self.grid
        # Cells fill the crop: their centres are half a cell from its edge.
        step = np.array([self.size[1] / columns, self.size[0] / rows])
        cells = np.diag([*step, 1.0])
        cells[:2, 2] = (step - 1) / 2
        inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
        return (np.diag([1 / LABEL_STEP, 1 / LABEL_STEP, 1.0]) @ inverse @ cells)[:2]


_FLIPPED_KEYPOINTS = np.array(named_layout(KEYPOINTS).flip_indices)
_FLIPPED_PARTS = np.array(named_parts(PARTS).flip_indices, np.uint8)


@dataclass(frozen=True)
class _Change:
    """How a crop is moved: zoom, turn in degrees, shift as a share of the size, mirror."""

    zoom: float = 1.0
    turn_deg: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    mirror: bool = False

    def matrix(self, before: tuple[int, int], after: tuple[int, int]) -> Array:
        """Return the 2x3 matrix from pixels (x, y) before to pixels after."""
        extent = np.array([before[1] - 1, before[0] - 1], float)
        wanted = np.array([after[1] - 1, after[0] - 1], float)
        linear = self.linear() * (wanted / extent)[:, None] * self.zoom
        middle = wanted * (0.5 + np.array(self.shift))
        return np.column_stack([linear, middle - linear @ (extent / 2)])

    def linear(self) -> Array:
        """Return how directions (x, y) in the picture are turned."""
        angle = np.radians(self.turn_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return turn @ np.diag([-1.0 if self.mirror else 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class _Crop:
    """One person of a batch, as stored but for place: normals are yet to be turned."""

    pixels: Array
    keypoints: Array
    visibility: Array
    parts: Array
    depth: Array
    normals: Array
    turn: Array


def _change(random: np.random.Generator) -> _Change:
    turned = random.random() < 0.6
    return _Change(
        zoom=float(np.exp(random.normal(0, 0.1))),
        turn_deg=float(np.clip(random.normal(0, 15), -40, 40)) if turned else 0.0,
        shift=(float(random.normal(0, 0.025)), float(random.normal(0, 0.025))),
        mirror=bool(random.random() < 0.5),
    )


def _other_camera(random: np.random.Generator, pixels: Array) -> Array:
    """Change sharpness, exposure, contrast, colours and noise of 8-bit pixels."""
    import cv2

    if random.random() < 0.35:
        deviation = len(pixels) * random.uniform(0.0015, 0.009)
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(deviation))
    gains = np.exp(random.normal(0, 0.2) + random.normal(0, 0.08, 3))
    levels = np.clip(np.linspace(0, 1, 256)[:, None] * gains, 0, 1)
    if random.random() < 0.5:
        levels = levels ** np.exp(random.normal(0, 0.25))
    pixels = cv2.LUT(pixels, _to_bytes(255 * levels)[None])
    if random.random() < 0.12:
        pixels = np.repeat(_to_bytes(pixels.mean(axis=2, keepdims=True)), 3, axis=2)
    if random.random() < 0.3:
        strength = np.float32(random.uniform(1, 18))
        pixels = _to_bytes(pixels + strength * random.standard_normal(pixels.shape, np.float32))
    return pixels


def _to_bytes(values: Array) -> Array:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _before_plain(person: StoredPerson, *, contrast: float) -> StoredPerson:
    """Take contrast from the background."""
    pixels = person.image.float()
    behind = (person.parts == 0).repeat_interleave(LABEL_STEP, 0).repeat_interleave(LABEL_STEP, 1)
    colour = pixels[behind].mean(dim=0)
    faded = torch.where(behind[..., None], colour + contrast * (pixels - colour), pixels)
    return replace(person, image=faded.round().to(torch.uint8))


@lru_cache(maxsize=8)
def _order(count: int, seed: int, epoch: int) -> Array:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


def _batch(crops: Sequence[_Crop]) -> Batch:
    """Stack crops, and compute for all of them at once what has to be computed."""
    stacked = {
        name: torch.from_numpy(np.stack([getattr(crop, name) for crop in crops]))
        for name in _Crop.__dataclass_fields__
    }
    pixels = (stacked["pixels"].float() - torch.tensor(_MEAN)) / torch.tensor(_DEVIATION)
    return Batch(
        pixels=pixels.permute(0, 3, 1, 2).contiguous(),
        keypoints=stacked["keypoints"].float(),
        visibility=stacked["visibility"].to(torch.uint8),
        parts=stacked["parts"].long(),
        depth=stacked["depth"].float().nan_to_num()[:, None],
        normals=_turned(stacked["normals"].float(), stacked["turn"].float()),
    )


def _turned(normals: Tensor, turn: Tensor) -> Tensor:
    """Turn normals (batch, rows, columns, 3), whose y points up, and put channels first."""
    up = torch.tensor([1.0, -1.0])  # in the picture y points down
    full = torch.eye(3).repeat(len(turn), 1, 1)
    full[:, :2, :2] = up[:, None] * turn * up
    return F.normalize(torch.einsum("bij,brcj->birc", full, normals), dim=1, eps=0.5)
