"""People found by a pose model itself, where no detector is at hand."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .boxes import box_cover, suppress_overlaps
from .crops import Frames, crop_people
from .decode import decode_heatmaps, place_keypoints
from .detect import Detections
from .preparation import normalise_pixels, reference_preparation
from .sapiens import HumanModel

__all__ = ["WindowDetector"]

_SURE = 0.3  # score from which a keypoint belongs to a person
_MARGIN = 0.1  # that a body reaches beyond its keypoints, as a share of their longer extent


class WindowDetector:
    """Find people by running a small pose model on windows of several sizes.

    Where a window shows a person as the crops the model was trained on do, most heatmaps have a
    clear maximum. The mean height of the maxima rates a window, the extent of the sure keypoints
    gives a box, and each box that stays is looked at once more by itself. That takes hundreds of
    passes of the model for a picture, so it is for small models; a real detector such as
    :class:`~barelens.pose.TransformersDetector` is better and, on large pictures, faster.

    Parameters
    ----------
    model : HumanModel
        With a pose head.
    score_limit : float
        Least mean score of the keypoints, in [0, 1].
    min_share : float
        Height of the smallest window over that of the picture's larger window, in (0, 1].
    stride : float
        Step between windows as a share of their size.
    overlap_limit : float
        Of boxes that share more of the smaller one's area, the best stays: a window that shows
        half a person finds half a person.
    batch_size : int
        Windows at once.
    """

    def __init__(
        self,
        model: HumanModel,
        *,
        score_limit: float = 0.35,
        min_share: float = 0.12,
        stride: float = 0.3,
        overlap_limit: float = 0.6,
        batch_size: int = 32,
    ) -> None:
        for name, value in (("min_share", min_share), ("stride", stride)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {value}")
        model.head_of("pose")  # refuses a model without
        self._model = model
        self._preparation = reference_preparation(model.family, "pose", model.image_size)
        self._score_limit = score_limit
        self._min_share = min_share
        self._stride = stride
        self._overlap_limit = overlap_limit
        self._batch_size = batch_size

    @torch.inference_mode()
    def __call__(self, images: Sequence[Tensor], /) -> list[Detections]:
        """Find people in pictures (3, height, width) of uint8 RGB, which may differ in size."""
        return [self._find(image) for image in images]

    def _find(self, image: Tensor) -> Detections:
        height, width = self._preparation.size
        windows = window_frames(
            (image.shape[1], image.shape[2]), width / height, self._min_share, self._stride
        )
        found = self._rated(image, windows, self._score_limit / 2)
        if not len(found.boxes):
            return found
        center = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        size = (found.boxes[:, 2:] - found.boxes[:, :2]) * self._preparation.box_padding
        aspect = width / height
        grown = torch.maximum(size, size.flip(-1) * size.new_tensor([aspect, 1 / aspect]))
        return self._rated(image, Frames(center, grown), self._score_limit)

    def _rated(self, image: Tensor, frames: Frames, limit: float) -> Detections:
        """Look at each frame: boxes of people in them that rate high enough, without doubles."""
        boxes, scores = [], []
        for first in range(0, len(frames), self._batch_size):
            part = frames[first : first + self._batch_size]
            box, score = self._look(image, part)
            boxes.append(box)
            scores.append(score)
        box, score = torch.cat(boxes), torch.cat(scores)
        sound = (score >= limit) & (box[:, 2:] - box[:, :2] >= 2).all(dim=-1)
        box, score = box[sound], score[sound]
        kept = suppress_overlaps(box, score, self._overlap_limit, overlap=box_cover)
        return Detections(box[kept], score[kept])

    def _look(self, image: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
        """Box of the keypoints in each frame, and their mean score."""
        parameter = next(self._model.parameters())
        size = self._preparation.size
        crops = crop_people(image.to(parameter.device), frames, size).float()
        pixels = normalise_pixels(crops, self._preparation).to(parameter.dtype)
        heatmaps = self._model.read(self._model.features(pixels), ["pose"])["pose"].float()
        points = place_keypoints(decode_heatmaps(heatmaps, size), size, frames)
        sure = (points.scores >= _SURE)[..., None]
        low = torch.where(sure, points.positions, torch.inf).amin(dim=1)
        high = torch.where(sure, points.positions, -torch.inf).amax(dim=1)
        # By the longer side: the keypoints of someone seen from the side span next to no width.
        margin = (high - low).amax(dim=-1, keepdim=True) * _MARGIN
        limits = points.positions.new_tensor([image.shape[2], image.shape[1]])
        corners = torch.cat([(low - margin).clamp(min=0), torch.minimum(high + margin, limits)], -1)
        return corners.nan_to_num(0, 0, 0), points.scores.clamp(0, 1).mean(dim=1)


def window_frames(
    image_size: tuple[int, int], aspect: float, min_share: float, stride: float
) -> Frames:
    """Windows of one proportion that cover a picture at several sizes.

    Parameters
    ----------
    image_size : (int, int)
        Height and width of the picture.
    aspect : float
        Width over height of the windows.
    min_share : float
        Height of the smallest over that of the largest, which just holds the whole picture.
    stride : float
        Step between windows as a share of their size.
    """
    centers, scales = [], []
    largest = max(image_size[0], image_size[1] / aspect)
    for height in _heights(largest, min_share):
        extents = (height * aspect, height)
        rows = _places(image_size[0], extents[1], stride)
        for y in rows:
            for x in _places(image_size[1], extents[0], stride):
                centers.append((x, y))
                scales.append(extents)
    return Frames(torch.tensor(centers), torch.tensor(scales))


def _heights(largest: float, min_share: float) -> Iterator[float]:
    height = largest
    while height >= largest * min_share * 0.999:
        yield height
        height /= 2**0.5


def _places(length: int, extent: float, stride: float) -> list[float]:
    """Centres of windows along one axis, the outer ones flush with the picture's edges."""
    room = length - extent
    if room <= 0:
        return [length / 2]
    count = 1 + max(1, round(room / (stride * extent)))
    return [extent / 2 + room * step / (count - 1) for step in range(count)]
