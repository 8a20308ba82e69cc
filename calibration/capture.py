"""Grabbing calibration captures: a screen that shows, a camera that sees, a folder that fills."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ..imaging import VirtualCamera
from ..imaging.files import write_json, write_raw_png16
from .errors import CalibrationError
from .patterns import MANIFEST, PatternSet, manifest, read_manifest

__all__ = [
    "CaptureResult",
    "Grabber",
    "OpenCVGrabber",
    "OpenCVScreen",
    "Screen",
    "VirtualBench",
    "capture_patterns",
]


class Screen(Protocol):
    """Shows a picture; returns once it is visible."""

    def show(self, picture: Tensor) -> None:
        """Show a uint8 picture (height, width)."""
        ...


class Grabber(Protocol):
    """A camera: OpenCV here, and a dozen lines for picamera2 or a vendor's kit."""

    white_level: float

    def grab(self) -> Tensor:
        """Give one raw frame of unsigned integers (height, width)."""
        ...


@dataclass(frozen=True)
class CaptureResult:
    """What a run of captures did.

    Attributes
    ----------
    taken, skipped : int
        Captures grabbed, and found from an earlier run.
    saturated : dict of str to float
        Share of saturated pixels of every capture that has too many.
    """

    taken: int
    skipped: int
    saturated: dict[str, float]


def capture_patterns(
    patterns: PatternSet,
    screen: Screen,
    grabber: Grabber,
    folder: Path,
    *,
    frames: int = 4,
    settle_frames: int = 3,
    saturated_limit: float = 0.001,
    progress: Callable[[], None] = lambda: None,
) -> CaptureResult:
    """Show every pattern, grab and average frames, and write one capture a pattern.

    A run that was stopped goes on where it stopped: captures that are there are kept.

    Parameters
    ----------
    patterns : PatternSet
        What to show.
    screen, grabber : Screen, Grabber
        What shows and what sees.
    folder : Path
        Where captures go; one that holds those of another set is refused.
    frames : int, optional
        Frames averaged into a capture, rounded to whole counts.
    settle_frames : int, optional
        Frames thrown away after each change, for exposure and screen to settle.
    saturated_limit : float, optional
        Share of pixels at the white level from which a capture is reported.
    progress : callable, optional
        Called after every pattern.

    Returns
    -------
    CaptureResult
        What was done and what is too bright.

    Raises
    ------
    CalibrationError
        The folder belongs to another set, or a setting is out of range.
    """
    if frames < 1 or settle_frames < 0:
        raise CalibrationError(
            f"frames must be at least 1 and settle_frames 0, got {frames} and {settle_frames}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).exists():
        if read_manifest(folder / MANIFEST) != patterns:
            raise CalibrationError(f"{folder} holds captures of another set of patterns")
    else:
        write_json(folder / MANIFEST, manifest(patterns))
    taken = skipped = 0
    saturated: dict[str, float] = {}
    for pattern in patterns.patterns():
        path = folder / f"{pattern.name}.png"
        if path.exists():
            skipped += 1
        else:
            screen.show(patterns.picture(pattern))
            for _ in range(settle_frames):
                grabber.grab()
            stack = torch.stack([grabber.grab().to(torch.int64) for _ in range(frames)])
            share = float((stack >= grabber.white_level).double().mean())
            if share > saturated_limit:
                saturated[pattern.name] = share
            mean = stack.double().mean(0).round()
            write_raw_png16(path, mean.to(torch.int32))
            taken += 1
        progress()
    return CaptureResult(taken, skipped, saturated)


class OpenCVGrabber:
    """A camera that OpenCV opens, in raw mode where its driver offers one.

    Parameters
    ----------
    index : int, optional
        Number of the camera.
    white_level : float, optional
        Largest count of its frames.
    exposure : float, optional
        Exposure in the driver's own units; automatic exposure is turned off then.

    Raises
    ------
    CalibrationError
        The camera cannot be opened or gives no frame.
    """

    def __init__(
        self, index: int = 0, *, white_level: float = 255, exposure: float | None = None
    ) -> None:
        import cv2

        self.white_level = white_level
        self._index = index
        self._camera = cv2.VideoCapture(index)
        if not self._camera.isOpened():
            raise CalibrationError(f"camera {index} cannot be opened")
        self._camera.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        if exposure is not None:
            self._camera.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1)
            self._camera.set(cv2.CAP_PROP_EXPOSURE, exposure)

    def grab(self) -> Tensor:
        """Give one raw frame."""
        found, frame = self._camera.read()
        if not found:
            raise CalibrationError(f"camera {self._index} gives no frame")
        if frame.ndim == 3:
            raise CalibrationError(
                f"camera {self._index} gives processed frames {frame.shape}, raw ones are needed"
            )
        return torch.from_numpy(frame)


class OpenCVScreen:
    """A full-screen window of OpenCV, which needs its build with windows (opencv-python).

    Parameters
    ----------
    wait_ms : int, optional
        Time for the picture to reach the glass.

    Raises
    ------
    CalibrationError
        This OpenCV has no windows.
    """

    def __init__(self, *, wait_ms: int = 150) -> None:
        import cv2

        self._wait_ms = wait_ms
        try:
            cv2.namedWindow("barelens", cv2.WINDOW_NORMAL)
            cv2.setWindowProperty("barelens", cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
        except cv2.error:
            raise CalibrationError(
                "this OpenCV cannot open windows: pip install opencv-python in place of "
                "opencv-python-headless, or show the pictures of `barelens calibrate patterns` "
                "by other means"
            ) from None

    def show(self, picture: Tensor) -> None:
        """Show a picture full screen."""
        import cv2

        cv2.imshow("barelens", picture.numpy())
        cv2.waitKey(self._wait_ms)


class VirtualBench:
    """A screen in front of a virtual camera: stands in for both where there is no hardware.

    Parameters
    ----------
    camera : VirtualCamera
        The camera, whose scene is the pattern set's.
    patterns : PatternSet
        What is shown.
    seed : int, optional
        Seed of the first frame's noise; every frame has its own.

    Raises
    ------
    CalibrationError
        Camera and patterns have scenes of different sizes.
    """

    def __init__(self, camera: VirtualCamera, patterns: PatternSet, *, seed: int = 0) -> None:
        geometry = camera.geometry
        scene = (patterns.scene_height, patterns.scene_width)
        if scene != (geometry.scene_height, geometry.scene_width):
            raise CalibrationError(
                f"patterns are for a scene of {scene[0]}x{scene[1]}, the camera's is "
                f"{geometry.scene_height}x{geometry.scene_width}"
            )
        self.white_level = float(camera.sensor.white_level_dn)
        self.exposure_s = camera.auto_exposure(torch.ones(3, *camera.fine_scene_size))
        self._camera, self._patterns, self._seed = camera, patterns, seed
        self._scene = torch.zeros(3, *camera.fine_scene_size)

    def show(self, picture: Tensor) -> None:
        """Put a screen picture before the camera."""
        patterns = self._patterns
        cell, factor = patterns.cell, self._camera.oversampling
        height, width = patterns.scene_height, patterns.scene_width
        top = (patterns.screen_height - cell * height) // 2
        left = (patterns.screen_width - cell * width) // 2
        shown = picture[top : top + cell * height : cell, left : left + cell * width : cell]
        fine = (shown.float() / 255).repeat_interleave(factor, 0).repeat_interleave(factor, 1)
        self._scene = fine.expand(3, -1, -1)

    def grab(self) -> Tensor:
        """Take a picture of what is shown."""
        self._seed += 1
        return self._camera.capture(self._scene, exposure_s=self.exposure_s, seed=self._seed)
