"""What a state dict tells about its own model: sizes and parts from the shapes of its tensors."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from .heads import DeconvHead
from .keys import as_size, count_layers, lookup
from .shuffle_heads import PointmapHead, ShuffleHead
from .sizes import BACKBONES, PatchPadding, RopeDtype, RopeViTConfig, ViTConfig
from .tasks import Task
from .vit import stored_grid

__all__ = ["infer_head", "infer_rope_vit", "infer_task", "infer_vit"]

_FINAL_LAYERS: dict[str, Task | None] = {
    "final_layer": "pose",
    "conv_pose": "pose",
    "conv_seg": None,  # parts, v1 depth or v1 normals: told apart by the number of outputs
    "conv_normal": "normal",
    "conv_pointmap": "pointmap",
    "conv_albedo": "albedo",
    "conv_matting": "matting",
}
_IMAGE_SIZE = ("img_size", "image_size", "input_size")
_NUM_HEADS = ("num_heads", "num_attention_heads", "heads", "n_heads")


def infer_vit(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None,
    task: Task | None,
    classes: int | None,
) -> ViTConfig:
    """Tell the settings of a first-generation backbone.

    Parameters
    ----------
    state : mapping of str to Tensor
        Tensors of the backbone, without prefix.
    config : mapping or None
        Image size, number of heads, patch padding, class token, in so far as they are known.
    task : str or None
        Decides the patch padding where the configuration does not.
    classes : int or None
        Number of parts: 20 (CIHP, LIP) has a padding of its own.

    Raises
    ------
    ValueError
        The number of heads is not given and the width is of no known size.
    """
    width = state["patch_embed.projection.weight"].shape[0]
    tokens = state["pos_embed"].shape[1]
    image_size = as_size(lookup(config, *_IMAGE_SIZE))
    patch = state["patch_embed.projection.weight"].shape[-1]
    if image_size is None:
        image_size = _stored_image_size(tokens, patch)
    padding = lookup(config, "patch_padding", "padding")
    made = ViTConfig(
        embed_dim=width,
        depth=count_layers(state, "layers"),
        num_heads=lookup(config, *_NUM_HEADS) or _known_heads(width),
        feedforward_dim=state["layers.0.ffn.layers.0.0.weight"].shape[0],
        image_size=image_size,
        patch_size=patch,
        patch_padding=_known_padding(task, classes) if padding is None else _as_padding(padding),
        final_norm="ln1.weight" in state,
        norm_eps=lookup(config, "norm_eps", "layer_norm_eps") or 1e-6,
    )
    return _with_class_token(made, state, lookup(config, "with_cls_token", "class_token"))


def infer_rope_vit(state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> RopeViTConfig:
    """Tell the settings of a second-generation backbone; see :func:`infer_vit`."""
    width = state["patch_embed.projection.weight"].shape[0]
    depth = count_layers(state, "blocks")
    qk_norm = "blocks.0.attn.q_norm.weight" in state
    num_heads = lookup(config, *_NUM_HEADS)
    if num_heads is None and qk_norm:
        num_heads = width // state["blocks.0.attn.q_norm.weight"].shape[0]
    if num_heads is None:
        raise ValueError("config must give num_heads: the tensors do not tell it")
    head_dim = width // num_heads
    positions = state.get("tokenizer.local_pos_embed")
    window = 4 if positions is None else math.isqrt(positions.shape[1])
    return RopeViTConfig(
        embed_dim=width,
        num_heads=num_heads,
        feedforward_dim=state["blocks.0.ffn.w3.weight"].shape[1],
        key_value_heads=tuple(
            state[f"blocks.{layer}.attn.wk.weight"].shape[0] // head_dim for layer in range(depth)
        ),
        image_size=as_size(lookup(config, *_IMAGE_SIZE)) or (1024, 768),
        patch_size=state["patch_embed.projection.weight"].shape[-1],
        storage_tokens=state["storage_tokens"].shape[1],
        rope_dtype=_as_rope_dtype(lookup(config, "rope_dtype", "pos_embed_rope_dtype")),
        rope_base=lookup(config, "rope_base", "rope_theta", "pos_embed_rope_base") or 100.0,
        qk_norm=qk_norm,
        layer_scale="blocks.0.attn.gamma.weight" in state,
        norm_eps=lookup(config, "norm_eps", "rms_norm_eps") or 1e-6,
        tokenizer_depth=0 if positions is None else count_layers(state, "tokenizer.blocks"),
        window=window,
        tokenizer_class_position=positions is not None and positions.shape[1] != window**2,
        tokenizer_layer_scale=(
            positions is None or "tokenizer.blocks.0.attn.gamma.weight" in state
        ),
    )


def infer_task(head: Mapping[str, Tensor]) -> Task:
    """Tell what a head is for, by the name and the outputs of its last layer."""
    final = _final_layer(head)
    task = _FINAL_LAYERS[final]
    if task is not None:
        return task
    outputs = head[f"{final}.weight"].shape[0]
    by_outputs: dict[int, Task] = {1: "depth", 3: "normal"}
    return by_outputs.get(outputs, "segmentation")


def infer_head(head: Mapping[str, Tensor], in_channels: int, task: Task) -> nn.Module:
    """Build the head that a state dict belongs to, with tensors yet to be loaded."""
    final = _final_layer(head)
    last = head[f"{final}.weight"]
    convs = _weights(head, "conv_layers")
    kernels = [conv.shape[-1] for conv in convs]
    if final in ("final_layer", "conv_seg", "conv_pose"):
        deconvs = _weights(head, "deconv_layers")
        return DeconvHead(
            in_channels,
            [deconv.shape[1] for deconv in deconvs],
            [conv.shape[0] for conv in convs],
            last.shape[0],
            final=cast(Any, final),
            deconv_kernels=[deconv.shape[-1] for deconv in deconvs],
            conv_kernels=kernels,
            final_kernel=last.shape[-1],
        )
    upsample = [
        head[f"upsample_blocks.{block}.0.weight"].shape[0] // 4
        for block in range(count_layers(head, "upsample_blocks"))
    ]
    widths = [conv.shape[0] for conv in convs]
    scale = _weights(head, "scale_final_layer")
    if scale:
        scale_convs = _weights(head, "scale_conv_layers")
        return PointmapHead(
            in_channels,
            upsample,
            widths,
            last.shape[0],
            scale_conv=[conv.shape[0] for conv in scale_convs],
            scale_kernels=[conv.shape[-1] for conv in scale_convs],
            scale_hidden=[linear.shape[0] for linear in scale[:-1]],
            scale_inputs=scale[0].shape[1],
            final=final,
            conv_kernels=kernels,
            final_kernel=last.shape[-1],
        )
    return ShuffleHead(
        in_channels,
        upsample,
        widths,
        last.shape[0],
        final=final,
        conv_kernels=kernels,
        final_kernel=last.shape[-1],
        norm="rms" if "input_conv.1.weight" in head else "instance",
        sigmoid=task == "matting",
    )


def _final_layer(head: Mapping[str, Tensor]) -> str:
    for name in _FINAL_LAYERS:
        if f"{name}.weight" in head:
            return name
    known = ", ".join(_FINAL_LAYERS)
    raise ValueError(f"a head must end in one of {known}, got keys: {', '.join(sorted(head)[:5])}")


def _weights(head: Mapping[str, Tensor], stem: str) -> list[Tensor]:
    """Weights of a stack's convolutions or linear layers in order; norms' have one axis."""
    numbers = sorted(
        int(name.split(".")[1])
        for name, tensor in head.items()
        if name.startswith(f"{stem}.") and name.endswith(".weight") and tensor.ndim > 1
    )
    return [head[f"{stem}.{number}.weight"] for number in numbers]


def _with_class_token(
    config: ViTConfig, state: Mapping[str, Tensor], wanted: bool | None
) -> ViTConfig:
    """Keep a class token if the caller says so, or if the encoder is used at its own size.

    Published task models have none: they were begun from pretrained encoders without it, at
    another picture size.
    """
    rows, columns = config.grid
    own_size = state["pos_embed"].shape[1] == rows * columns + 1
    keep = own_size if wanted is None else bool(wanted)
    return replace(config, class_token=keep and "cls_token" in state)


def _stored_image_size(tokens: int, patch: int) -> tuple[int, int]:
    rows, columns = stored_grid(tokens - tokens % 2)
    return rows * patch, columns * patch


def _known_heads(width: int) -> int:
    for config in BACKBONES.values():
        if config.embed_dim == width:
            return config.num_heads
    raise ValueError(f"config must give num_heads: no known backbone has embed_dim={width}")


def _known_padding(task: Task | None, classes: int | None) -> PatchPadding:
    if task in ("pose", "normal") or (task == "segmentation" and classes == 20):
        return 2
    return "corner"


def _as_padding(value: Any) -> PatchPadding:
    if isinstance(value, list | tuple):
        value = value[0]
    return "corner" if value == "corner" else int(value)


def _as_rope_dtype(value: Any) -> RopeDtype:
    name = str(value or "bf16").removeprefix("torch.")
    known: dict[str, RopeDtype] = {
        "bf16": "bf16",
        "bfloat16": "bf16",
        "fp32": "fp32",
        "float32": "fp32",
    }
    if name not in known:
        raise ValueError(f"rope_dtype must be one of {', '.join(known)}, got {name}")
    return known[name]
