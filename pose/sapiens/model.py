"""A backbone and the heads that share it."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from ..labels import KeypointLayout, PartLabels
from .tasks import TASKS, Task

__all__ = ["HumanModel"]


class HumanModel(nn.Module):
    """One backbone and one or more heads on its features.

    Parameters
    ----------
    backbone : Module
        Maps (batch, 3, height, width) to features; has ``embed_dim`` and ``config``.
    heads : mapping of str to Module
        The head of each task.
    family : "sapiens", "sapiens2" or "barelens"
        Whose conventions it follows: published weights of either generation, or our own.
    attributes : mapping of str to str, optional
        Under which attribute, and so under which key in a state dict, each head lies; published
        models with one head use ``head`` or ``decode_head``. ``<task>_head`` where not given.
    """

    def __init__(
        self,
        backbone: nn.Module,
        heads: Mapping[Task, nn.Module],
        *,
        family: str = "barelens",
        attributes: Mapping[Task, str] | None = None,
    ) -> None:
        super().__init__()
        if not heads:
            raise ValueError("heads must hold at least one head, got none")
        for task in heads:
            if task not in TASKS:
                raise ValueError(f"heads must be keyed by {', '.join(TASKS)}, got {task!r}")
        self.family = family
        self.backbone = backbone
        # In one order, whatever order a file keeps its tensors in.
        self._attributes: dict[Task, str] = {
            task: (attributes or {}).get(task, f"{task}_head") for task in TASKS if task in heads
        }
        for task, attribute in self._attributes.items():
            self.add_module(attribute, heads[task])

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the model tells, in the order of :data:`TASKS`."""
        return tuple(self._attributes)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels the backbone was made for."""
        return self.backbone.config.image_size  # type: ignore[union-attr,return-value]

    @property
    def keypoint_layout(self) -> KeypointLayout | None:
        """What the keypoints are, of a model that says so; None where their number tells it."""
        return None

    @property
    def part_labels(self) -> PartLabels | None:
        """What the parts are, of a model that says so; None where their number tells it."""
        return None

    @property
    def flip_tasks(self) -> tuple[Task, ...]:
        """What a flip test averages; published scripts have none but for keypoints."""
        return tuple(task for task in self.tasks if task == "pose")

    def head_of(self, task: Task) -> nn.Module:
        """Return the head of a task.

        Raises
        ------
        ValueError
            The model has no such head.
        """
        if task not in self._attributes:
            raise ValueError(f"the model has no head for {task!r}, only {', '.join(self.tasks)}")
        return self.get_submodule(self._attributes[task])

    def features(self, pixels: Tensor) -> Tensor:
        """Map (batch, 3, height, width) to features (batch, embed_dim, rows, columns)."""
        return self.backbone(pixels)

    def read(self, features: Tensor, tasks: Iterable[Task] | None = None) -> dict[Task, Any]:
        """Run several heads on the same features and return the raw output of each."""
        return {
            task: self.head_of(task)(features) for task in (self.tasks if tasks is None else tasks)
        }

    def forward(self, pixels: Tensor) -> Any:
        """Map normalised pixels to raw head output.

        Parameters
        ----------
        pixels : Tensor, shape (batch, 3, height, width)
            RGB with mean and deviation of the family's preparation taken out.

        Returns
        -------
        Tensor, Pointmap or dict
            The output of the only head, or of every head by task where there are several.
        """
        outputs = self.read(self.features(pixels))
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs
