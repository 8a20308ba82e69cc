"""Refiners of diffusers' real classes at toy size, and a small camera to go with them."""

from types import SimpleNamespace

import pytest
import torch

from barelens.imaging import SeparableFactors, SeparableOperator, Tikhonov
from barelens.imaging.bayer import planes_to_rgb, rgb_to_planes
from barelens.imaging.refine import (
    CaptureControlNet,
    Measurement,
    Refiner,
    RefinerParts,
    RefinerRecord,
    SeparableTransform,
)

SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def make_unet(channels):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
    )


def make_controlnet(unet, channels, embedding):
    """A ControlNet that does something: diffusers starts its output layers at zero."""
    from diffusers import ControlNetModel

    controlnet = ControlNetModel.from_unet(
        unet, conditioning_channels=channels, conditioning_embedding_out_channels=embedding
    )
    for parameter in controlnet.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return controlnet


def make_vae():
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(4, 8),
        norm_num_groups=2,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )


def make_parts(conditioning="linear", space="latent", prediction="epsilon", **record):
    from diffusers import DDPMScheduler

    torch.manual_seed(0)
    patch = record.get("patch", 1)
    unet = make_unet(4 if space == "latent" else 3 * patch**2)
    # As many halvings as the space has.
    halvings = 1 if space == "latent" else patch.bit_length() - 1
    channels = 4 if conditioning == "capture" else 8
    controlnet = make_controlnet(unet, channels, (8,) * (halvings + 1))
    if conditioning == "capture":
        transform = SeparableTransform.random((20, 24), (32, 32), seed=0, std=0.1)
        controlnet = CaptureControlNet(controlnet, transform)
    return RefinerParts(
        record=RefinerRecord(conditioning, space, prediction, **record),
        unet=unet,
        controlnet=controlnet,
        scheduler_config=dict(DDPMScheduler(**SCHEDULE).config),
        vae=make_vae() if space == "latent" else None,
    )


def make_scene(batch=2, size=(32, 32), noise_std=0.01):
    """A camera with much the same matrix for each plane, captures, and reconstructions."""
    generator = torch.Generator().manual_seed(1)
    left, right = (
        0.1 * torch.randn(sensor, scene, generator=generator)
        + 0.001 * torch.randn(4, sensor, scene, generator=generator)
        for sensor, scene in zip((20, 24), size, strict=True)
    )
    operator = SeparableOperator(left, right).centred()
    truth = torch.rand(batch, 3, *size, generator=generator)
    capture = operator.forward(rgb_to_planes(truth))
    capture = capture + noise_std * torch.randn(capture.shape, generator=generator)
    factors = SeparableFactors.of(operator)
    return SimpleNamespace(
        truth=truth,
        linear=planes_to_rgb(Tikhonov(operator, (noise_std / 0.3) ** 2)(capture)),
        measurement=Measurement(capture, factors, noise_std, 0.3),
    )


@pytest.fixture(scope="session")
def toy():
    return SimpleNamespace(
        parts=make_parts,
        scene=make_scene,
        unet=make_unet,
        controlnet=make_controlnet,
        refiner=lambda *kinds, **record: Refiner(make_parts(*kinds, **record)),
    )
