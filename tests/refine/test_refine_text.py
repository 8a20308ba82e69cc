"""Prompts, with a real but tiny text encoder."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from barelens import data
from barelens.app.cli import cli
from barelens.imaging.refine import Refiner, RefinerSettings
from barelens.imaging.refine.text import embed_prompt

FAST = RefinerSettings(steps=2, scheduler="ddim", imagination=1.0)


@pytest.fixture
def parts(toy):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = [chr(code) for code in range(33, 127)]
    symbols = [*letters, *(f"{letter}</w>" for letter in letters)]
    symbols += ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(
        vocab={symbol: number for number, symbol in enumerate(symbols)},
        merges=[],
        model_max_length=12,
    )
    config = CLIPTextConfig(
        vocab_size=len(symbols),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=symbols.index("<|startoftext|>"),
        eos_token_id=symbols.index("<|endoftext|>"),
    )
    return replace(
        toy.parts("linear", "latent"), text_encoder=CLIPTextModel(config), tokenizer=tokenizer
    )


def test_prompts_change_pictures_and_survive_saving(toy, parts, tmp_path):
    scene, refiner = toy.scene(), Refiner(parts)
    refiner.save(tmp_path)
    images = {
        prompt: refiner(scene.linear, scene.measurement, replace(FAST, prompt=prompt)).image
        for prompt in ("", "a cat")
    }
    assert not torch.allclose(images[""], images["a cat"], atol=1e-5)
    loaded = Refiner.load(tmp_path)
    again = loaded(scene.linear, scene.measurement, replace(FAST, prompt="a cat")).image
    assert torch.equal(again, images["a cat"])


def test_guidance_and_negative_prompts_count(toy, parts):
    scene, refiner = toy.scene(), Refiner(parts)
    settings = replace(FAST, prompt="a cat", guidance_scale=3.0)
    plain, guided, negated = (
        refiner(scene.linear, scene.measurement, chosen).image
        for chosen in (
            replace(settings, guidance_scale=1.0),
            settings,
            replace(settings, negative_prompt="fog"),
        )
    )
    assert not torch.allclose(plain, guided, atol=1e-5)
    assert not torch.allclose(guided, negated, atol=1e-5)


def test_a_stored_null_prompt_stands_in_for_the_encoder(toy, parts, tmp_path):
    empty = embed_prompt(parts, "")
    without = replace(parts, text_encoder=None, tokenizer=None, null_prompt=empty)
    without.save(tmp_path)
    loaded = Refiner.load(tmp_path)
    assert torch.equal(embed_prompt(loaded.parts, ""), empty)
    scene = toy.scene()
    assert torch.equal(
        loaded(scene.linear, scene.measurement, FAST).image,
        Refiner(parts)(scene.linear, scene.measurement, FAST).image,
    )


def test_too_long_a_prompt_says_what_it_loses(parts):
    with pytest.warns(UserWarning, match="prompt cut from 22 to 12 tokens"):
        long = embed_prompt(parts, "abcdefghijklmnopqrst")
    assert long.shape == (1, 12, 8)


def test_an_encoder_without_its_tokenizer_is_refused(parts):
    with pytest.raises(ValueError, match="given together"):
        replace(parts, tokenizer=None)


def test_records_tell_what_a_prompt_changed_and_can_confine_it(parts, tmp_path):
    model = tmp_path / "model"
    Refiner(parts).save(model)
    camera, capture = data.path("flatcam/camera.safetensors"), data.path("flatcam/fc_6.png")
    common = ["refine", capture, "--camera", camera, "--model", model, "--prompt", "a cat"]
    changes = {}
    for name, extra in (
        ("free", ["--wrong-prompt", "a bridge"]),
        ("confined", ["--prompt-keeps-measured", "--wrong-prompt", "a cat"]),
    ):
        out = tmp_path / name
        options = ["--steps", 2, "--imagination", 1, "--out", out, *extra]
        result = CliRunner().invoke(cli, [str(each) for each in (*common, *options)])
        assert result.exit_code == 0, result.stderr
        changes[name] = json.loads((out / "fc_6.refined.json").read_text())["prompt"]
    free, confined = changes["free"], changes["confined"]
    assert not free["kept_measured"] and confined["kept_measured"]
    assert 0 < confined["change"] < free["change"]
    assert free["wrong"]["prompt"] == "a bridge" and free["wrong"]["change"] > 0
    assert free["wrong"]["change"] != free["change"]
    same = ("change", "measured_part")
    assert all(confined["wrong"][name] == confined[name] for name in same)
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "free" / "fc_6.refined.json")])
    assert "the wrong prompt's change" in shown.stdout
    assert confined["measured_part"] < free["measured_part"] <= 1
