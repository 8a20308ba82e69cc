"""Boxes of people in whole pictures, by detectors of transformers or by one's own."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .boxes import suppress_overlaps
from .pretrained import PictureRules, load_pretrained, same_size_batches

__all__ = ["Detections", "PersonDetector", "TransformersDetector"]


class Detections(NamedTuple):
    """People found in one picture.

    Attributes
    ----------
    boxes : Tensor, shape (people, 4)
        Left, top, right and bottom in pixels.
    scores : Tensor, shape (people,)
        In [0, 1], highest first.
    """

    boxes: Tensor
    scores: Tensor


class PersonDetector(Protocol):
    """Anything that finds people in pictures."""

    def __call__(self, images: Sequence[Tensor], /) -> Sequence[Detections]:
        """Map pictures (3, height, width) of uint8 RGB, of any sizes, to the people in each."""
        ...


class TransformersDetector:
    """A DETR, RT-DETR or other object detector of transformers, without torchvision.

    Parameters
    ----------
    model : Module
        Loaded with ``AutoModelForObjectDetection``.
    rules : PictureRules
        How it wants its pictures.
    score_limit : float
        Least score of a person, in [0, 1].
    iou_limit : float
        Of boxes that overlap by more, the best stays; see
        :func:`~barelens.pose.boxes.suppress_overlaps`.
    labels : sequence of str
        Names of the model's classes that count as people, in any case.
    batch_size : int
        Pictures of one size at once.

    Raises
    ------
    ValueError
        The model knows no such class, or a limit is not in [0, 1].
    """

    def __init__(
        self,
        model: Any,
        rules: PictureRules,
        *,
        score_limit: float = 0.5,
        iou_limit: float = 0.7,
        labels: Sequence[str] = ("person",),
        batch_size: int = 8,
    ) -> None:
        for name, limit in (("score_limit", score_limit), ("iou_limit", iou_limit)):
            if not 0 <= limit <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {limit}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        wanted = {label.lower() for label in labels}
        names = {int(index): name for index, name in model.config.id2label.items()}
        self._classes = [index for index, name in names.items() if name.lower() in wanted]
        if not self._classes:
            known = ", ".join(list(names.values())[:5])
            raise ValueError(f"labels must name classes of the model ({known}, ...), got {labels}")
        self._outputs = len(names)
        self._model = model
        self._rules = rules
        self._score_limit = score_limit
        self._iou_limit = iou_limit
        self._batch_size = batch_size

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> "TransformersDetector":
        """Load a detector.

        Parameters
        ----------
        source : path or str
            A folder or a hub id, such as ``"PekingU/rtdetr_r18vd_coco_o365"``.
        device, dtype
            Where and in which precision to compute.
        options
            As for :class:`TransformersDetector`.
        """
        model, rules = load_pretrained(
            source, "AutoModelForObjectDetection", device=device, dtype=dtype
        )
        return cls(model, rules, **options)

    @torch.inference_mode()
    def __call__(self, images: Sequence[Tensor], /) -> list[Detections]:
        """Find people in pictures (3, height, width) of uint8 RGB, which may differ in size."""
        parameter = next(self._model.parameters())
        found: dict[int, Detections] = {}
        for numbers in same_size_batches(images, self._rules, self._batch_size):
            pixels = torch.stack([self._rules(images[n].to(parameter.device)) for n in numbers])
            output = self._model(pixel_values=pixels.to(parameter.dtype))
            scores = self._scores(output.logits.float())
            for number, boxes, score in zip(
                numbers, output.pred_boxes.float(), scores, strict=True
            ):
                height, width = images[number].shape[1:]
                found[number] = self._people(boxes, score, height, width)
        return [found[number] for number in range(len(images))]

    def _scores(self, logits: Tensor) -> Tensor:
        """Score of a person for each query, shape (batch, queries)."""
        # DETR has one output more, for "nothing", and its classes exclude each other.
        exclusive = logits.shape[-1] == self._outputs + 1
        shares = logits.softmax(dim=-1) if exclusive else logits.sigmoid()
        return shares[..., self._classes].amax(dim=-1)

    def _people(self, boxes: Tensor, scores: Tensor, height: int, width: int) -> Detections:
        """Choose from boxes of centre and size as shares of the picture."""
        center, size = boxes[:, :2], boxes[:, 2:]
        corners = torch.cat([center - size / 2, center + size / 2], dim=-1).clamp(0, 1)
        corners = corners * corners.new_tensor([width, height, width, height])
        sound = (corners[:, 2:] - corners[:, :2] >= 1).all(dim=-1) & (scores >= self._score_limit)
        corners, scores = corners[sound], scores[sound]
        kept = suppress_overlaps(corners, scores, self._iou_limit)
        return Detections(corners[kept], scores[kept])
