"""Speed of human vision: decoding, and the forward pass in float32 and bfloat16.

    python benchmarks/human.py [--threads 2] [--skip-forward]

Times are those of the clock, the least disturbed of several: the machine should be at rest. On a
GPU also images per second of two sizes at three batch sizes, plain float32 against bfloat16 with
torch.compile and against transformers' Sapiens2 of like size, and the share of the matrix products'
peak, which is measured too. Weights are random, since none are needed to measure time.
"""

import argparse
from typing import Any

import cv2
import numpy as np
import torch
from machine import describe, least_seconds, show, write
from peers.decode_loop import decode_by_loop
from torch.utils.flop_counter import FlopCounterMode

from barelens.pose import BACKBONES, HumanModel
from barelens.pose.decode import decode_heatmaps
from barelens.pose.sapiens import DeconvHead, VisionTransformer

SIZE = (1024, 768)
MAPS = (308, 256, 192)
PEERS: dict[str, dict[str, Any]] = {  # published sizes of Sapiens2 nearest to ours
    "0.3b": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_attention_heads": 8,
        "intermediate_size": 4096,
        "head_config": {
            "upsample_out_channels": [1024, 768],
            "conv_out_channels": [512, 512, 256],
        },
    },
    "1b": {
        "hidden_size": 1536,
        "num_hidden_layers": 40,
        "num_attention_heads": 24,
        "num_key_value_attention_heads": 12,
        "intermediate_size": 6144,
        "head_config": {
            "upsample_out_channels": [1536, 1024],
            "conv_out_channels": [768, 512, 256],
        },
    },
}


def make_heatmaps(people: int, seed: int = 0) -> torch.Tensor:
    """Gaussians of a trained model's width and of heights from weak to sure, with some noise."""
    keypoints, rows, columns = MAPS
    generator = torch.Generator().manual_seed(seed)
    shape = (people, keypoints, 1, 1)
    x = torch.rand(shape, generator=generator) * (columns - 1)
    y = torch.rand(shape, generator=generator) * (rows - 1)
    height = 0.05 + 0.95 * torch.rand(shape, generator=generator)
    down, across = torch.arange(rows)[:, None], torch.arange(columns)
    maps = height * torch.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * 6.0**2))
    return maps + 0.002 * torch.rand(maps.shape, generator=generator)


def measure_decode(people: int, device: str) -> dict[str, float]:
    """Time both ways on the same maps, and require them to agree to 1e-3 px."""
    heatmaps = make_heatmaps(people)
    on_device, array = heatmaps.to(device), heatmaps.numpy()
    positions, scores = decode_by_loop(array, SIZE)
    found = decode_heatmaps(on_device, SIZE)
    difference = float(np.abs(found.positions.cpu().numpy() - positions).max())
    if difference > 1e-3 or np.abs(found.scores.cpu().numpy() - scores).max() > 1e-6:
        raise SystemExit(f"the two decode differently, by up to {difference:.2g} px")
    loop = least_seconds(lambda: decode_by_loop(array, SIZE), repeats=15, warmup=1)
    batched = least_seconds(lambda: decode_heatmaps(on_device, SIZE), repeats=50, device=device)
    return {"loop_s": loop, "batched_s": batched, "largest_difference_px": difference}


def make_model(name: str, device: str) -> HumanModel:
    """A published pose model of 308 keypoints with small random weights."""
    config = BACKBONES[name]
    with torch.device("meta"):
        head = DeconvHead(config.embed_dim, (768, 768), (768, 768), MAPS[0], final="final_layer")
        model = HumanModel(VisionTransformer(config), {"pose": head})
    model.to_empty(device=device)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.02)
    return model.eval()


def make_peer(name: str, device: str) -> torch.nn.Module:
    """Transformers' Sapiens2 for pose with random weights."""
    from transformers import Sapiens2Config, Sapiens2ForPoseEstimation

    config = Sapiens2Config(**PEERS[name], image_size=list(SIZE), num_labels=MAPS[0])
    with torch.device(device):
        return Sapiens2ForPoseEstimation(config).eval()


def count_flops(name: str) -> int:
    """Operations of one picture, two for each product and sum."""
    with torch.device("meta"):
        head = DeconvHead(
            BACKBONES[name].embed_dim, (768, 768), (768, 768), MAPS[0], final="final_layer"
        )
        model = HumanModel(VisionTransformer(BACKBONES[name]), {"pose": head})
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, *SIZE))
    return int(counter.get_total_flops())


