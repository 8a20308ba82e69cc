"""What is around the people: depth of the whole scene, and masks of what one points at."""

from .depth import SceneDepth
from .masks import Masks, Prompt, PromptedMasks
from .video_masks import FollowedMasks

__all__ = ["FollowedMasks", "Masks", "Prompt", "PromptedMasks", "SceneDepth"]
