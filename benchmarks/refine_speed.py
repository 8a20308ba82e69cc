"""How long refining takes with networks of Stable Diffusion 1.5's shape, at 512x512.

The weights are random: speed does not depend on them. The step, UNet and ControlNet without
guidance, is timed against the same two networks called by hand, and in bfloat16 against float32;
then a whole refinement of a capture, four steps and the decoding by a tiny autoencoder.

    python benchmarks/refine_speed.py [--device cuda] [--repeats 3] [--batch 1] [--small]
"""

import argparse
import gc
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from machine import describe, show, write

from barelens.imaging import SeparableFactors, SeparableOperator
from barelens.imaging.bayer import rgb_to_planes
from barelens.imaging.refine import (
    Control,
    Measurement,
    Refiner,
    RefinerParts,
    RefinerRecord,
    RefinerSettings,
)
from barelens.imaging.refine.denoiser import Denoiser

PICTURE, LATENTS = (512, 512), (4, 64, 64)
SCENE, SENSOR = (256, 256), (500, 620)
STEPS = 4
WHOLE = f"{STEPS} steps and decoding"
#: Stable Diffusion 1.5, and a fiftieth of it to try this script with.
CHANNELS = {"full": (320, 640, 1280, 1280), "small": (64, 64, 128, 128)}


def random_parts(size: str, dtype: torch.dtype, device: str) -> RefinerParts:
    """Networks of the wanted shape, without the minutes that usual initialisation takes."""
    from diffusers import AutoencoderTiny, ControlNetModel, DDPMScheduler, UNet2DConditionModel

    shape: dict[str, Any] = {
        "in_channels": 4,
        "block_out_channels": CHANNELS[size],
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, out_channels=4, **shape)
        controlnet = ControlNetModel(conditioning_channels=8, **shape)
    generator = torch.Generator(device).manual_seed(0)
    for network in (unet, controlnet):
        network.to(dtype).to_empty(device=device)
        for parameter in network.parameters():
            parameter.data.normal_(std=0.02, generator=generator)
    return RefinerParts(
        record=RefinerRecord("linear", "latent", size=PICTURE),
        unet=unet,
        controlnet=controlnet,
        scheduler_config=dict(
            DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).config
        ),
        vae=AutoencoderTiny().to(device=device, dtype=dtype),
        null_prompt=torch.zeros(1, 77, 768),
    )


@dataclass
class Cost:
    """The least seconds of a call, by the clock and by the processor's own count.

    Programs beside this one lengthen the first much more than the second.
    """

    wall: float = math.inf
    processor: float = math.inf

    def of(self, run: Callable[[], object], device: str) -> None:
        """Time one more call."""
        wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
        wait()
        wall, processor = time.perf_counter(), time.process_time()
        run()
        wait()
        self.wall = min(self.wall, time.perf_counter() - wall)
        self.processor = min(self.processor, time.process_time() - processor)


@torch.no_grad()
def measure_step(parts: RefinerParts, device: str, repeats: int, batch: int) -> dict[str, Cost]:
    """Time our step and the bare networks in turn, on equal inputs."""
    dtype = next(parts.unet.parameters()).dtype
    state = torch.randn(batch, *LATENTS, device=device)
    image = torch.randn(batch, 8, *PICTURE, device=device, dtype=dtype)
    prompts = torch.zeros(batch, 77, 768, device=device, dtype=dtype)
    timestep = torch.tensor(500, device=device)
    denoise = Denoiser(parts.unet, [Control(parts.controlnet, image)], prompts)
    bare_state = state.to(dtype)

    def bare() -> None:
        down, middle = parts.controlnet(
            bare_state, timestep, prompts, controlnet_cond=image, return_dict=False
        )
        parts.unet(
            bare_state,
            timestep,
            prompts,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )

    costs = {"barelens": Cost(), "bare diffusers": Cost()}
    bare()  # warm up
    for _ in range(repeats):  # in turn, so that other programs disturb both alike
        costs["barelens"].of(lambda: denoise(state, timestep), device)
        costs["bare diffusers"].of(bare, device)
    return costs


def measure_whole(parts: RefinerParts, device: str, repeats: int, batch: int) -> Cost:
    """Time a refinement of captures: few steps, the tiny autoencoder, consistency at the end."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(SENSOR[0], SCENE[0], generator=generator).to(device)
    right = torch.randn(SENSOR[1], SCENE[1], generator=generator).to(device)
    operator = SeparableOperator(left, right)
    scene = torch.rand(batch, 3, *SCENE, generator=generator).to(device)
    capture = operator.forward(rgb_to_planes(scene))
    measurement = Measurement(capture, SeparableFactors.of(operator), 1.0, 0.3)
    refiner = Refiner(parts, device=device, channels_last=True)
    settings = RefinerSettings(steps=STEPS, scheduler="lcm")
    cost = Cost()
    for _ in range(repeats):
        cost.of(lambda: refiner(scene, measurement, settings), device)
    return cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="a fiftieth of the size, as a trial")
    arguments = parser.parse_args()
    device, repeats, batch = arguments.device, arguments.repeats, arguments.batch
    machine, size = describe(device), "small" if arguments.small else "full"
    costs: dict[str, dict[str, Cost]] = {}
    for name in ("float32", "bfloat16"):
        parts = random_parts(size, getattr(torch, name), device)
        costs[name] = measure_step(parts, device, repeats, batch)
        costs[name][WHOLE] = measure_whole(parts, device, repeats, batch)
        del parts
        gc.collect()
    seconds = "wall" if device.startswith("cuda") else "processor"
    ours = {name: getattr(cost["barelens"], seconds) for name, cost in costs.items()}
    ratios = {
        name: ours[name] / getattr(cost["bare diffusers"], seconds) for name, cost in costs.items()
    }
    print(machine)
    show(
        f"Stable Diffusion 1.5's shape ({size}), 512x512, batch {batch}, least of {repeats}",
        ("dtype", "what", "wall s", "processor s"),
        [
            (name, what, f"{cost.wall:.2f}", f"{cost.processor:.2f}")
            for name, found in costs.items()
            for what, cost in found.items()
        ],
    )
    speedup = ours["float32"] / ours["bfloat16"]
    print(
        f"\nin {seconds} seconds: our step over bare diffusers' "
        + ", ".join(f"{ratio:.3f} in {name}" for name, ratio in ratios.items())
        + f"; bfloat16 {speedup:.2f} times as fast as float32"
    )
    if size == "full":
        record = {
            "machine": machine,
            "batch": batch,
            "repeats": repeats,
            "seconds": {
                name: {what: asdict(cost) for what, cost in found.items()}
                for name, found in costs.items()
            },
            "step_over_bare_diffusers": ratios,
            "bfloat16_speedup": speedup,
        }
        write("refine_speed" if device == "cpu" else f"refine_speed-{device}-{batch}", record)


if __name__ == "__main__":
    main()
