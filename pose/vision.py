"""Pictures in, people out: one or several models behind one call."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import torch
from torch import Tensor

from ..imaging.shapes import ShapeError
from .detect import Detections, PersonDetector, TransformersDetector
from .outputs import HumanOutput, Person
from .pictures import Image, as_levels, as_pixels
from .preparation import Preparation, reference_preparation
from .reading import ModelReader, Scene
from .sapiens import HumanModel, load_checkpoint
from .sapiens.tasks import Task, canonical_task

__all__ = ["HumanVision"]


class HumanVision:
    """Find keypoints, parts, depth and normals of the people in pictures.

    Parameters
    ----------
    models : sequence of HumanModel
        One model with several heads, or several models; no task may come twice.
    tasks : sequence of str, optional
        Which of the models' heads to run, in any usual spelling; all where not given.
    preparations : mapping of str to Preparation, optional
        How to prepare pictures for a task, where not as the model was made.
    flip_test : bool
        Average keypoints with those of the mirror image, at twice the time; of our own models
        parts, depth and normals too.
    batch_size : int
        Crops or pictures that go through a model at once.
    detector : PersonDetector, optional
        Finds the people where no boxes are given.
    whole_if_none : bool
        Take the whole picture for one person where the detector finds nobody, as published
        scripts do; the box then has a score of 0. Otherwise such a picture has no people.
    compile : bool
        Compile the backbones, which takes a while at the first call and pays over many pictures.

    Notes
    -----
    Heads of one model that are prepared alike share one pass of its backbone.
    """

    def __init__(
        self,
        models: Sequence[HumanModel],
        *,
        tasks: Sequence[str] | None = None,
        preparations: Mapping[Task, Preparation] | None = None,
        flip_test: bool = True,
        batch_size: int = 8,
        detector: PersonDetector | None = None,
        whole_if_none: bool = True,
        compile: bool = False,
    ) -> None:
        have = [task for model in models for task in model.tasks]
        wanted = have if tasks is None else [canonical_task(task) for task in tasks]
        missing = ", ".join(str(task) for task in wanted if task not in have)
        if missing or not wanted:
            raise ValueError(f"tasks must be of {', '.join(have)}, got {missing or 'none'}")
        self.tasks: tuple[Task, ...] = tuple(task for task in have if task in wanted)
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"models must have each task once, got {', '.join(self.tasks)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.detector = detector
        self.whole_if_none = whole_if_none
        self._readers = []
        for model in models:
            chosen = {
                task: reference_preparation(model.family, task, model.image_size)
                for task in model.tasks
                if task in self.tasks
            }
            if not chosen:
                continue
            chosen |= {task: p for task, p in (preparations or {}).items() if task in chosen}
            if compile:
                model.backbone.compile()
            self._readers.append(
                ModelReader(model, chosen, flip_test=flip_test, batch_size=batch_size)
            )

    @classmethod
    def load(
        cls,
        *sources: str | os.PathLike[str],
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        detector: PersonDetector | str | os.PathLike[str] | None = None,
        lite: bool = False,
        **options: Any,
    ) -> "HumanVision":
        """Load one or more checkpoints.

        Parameters
        ----------
        sources : path or str
            Files, folders or hub ids; see :func:`~barelens.pose.load_checkpoint`.
        device, dtype
            Where and in which precision to compute.
        detector : PersonDetector, path or str, optional
            Finds the people where no boxes are given; a folder or hub id is loaded as a
            :class:`TransformersDetector`.
        lite : bool
            Prepare pictures as the first generation's lite scripts do, to compare with them.
        options
            As for :class:`HumanVision`.

        Raises
        ------
        ValueError
            A checkpoint is an encoder without a head.
        """
        models = []
        for source in sources:
            model = load_checkpoint(source, device=device, dtype=dtype)
            if not isinstance(model, HumanModel):
                raise ValueError(f"{source} is an encoder without a head: it tells nothing")
            models.append(model)
        if lite:
            options["preparations"] = {
                task: reference_preparation(model.family, task, model.image_size, lite=True)
                for model in models
                for task in model.tasks
            } | dict(options.get("preparations") or {})
        if isinstance(detector, str | os.PathLike):
            detector = TransformersDetector.load(detector, device=device, dtype=dtype)
        return cls(models, detector=detector, **options)

    @overload
    def __call__(
        self,
        images: Image,
        boxes: Tensor | None = None,
        *,
        detector: PersonDetector | None = None,
    ) -> HumanOutput: ...

    @overload
    def __call__(
        self,
        images: Sequence[Image],
        boxes: Sequence[Tensor | None] | None = None,
        *,
        detector: PersonDetector | None = None,
    ) -> list[HumanOutput]: ...

    def __call__(
        self, images: Any, boxes: Any = None, *, detector: PersonDetector | None = None
    ) -> HumanOutput | list[HumanOutput]:
        """Look at pictures.

        Parameters
        ----------
        images : Tensor, array or sequence of them
            Each a Tensor of uint8, or of a floating-point dtype in [0, 1], of shape (3, height,
            width), or a NumPy array of uint8 of shape (height, width, 3); display-encoded RGB.
            They may differ in size.
        boxes : Tensor, or sequence of Tensor or None, optional
            For each picture the people's boxes of shape (people, 4), left, top, right and bottom
            in pixels. Where there is None, the detector finds them; without a detector the whole
            picture is one person's box.
        detector : PersonDetector, optional
            For this call, in place of the one given before.

        Returns
        -------
        HumanOutput or list of HumanOutput
            For each picture, on the models' device.
        """
        if isinstance(images, Sequence):
            given = [None] * len(images) if boxes is None else list(boxes)
            if len(given) != len(images):
                raise ValueError(
                    f"boxes must come for each of {len(images)} images, got {len(given)}"
                )
            return self._look(images, given, detector or self.detector)
        return self._look([images], [boxes], detector or self.detector)[0]

    @torch.inference_mode()
    def _look(
        self,
        images: Sequence[Image],
        boxes: Sequence[Tensor | None],
        detector: PersonDetector | None,
    ) -> list[HumanOutput]:
        device = self._readers[0].device
        pictures = [as_pixels(image).to(device) for image in images]
        people = self._find(pictures, boxes, detector)
        scenes = [Scene(image, each.boxes) for image, each in zip(pictures, people, strict=True)]
        outputs = [
            HumanOutput(
                image_size=scene.size,
                people=tuple(map(Person, each.boxes, each.scores.tolist())),
            )
            for scene, each in zip(scenes, people, strict=True)
        ]
        for reader in self._readers:
            outputs = [
                _merge(output, found)
                for output, found in zip(outputs, reader.read(scenes), strict=True)
            ]
        return outputs

    def _find(
        self,
        pictures: Sequence[Tensor],
        boxes: Sequence[Tensor | None],
        detector: PersonDetector | None,
    ) -> list[Detections]:
        """Take boxes as they are given, or from the detector, or the whole picture."""
        people = [
            _given(picture, box) if box is not None or detector is None else None
            for picture, box in zip(pictures, boxes, strict=True)
        ]
        wanted = [number for number, each in enumerate(people) if each is None]
        if detector is not None and wanted:
            detected = detector([as_levels(pictures[number]) for number in wanted])
            for number, found in zip(wanted, detected, strict=True):
                people[number] = self._checked(found, pictures[number])
        return [each for each in people if each is not None]

    def _checked(self, found: Detections, picture: Tensor) -> Detections:
        if len(found.boxes) == 0 and self.whole_if_none:
            return Detections(_given(picture, None).boxes, picture.new_zeros(1, dtype=torch.float))
        return Detections(_given(picture, found.boxes).boxes, found.scores)


def _given(picture: Tensor, boxes: Tensor | None) -> Detections:
    height, width = picture.shape[1:]
    if boxes is None:
        boxes = torch.tensor([[0.0, 0.0, width, height]])
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError(f"boxes must have shape (people, 4), got {tuple(boxes.shape)}")
    boxes = boxes.to(picture.device, torch.float32)
    return Detections(boxes, boxes.new_ones(len(boxes)))


def _merge(output: HumanOutput, found: Mapping[str, Any]) -> HumanOutput:
    """Add what one model found: people's fields under ``people``, the others by name."""
    maps = dict(found)
    people: list[dict[str, Any]] = maps.pop("people", [{}] * len(output.people))
    return replace(
        output,
        people=tuple(
            replace(person, **fields) for person, fields in zip(output.people, people, strict=True)
        ),
        **maps,
    )
