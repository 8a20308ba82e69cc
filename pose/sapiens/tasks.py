"""Names of what a model tells about people."""

from typing import Literal, get_args

__all__ = ["TASKS", "Task", "canonical_task"]

Task = Literal["pose", "segmentation", "depth", "normal", "pointmap", "albedo", "matting"]
TASKS: tuple[Task, ...] = get_args(Task)

# Beginnings of other spellings, as folders, files and configurations of the published models use.
_BEGINNINGS: dict[str, Task | None] = {
    "pose": "pose",
    "keypoint": "pose",
    "heatmap": "pose",
    "seg": "segmentation",
    "faceseg": "segmentation",
    "part": "segmentation",
    "semantic": "segmentation",
    "depth": "depth",
    "normal": "normal",
    "surfacenormal": "normal",
    "pointmap": "pointmap",
    "albedo": "albedo",
    "matting": "matting",
    "imagematting": "matting",
    # A backbone without a head.
    "pretrain": None,
    "backbone": None,
    "feature": None,
    "encoder": None,
    "tokenizer": None,
    "4k": None,
}


def canonical_task(name: str) -> Task | None:
    """Return the task that a name such as ``"seg28"`` or ``"pose_133"`` stands for.

    Parameters
    ----------
    name : str
        Any usual spelling; case, ``-`` and ``_`` do not matter.

    Returns
    -------
    str or None
        One of :data:`TASKS`, or None for a bare backbone (``"pretrain"``).

    Raises
    ------
    ValueError
        The name is unknown.
    """
    plain = name.lower().replace("-", "").replace("_", "").replace(" ", "")
    for beginning, task in _BEGINNINGS.items():
        if plain.startswith(beginning):
            return task
    known = ", ".join(TASKS)
    raise ValueError(f"unknown task {name!r}; choose one of: {known}, pretrain")