def peak_flops(dtype: torch.dtype, device: str, side: int) -> float:
    """Operations per second of one large matrix product."""
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / least_seconds(lambda: left @ right, repeats=5, device=device)


@torch.inference_mode()
def measure_forward(
    model: torch.nn.Module, batch: int, dtype: torch.dtype, device: str, repeats: int, warmup: int
) -> float:
    """Seconds for a batch of pictures."""
    pixels = torch.randn(batch, 3, *SIZE, device=device).to(dtype)
    return least_seconds(lambda: model(pixels), repeats=repeats, warmup=warmup, device=device)


def measure_processor(repeats: int) -> dict[str, float]:
    """One picture through 0.3b in float32 and in bfloat16, and the products' peaks."""
    model = make_model("0.3b", "cpu")
    results: dict[str, float] = {"flops": count_flops("0.3b")}
    for dtype, name in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
        model = model.to(dtype)
        results[f"{name}_s"] = measure_forward(model, 1, dtype, "cpu", repeats, warmup=0)
        results[f"{name}_peak_flops"] = peak_flops(dtype, "cpu", 2048)
    return results


def measure_gpu(device: str) -> list[dict[str, Any]]:
    """Images per second of each size and batch, in each way."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    peak = peak_flops(torch.bfloat16, device, 8192)
    results: list[dict[str, Any]] = []
    for name in PEERS:
        flops = count_flops(name)
        for way, dtype, compiled, make in (
            ("eager fp32", torch.float32, False, make_model),
            ("bf16 + compile", torch.bfloat16, True, make_model),
            ("transformers Sapiens2 fp32", torch.float32, False, make_peer),
            ("transformers Sapiens2 bf16", torch.bfloat16, False, make_peer),
        ):
            model: Any = make(name, device).to(dtype)
            if compiled:
                model = torch.compile(model, mode="max-autotune-no-cudagraphs")
            for batch in (1, 8, 32):
                seconds = measure_forward(model, batch, dtype, device, repeats=10, warmup=3)
                results.append(
                    {
                        "size": name,
                        "way": way,
                        "batch": batch,
                        "images_per_s": batch / seconds,
                        "share_of_bf16_peak": flops * batch / seconds / peak,
                    }
                )
            del model
            torch.cuda.empty_cache()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3, help="of the forward pass on a processor")
    parser.add_argument("--skip-forward", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    machine = describe(device)
    print(machine)
    results: dict[str, Any] = {"machine": machine}
    results["decode"] = {people: measure_decode(people, device) for people in (1, 4, 16)}
    show(
        f"Decoding {MAPS[0]} heatmaps of {MAPS[1]}x{MAPS[2]}",
        ("people", "loop, ms", "batched, ms", "times as fast", "largest difference, px"),
        [
            (
                str(people),
                f"{each['loop_s'] * 1e3:.1f}",
                f"{each['batched_s'] * 1e3:.2f}",
                f"{each['loop_s'] / each['batched_s']:.0f}",
                f"{each['largest_difference_px']:.1e}",
            )
            for people, each in results["decode"].items()
        ],
    )
    if not arguments.skip_forward:
        forward = results["processor"] = measure_processor(arguments.repeats)
        rows = []
        for name in ("fp32", "bf16"):
            seconds, peak = forward[f"{name}_s"], forward[f"{name}_peak_flops"]
            share = forward["flops"] / seconds / peak
            rows.append((name, f"{seconds:.2f}", f"{share:.0%}"))
        show(
            "0.3b, one picture of 1024x768 on the processor",
            ("dtype", "s", "of the product peak"),
            rows,
        )
        print(f"\nbf16 is {forward['fp32_s'] / forward['bf16_s']:.2f} times as fast")
    if device == "cpu":
        print("\nGPU: unverified, this machine has none")
    else:
        results["gpu"] = measure_gpu(device)
        show(
            "Images per second",
            ("size", "way", "batch", "images/s", "of the bf16 peak"),
            [
                (
                    each["size"],
                    each["way"],
                    str(each["batch"]),
                    f"{each['images_per_s']:.1f}",
                    f"{each['share_of_bf16_peak']:.0%}",
                )
                for each in results["gpu"]
            ],
        )
    write("human", results)


if __name__ == "__main__":
    main()
