"""``barelens evaluate``: published numbers, measured again."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .messages import complain, user_errors

if TYPE_CHECKING:
    from ..evaluation import Evaluation

__all__ = ["difuzcam"]


def difuzcam(
    data: str = typer.Option(
        "ErezYosef/Difuzcam_dataset",
        help="Dataset, folder or hub id: Parquet files, or SPLIT/metadata.jsonl.",
    ),
    model: str = typer.Option(
        "ErezYosef/Difuzcam_model",
        help="DifuzCam's ControlNet or a refiner of captures, folder or hub id.",
    ),
    base: str | None = typer.Option(None, help="Stable Diffusion, folder or hub id."),
    out: Path | None = typer.Option(None, help="A JSON file for all scores; never overwritten."),
    split: str = typer.Option("validation", help="Which part of the dataset."),
    limit: int | None = typer.Option(None, help="Only the first so many pairs."),
    dark: Path | None = typer.Option(None, help="A raw frame without light, to take off."),
    captions: bool = typer.Option(True, help="Prompt with each pair's first caption."),
    steps: int = typer.Option(20, help="Evaluations of the networks."),
    scheduler: str = typer.Option("unipc", help="unipc, ddim, dpm++, lcm or tcd."),
    seed: int = typer.Option(42, help="Seed of all noise."),
    tiny_vae: str | None = typer.Option(None, help="An AutoencoderTiny in place of the VAE."),
    dtype: str = typer.Option("float32", help="float32, bfloat16 or float16."),
    device: str = typer.Option("cpu", help="cpu, cuda, cuda:1, ..."),
) -> None:
    """Measure a model as DifuzCam was measured: PSNR, SSIM and LPIPS at 256x256.

    Published on FlatNet's data: 20.43 dB, 0.612 and 0.237. By default sampling is as published:
    UniPC, 20 steps, no guidance. LPIPS needs torchvision's weights and is left out without them.
    """
    from ...imaging.files import read_raw, write_json
    from ...imaging.refine.difuzcam import read_pairs
    from ...imaging.refine.fetch import fetch_dataset
    from ..evaluation import evaluate_pair, preparation_for, summarise
    from .refine import load_refiner, refiner_settings

    with user_errors():
        if out is not None and out.exists():
            raise ValueError(f"{out} exists; choose another --out")
        refiner = load_refiner(model, base=base, tiny_vae=tiny_vae, dtype=dtype, device=device)
        preparation = preparation_for(refiner)
        dark_frame = None if dark is None else read_raw(dark)
        dataset = fetch_dataset(data, split)
        perceptual = _lpips(device)
        scores = []
        for pair in islice(read_pairs(dataset, split), limit):
            settings = refiner_settings(
                refiner,
                consistency=None,
                size=None,
                steps=steps,
                scheduler=scheduler,
                seed=seed,
                prompt=pair.captions[0] if captions and pair.captions else "",
            )
            score = evaluate_pair(
                pair,
                refiner,
                settings,
                preparation=preparation,
                dark=dark_frame,
                perceptual=perceptual,
            )
            scores.append(score)
            typer.echo(f"{pair.name}  {score.psnr_db:.2f} dB  SSIM {score.ssim:.3f}")
        evaluation = summarise(scores)
        if out is not None:
            record = {"scores": [vars(score) for score in scores], **evaluation.record()}
            write_json(out, record)
    for line in _table(evaluation):
        typer.echo(line)


def _lpips(device: str) -> Callable[..., Any] | None:
    from ...imaging.perceptual import LPIPS, MetricUnavailableError

    try:
        return LPIPS(device=device)
    except (ImportError, MetricUnavailableError) as error:
        complain(f"LPIPS is left out: {error}")
        return None


def _table(evaluation: "Evaluation") -> list[str]:
    """Lay out the means with their standard errors beside the published ones."""
    published = evaluation.record()["published"]
    lines = [f"{evaluation.pairs} pairs", "metric   measured          published"]
    for name, label in (("psnr_db", "PSNR/dB"), ("ssim", "SSIM"), ("lpips", "LPIPS")):
        mean, error = getattr(evaluation, name), getattr(evaluation, f"{name}_error")
        measured = "not measured" if mean is None else f"{mean:.3f}"
        if error is not None:
            measured += f" ± {error:.3f}"
        lines.append(f"{label:8} {measured:17} {published[name]:g}")
    return lines
