"""Files of people: pictures in, and all that was found in them out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..imaging.files import FileError, read_image, write_json, write_png
from ..pose import HumanOutput, part_support
from ..pose.formats import (
    backproject_depth,
    coco_dataset,
    encode_classes,
    merge_datasets,
    openpose_record,
    write_coco,
    write_depth_png,
    write_normal_png,
    write_openpose,
    write_ply,
)
from ..pose.panels import draw_output
from ..pose.video import Frame
from .json_numbers import json_numbers

__all__ = [
    "frame_record",
    "measured_path",
    "read_measured",
    "read_picture",
    "support_record",
    "write_picture",
    "write_summary",
]


def read_picture(path: Path) -> Tensor:
    """Read a picture as it is shown: uint8 RGB, shape (3, height, width), upright.

    Raises
    ------
    FileError, OSError
        It cannot be read in full, or is no picture.
    """
    values = read_image(path, encoding="linear", alpha="drop")  # as stored, so still encoded
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise FileError(f"{path}: holds values outside [0, 1], so it is no picture for the screen")
    return (values * 255).round().to(torch.uint8).expand(3, -1, -1)


def measured_path(path: Path) -> Path:
    """Say where the map of what a camera measured of a picture would lie."""
    return path.with_suffix(".measured.tif")


def read_measured(path: Path, size: tuple[int, int]) -> Tensor | None:
    """Read the map that `barelens reconstruct --trust` and `barelens refine` leave by a picture.

    Returns
    -------
    Tensor or None, shape size
        Share of each pixel's contrast that was measured; None where there is no such file.

    Raises
    ------
    FileError
        The map cannot be read, or has another size than the picture.
    """
    place = measured_path(path)
    if not place.is_file():
        return None
    share = read_image(place, encoding="linear")[0]
    if tuple(share.shape) != size:
        raise FileError(f"{place}: has shape {tuple(share.shape)}, its picture has {size}")
    return share


def support_record(output: HumanOutput) -> dict[str, Any]:
    """Say how much of the people's support was measured, as JSON data; nothing if unknown."""
    if output.measured_share is None:
        return {}
    keypoints = [
        None if person.keypoint_support is None else json_numbers(person.keypoint_support)
        for person in output.people
    ]
    names = None if output.layout is None else list(output.layout.names)
    return {
        "support": {"names": names, "keypoints": keypoints, "parts": part_support(output)},
    }


def write_picture(
    out: Path,
    path: Path,
    image: Tensor,
    output: HumanOutput,
    *,
    panels: Sequence[str] | None = None,
    layout: str = "coco17",
    min_score: float = 0.3,
    focal_px: float | None = None,
) -> dict[str, str]:
    """Write all that is known of one picture, each file whole or not at all.

    Parameters
    ----------
    out, path : Path
        The folder, and the picture after which the files are named.
    image : Tensor of uint8, shape (3, height, width)
        The picture, display-encoded RGB.
    output : HumanOutput
        What was found in it.
    panels : sequence of str, optional
        What to draw; see :func:`~barelens.pose.panels.draw_output`.
    layout, min_score, focal_px
        As in :class:`~barelens.app.people.PeopleSettings`.

    Returns
    -------
    dict of str to str
        Names of the files, by what they hold.
    """
    files: dict[str, str] = {}

    def target(kind: str, suffix: str) -> Path:
        files[kind] = f"{path.stem}.{suffix}"
        return out / files[kind]

    dataset = coco_dataset(
        {path.name: output}, layout=layout, approximate=True, min_score=min_score
    )
    write_coco(target("coco", "coco.json"), dataset)
    if output.layout is not None:
        write_openpose(target("openpose", "openpose.json"), output)
    if output.class_map is not None and output.parts is not None:
        write_png(target("parts", "parts.png"), output.class_map)
        runs = encode_classes(output.class_map)
        names = {output.parts.names[index]: each for index, each in runs.items()}
        write_json(target("part_runs", "parts.json"), names)
    if output.depth is not None:
        write_depth_png(target("depth", "depth.png"), output.depth, metric=False)
    if output.normals is not None:
        write_normal_png(target("normals", "normals.png"), output.normals)
    if output.scene_depth is not None:
        metric = output.scene_depth_metric
        write_depth_png(target("scene_depth", "scene.png"), output.scene_depth, metric=metric)
    points = _points(output, focal_px)
    if points is not None:
        write_ply(
            target("points", "ply"),
            points,
            colours=image,
            normals=output.normals,
            mask=output.mask if output.scene_depth is None else None,
        )
    picture = draw_output(image.movedim(0, -1), output, panels=panels, min_score=min_score)
    write_png(target("picture", "people.png"), picture)
    return files


def _points(output: HumanOutput, focal_px: float | None) -> Tensor | None:
    if output.points is not None:
        return output.points
    if output.scene_depth is None or not output.scene_depth_metric or focal_px is None:
        return None
    return backproject_depth(output.scene_depth, focal_px)


def frame_record(frame: Frame, output: HumanOutput) -> dict[str, Any]:
    """Give one frame of a video as JSON data: OpenPose's, and boxes and scores beside it."""
    return {
        "frame": frame.index,
        "time_s": round(frame.time_s, 6),
        "boxes": [[round(value, 2) for value in person.box.tolist()] for person in output.people],
        "scores": [round(person.score, 4) for person in output.people],
        **openpose_record(output),
    }


def write_summary(paths: Sequence[Path], out: Path) -> Path | None:
    """Gather the COCO files of pictures into one, ``coco.json``.

    Returns
    -------
    Path or None
        None where no picture has one.
    """
    found = [out / f"{path.stem}.coco.json" for path in paths]
    datasets = [json.loads(file.read_text(encoding="utf-8")) for file in found if file.is_file()]
    if not datasets:
        return None
    target = out / "coco.json"
    write_coco(target, merge_datasets(datasets))
    return target
