"""From a state dict with published keys to the module it belongs to."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .infer import infer_head, infer_rope_vit, infer_task, infer_vit
from .keys import split_state, unwrap_state
from .model import HumanModel
from .rope_vit import RopeVisionTransformer, rope_periods
from .tasks import Task, canonical_task
from .vit import VisionTransformer, fit_position_embedding

__all__ = ["Family", "from_state_dict", "infer_family"]

Family = Literal["sapiens", "sapiens2"]


def from_state_dict(
    state_dict: Mapping[str, Any],
    family: Family | None = None,
    task: str | None = None,
    config: Mapping[str, Any] | None = None,
    *,
    copy: bool = True,
) -> nn.Module:
    """Build the module a state dict belongs to and load it, every key and every shape.

    All that the tensors tell is read from their shapes: depth, widths, heads that share keys and
    values, channels and kernels of the head, number of outputs. ``config`` tells the rest, under
    the names published configurations use and at any depth of nesting: ``num_heads``,
    ``img_size`` as (height, width), ``patch_padding``, ``with_cls_token``, ``rope_dtype``; what
    it says beside that is not needed and not read. A first-generation position embedding of
    another grid is resized.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        With the published keys; prefixes of wrappers and an outer ``{"state_dict": ...}`` are
        taken off. The module keeps the dtype of the tensors.
    family : "sapiens" or "sapiens2", optional
        First or second generation; told from the keys where not given.
    task : str, optional
        ``"pose"``, ``"segmentation"``, ``"depth"``, ``"normal"``, ``"pointmap"``, ``"albedo"``
        or ``"matting"`` in any usual spelling, or ``"pretrain"``; told from the head where not
        given. It decides the patch padding that ``config`` may leave out, also of an encoder
        without head.
    config : mapping, optional
        See above.
    copy : bool
        Whether the module gets tensors of its own; without, it shares those of ``state_dict``.

    Returns
    -------
    Module, in evaluation mode
        A :class:`HumanModel`, whose forward maps normalised pixels (batch, 3, height, width) to
        raw head output, or, for an encoder without head, the backbone, whose forward gives
        features (batch, embed_dim, rows, columns).

    Raises
    ------
    ValueError
        The state dict is of another family or task, or what it leaves open is not in ``config``.
    RuntimeError
        Keys are missing or left over, as PyTorch's strict loading reports them.
    """
    parts = split_state(unwrap_state(state_dict))
    found = infer_family(parts.backbone)
    if family is not None and family != found:
        raise ValueError(f"family must fit the state dict, which is of {found!r}, got {family!r}")
    tasks = _name_heads(parts.heads, task)
    ours = bool(set(tasks) - {"head", "decode_head"})
    backbone: VisionTransformer | RopeVisionTransformer
    if found == "sapiens":
        classes = _count_classes(parts.heads)
        wanted = canonical_task(task) if task else None
        first = None if ours else next(iter(tasks.values()), wanted)
        backbone, tensors = _build_vit(parts.backbone, config, first, classes)
    else:
        backbone, tensors = _build_rope_vit(parts.backbone, config)
    if copy:
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    backbone.load_state_dict(tensors, strict=True, assign=True)
    if not tasks:
        return backbone.eval()
    heads: dict[Task, nn.Module] = {}
    for attribute, name in tasks.items():
        state = _plain_gains(parts.heads[attribute])
        with torch.device("meta"):
            heads[name] = infer_head(state, backbone.embed_dim, name)
        if copy:
            state = {key: tensor.clone() for key, tensor in state.items()}
        heads[name].load_state_dict(state, strict=True, assign=True)
    attributes = {name: attribute for attribute, name in tasks.items()}
    model = HumanModel(backbone, heads, family="barelens" if ours else found, attributes=attributes)
    return model.eval()


def infer_family(backbone: Mapping[str, Tensor]) -> Family:
    """Tell the generation of a backbone's state dict from its keys.

    Raises
    ------
    ValueError
        It is of neither.
    """
    if "layers.0.attn.qkv.weight" in backbone and "pos_embed" in backbone:
        return "sapiens"
    if "blocks.0.attn.wq.weight" in backbone and "storage_tokens" in backbone:
        return "sapiens2"
    found = ", ".join(list(backbone)[:5])
    raise ValueError(f"the state dict is of no Sapiens backbone; its keys begin with: {found}")


def _name_heads(heads: Mapping[str, Mapping[str, Tensor]], task: str | None) -> dict[str, Task]:
    """Find the task of each head; ``conv_seg`` may mean several, so the caller's word counts."""
    wanted = None if task is None else canonical_task(task)
    named: dict[str, Task] = {}
    for attribute, state in heads.items():
        inferred = infer_task(state)
        if attribute not in ("head", "decode_head"):
            inferred = attribute.removesuffix("_head")  # type: ignore[assignment]
        elif wanted is not None and wanted != inferred:
            if "conv_seg.weight" not in state or wanted not in ("segmentation", "depth", "normal"):
                raise ValueError(f"task is {task!r}, but the state dict has a head for {inferred}")
            inferred = wanted
        named[attribute] = inferred
    return named


