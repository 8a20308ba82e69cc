"""Rendered people to batches: turned, shifted, mirrored, and as other cameras would see them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..labels import named_layout, named_parts
from ..synthetic import KEYPOINTS, OUTSIDE, PARTS
from .store import LABEL_STEP, PeopleStore, StoredPerson

__all__ = ["Batch", "BatchMaker"]

Array = NDArray[Any]
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops with their labels on the grid of the model's maps.

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
        Rows and columns of its maps.
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
        people = []
        for place in range(step * self.batch_size, (step + 1) * self.batch_size):
            random = np.random.default_rng([self.seed, 1, place])
            person = self.store[self._person(place)]
            if step < self.plain_steps:
                person = _before_plain(person, contrast=step / self.plain_steps)
            people.append(self._crop(person, _change(random), random))
        return _stack(people)

    def plain(self, indices: Sequence[int]) -> Batch:
        """Return people as they are, brought to the model's size."""
        return _stack([self._crop(self.store[index], _Change(), None) for index in indices])

    def _person(self, place: int) -> int:
        """Give everybody a turn before anybody's second."""
        epoch, turn = divmod(place, len(self.store))
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.store))
        return int(order[turn])

    def _crop(
        self, person: StoredPerson, change: "_Change", random: np.random.Generator | None
    ) -> dict[str, Tensor]:
        import cv2

        height, width = person.image.shape[:2]
        matrix = change.matrix((height, width), self.size)
        image = cv2.warpAffine(
            person.image.numpy(), matrix, self.size[::-1], flags=cv2.INTER_LINEAR
        )
        pixels = image.astype(np.float32)
        if random is not None:
            pixels = _other_camera(random, pixels)
        parts, depth, normals = (
            cv2.warpAffine(
                label,
                self._label_matrix(matrix),
                self.grid[::-1],
                flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            )
            for label in (
                person.parts.numpy(),
                np.nan_to_num(person.depth.float().numpy()),
                person.normals.numpy().astype(np.float32),
            )
        )
        keypoints = person.keypoints.numpy() @ matrix[:, :2].T + matrix[:, 2]
        limit = np.array([self.size[1] - 1, self.size[0] - 1])
        inside = ((keypoints >= 0) & (keypoints <= limit)).all(axis=1)
        visibility = np.where(inside, person.visibility.numpy(), OUTSIDE)
        normals = change.turn_normals(normals)
        if change.mirror:
            keypoints, visibility = keypoints[_FLIPPED_KEYPOINTS], visibility[_FLIPPED_KEYPOINTS]
            parts = _FLIPPED_PARTS[parts]
        return {
            "pixels": torch.from_numpy((pixels - _MEAN) / _DEVIATION).permute(2, 0, 1),
            "keypoints": torch.from_numpy(keypoints).float(),
            "visibility": torch.from_numpy(visibility.astype(np.uint8)),
            "parts": torch.from_numpy(parts.astype(np.int64)),
            "depth": torch.from_numpy(depth)[None],
            "normals": torch.from_numpy(normals).permute(2, 0, 1),
        }

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
        linear = self._linear() * (wanted / extent)[:, None] * self.zoom
        middle = wanted * (0.5 + np.array(self.shift))
        return np.column_stack([linear, middle - linear @ (extent / 2)])

    def turn_normals(self, normals: Array) -> Array:
        """Turn normals (..., 3), whose y points up, with the picture."""
        turned = normals.copy()
        down = normals[..., :2] * [1, -1]
        turned[..., :2] = down @ self._linear().T * [1, -1]
        length = np.linalg.norm(turned, axis=-1, keepdims=True)
        return (turned / np.maximum(length, 1e-6)).astype(np.float32)

    def _linear(self) -> Array:
        angle = np.radians(self.turn_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return turn @ np.diag([-1.0 if self.mirror else 1.0, 1.0])


def _change(random: np.random.Generator) -> _Change:
    turned = random.random() < 0.6
    return _Change(
        zoom=float(np.exp(random.normal(0, 0.1))),
        turn_deg=float(np.clip(random.normal(0, 15), -40, 40)) if turned else 0.0,
        shift=(float(random.normal(0, 0.025)), float(random.normal(0, 0.025))),
        mirror=bool(random.random() < 0.5),
    )


def _other_camera(random: np.random.Generator, pixels: Array) -> Array:
    """Change sharpness, exposure, contrast, colours and noise."""
    import cv2

    if random.random() < 0.35:
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(random.uniform(0.3, 1.8)))
    gains = np.exp(random.normal(0, 0.2) + random.normal(0, 0.08, 3)).astype(np.float32)
    pixels = pixels * gains
    if random.random() < 0.5:
        pixels = 255 * np.clip(pixels / 255, 0, 1) ** np.float32(np.exp(random.normal(0, 0.25)))
    if random.random() < 0.12:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    if random.random() < 0.3:
        strength = np.float32(random.uniform(1, 18))
        pixels = pixels + strength * random.standard_normal(pixels.shape, np.float32)
    return np.clip(pixels, 0, 255)


def _before_plain(person: StoredPerson, *, contrast: float) -> StoredPerson:
    """Take contrast from the background."""
    pixels = person.image.float()
    behind = (person.parts == 0).repeat_interleave(LABEL_STEP, 0).repeat_interleave(LABEL_STEP, 1)
    colour = pixels[behind].mean(dim=0)
    faded = torch.where(behind[..., None], colour + contrast * (pixels - colour), pixels)
    return replace(person, image=faded.round().to(torch.uint8))


def _stack(people: Sequence[dict[str, Tensor]]) -> Batch:
    return Batch(**{name: torch.stack([each[name] for each in people]) for name in people[0]})
