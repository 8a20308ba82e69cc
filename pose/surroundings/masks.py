"""Masks of what one points at, or of every person."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...imaging.shapes import ShapeError
from ..dense import resize_maps
from ..outputs import HumanOutput, Person
from ..pictures import Image, as_pixels
from ..pretrained import PictureRules, load_pretrained, same_size_batches

__all__ = ["SAM_SETTINGS", "Masks", "Prompt", "PromptedMasks", "prompt_tokens"]

# Where a folder has no settings of its own: those of every published SAM 2.
SAM_SETTINGS = {"size": {"height": 1024, "width": 1024}, "resample": 2}

_OUTSIDE, _INSIDE, _TOP_LEFT, _BOTTOM_RIGHT = 0, 1, 2, 3  # what a point may mean to the model


class Masks(NamedTuple):
    """Masks of one picture, one for each prompt.

    Attributes
    ----------
    masks : Tensor of bool, shape (prompts, height, width)
        Where the things are.
    scores : Tensor, shape (prompts,)
        The overlap with the truth that the model expects, or, in a video, how sure it is that the
        thing is in sight; in [0, 1].
    """

    masks: Tensor
    scores: Tensor


@dataclass(frozen=True, eq=False)
class Prompt:
    """One thing that is pointed at, by points, by a box or by both.

    Attributes
    ----------
    points : Tensor, shape (points, 2)
        x and y in pixels.
    inside : Tensor of bool, shape (points,)
        Whether each point is on the thing; all of them are where not given.
    box : Tensor, shape (4,)
        Left, top, right and bottom in pixels.

    Raises
    ------
    ShapeError, ValueError
        The shapes do not fit, or there is neither a point nor a box.
    """

    points: Tensor | None = None
    inside: Tensor | None = None
    box: Tensor | None = None

    def __post_init__(self) -> None:
        count = 0 if self.points is None else len(self.points)
        if count == 0 and self.box is None:
            raise ValueError("a prompt must have a point or a box, got neither")
        for name, value, shape in (
            ("points", self.points, (count, 2)),
            ("inside", self.inside, (count,)),
            ("box", self.box, (4,)),
        ):
            if value is not None and tuple(value.shape) != shape:
                raise ShapeError(f"{name} must have shape {shape}, got {tuple(value.shape)}")

    @property
    def ambiguous(self) -> bool:
        """Whether it is a single point, which may mean a thing or a part of it."""
        return self.box is None and self.points is not None and len(self.points) == 1


class PromptedMasks:
    """SAM 2 on single pictures, through transformers and without torchvision.

    Each picture is encoded once, however many prompts it has.

    Parameters
    ----------
    model : Module
        A ``Sam2Model`` of transformers.
    rules : PictureRules
        How it wants its pictures.
    batch_size : int
        Pictures that are encoded at once.

    References
    ----------
    Ravi et al., "SAM 2: Segment Anything in Images and Videos", ICLR 2025.
    """

    def __init__(self, model: Any, rules: PictureRules, *, batch_size: int = 4) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self._model = model
        self._rules = rules
        self._batch_size = batch_size

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        batch_size: int = 4,
    ) -> "PromptedMasks":
        """Load a model from a folder or the hub, for example ``"facebook/sam2.1-hiera-tiny"``."""
        model, rules = load_pretrained(
            source, "Sam2Model", device=device, dtype=dtype, defaults=SAM_SETTINGS
        )
        return cls(model, rules, batch_size=batch_size)

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image], prompts: Sequence[Sequence[Prompt]]) -> list[Masks]:
        """Find what is pointed at.

        Parameters
        ----------
        images : sequence of Tensor or array
            As for :class:`~barelens.pose.HumanVision`.
        prompts : sequence of sequence of Prompt
            Those of each picture.

        Returns
        -------
        list of Masks
            Of each picture, in the order of its prompts.
        """
        if len(images) != len(prompts):
            raise ValueError(f"prompts must come for each of {len(images)} images")
        parameter = next(self._model.parameters())
        pictures = [as_pixels(image).to(parameter.device) for image in images]
        found: dict[int, Masks] = {}
        for numbers in same_size_batches(pictures, self._rules, self._batch_size):
            pixels = torch.stack([self._rules(pictures[number]) for number in numbers])
            levels = self._model.get_image_embeddings(pixels.to(parameter.dtype))
            for place, number in enumerate(numbers):
                embeddings = [level[place : place + 1] for level in levels]
                height, width = pictures[number].shape[1:]
                found[number] = self._decode(embeddings, prompts[number], (height, width))
        return [found[number] for number in range(len(images))]

    def mask_people(
        self, images: Sequence[Image], outputs: Sequence[HumanOutput]
    ) -> list[HumanOutput]:
        """Give every person the mask of what is in its box, but for boxes that nobody gave."""
        chosen = [[p for p in output.people if p.box_score > 0] for output in outputs]
        found = self(images, [[Prompt(box=person.box) for person in people] for people in chosen])
        return [
            with_masks(output, dict(zip(map(id, people), masks.masks, strict=True)))
            for output, people, masks in zip(outputs, chosen, found, strict=True)
        ]

    def _decode(
        self, embeddings: list[Tensor], prompts: Sequence[Prompt], size: tuple[int, int]
    ) -> Masks:
        """Run the prompts of one picture, those of one kind at once."""
        device = embeddings[0].device
        masks = torch.zeros((len(prompts), *size), dtype=torch.bool, device=device)
        scores = torch.zeros(len(prompts), device=device)
        tokens = [prompt_tokens(prompt, self._rules.fitted_size(*size), size) for prompt in prompts]
        kinds: dict[tuple[int, bool], list[int]] = {}
        for number, (points, _) in enumerate(tokens):
            kinds.setdefault((len(points), prompts[number].ambiguous), []).append(number)
        for (_, ambiguous), numbers in kinds.items():
            output = self._model(
                image_embeddings=list(embeddings),
                input_points=torch.stack([tokens[n][0] for n in numbers])[None].to(device),
                input_labels=torch.stack([tokens[n][1] for n in numbers])[None].to(device),
                multimask_output=ambiguous,
            )
            ratings, best = output.iou_scores[0].float().max(dim=-1)
            each = torch.arange(len(numbers), device=device)
            chosen = output.pred_masks[0][each, best].float()
            masks[numbers] = resize_maps(chosen[:, None], size)[:, 0] > 0
            scores[numbers] = ratings.clamp(0, 1)
        return Masks(masks, scores)


def prompt_tokens(
    prompt: Prompt, model_size: tuple[int, int], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return positions (tokens, 2) at the model's size and what each of them means.

    A box is given to the model as its two corners.
    """
    positions: list[Tensor] = []
    labels: list[int] = []
    if prompt.box is not None:
        positions.append(prompt.box.reshape(2, 2))
        labels += [_TOP_LEFT, _BOTTOM_RIGHT]
    if prompt.points is not None:
        positions.append(prompt.points)
        count = len(prompt.points)
        inside = [True] * count if prompt.inside is None else prompt.inside.tolist()
        labels += [_INSIDE if each else _OUTSIDE for each in inside]
    scale = torch.tensor([model_size[1] / size[1], model_size[0] / size[0]])
    corners = torch.cat([position.cpu().float() for position in positions])
    return corners * scale, torch.tensor(labels)


def with_masks(output: HumanOutput, masks: dict[int, Tensor]) -> HumanOutput:
    """Give masks to the people of an output, by the identity of each."""

    def masked(person: Person) -> Person:
        return replace(person, mask=masks[id(person)]) if id(person) in masks else person

    return replace(output, people=tuple(masked(person) for person in output.people))