def _count_classes(heads: Mapping[str, Mapping[str, Tensor]]) -> int | None:
    last = heads.get("decode_head", {}).get("conv_seg.weight")
    return None if last is None else last.shape[0]


def _build_vit(
    state: dict[str, Tensor],
    config: Mapping[str, Any] | None,
    task: Task | None,
    classes: int | None,
) -> tuple[VisionTransformer, dict[str, Tensor]]:
    settings = infer_vit(state, config, task, classes)
    state = dict(state)
    if not settings.class_token:
        state.pop("cls_token", None)
    state["pos_embed"] = fit_position_embedding(
        state["pos_embed"], settings.grid, class_token=settings.class_token
    )
    with torch.device("meta"):
        return VisionTransformer(settings), state


def _build_rope_vit(
    state: dict[str, Tensor], config: Mapping[str, Any] | None
) -> tuple[RopeVisionTransformer, dict[str, Tensor]]:
    state = _plain_tokenizer(state)
    settings = infer_rope_vit(state, config)
    # Files that transformers writes leave out what can be computed.
    head_dim = settings.embed_dim // settings.num_heads
    periods = rope_periods(head_dim, settings.rope_base, torch.bfloat16)
    state.setdefault("rope_embed.periods", periods)
    with torch.device("meta"):
        return RopeVisionTransformer(settings), state


def _plain_gains(head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring gains of norms, which may be stored with axes to broadcast, to one axis.

    Only transposed convolutions, which have more than one axis of length, go without bias too.
    """
    return {
        name: tensor.reshape(-1)
        if name.endswith(".weight")
        and name.removesuffix("weight") + "bias" not in head
        and tensor.numel() == max(tensor.shape)
        else tensor
        for name, tensor in head.items()
    }


def _plain_tokenizer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring a 4K tokenizer's layers under the names of the backbone's own.

    No weights of it were at hand when this was written, so that usual other names pass too.
    """
    plain: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not name.startswith("tokenizer."):
            plain[name] = tensor
            continue
        name = re.sub(r"^tokenizer\.layers\.", "tokenizer.blocks.", name)
        name = re.sub(r"\.norm([12])\.", r".ln\1.", name)
        fused = re.fullmatch(r"(.*\.attn\.)(?:qkv\.|in_proj_)(weight|bias)", name)
        if fused:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                plain[f"{fused[1]}w{part}.{fused[2]}"] = piece
        elif name in ("tokenizer.w_cls", "tokenizer.local_pos_embed"):
            plain[name] = tensor.reshape(1, -1, tensor.shape[-1])
        else:
            plain[name.replace(".attn.out_proj.", ".attn.proj.")] = tensor
    return plain
