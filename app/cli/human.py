"""``barelens human``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .messages import check_device, check_names, complain, fail, tracked, user_errors

if TYPE_CHECKING:
    from torch import Tensor

    from ..people import PeoplePipeline, PeopleSettings

__all__ = ["human"]


def human(
    sources: list[Path] = typer.Argument(help="Pictures (PNG, JPEG, TIFF) and videos."),
    out: Path = typer.Option(..., help="Folder for the results; made if missing."),
    tasks: str = typer.Option(
        "", help="Of pose, parts, depth, normals, ..., with commas; all the models can if left out."
    ),
    model: list[str] = typer.Option(
        [], help="File, folder or hub id; may be given again. The shipped one if left out."
    ),
    detector: str = typer.Option(
        "", help="Folder or hub id of a DETR or RT-DETR; without, a picture is one person's."
    ),
    scene_depth: str = typer.Option("", help="Folder or hub id of a Depth Anything V2."),
    masks: str = typer.Option("", help="Folder or hub id of a SAM 2 for masks of the people."),
    layout: str = typer.Option("coco17", help="coco17, wholebody133 or sapiens308, for COCO."),
    min_score: float = typer.Option(0.3, help="Least score of a keypoint."),
    focal_px: float | None = typer.Option(
        None, help="Focal length; turns metric scene depth into a PLY point cloud."
    ),
    step: int = typer.Option(1, help="Look at every so many frames of a video."),
    smooth: bool = typer.Option(True, help="Smooth the keypoints of videos."),
    flip_test: bool = typer.Option(True, help="Average with what the mirror image shows."),
    batch_size: int = typer.Option(8, help="Crops and pictures at once."),
    device: str = typer.Option("cpu", help="cpu, cuda, cuda:1, ..."),
    dtype: str = typer.Option("float32", help="float32 or bfloat16."),
    compile_model: bool = typer.Option(False, "--compile", help="Compile the backbones first."),
) -> None:
    """Find people in pictures and videos: keypoints, parts, depth and normals.

    For each picture NAME: NAME.people.png (all of it drawn), NAME.coco.json, NAME.openpose.json,
    NAME.parts.png and .json (classes, and their run lengths), NAME.depth.png and NAME.normals.png
    (16 bits), NAME.ply where there are points, and last the record NAME.people.json.
    coco.json holds all pictures of the run. For each video: NAME.people.mp4 and
    NAME.people.jsonl, a line for each frame with numbered people.
    Where `barelens reconstruct --trust` or `barelens refine` left NAME.measured.tif by a picture,
    the record says of each keypoint and part how much of the picture there was measured, and it is
    drawn.

    What an earlier run has done with the same settings is passed over. A file that cannot be used
    is reported and the rest go on; the exit code is then 1.
    """
    from ..people import VIDEO_SUFFIXES, PeopleSettings
    from ..people_files import write_summary

    pictures = [path for path in sources if path.suffix.lower() not in VIDEO_SUFFIXES]
    videos = [path for path in sources if path not in pictures]
    with user_errors():
        settings = PeopleSettings(layout, min_score, focal_px, step, smooth)
        check_names(sources)
        pipeline = _pipeline(
            settings,
            models=model,
            tasks=tasks,
            surroundings={"detector": detector, "scene_depth": scene_depth, "masks": masks},
            kinds={"pictures": bool(pictures), "videos": bool(videos)},
            options={"flip_test": flip_test, "batch_size": batch_size, "compile": compile_model},
            device=device,
            dtype=dtype,
        )
        out.mkdir(parents=True, exist_ok=True)
    bad = _look_at_pictures(pictures, pipeline, out, batch_size)
    bad += sum(not _look_at_video(path, pipeline, out) for path in videos)
    with user_errors():
        summary = write_summary(pictures, out)
    if summary is not None:
        typer.echo(f"all pictures -> {summary}")
    if bad:
        fail(f"{bad} of {len(sources)} files failed")


def _look_at_pictures(
    paths: list[Path], pipeline: "PeoplePipeline", out: Path, batch_size: int
) -> int:
    """Look at pictures in batches; return how many could not be used."""
    from ..people_files import read_picture

    bad = 0
    batch: list[tuple[Path, Tensor]] = []
    for number, path in enumerate(tracked(paths, "Pictures", len(paths)), start=1):
        try:
            if pipeline.is_done(path, out):
                typer.echo(f"{path}: done before")
            else:
                batch.append((path, read_picture(path)))
        except (ValueError, TypeError, OSError, ImportError) as error:
            _complain(path, error)
            bad += 1
        if batch and (len(batch) == batch_size or number == len(paths)):
            bad += _finish(batch, pipeline, out)
            batch = []
    return bad


def _finish(batch: list[tuple[Path, "Tensor"]], pipeline: "PeoplePipeline", out: Path) -> int:
    """Look at one batch of pictures and write the results; return how many failed."""
    try:
        counts = pipeline.pictures([path for path, _ in batch], [image for _, image in batch], out)
    except (ValueError, TypeError, OSError) as error:
        if len(batch) > 1:  # one of them is at fault: the others need not suffer
            return sum(_finish([each], pipeline, out) for each in batch)
        _complain(batch[0][0], error)
        return 1
    for (path, _), count in zip(batch, counts, strict=True):
        typer.echo(f"{path} -> {out / path.stem}.people.png  {_people(count)}")
    return 0


def _look_at_video(path: Path, pipeline: "PeoplePipeline", out: Path) -> bool:
    """Look at one video; return whether that was possible."""
    from ...pose.video import read_video_info

    try:
        if pipeline.is_done(path, out):
            typer.echo(f"{path}: done before")
            return True
        frames = (read_video_info(path).num_frames or 0) // pipeline.settings.step
        for _ in tracked(pipeline.video(path, out), path.name, frames):
            pass
    except (ValueError, TypeError, OSError, ImportError) as error:
        _complain(path, error)
        return False
    typer.echo(f"{path} -> {out / path.stem}.people.mp4")
    return True


def _pipeline(
    settings: "PeopleSettings",
    *,
    models: list[str],
    tasks: str,
    surroundings: dict[str, str],
    kinds: dict[str, bool],
    options: dict[str, Any],
    device: str,
    dtype: str,
) -> "PeoplePipeline":
    import torch

    from ...pose import HumanVision
    from ...pose.surroundings import FollowedMasks, PromptedMasks, SceneDepth
    from ..people import PeoplePipeline, default_model, describe_model

    precisions = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if dtype not in precisions:
        raise ValueError(f"dtype must be {' or '.join(precisions)}, got {dtype!r}")
    place: dict[str, Any] = {"device": check_device(device), "dtype": precisions[dtype]}
    loaded: dict[str, Any] = {}
    if surroundings["scene_depth"]:
        loaded["scene_depth"] = SceneDepth.load(surroundings["scene_depth"], **place)
    if surroundings["masks"] and kinds["pictures"]:
        loaded["masks"] = PromptedMasks.load(surroundings["masks"], **place)
    if surroundings["masks"] and kinds["videos"]:
        loaded["video_masks"] = FollowedMasks.load(surroundings["masks"], **place)
    chosen = models or [str(default_model())]
    vision = HumanVision.load(
        *chosen,
        tasks=[name.strip() for name in tasks.split(",")] if tasks else None,
        detector=surroundings["detector"] or None,
        **place,
        **options,
    )
    # What changes results; the size of batches does not.
    identity = {
        "models": [describe_model(source) for source in chosen],
        **surroundings,
        "dtype": dtype,
        "flip_test": options["flip_test"],
    }
    return PeoplePipeline(vision, settings, identity, **loaded)


def _complain(path: Path, error: Exception) -> None:
    complain(error if str(path) in str(error) else f"{path}: {error}")


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
