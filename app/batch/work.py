"""What is done to each capture of a batch: reconstruct it, or reconstruct and refine it."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from ...imaging.capture_checks import CaptureLevels
from ..pipeline import LinearPipeline, LinearScene
from ..pipeline_files import write_reconstruction
from .captures import Capture
from .manifest import linear_row, refined_row

if TYPE_CHECKING:
    from ...imaging.refine import Refined
    from ..refining import RefiningPipeline

__all__ = ["LinearWork", "Loaded", "RefiningWork", "Work", "finished_columns", "settings_hash"]


@dataclass(frozen=True, eq=False)
class Loaded:
    """A capture that has been read and checked."""

    capture: Capture
    raw: Tensor
    levels: CaptureLevels

    @property
    def file_name(self) -> str:
        """What the record calls the capture."""
        return Path(self.capture.origin).name


class Work(Protocol):
    """What a batch does; results are any objects that ``write`` takes."""

    @property
    def linear(self) -> LinearPipeline:
        """The linear reconstruction that it begins with."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what comes out, as JSON data."""
        ...

    def compute(self, raws: Tensor) -> list[Any]:
        """Give the result of each raw frame (batch, *frame_shape)."""
        ...

    def write(self, target: Path, loaded: Loaded, result: Any, seconds: float) -> dict[str, Any]:
        """Write a result's files, the record last; give its columns of the manifest."""
        ...


class LinearWork:
    """Reconstruct linear scenes.

    Parameters
    ----------
    linear : LinearPipeline
        The camera and how to reconstruct.
    trust : bool, optional
        Whether records say how far scenes can be trusted, which takes as long as the rest.
    previews : bool, optional
        Whether scenes get pictures for the screen.
    """

    def __init__(
        self, linear: LinearPipeline, *, trust: bool = True, previews: bool = False
    ) -> None:
        self.linear = linear
        self.trust = trust
        self.previews = previews
        if trust:
            _ = linear.trust  # factorised here, not in every thread

    @cached_property
    def settings(self) -> dict[str, Any]:
        """How to reconstruct, and by which camera."""
        camera = self.linear.camera_record["digest"]
        return {
            "linear": self.linear.settings_record,
            "trust": self.trust,
            "previews": self.previews,
            "camera": camera,
        }

    def compute(self, raws: Tensor) -> list[LinearScene]:
        """Reconstruct raw frames (batch, *frame_shape)."""
        return self.linear.batch(raws)

    def write(
        self, target: Path, loaded: Loaded, result: LinearScene, seconds: float
    ) -> dict[str, Any]:
        """Write a scene's files and give its columns."""
        return linear_row(self.write_files(target, loaded, result, seconds))

    def write_files(
        self, target: Path, loaded: Loaded, scene: LinearScene, seconds: float
    ) -> dict[str, Any]:
        """Write the files of a linear reconstruction and give their record."""
        return write_reconstruction(
            target,
            loaded.file_name,
            loaded.raw,
            loaded.levels,
            scene,
            self.linear,
            seconds=seconds,
            preview=self.previews,
            trust=self.trust,
        )


class RefiningWork:
    """Reconstruct linear scenes and refine them, one after the other.

    Parameters
    ----------
    pipeline : RefiningPipeline
        The camera and the model.
    trust, previews : bool, optional
        As in :class:`LinearWork`.
    """

    def __init__(
        self, pipeline: "RefiningPipeline", *, trust: bool = True, previews: bool = False
    ) -> None:
        self.pipeline = pipeline
        self._linear_work = LinearWork(pipeline.linear, trust=trust, previews=previews)
        self.linear = pipeline.linear

    @cached_property
    def settings(self) -> dict[str, Any]:
        """How to reconstruct and how to refine."""
        annotator = self.pipeline.annotator
        made_by = {
            "model": self.pipeline.model_record,
            "settings": asdict(self.pipeline.settings),
            "annotator": annotator and asdict(annotator),
        }
        as_read = json.loads(json.dumps(made_by))  # records hold lists where settings hold tuples
        return {**self._linear_work.settings, "refining": as_read}

    def compute(self, raws: Tensor) -> list[tuple[LinearScene, "Refined", float]]:
        """Give the scene, its refinement, and the seconds that took, of each raw frame."""
        refined = []
        for raw, scene in zip(raws, self.linear.batch(raws), strict=True):
            started = time.perf_counter()
            result = self.pipeline.refine(raw, scene)
            refined.append((scene, result, time.perf_counter() - started))
        return refined

    def write(
        self,
        target: Path,
        loaded: Loaded,
        result: tuple[LinearScene, "Refined", float],
        seconds: float,
    ) -> dict[str, Any]:
        """Write the files of a scene and of its refinement and give their columns."""
        from ..refining_files import write_refinement

        scene, refined, refining_seconds = result
        linear = self._linear_work.write_files(
            target, loaded, scene, max(seconds - refining_seconds, 0.0)
        )
        record = write_refinement(
            target,
            loaded.raw,
            scene,
            refined,
            self.pipeline,
            linear,
            seconds=refining_seconds,
        )
        return {**linear_row(linear), **refined_row(record), "seconds": seconds}


def settings_hash(settings: dict[str, Any]) -> str:
    """Name all settings of a batch in 16 letters, the same on any machine."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def finished_columns(settings: dict[str, Any], target: Path) -> dict[str, Any] | None:
    """Give the manifest's columns of results that lie there and were made with these settings."""
    record = _read_record(target.with_name(f"{target.name}.linear.json"))
    made_by = {
        "linear": record.get("settings"),
        "trust": "trust" in record,
        "camera": record.get("camera", {}).get("digest"),
    }
    if any(settings[name] != value for name, value in made_by.items()):
        return None
    if settings["previews"] and "picture" not in record.get("files", {}):
        return None
    if "refining" not in settings:
        return linear_row(record)
    refined = _read_record(target.with_name(f"{target.name}.refined.json"))
    if any(refined.get(name) != value for name, value in settings["refining"].items()):
        return None
    seconds = record["seconds"] + refined["seconds"]
    return {**linear_row(record), **refined_row(refined), "seconds": seconds}


def _read_record(path: Path) -> dict[str, Any]:
    """Read a record; an empty one where there is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
