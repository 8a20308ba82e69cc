"""Pictures in, people out: one or several models behind one call."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..imaging.shapes import ShapeError
from .outputs import HumanOutput, Person
from .preparation import Preparation, reference_preparation
from .reading import ModelReader, Scene
from .sapiens import HumanModel, load_checkpoint
from .sapiens.tasks import Task

__all__ = ["HumanVision", "Image"]

Image = Tensor | NDArray[Any]


class HumanVision:
    """Find keypoints, parts, depth and normals of the people in pictures.

    Parameters
    ----------
    models : sequence of HumanModel
        One model with several heads, or several models; no task may come twice.
    preparations : mapping of str to Preparation, optional
        How to prepare pictures for a task, where not as the model was made.
    flip_test : bool
        Average keypoints with those of the mirror image, at twice the time.
    batch_size : int
        Crops or pictures that go through a model at once.
    compile : bool
        Compile the backbones, which takes a while at the first call and pays over many pictures.

    Notes
    -----
    Heads of one model that are prepared alike share one pass of its backbone.
    """

    def __init__(
        self,
        models: Sequence[HumanModel],
        *,
        preparations: Mapping[Task, Preparation] | None = None,
        flip_test: bool = True,
        batch_size: int = 8,
        compile: bool = False,
    ) -> None:
        tasks = [task for model in models for task in model.tasks]
        if not tasks or len(set(tasks)) != len(tasks):
            raise ValueError(f"models must have each task once, got {', '.join(tasks) or 'none'}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.tasks: tuple[Task, ...] = tuple(tasks)
        self._readers = []
        for model in models:
            chosen = {
                task: reference_preparation(model.family, task, model.image_size)
                for task in model.tasks
            }
            chosen |= {task: p for task, p in (preparations or {}).items() if task in chosen}
            if compile:
                model.backbone.compile()
            self._readers.append(
                ModelReader(model, chosen, flip_test=flip_test, batch_size=batch_size)
            )

    @classmethod
    def load(
        cls,
        *sources: str | os.PathLike[str],
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        lite: bool = False,
        **options: Any,
    ) -> "HumanVision":
        """Load one or more checkpoints.

        Parameters
        ----------
        sources : path or str
            Files, folders or hub ids; see :func:`~barelens.pose.load_checkpoint`.
        device, dtype
            Where and in which precision to compute.
        lite : bool
            Prepare pictures as the first generation's lite scripts do, to compare with them.
        options
            As for :class:`HumanVision`.

        Raises
        ------
        ValueError
            A checkpoint is an encoder without a head.
        """
        models = []
        for source in sources:
            model = load_checkpoint(source, device=device, dtype=dtype)
            if not isinstance(model, HumanModel):
                raise ValueError(f"{source} is an encoder without a head: it tells nothing")
            models.append(model)
        if lite:
            options["preparations"] = {
                task: reference_preparation(model.family, task, model.image_size, lite=True)
                for model in models
                for task in model.tasks
            } | dict(options.get("preparations") or {})
        return cls(models, **options)

    @overload
    def __call__(self, images: Image, boxes: Tensor | None = None) -> HumanOutput: ...

    @overload
    def __call__(
        self, images: Sequence[Image], boxes: Sequence[Tensor | None] | None = None
    ) -> list[HumanOutput]: ...

    def __call__(self, images: Any, boxes: Any = None) -> HumanOutput | list[HumanOutput]:
        """Look at pictures.

        Parameters
        ----------
        images : Tensor, array or sequence of them
            Each a Tensor of uint8, or of a floating-point dtype in [0, 1], of shape (3, height,
            width), or a NumPy array of uint8 of shape (height, width, 3); display-encoded RGB.
            They may differ in size.
        boxes : Tensor, or sequence of Tensor or None, optional
            For each picture the people's boxes of shape (people, 4), left, top, right and bottom
            in pixels. The whole picture is one person's box where there is None.

        Returns
        -------
        HumanOutput or list of HumanOutput
            For each picture, on the models' device.
        """
        if isinstance(images, Sequence):
            given = [None] * len(images) if boxes is None else list(boxes)
            if len(given) != len(images):
                raise ValueError(
                    f"boxes must come for each of {len(images)} images, got {len(given)}"
                )
            return self._look(images, given)
        return self._look([images], [boxes])[0]

    @torch.inference_mode()
    def _look(self, images: Sequence[Image], boxes: Sequence[Tensor | None]) -> list[HumanOutput]:
        device = self._readers[0].device
        scenes = [_scene(image, box, device) for image, box in zip(images, boxes, strict=True)]
        outputs = [
            HumanOutput(
                image_size=(scene.image.shape[1], scene.image.shape[2]),
                people=tuple(Person(box) for box in scene.boxes),
            )
            for scene in scenes
        ]
        for reader in self._readers:
            outputs = [
                _merge(output, found)
                for output, found in zip(outputs, reader.read(scenes), strict=True)
            ]
        return outputs


def _scene(image: Image, boxes: Tensor | None, device: torch.device) -> Scene:
    pixels = _pixels(image).to(device)
    height, width = pixels.shape[1:]
    if boxes is None:
        whole = torch.tensor([[0.0, 0.0, width, height]], device=device)
        return Scene(pixels, whole)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError(f"boxes must have shape (people, 4), got {tuple(boxes.shape)}")
    return Scene(pixels, boxes.to(device, torch.float32))


def _pixels(image: Image) -> Tensor:
    """Bring a picture to (3, height, width), uint8 or a floating-point dtype in 0..255."""
    pixels = image if isinstance(image, Tensor) else torch.from_numpy(image).movedim(-1, 0)
    if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.numel() == 0:
        raise ShapeError(
            "an image must be a Tensor of shape (3, height, width) or an array of shape "
            f"(height, width, 3), got {type(image).__name__} of shape {tuple(image.shape)}"
        )
    if pixels.dtype == torch.uint8:
        return pixels
    if not pixels.is_floating_point():
        raise TypeError(f"an image must be uint8 or floating-point, got {pixels.dtype}")
    if not bool(((pixels >= 0) & (pixels <= 1)).all()):
        raise ValueError(
            "a floating-point image must lie in [0, 1], got "
            f"{float(pixels.min()):.4g} to {float(pixels.max()):.4g}"
        )
    return pixels.float() * 255


def _merge(output: HumanOutput, found: Mapping[str, Any]) -> HumanOutput:
    """Add what one model found: people's fields under ``people``, the others by name."""
    maps = dict(found)
    people: list[dict[str, Any]] = maps.pop("people", [{}] * len(output.people))
    return replace(
        output,
        people=tuple(
            replace(person, **fields) for person, fields in zip(output.people, people, strict=True)
        ),
        **maps,
    )
