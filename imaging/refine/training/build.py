"""Building what is to be trained: from scratch, or on a Stable Diffusion model."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..control import CaptureControlNet
from ..libraries import need_diffusers, need_transformers
from ..parts import RefinerParts
from ..record import RefinerRecord
from ..start import conditioning_channels
from ..transform import NUM_PLANES, SeparableTransform
from .settings import TrainingSettings
from .subjects import ModelSettings

__all__ = ["build_parts"]

#: Features of the prompt of a UNet without cross attention, which ignores them.
_NO_PROMPT_FEATURES = 8


def build_parts(
    settings: TrainingSettings,
    *,
    capture_size: tuple[int, int] | None = None,
    transform: SeparableTransform | None = None,
) -> RefinerParts:
    """Build what is to be trained, with gradients where the settings say so.

    Parameters
    ----------
    settings : TrainingSettings
        Sizes, base model and seed.
    capture_size : tuple of int, optional
        (height, width) of a capture's plane, for a model of captures with a random transform.
    transform : SeparableTransform, optional
        The transform to start from instead.

    Raises
    ------
    ImportError
        diffusers, transformers or peft is not installed.
    ValueError
        A model of captures got neither a size nor a transform.
    """
    model = settings.model
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        base = _small(model) if model.base is None else _on_base(model)
        inner = _controlnet(base.unet, model)
        if model.base is None:
            _wake(base.unet, inner, model.prediction)
        controlnet = inner
        if model.conditioning == "capture":
            transform = transform or _random_transform(settings, capture_size)
            controlnet = CaptureControlNet(inner, transform)
        parts = _with_controlnet(base, controlnet, model)
        _choose_trained(parts.unet, model.unet, model.lora_rank)
        _choose_trained(inner, model.controlnet, model.lora_rank)
    for frozen in (parts.vae, parts.text_encoder):
        if frozen is not None:
            frozen.requires_grad_(False).eval()
    if settings.gradient_checkpointing:
        parts.unet.enable_gradient_checkpointing()
        inner.enable_gradient_checkpointing()
    return parts


def _random_transform(
    settings: TrainingSettings, capture_size: tuple[int, int] | None
) -> SeparableTransform:
    if capture_size is None:
        raise ValueError("capture_size or transform is needed for a model of captures")
    side = settings.model.picture_size
    return SeparableTransform.random(capture_size, (side, side), seed=settings.seed)


@dataclass(eq=False)
class _Base:
    """The networks without a ControlNet."""

    unet: Any
    scheduler_config: dict[str, Any]
    vae: Any = None
    text_encoder: Any = None
    tokenizer: Any = None


def _small(model: ModelSettings) -> _Base:
    """Build a pixel-space UNet without attention."""
    diffusers = need_diffusers()
    levels = len(model.block_out_channels)
    unet = diffusers.UNet2DConditionModel(
        in_channels=3 * model.patch**2,
        out_channels=3 * model.patch**2,
        block_out_channels=model.block_out_channels,
        layers_per_block=model.layers_per_block,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        mid_block_type="UNetMidBlock2D",
        cross_attention_dim=_NO_PROMPT_FEATURES,
        norm_num_groups=model.norm_num_groups,
    )
    # At its last timestep nothing but noise is left, so that one step starts from noise alone.
    schedule = diffusers.DDPMScheduler(
        prediction_type=model.prediction,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    return _Base(unet, dict(schedule.config))


def _on_base(model: ModelSettings) -> _Base:
    """Read a Stable Diffusion model."""
    diffusers, transformers = need_diffusers(), need_transformers()

    def place(subfolder: str) -> dict[str, Any]:
        return {"pretrained_model_name_or_path": str(model.base), "subfolder": subfolder}

    return _Base(
        unet=diffusers.UNet2DConditionModel.from_pretrained(**place("unet")),
        scheduler_config=dict(diffusers.DDPMScheduler.load_config(**place("scheduler"))),
        vae=diffusers.AutoencoderKL.from_pretrained(**place("vae")),
        text_encoder=transformers.CLIPTextModel.from_pretrained(**place("text_encoder")),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(**place("tokenizer")),
    )


def _controlnet(unet: Any, model: ModelSettings) -> Any:
    seen = model.conditioning
    channels = NUM_PLANES if seen == "capture" else conditioning_channels(model.start)
    embedding = {}
    if model.base is None:
        embedding["conditioning_embedding_out_channels"] = model.embedding_channels
        if model.folded_conditioning:
            channels = (3 + channels) * model.patch**2
    return need_diffusers().ControlNetModel.from_unet(
        unet, conditioning_channels=channels, **embedding
    )


def _wake(unet: Any, controlnet: Any, prediction: str) -> None:
    """Start a pair from scratch: zeros come out, and the conditioning is heard at once.

    diffusers silences a new ControlNet to protect a trained UNet; here there is none to protect.
    Where pictures are predicted the noise is silenced instead, of which they are independent.
    """
    silent = [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]
    for layer in (*silent, controlnet.controlnet_cond_embedding.conv_out):
        layer.reset_parameters()
    if prediction == "sample":
        for network in (unet, controlnet):
            nn.init.zeros_(network.conv_in.weight)
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)


def _with_controlnet(base: _Base, controlnet: Any, model: ModelSettings) -> RefinerParts:
    size = (model.picture_size,) * 2 if model.conditioning == "capture" else None
    names = () if model.base else ("patch", "residual_scale", "smoothing", "folded_conditioning")
    pixels = {name: getattr(model, name) for name in names}
    record = RefinerRecord(
        conditioning=model.conditioning,
        space="latent" if base.vae is not None else "pixel",
        prediction=base.scheduler_config.get("prediction_type", model.prediction),
        start=model.start,
        size=size,
        base=model.base,
        **pixels,
    )
    return RefinerParts(record=record, controlnet=controlnet, **vars(base))


def _choose_trained(network: Any, what: str, rank: int) -> None:
    """Freeze a network, train it, or add low-rank updates to its attention."""
    network.requires_grad_(what == "full").train()
    if what == "lora":
        try:
            from peft import LoraConfig
        except ImportError as error:
            raise ImportError("LoRA needs peft: pip install 'barelens[train]'") from error
        targets = ["to_q", "to_k", "to_v", "to_out.0"]
        network.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets))
