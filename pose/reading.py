"""One model on many pictures: batches in, one backbone pass for all heads, maps and points out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .canvas import Canvas
from .crops import Frames, boxes_to_frames, crop_people
from .decode import decode_heatmaps, place_keypoints
from .dense import (
    class_map,
    depth_map,
    normal_map,
    point_map,
    resize_maps,
)
from .flip import unflip_maps
from .labels import KEYPOINT_LAYOUTS, KeypointLayout, keypoint_layout, part_labels
from .preparation import Preparation, normalise_pixels
from .resize import Margins, pad_to_size, remove_margins, resize_image
from .sapiens import HumanModel
from .sapiens.tasks import Task

__all__ = ["ModelReader", "Scene"]

Found = dict[str, Any]  # fields of a HumanOutput; those of its people under "people"


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture with the boxes of its people.

    Attributes
    ----------
    image : Tensor of uint8 or float, shape (3, height, width)
        Display-encoded RGB in 0..255.
    boxes : Tensor, shape (people, 4)
        Left, top, right and bottom in pixels.
    """

    image: Tensor
    boxes: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[1], self.image.shape[2]


@dataclass(frozen=True, eq=False)
class ModelReader:
    """Run a model's heads on pictures.

    Attributes
    ----------
    model : HumanModel
        The model.
    preparations : mapping of str to Preparation
        Of each of its tasks.
    flip_test : bool
        Average the maps of the model's ``flip_tasks`` with those of the mirror image.
    batch_size : int
        Crops or pictures at once.
    """

    model: HumanModel
    preparations: Mapping[Task, Preparation]
    flip_test: bool = True
    batch_size: int = 8

    def __post_init__(self) -> None:
        if "pose" in self.preparations and self.preparations["pose"].framing != "person":
            raise ValueError(
                "pose needs a preparation of framing 'person', got "
                f"{self.preparations['pose'].framing!r}"
            )

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    def read(self, scenes: Sequence[Scene]) -> list[Found]:
        """Return what the model finds in each picture.

        Tasks of the same preparation share the pass of the backbone.
        """
        found: list[Found] = [{} for _ in scenes]
        groups: dict[Preparation, list[Task]] = {}
        for task, preparation in self.preparations.items():
            groups.setdefault(preparation, []).append(task)
        for preparation, tasks in groups.items():
            if preparation.framing == "person":
                self._read_people(scenes, preparation, tasks, found)
            else:
                self._read_pictures(scenes, preparation, tasks, found)
        return found

    def _layout(self, keypoints: int) -> KeypointLayout | None:
        known = keypoint_layout(keypoints) if keypoints in KEYPOINT_LAYOUTS else None
        return self.model.keypoint_layout or known

    def _labels(self, raw: Found) -> Found:
        """Say what keypoints and parts are."""
        labels: Found = {}
        if "pose" in raw:
            labels["layout"] = self._layout(raw["pose"].shape[1])
        if "segmentation" in raw:
            labels["parts"] = self.model.part_labels or part_labels(raw["segmentation"].shape[1])
        return labels

    def _raw(self, pixels: Tensor, preparation: Preparation, tasks: Sequence[Task]) -> Found:
        """Return raw output of each head in float32, averaged over the flip test."""
        parameter = next(self.model.parameters())
        pixels = normalise_pixels(pixels, preparation).to(parameter.dtype)
        raw: Found = {
            task: _wide(output)
            for task, output in self.model.read(self.model.features(pixels), tasks).items()
        }
        twice = [task for task in tasks if task in self.model.flip_tasks]
        if self.flip_test and twice:
            mirrored = self.model.read(self.model.features(pixels.flip(-1)), twice)
            raw |= {t: self._mean(t, raw[t], _wide(output)) for t, output in mirrored.items()}
        return raw

    def _mean(self, task: Task, maps: Tensor, mirrored: Tensor) -> Tensor:
        """Average maps with those of the mirror image."""
        labels = self._labels({task: maps})
        indices = None
        if task == "pose":
            if labels["layout"] is None:
                raise ValueError(
                    f"the mirror pairs of {maps.shape[1]} keypoints are unknown: flip_test=False"
                )
            indices = torch.tensor(labels["layout"].flip_indices)
        if task == "segmentation":
            indices = torch.tensor(labels["parts"].flip_indices)
        return (maps + unflip_maps(mirrored, indices, negate_x=task == "normal")) / 2

    def _read_people(
        self,
        scenes: Sequence[Scene],
        preparation: Preparation,
        tasks: Sequence[Task],
        found: list[Found],
    ) -> None:
        canvases = [Canvas(scene.size) for scene in scenes]
        for part, owners, frames in self._crops(scenes, preparation):
            raw = self._raw(part, preparation, tasks)
            if "pose" in raw:
                keypoints = decode_heatmaps(raw["pose"], preparation.size)
                keypoints = place_keypoints(keypoints, preparation.size, frames)
            for index, owner in enumerate(owners):
                person = canvases[owner].paint(raw, frames, index, preparation.size)
                if "pose" in raw:
                    person["keypoints"] = keypoints.positions[index]
                    person["keypoint_scores"] = keypoints.scores[index]
                found[owner].setdefault("people", []).append(person)
                found[owner] |= self._labels(raw)
        for fields, canvas in zip(found, canvases, strict=True):
            fields |= canvas.fields

    def _crops(
        self, scenes: Sequence[Scene], preparation: Preparation
    ) -> Iterator[tuple[Tensor, list[int], Frames]]:
        """Yield batches of crops with the number of the picture and the frame of each."""
        crops, owners, centers, scales = [], [], [], []
        for number, scene in enumerate(scenes):
            height, width = scene.size if preparation.via_image_size else preparation.size
            frames = boxes_to_frames(scene.boxes, width / height, padding=preparation.box_padding)
            if not len(frames):
                continue
            mode = "linear-or-cubic" if "cubic" in preparation.interpolation else "linear"
            cut = crop_people(
                scene.image,
                frames,
                preparation.size,
                interpolation=mode,  # type: ignore[arg-type]
                via_image_size=preparation.via_image_size,
            )
            crops += list(cut.float())
            owners += [number] * len(frames)
            centers.append(frames.centers)
            scales.append(frames.scales)
        for first in range(0, len(crops), self.batch_size):
            last = first + self.batch_size
            frames = Frames(torch.cat(centers)[first:last], torch.cat(scales)[first:last])
            yield torch.stack(crops[first:last]), owners[first:last], frames

    def _read_pictures(
        self,
        scenes: Sequence[Scene],
        preparation: Preparation,
        tasks: Sequence[Task],
        found: list[Found],
    ) -> None:
        for first in range(0, len(scenes), self.batch_size):
            pixels, margins = [], []
            for scene in scenes[first : first + self.batch_size]:
                fitted, margin = _fit(scene.image, preparation)
                pixels.append(fitted.float())
                margins.append(margin)
            raw = self._raw(torch.stack(pixels), preparation, tasks)
            for index, margin in enumerate(margins):
                size = scenes[first + index].size
                found[first + index] |= self._labels(raw)
                for task, output in raw.items():
                    one = _item(output, index)
                    found[first + index] |= self._picture(task, one, preparation, margin, size)

    def _picture(
        self,
        task: str,
        raw: Any,
        preparation: Preparation,
        margins: Margins | None,
        size: tuple[int, int],
    ) -> Found:
        """Bring one picture's raw output (1, channels, rows, columns) to the picture's size."""

        def inner(maps: Tensor) -> Tensor:
            """Leave out the margins, if there are any."""
            if margins is None:
                return maps
            return remove_margins(resize_maps(maps, preparation.size), margins)

        if task == "segmentation":
            return {"class_map": class_map(inner(raw), size)[0]}
        if task == "depth":
            return {"depth": depth_map(inner(raw), size)[0]}
        if task == "normal":
            if self.model.family == "sapiens2":
                raw = torch.nn.functional.normalize(raw, dim=1, eps=1e-8)
            return {"normals": normal_map(inner(raw), size, unit=True)[0]}
        if task == "pointmap":
            return {"points": point_map(inner(raw.pointmap), raw.scale, size)[0]}
        if task == "albedo":
            return {"albedo": resize_maps(inner(raw), size)[0]}
        matte = resize_maps(inner(raw), size)[0]
        return {"foreground": matte[:3], "alpha": matte[3]}


def _fit(image: Tensor, preparation: Preparation) -> tuple[Tensor, Margins | None]:
    if preparation.framing == "pad":
        return pad_to_size(image, preparation.size, interpolation=preparation.interpolation)
    return resize_image(image, preparation.size, interpolation=preparation.interpolation), None


def _wide(output: Any) -> Any:
    """Raw output in float32: maps are decoded in that precision even from a bfloat16 model."""
    if isinstance(output, Tensor):
        return output.float()
    return type(output)(*(part.float() for part in output))


def _item(output: Any, index: int) -> Any:
    """One picture of a batch, still with a batch axis."""
    if isinstance(output, Tensor):
        return output[index : index + 1]
    return type(output)(*(part[index : index + 1] for part in output))
