"""Video frame by frame, however long it is, and the people in it."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..imaging.files import FileError, atomic_path
from ..imaging.shapes import ShapeError
from .outputs import HumanOutput
from .smoothing import KeypointSmoother
from .tracks import Tracker
from .vision import HumanVision

__all__ = ["Frame", "VideoInfo", "follow_people", "read_frames", "read_video_info", "write_video"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes
    ----------
    index : int
        Its number, from 0.
    time_s : float
        When it is shown, from the beginning.
    image : Tensor of uint8, shape (3, height, width)
        Display-encoded RGB.
    """

    index: int
    time_s: float
    image: Tensor


@dataclass(frozen=True)
class VideoInfo:
    """What a video's container says of it.

    Attributes
    ----------
    size : (int, int)
        Height and width in pixels.
    frames_per_s : float
        Frames per second; 25 where the container does not say.
    num_frames : int or None
        About how many frames there are, if it is known.
    """

    size: tuple[int, int]
    frames_per_s: float
    num_frames: int | None


def read_video_info(path: str | os.PathLike[str]) -> VideoInfo:
    """Read what a video's container says of it.

    Raises
    ------
    FileNotFoundError, FileError
        There is no such file, or OpenCV cannot read it as a video.
    """
    reader = _open(path)
    try:
        return _info(reader)
    finally:
        reader.release()


def read_frames(path: str | os.PathLike[str], *, step: int = 1) -> Iterator[Frame]:
    """Read a video frame by frame; only one is in memory at a time.

    Parameters
    ----------
    path : path
        Anything OpenCV's video readers understand.
    step : int
        Take every so many frames.

    Raises
    ------
    FileNotFoundError, FileError
        There is no such file, or it holds no frame that can be read.
    """
    if step < 1:
        raise ValueError(f"step must be at least 1, got {step}")
    reader = _open(path)
    try:
        rate = _info(reader).frames_per_s
        index = 0
        while reader.grab():
            if index % step == 0:
                decoded, pixels = reader.retrieve()
                if not decoded:
                    break
                rgb = np.ascontiguousarray(pixels[..., ::-1])
                yield Frame(index, index / rate, torch.from_numpy(rgb).movedim(-1, 0))
            index += 1
        if index == 0:
            raise FileError(f"{path} holds no frame that can be read")
    finally:
        reader.release()


def follow_people(
    vision: HumanVision,
    frames: Iterable[Frame],
    *,
    tracker: Tracker | None = None,
    smoother: KeypointSmoother | None = None,
    batch_size: int = 8,
) -> Iterator[tuple[Frame, HumanOutput]]:
    """Look at the frames of a video, and number its people.

    Parameters
    ----------
    vision : HumanVision
        With a detector, unless one person fills the picture.
    frames : iterable of Frame
        In order, from :func:`read_frames` or from a camera.
    tracker : Tracker, optional
        One with its usual settings where not given.
    smoother : KeypointSmoother, optional
        Keypoints are left as they are where not given.
    batch_size : int
        Frames looked at together; as many are in memory.

    Yields
    ------
    frame : Frame
    output : HumanOutput
        Each person with a track.
    """
    tracker = Tracker() if tracker is None else tracker
    source = iter(frames)
    while batch := list(islice(source, batch_size)):
        outputs = vision([frame.image for frame in batch])
        for frame, output in zip(batch, outputs, strict=True):
            tracked = tracker(output)
            yield frame, tracked if smoother is None else smoother(tracked, frame.time_s)


@contextmanager
def write_video(
    path: str | os.PathLike[str], *, frames_per_s: float
) -> Iterator[Callable[[Tensor], None]]:
    """Write pictures to an MP4 file, one at a time; the file appears whole or not at all.

    Parameters
    ----------
    path : path
        Ending in ``.mp4``.
    frames_per_s : float
        How fast they are shown.

    Yields
    ------
    callable
        Takes the next picture, a Tensor of uint8 RGB of shape (height, width, 3). All must be of
        one size, and there must be at least one.
    """
    import cv2

    with atomic_path(path) as temporary:
        writer, shape = None, None

        def write(picture: Tensor) -> None:
            nonlocal writer, shape
            pixels = np.ascontiguousarray(picture.cpu().numpy()[..., ::-1])
            if writer is None:
                shape = pixels.shape
                code = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(temporary), code, frames_per_s, (shape[1], shape[0]))
                if not writer.isOpened():
                    raise FileError(f"{path}: this OpenCV cannot write MP4 files")
            if pixels.shape != shape:
                raise ShapeError(f"pictures must all have shape {shape}, got {pixels.shape}")
            writer.write(pixels)

        try:
            yield write
        finally:
            if writer is not None:
                writer.release()
        if writer is None:
            raise ValueError(f"{path} must have at least one picture, got none")


def _open(path: str | os.PathLike[str]) -> Any:
    import cv2

    if not Path(path).is_file():
        raise FileNotFoundError(f"no video at {path}")
    reader = cv2.VideoCapture(str(path))
    if not reader.isOpened():
        raise FileError(f"{path} is no video that OpenCV can read")
    return reader


def _info(reader: Any) -> VideoInfo:
    import cv2

    rate = float(reader.get(cv2.CAP_PROP_FPS))
    frames = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    return VideoInfo(
        size=(
            int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)),
        ),
        frames_per_s=rate if rate > 0 else 25.0,
        num_frames=frames if frames > 0 else None,
    )
