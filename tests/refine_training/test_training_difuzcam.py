"""The published recipe on a Stable Diffusion of toy size, from captures to a refiner's folder."""

from dataclasses import replace

import pytest
import torch

from barelens.imaging.refine import Refiner
from barelens.imaging.refine.training import (
    PRESETS,
    DenoisingObjective,
    Pair,
    Trainer,
    build_parts,
    export,
)

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

SIDE = 64
CAPTURE = (12, 14)


class Captures:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rng = torch.Generator().manual_seed(index)
        picture = torch.rand(3, SIDE, SIDE, generator=rng) * 2 - 1
        return Pair(picture, torch.randn(4, *CAPTURE, generator=rng), "a cat")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder laid out as Stable Diffusion's, eight pixels to a latent as there."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base")
    UNet2DConditionModel(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(4,) * 4,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    ).save_pretrained(folder / "vae")
    DDPMScheduler().save_pretrained(folder / "scheduler")
    symbols = [letter + end for letter in "acot" for end in ("", "</w>")] + ["<s>", "</s>"]
    tokenizer = CLIPTokenizer(
        vocab={symbol: number for number, symbol in enumerate(symbols)},
        merges=[],
        bos_token="<s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="</s>",
        model_max_length=8,
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(symbols),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=8,
            bos_token_id=len(symbols) - 2,
            eos_token_id=len(symbols) - 1,
        )
    ).save_pretrained(folder / "text_encoder")
    return folder


def recipe(base, **model):
    published = PRESETS["difuzcam"]
    changed = replace(published.model, base=str(base), picture_size=SIDE, **model)
    return published.changed(model=changed, steps=2, batch_size=2, gradient_checkpointing=True)


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(before, network):
    return {name for name, value in network.state_dict().items() if not value.equal(before[name])}


def test_what_is_published_as_trained_is_trained(base, tmp_path):
    settings = recipe(base)
    parts = build_parts(settings, capture_size=CAPTURE)
    before = [weights(network) for network in (parts.unet, parts.vae, parts.text_encoder)]
    control = weights(parts.controlnet)
    objective = DenoisingObjective(parts, preview_weight=settings.preview_weight)
    Trainer(parts, objective, Captures(), settings, tmp_path / "run").run()
    networks = (parts.unet, parts.vae, parts.text_encoder)
    assert not any(changed(old, network) for old, network in zip(before, networks, strict=True))
    moved = changed(control, parts.controlnet)
    assert {"transform.weight_left", "transform.weight_right", "preview.weight"} <= moved
    assert any(name.startswith("controlnet.controlnet_down_blocks") for name in moved)
    export(parts, tmp_path / "refiner")
    refiner = Refiner.load(tmp_path / "refiner")
    settings = replace(refiner.settings, steps=2, prompt="a cat")
    picture = refiner.from_capture(Captures()[0].conditioning[None], settings)
    assert picture.shape == (1, 3, SIDE, SIDE) and bool(picture.isfinite().all())


def test_low_rank_updates_of_the_unet(base, tmp_path):
    pytest.importorskip("peft")
    settings = recipe(base, unet="lora", lora_rank=2)
    parts = build_parts(settings, capture_size=CAPTURE)
    before = weights(parts.unet)
    Trainer(parts, DenoisingObjective(parts), Captures(), settings, tmp_path / "run").run()
    moved = changed(before, parts.unet)
    assert moved and all("lora" in name for name in moved)
    export(parts, tmp_path / "refiner")
    assert not any(
        "lora" in name for name in Refiner.load(tmp_path / "refiner").parts.unet.state_dict()
    )


def test_the_preview_counts_as_much_as_its_weight_says(base):
    from barelens.imaging.refine.training import BatchMaker, TrainingModel

    settings = recipe(base)
    parts = build_parts(settings, capture_size=CAPTURE)
    batch, model = BatchMaker(Captures(), settings)(0), TrainingModel(parts)
    none, one, three = (
        DenoisingObjective(parts, preview_weight=weight)(model, batch) for weight in (0, 1, 3)
    )
    torch.testing.assert_close(three - none, 3 * (one - none))
    shown = parts.controlnet.preview(parts.controlnet.transform(batch.conditioning))
    error = (shown - batch.picture).square().flatten(1).mean(1)
    torch.testing.assert_close(one - none, error, rtol=1e-4, atol=1e-5)


def test_a_model_of_captures_needs_their_size(base):
    with pytest.raises(ValueError, match="capture_size"):
        build_parts(recipe(base))
