"""Masks that follow things and people through a video."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..dense import resize_maps
from ..outputs import HumanOutput
from ..pictures import as_pixels
from ..pretrained import PictureRules, load_pretrained
from ..video import Frame
from .masks import SAM_SETTINGS, Masks, Prompt, prompt_tokens, with_masks

__all__ = ["FollowedMasks"]


class FollowedMasks:
    """SAM 2 on video, through transformers and without torchvision.

    Frames are taken one at a time and forgotten: what is kept is the model's memory of the last
    few frames and of those with prompts, for each thing that is followed.

    Parameters
    ----------
    model : Module
        A ``Sam2VideoModel`` of transformers.
    rules : PictureRules
        How it wants its pictures.

    References
    ----------
    Ravi et al., "SAM 2: Segment Anything in Images and Videos", ICLR 2025.
    """

    def __init__(self, model: Any, rules: PictureRules) -> None:
        self._model = model
        self._rules = rules

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> "FollowedMasks":
        """Load a model from a folder or the hub, for example ``"facebook/sam2.1-hiera-tiny"``."""
        model, rules = load_pretrained(
            source, "Sam2VideoModel", device=device, dtype=dtype, defaults=SAM_SETTINGS
        )
        return cls(model, rules)

    def __call__(
        self, frames: Iterable[Frame], prompts: Mapping[int, Prompt]
    ) -> Iterator[tuple[Frame, dict[int, Masks]]]:
        """Follow what is pointed at in the first frame.

        Parameters
        ----------
        frames : iterable of Frame
            In order, from :func:`~barelens.pose.video.read_frames`.
        prompts : mapping of int to Prompt
            By a number of one's own for each thing.

        Yields
        ------
        frame : Frame
        masks : dict of int to Masks
            By the same numbers; each of one mask and its score.
        """
        if not prompts:
            raise ValueError("prompts must point at something, got none")
        memory = _Memory(self._model, self._rules)
        asked = dict(prompts)
        for frame in frames:
            yield frame, memory.look(frame.image, asked)
            asked = {}

    def mask_people(
        self, followed: Iterable[tuple[Frame, HumanOutput]]
    ) -> Iterator[tuple[Frame, HumanOutput]]:
        """Give the people of a video masks that follow them.

        Parameters
        ----------
        followed : iterable of (Frame, HumanOutput)
            From :func:`~barelens.pose.video.follow_people`. The box of a person in the first frame
            of its track points the model at it; from then on its mask follows by itself.

        Yields
        ------
        frame : Frame
        output : HumanOutput
            Each person with the mask of its track.
        """
        memory = _Memory(self._model, self._rules)
        for frame, output in followed:
            new = {
                person.track: Prompt(box=person.box)
                for person in output.people
                if person.track is not None
                and person.track not in memory.numbers
                and person.box_score > 0
            }
            masks = memory.look(frame.image, new)
            masked = {
                id(person): masks[person.track].masks[0]
                for person in output.people
                if person.track is not None and person.track in masks
            }
            yield frame, with_masks(output, masked)


class _Memory:
    """The session of one video."""

    def __init__(self, model: Any, rules: PictureRules) -> None:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        parameter = next(model.parameters())
        self._model = model
        self._rules = rules
        self._session = Sam2VideoInferenceSession(
            inference_device=parameter.device,
            inference_state_device=parameter.device,
            video_storage_device=parameter.device,
            dtype=parameter.dtype,
        )
        self._frame = 0
        self._reach = max(model.config.num_maskmem, model.config.max_object_pointers_in_encoder)

    @property
    def numbers(self) -> list[int]:
        """Of all things that are followed."""
        return list(self._session.obj_ids)

    @torch.inference_mode()
    def look(self, image: Tensor, prompts: Mapping[int, Prompt]) -> dict[int, Masks]:
        """Take in the next frame, and what is pointed at in it."""
        height, width = image.shape[1:]
        session, frame = self._session, self._frame
        self._frame += 1
        for number, prompt in prompts.items():
            points, labels = prompt_tokens(
                prompt, self._rules.fitted_size(height, width), (height, width)
            )
            inputs = {"point_coords": points[None, None], "point_labels": labels[None, None]}
            session.add_point_inputs(session.obj_id_to_idx(number), frame, inputs)
        session.obj_with_new_inputs = list(prompts)
        if not session.obj_ids:
            return {}
        pixels = self._rules(as_pixels(image).to(session.inference_device))
        output = self._model(
            inference_session=session, frame=pixels.to(session.dtype), frame_idx=frame
        )
        self._forget(frame)
        whole = resize_maps(output.pred_masks.float(), (height, width))[:, 0] > 0
        scores = output.object_score_logits.float().reshape(-1).sigmoid()
        return {
            number: Masks(whole[place : place + 1], scores[place : place + 1])
            for place, number in enumerate(output.object_ids)
        }

    def _forget(self, frame: int) -> None:
        """Drop what no later frame looks back to; the session itself keeps everything."""
        self._session.processed_frames = {}
        oldest = frame - self._reach
        for stored in self._session.output_dict_per_obj.values():
            stored["non_cond_frame_outputs"].pop(oldest, None)
        for tracked in self._session.frames_tracked_per_obj.values():
            tracked.pop(oldest, None)
