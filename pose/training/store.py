"""Rendered people on the disk, in shards that are written once and read person by person."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...imaging.files import atomic_path
from ..synthetic import LenslessView, PersonSample, render_person

__all__ = ["PeopleRecipe", "PeopleStore", "StoredPerson", "render_shards"]

SHARD = 256
LABEL_STEP = 2  # pixels of the picture from one stored label to the next
_NORMAL_SCALE = 127.0


@dataclass(frozen=True)
class PeopleRecipe:
    """Which people to render.

    Attributes
    ----------
    count : int
        How many.
    seed : int
        People of different seeds have nothing in common.
    size : (int, int)
        Height and width of the pictures.
    lensless_share : float
        Share of pictures that go through a simulated lensless camera and back.
    full_wells_e : tuple of float
        Electrons of the full pixels of those cameras, taken in turn.
    """

    count: int
    seed: int
    size: tuple[int, int] = (256, 192)
    lensless_share: float = 0.25
    full_wells_e: tuple[float, ...] = (2_500.0, 8_000.0, 25_000.0)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be positive, got {self.count}")
        if any(side % LABEL_STEP for side in self.size):
            raise ValueError(f"size must be even, got {self.size}")
        if not 0 <= self.lensless_share <= 1:
            raise ValueError(f"lensless_share must be in [0, 1], got {self.lensless_share}")

    @property
    def shards(self) -> int:
        """How many files they fill."""
        return -(-self.count // SHARD)

    def name(self, shard: int) -> str:
        """Name the file of a shard; it tells the seed, so that sets can share a folder."""
        return f"people-{self.seed}-{shard:05d}.safetensors"


@dataclass(frozen=True, eq=False)
class StoredPerson:
    """A rendered person; labels have a value for every second pixel.

    Attributes
    ----------
    image : Tensor of uint8, shape (height, width, 3)
        Display-encoded RGB.
    keypoints, visibility
        As in :class:`~barelens.pose.synthetic.PersonSample`.
    parts : Tensor of uint8, shape (height / 2, width / 2)
        Classes.
    depth : Tensor of float16, shape (height / 2, width / 2)
        In metres; NaN where the person is not.
    normals : Tensor of int8, shape (height / 2, width / 2, 3)
        Times 127.
    """

    image: Tensor
    keypoints: Tensor
    visibility: Tensor
    parts: Tensor
    depth: Tensor
    normals: Tensor


def render_shards(folder: str | os.PathLike[str], recipe: PeopleRecipe) -> Iterator[int]:
    """Render what is still missing of a set of people.

    Parameters
    ----------
    folder : path
        Where the shards shall lie; made if missing. Shards that are there stay as they are.
    recipe : PeopleRecipe
        Which people.

    Yields
    ------
    int
        After each shard, how many people there are.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(recipe.shards):
        path = folder / recipe.name(shard)
        first, last = shard * SHARD, min((shard + 1) * SHARD, recipe.count)
        if not path.exists():
            _write_shard(path, [_render(recipe, index) for index in range(first, last)])
        yield last


class PeopleStore:
    """Read rendered people.

    Parameters
    ----------
    folder : path
        Where :func:`render_shards` put them.
    recipe : PeopleRecipe
        Which people.

    Raises
    ------
    FileNotFoundError
        Shards are missing.
    ValueError
        They are of other settings.
    """

    def __init__(self, folder: str | os.PathLike[str], recipe: PeopleRecipe) -> None:
        from safetensors import safe_open

        self.recipe = recipe
        self._files: list[Any] = []
        self._stack = ExitStack()
        for shard in range(recipe.shards):
            path = Path(folder) / recipe.name(shard)
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing: render the people first")
            file = self._stack.enter_context(safe_open(path, framework="pt"))
            wanted = [min(SHARD, recipe.count - shard * SHARD), *recipe.size, 3]
            if (found := file.get_slice("image").get_shape()) != wanted:
                raise ValueError(
                    f"{path} holds pictures of shape {found} instead of {wanted}: it is of other "
                    "settings; delete it, or use another folder"
                )
            self._files.append(file)

    def __len__(self) -> int:
        return self.recipe.count

    def __getitem__(self, index: int) -> StoredPerson:
        if not 0 <= index < len(self):
            raise IndexError(f"index must be from 0 to {len(self) - 1}, got {index}")
        file, row = self._files[index // SHARD], index % SHARD
        return StoredPerson(
            **{name: file.get_slice(name)[row] for name in StoredPerson.__dataclass_fields__}
        )

    def __iter__(self) -> Iterator[StoredPerson]:
        return (self[index] for index in range(len(self)))


def _render(recipe: PeopleRecipe, index: int) -> StoredPerson:
    sample = render_person(index, seed=recipe.seed, size=recipe.size)
    # Spread evenly: the whole part of index * share grows by one whenever it is a turn.
    turn = int((index + 1) * recipe.lensless_share)
    image = sample.image
    if turn > int(index * recipe.lensless_share):
        full_well = recipe.full_wells_e[turn % len(recipe.full_wells_e)]
        image = _lensless_view(recipe.size, full_well)(image, seed=index)
    return _stored(sample, image)


def _stored(sample: PersonSample, image: Tensor) -> StoredPerson:
    step = slice(None, None, LABEL_STEP)
    return StoredPerson(
        image=image.permute(1, 2, 0).contiguous(),
        keypoints=sample.keypoints,
        visibility=sample.visibility,
        parts=sample.parts[step, step].contiguous(),
        depth=sample.depth[step, step].half(),
        normals=(sample.normals[:, step, step] * _NORMAL_SCALE)
        .round()
        .to(torch.int8)
        .permute(1, 2, 0)
        .contiguous(),
    )


def _write_shard(path: Path, people: list[StoredPerson]) -> None:
    from safetensors.torch import save_file

    fields = {
        name: torch.stack([getattr(person, name) for person in people])
        for name in StoredPerson.__dataclass_fields__
    }
    with atomic_path(path) as temporary:
        save_file(fields, temporary)


@cache
def _lensless_view(size: tuple[int, int], full_well_e: float) -> LenslessView:
    """Return a view; its matrices are worth keeping from picture to picture."""
    return LenslessView(size, full_well_e=full_well_e)
