"""Depth of the whole scene from one picture."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, overload

import torch

from ..dense import depth_map
from ..outputs import HumanOutput
from ..pictures import Image, as_pixels
from ..pretrained import PictureRules, load_pretrained, same_size_batches

__all__ = ["SceneDepth"]

# Where a folder has no settings of its own: those of every published Depth Anything.
_SETTINGS = {
    "size": {"height": 518, "width": 518},
    "keep_aspect_ratio": True,
    "ensure_multiple_of": 14,
    "resample": 3,
}


class SceneDepth:
    """Depth Anything V2, through transformers and without torchvision.

    Parameters
    ----------
    model : Module
        A depth estimator of transformers.
    rules : PictureRules
        How it wants its pictures.
    batch_size : int
        Pictures of one size at once.

    References
    ----------
    Yang et al., "Depth Anything V2", NeurIPS 2024.
    """

    def __init__(self, model: Any, rules: PictureRules, *, batch_size: int = 8) -> None:
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
        batch_size: int = 8,
    ) -> "SceneDepth":
        """Load a model from a folder or the hub.

        Parameters
        ----------
        source : path or str
            For example ``"depth-anything/Depth-Anything-V2-Small-hf"``.
        device, dtype
            Where and in which precision to compute.
        batch_size : int
            As for :class:`SceneDepth`.
        """
        model, rules = load_pretrained(
            source, "AutoModelForDepthEstimation", device=device, dtype=dtype, defaults=_SETTINGS
        )
        return cls(model, rules, batch_size=batch_size)

    @property
    def metric(self) -> bool:
        """Whether depth is in metres; otherwise it is inverse, without scale or origin."""
        return getattr(self._model.config, "depth_estimation_type", "relative") == "metric"

    @overload
    def __call__(self, images: Image, outputs: HumanOutput | None = None) -> HumanOutput: ...

    @overload
    def __call__(
        self, images: Sequence[Image], outputs: Sequence[HumanOutput] | None = None
    ) -> list[HumanOutput]: ...

    def __call__(self, images: Any, outputs: Any = None) -> HumanOutput | list[HumanOutput]:
        """Estimate the depth of every pixel.

        Parameters
        ----------
        images : Tensor, array or sequence of them
            As for :class:`~barelens.pose.HumanVision`.
        outputs : HumanOutput or sequence of HumanOutput, optional
            What is known of the pictures already, to which the depth is added.

        Returns
        -------
        HumanOutput or list of HumanOutput
            With ``scene_depth`` at the pictures' own size.
        """
        if not isinstance(images, Sequence):
            return self._estimate([images], [outputs])[0]
        known = [None] * len(images) if outputs is None else list(outputs)
        if len(known) != len(images):
            raise ValueError(
                f"outputs must come for each of {len(images)} images, got {len(known)}"
            )
        return self._estimate(images, known)

    @torch.inference_mode()
    def _estimate(
        self, images: Sequence[Image], known: Sequence[HumanOutput | None]
    ) -> list[HumanOutput]:
        parameter = next(self._model.parameters())
        pictures = [as_pixels(image).to(parameter.device) for image in images]
        found: dict[int, HumanOutput] = {}
        for numbers in same_size_batches(pictures, self._rules, self._batch_size):
            pixels = torch.stack([self._rules(pictures[number]) for number in numbers])
            depths = self._model(pixel_values=pixels.to(parameter.dtype)).predicted_depth
            for number, depth in zip(numbers, depths.float(), strict=True):
                height, width = pictures[number].shape[1:]
                before = known[number] or HumanOutput((height, width))
                whole = depth_map(depth[None, None], (height, width))[0]
                found[number] = replace(before, scene_depth=whole, scene_depth_metric=self.metric)
        return [found[number] for number in range(len(images))]
