"""Prompts, embedded."""

import warnings

import torch
from torch import Tensor

from .parts import RefinerParts

__all__ = ["embed_prompt"]


@torch.no_grad()
def embed_prompt(parts: RefinerParts, prompt: str) -> Tensor:
    """Embed a prompt for the UNet.

    Parameters
    ----------
    parts : RefinerParts
        With or without a text encoder.
    prompt : str
        The prompt; the empty one needs no text encoder.

    Returns
    -------
    Tensor, shape (1, tokens, features)
        In the UNet's dtype and on its device.

    Raises
    ------
    ValueError
        There is a prompt but no text encoder.

    Warns
    -----
    UserWarning
        The prompt is too long for the text encoder and loses its end.
    """
    like = next(parts.unet.parameters())
    if not prompt and parts.null_prompt is not None:
        return parts.null_prompt.to(like)
    if parts.text_encoder is not None:
        return _encode(parts, prompt).to(like)
    if prompt:
        raise ValueError(f"this refiner has no text encoder for the prompt {prompt!r}")
    features = parts.unet.config["cross_attention_dim"]
    return like.new_zeros(1, 1, features[0] if isinstance(features, list | tuple) else features)


def _encode(parts: RefinerParts, prompt: str) -> Tensor:
    longest = parts.tokenizer.model_max_length
    length = len(parts.tokenizer(prompt).input_ids)
    if length > longest:
        warnings.warn(f"prompt cut from {length} to {longest} tokens: {prompt!r}", stacklevel=2)
    tokens = parts.tokenizer(
        prompt, padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
    ).input_ids
    return parts.text_encoder(tokens.to(parts.text_encoder.device))[0]
