"""Maps of a whole picture, painted person by person from the maps of their crops."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .crops import Frames
from .dense import best_class, uncrop_maps

__all__ = ["Canvas"]


@dataclass(frozen=True, eq=False)
class Canvas:
    """Maps of a picture, painted person by person from their crops.

    Attributes
    ----------
    size : (int, int)
        Height and width of the picture.
    fields : dict
        Fields of a HumanOutput, as they come to be.
    """

    size: tuple[int, int]
    fields: dict[str, Any] = field(default_factory=dict)

    def paint(
        self, raw: dict[str, Any], frames: Frames, index: int, crop_size: tuple[int, int]
    ) -> dict[str, Any]:
        """Add one person; return the person's own fields."""
        person: dict[str, Any] = {}

        def uncrop(maps: Tensor) -> tuple[Tensor, tuple[slice, slice]]:
            return uncrop_maps(maps, frames, index, crop_size=crop_size, image_size=self.size)

        inside: Tensor | None = None
        if "segmentation" in raw:
            logits = raw["segmentation"]
            pieces = [uncrop(piece) for piece in logits.split(4, dim=1)]
            labels = best_class(values[None] for values, _ in pieces)[0]
            place = pieces[0][1]
            inside = labels > 0
            whole = self._field("class_map", torch.uint8, 0, logits.device)
            whole[place] = torch.where(inside, labels, whole[place])
            person["mask"] = torch.zeros(self.size, dtype=torch.bool, device=logits.device)
            person["mask"][place] = inside
        if "depth" in raw:
            values, place = uncrop(raw["depth"])
            depth = self._field("depth", values.dtype, torch.nan, values.device)
            depth[place] = _where(inside, values[0], depth[place])
        if "normal" in raw:
            values, place = uncrop(raw["normal"])
            values = torch.nn.functional.normalize(values, dim=0, eps=1e-8)
            normals = self._field("normals", values.dtype, 0, values.device, channels=(3,))
            normals[:, *place] = _where(inside, values, normals[:, *place])
        return person

    def _field(
        self,
        name: str,
        dtype: torch.dtype,
        fill: float,
        device: torch.device,
        channels: tuple[int, ...] = (),
    ) -> Tensor:
        if name not in self.fields:
            shape = (*channels, *self.size)
            self.fields[name] = torch.full(shape, fill, dtype=dtype, device=device)
        painted: Tensor = self.fields[name]
        return painted


def _where(inside: Tensor | None, values: Tensor, before: Tensor) -> Tensor:
    return values if inside is None else torch.where(inside, values, before)
