"""People in files of pictures and videos: what is found, written beside a record of how."""

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..imaging.files import atomic_path, write_json
from ..pose import HumanOutput, HumanVision, with_support
from ..pose.panels import PANELS, draw_output
from ..pose.smoothing import KeypointSmoother
from ..pose.video import Frame, follow_people, read_frames, read_video_info, write_video
from .people_files import frame_record, measured_path, read_measured, support_record, write_picture

if TYPE_CHECKING:
    from ..pose.surroundings import FollowedMasks, PromptedMasks, SceneDepth

__all__ = [
    "VIDEO_SUFFIXES",
    "PeoplePipeline",
    "PeopleSettings",
    "default_model",
    "describe_model",
]

RECORD_FORMAT = "barelens.people"
RECORD_VERSION = 1
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
SHIPPED_MODEL = "human/model.safetensors"


@dataclass(frozen=True)
class PeopleSettings:
    """What to write of people.

    Attributes
    ----------
    layout : "coco17", "wholebody133" or "sapiens308"
        Keypoints of the COCO files.
    min_score : float
        Least score of a keypoint to be drawn, or to count as seen.
    focal_px : float or None
        Focal length of the pictures in pixels, which turns metric depth of the scene into points.
    step : int
        Every how manyth frame of a video to look at.
    smooth : bool
        Filter the keypoints of videos.
    """

    layout: str = "coco17"
    min_score: float = 0.3
    focal_px: float | None = None
    step: int = 1
    smooth: bool = True

    def __post_init__(self) -> None:
        if self.layout not in ("coco17", "wholebody133", "sapiens308"):
            raise ValueError(
                f"layout must be coco17, wholebody133 or sapiens308, got {self.layout!r}"
            )
        if self.focal_px is not None and not self.focal_px > 0:
            raise ValueError(f"focal_px must be positive, got {self.focal_px}")
        if self.step < 1:
            raise ValueError(f"step must be at least 1, got {self.step}")


def default_model() -> Path:
    """Return where the model that ships with barelens lies.

    Raises
    ------
    FileNotFoundError
        This installation has none; the message says what to do.
    """
    from .. import data

    try:
        return data.path(SHIPPED_MODEL)
    except FileNotFoundError:
        raise FileNotFoundError(
            "this installation ships no model for people; train one with `barelens train human`, "
            "or name one with --model, for example facebook/sapiens2-pose-0.4b"
        ) from None


@dataclass(frozen=True, eq=False)
class PeoplePipeline:
    """Models, and what to write of what they find.

    Attributes
    ----------
    vision : HumanVision
        Finds people.
    settings : PeopleSettings
        What to write.
    sources : mapping
        JSON data that tells the models apart, for the records; a picture is done again when it
        differs.
    scene_depth, masks, video_masks : optional
        Models for the surroundings.
    """

    vision: HumanVision
    settings: PeopleSettings
    sources: Mapping[str, Any]
    scene_depth: "SceneDepth | None" = None
    masks: "PromptedMasks | None" = None
    video_masks: "FollowedMasks | None" = None

    def is_done(self, path: Path, out: Path) -> bool:
        """Whether an earlier run left the results of this very file with these settings."""
        try:
            record = json.loads(_record_path(path, out).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        wanted = json.loads(json.dumps(self._identity(path)))
        same = all(record.get(name) == value for name, value in wanted.items())
        return same and all((out / name).is_file() for name in record["files"].values())

    def pictures(self, paths: Sequence[Path], images: Sequence[Tensor], out: Path) -> list[int]:
        """Look at pictures and write what was found; return how many people are in each.

        Of a picture that has a map of what was measured beside it, see :func:`read_measured`, the
        results say how much of their support was.
        """
        outputs = self.vision(list(images))
        if self.masks is not None:
            outputs = self.masks.mask_people(list(images), outputs)
        if self.scene_depth is not None:
            outputs = self.scene_depth(list(images), outputs)
        for path, image, found in zip(paths, images, outputs, strict=True):
            output = found.to("cpu")
            measured = read_measured(path, output.image_size)
            if measured is not None:
                output = with_support(output, measured)
            files = write_picture(
                out,
                path,
                image.cpu(),
                output,
                panels=self._panels(masks=self.masks is not None, support=measured is not None),
                layout=self.settings.layout,
                min_score=self.settings.min_score,
                focal_px=self.settings.focal_px,
            )
            found_there = {"people": len(output.people), **support_record(output)}
            self._write_record(path, out, files, found_there)
        return [len(output.people) for output in outputs]

    def video(self, path: Path, out: Path) -> Iterator[Frame]:
        """Look at a video; its results are written once the iteration has come to its end.

        Yields
        ------
        Frame
            Each that has been looked at.
        """
        rate = read_video_info(path).frames_per_s / self.settings.step
        files = {"people": f"{path.stem}.people.jsonl", "picture": f"{path.stem}.people.mp4"}
        tracks: set[int | None] = set()
        with (
            atomic_path(out / files["people"]) as lines,
            lines.open("w", encoding="utf-8") as file,
            write_video(out / files["picture"], frames_per_s=rate) as write,
        ):
            for frame, output in self._follow(path):
                file.write(json.dumps(frame_record(frame, output)) + "\n")
                tracks |= {person.track for person in output.people}
                write(
                    draw_output(
                        frame.image.movedim(0, -1),
                        output,
                        panels=self._panels(masks=self.video_masks is not None),
                        min_score=self.settings.min_score,
                    )
                )
                yield frame
        self._write_record(path, out, files, {"tracks": len(tracks)})

    def _follow(self, path: Path) -> Iterator[tuple[Frame, HumanOutput]]:
        smoother = KeypointSmoother() if self.settings.smooth else None
        frames = read_frames(path, step=self.settings.step)
        followed = follow_people(self.vision, frames, smoother=smoother)
        if self.video_masks is not None:
            followed = self.video_masks.mask_people(followed)
        for frame, output in followed:
            if self.scene_depth is not None:
                output = self.scene_depth(frame.image, output)
            yield frame, output.to("cpu")

    def _panels(self, *, masks: bool, support: bool = False) -> list[str]:
        """Name what to draw of every picture, whether there is anybody in it or not."""
        tasks = self.vision.tasks
        drawn = {
            "keypoints": "pose" in tasks,
            "parts": "segmentation" in tasks,
            "masks": masks,
            "normals": "normal" in tasks,
            "depth": "depth" in tasks,
            "scene_depth": self.scene_depth is not None,
            "support": support,
        }
        return [panel for panel in PANELS if drawn[panel]]

    def _identity(self, path: Path) -> dict[str, Any]:
        """Tell the source, the models and the settings apart from others."""
        measured = measured_path(path)
        return {
            "format": RECORD_FORMAT,
            "format_version": RECORD_VERSION,
            "source": _describe_file(path),
            "measured": _describe_file(measured) if measured.is_file() else None,
            "models": dict(self.sources),
            "tasks": list(self.vision.tasks),
            "settings": asdict(self.settings),
        }

    def _write_record(
        self, path: Path, out: Path, files: Mapping[str, str], found: Mapping[str, Any]
    ) -> None:
        versions = {
            "barelens": version("barelens"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        record = self._identity(path) | {"files": files, "found": found, "versions": versions}
        write_json(_record_path(path, out), record)


def describe_model(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Tell a model apart from others: its name, and the digest of a file."""
    path = Path(source)
    if not path.is_file():
        return {"name": os.fspath(source)}
    with path.open("rb") as file:
        return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _describe_file(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {"name": path.name, "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _record_path(path: Path, out: Path) -> Path:
    return out / f"{path.stem}.people.json"
