"""The short sampling loop gives what diffusers' own pipeline gives."""

import pytest
import torch

from barelens.imaging.refine import Refiner, RefinerSettings
from barelens.imaging.refine.schedules import SCHEDULERS


@pytest.mark.parametrize("name", ["unipc", "ddim", "dpm++"])
def test_sampling_equals_the_pipeline_of_diffusers(toy, name):
    import diffusers

    parts = toy.parts("linear", "latent")
    refiner = Refiner(parts)
    settings = RefinerSettings(steps=5, scheduler=name, seed=3, conditioning_scale=0.8)
    kind, options = SCHEDULERS[name]
    pipeline = diffusers.StableDiffusionControlNetPipeline(
        vae=parts.vae,
        text_encoder=None,
        tokenizer=None,
        unet=parts.unet,
        controlnet=parts.controlnet,
        scheduler=getattr(diffusers, kind).from_config(
            parts.scheduler_config, clip_sample=False, **options
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    image = torch.rand(1, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(3))[None]
    prompt = torch.zeros(1, 1, 8)
    expected = pipeline(
        prompt_embeds=prompt,
        image=image,
        latents=noise,
        num_inference_steps=settings.steps,
        guidance_scale=1.0,
        controlnet_conditioning_scale=settings.conditioning_scale,
        output_type="pt",
    ).images
    found = (refiner.sample(image, settings) + 1) / 2
    torch.testing.assert_close(found.clamp(0, 1), expected, rtol=1e-4, atol=1e-4)
