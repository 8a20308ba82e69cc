"""The refiner end to end, with diffusers' real classes at toy size."""

import json
from dataclasses import replace

import pytest
import torch

from barelens.imaging import ShapeError
from barelens.imaging.refine import (
    Control,
    Measurement,
    Refiner,
    RefinerParts,
    RefinerRecord,
    RefinerSettings,
)

KINDS = [
    ("linear", "latent", {}),
    ("linear", "pixel", {}),
    ("linear", "pixel", {"patch": 2, "residual_scale": 0.5}),
    ("capture", "latent", {}),
]
FAST = RefinerSettings(steps=2, scheduler="ddim", imagination=1.0)


def _refiner(toy, kind):
    conditioning, space, record = kind
    return Refiner(toy.parts(conditioning, space, **record))


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_bits_and_others_do_not(toy, kind):
    refiner, scene = _refiner(toy, kind), toy.scene()
    first, again, other = (
        refiner(scene.linear, scene.measurement, replace(FAST, seed=seed)).image
        for seed in (7, 7, 8)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (2, 3, 32, 32) and torch.isfinite(first).all()


@pytest.mark.parametrize("kind", KINDS)
def test_batches_equal_loops(toy, kind):
    refiner, scene = _refiner(toy, kind), toy.scene(batch=3)
    settings = replace(FAST, scheduler="lcm", imagination=0.5, consistency_steps=1)
    together = refiner(scene.linear, scene.measurement, settings)
    part = slice(2, 3)
    alone = refiner(
        scene.linear[part],
        replace(scene.measurement, capture=scene.measurement.capture[part]),
        settings,
    )
    torch.testing.assert_close(alone.image, together.image[part], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(alone.residual, together.residual[part], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_refiner_gives_the_same_bits(toy, kind, tmp_path):
    refiner, scene = _refiner(toy, kind), toy.scene()
    refiner.save(tmp_path / "model")
    loaded = Refiner.load(tmp_path / "model")
    assert loaded.parts.record == refiner.parts.record
    assert torch.equal(
        loaded(scene.linear, scene.measurement, FAST).image,
        refiner(scene.linear, scene.measurement, FAST).image,
    )


@pytest.mark.parametrize("size", [None, (64, 48)])
def test_the_dial_runs_from_measured_to_imagined(toy, size):
    refiner, scene = toy.refiner("linear", "pixel"), toy.scene()
    found = {
        dial: refiner(scene.linear, scene.measurement, replace(FAST, imagination=dial, size=size))
        for dial in (0.0, 0.25, 0.5, 1.0)
    }
    # Brought back to the scene's size, the lower end is the linear reconstruction itself.
    torch.testing.assert_close(found[0.0].residual, found[0.0].linear_residual)
    torch.testing.assert_close(found[1.0].residual, found[1.0].imagined_residual)
    # An untrained network contradicts the measurement; the dial's middle answers to it.
    assert (found[0.5].residual < 0.2 * found[0.5].imagined_residual).all()
    between = (found[0.0].image + found[0.5].image) / 2
    torch.testing.assert_close(found[0.25].image, between, rtol=1e-3, atol=1e-3)
    assert all(torch.equal(item.linear, scene.linear) for item in found.values())


@pytest.mark.parametrize("space", ["pixel", "latent"])
def test_consistency_in_the_sampler_ties_what_is_imagined(toy, space):
    refiner, scene = toy.refiner("linear", space), toy.scene()
    free, last, each = (
        refiner(scene.linear, scene.measurement, replace(FAST, steps=4, consistency_steps=count))
        for count in (0, 1, None)
    )
    assert not torch.equal(free.image, last.image)
    assert not torch.equal(last.image, each.image)
    if space == "pixel":  # an untrained autoencoder keeps nothing of what is put right
        assert (last.imagined_residual < 0.5 * free.imagined_residual).all()
        assert (each.imagined_residual < 0.5 * free.imagined_residual).all()


@pytest.mark.parametrize("space", ["pixel", "latent"])
def test_a_weak_start_stays_near_the_linear_reconstruction(toy, space):
    refiner, scene = toy.refiner("linear", space), toy.scene()
    settings = replace(FAST, steps=1, strength=0.02)
    changed = replace(scene.measurement)
    found = refiner(scene.linear, changed, settings)
    other = refiner(scene.linear.flip(-1), changed, settings)
    assert not torch.allclose(found.image, other.image, atol=1e-3)
    if space == "pixel":
        correlation = torch.corrcoef(
            torch.stack([found.image.flatten(), scene.linear.clamp_min(0).flatten()])
        )[0, 1]
        assert correlation > 0.7


def test_a_tiled_field_is_of_the_same_size_and_finite(toy):
    refiner, scene = toy.refiner("linear", "latent"), toy.scene()
    settings = replace(FAST, size=(96, 64), tile=32, tile_overlap=8)
    found = refiner(scene.linear, scene.measurement, settings)
    assert found.image.shape == (2, 3, 96, 64) and torch.isfinite(found.image).all()


def test_a_second_controlnet_adds_to_the_first(toy):
    refiner, scene = toy.refiner("linear", "latent"), toy.scene()
    network = toy.controlnet(refiner.parts.unet, 3, (8, 8))
    image = torch.rand(2, 3, 32, 32)
    plain = refiner(scene.linear, scene.measurement, FAST).image
    muted, added = (
        refiner(
            scene.linear, scene.measurement, FAST, controls=[Control(network, image, scale)]
        ).image
        for scale in (0.0, 1.0)
    )
    torch.testing.assert_close(muted, plain)
    assert not torch.allclose(added, plain, atol=1e-4)


def test_bfloat16_runs_near_float32(toy):
    parts, scene = toy.parts("linear", "latent"), toy.scene()
    full = Refiner(parts)(scene.linear, scene.measurement, FAST).image
    for module in parts.modules:
        module.to(torch.bfloat16)
    half = Refiner(parts, channels_last=True)(scene.linear, scene.measurement, FAST).image
    assert half.dtype == torch.float32
    assert (half - full).abs().mean() < 0.1 * full.std()


def test_a_tiny_autoencoder_takes_the_place_of_the_large_one(toy, tmp_path):
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(4, 4),
        decoder_block_out_channels=(4, 4),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    tiny.save_pretrained(tmp_path / "tiny")
    toy.refiner("linear", "latent").save(tmp_path / "model")
    refiner = Refiner.load(tmp_path / "model", tiny_vae=tmp_path / "tiny")
    scene = toy.scene()
    settings = replace(FAST, strength=0.5, consistency_steps=1)
    found = refiner(scene.linear, scene.measurement, settings)
    assert isinstance(refiner.parts.vae, AutoencoderTiny)
    assert found.image.shape == (2, 3, 32, 32) and torch.isfinite(found.image).all()


def test_what_a_folder_leaves_out_comes_from_its_base(toy, tmp_path):
    refiner, scene = toy.refiner("capture", "latent"), toy.scene()
    base, model = tmp_path / "base", tmp_path / "model"
    refiner.save(base)
    (base / "refiner.json").unlink()
    refiner.parts.controlnet.save(model / "controlnet")
    refiner.parts.record.save(model)
    with pytest.raises(FileNotFoundError, match="names no base model"):
        Refiner.load(model)
    expected = refiner(scene.linear, scene.measurement, FAST).image
    given = Refiner.load(model, base=base)
    assert torch.equal(given(scene.linear, scene.measurement, FAST).image, expected)
    replace(refiner.parts.record, base=str(base)).save(model)
    recorded = Refiner.load(model)
    assert torch.equal(recorded(scene.linear, scene.measurement, FAST).image, expected)


@pytest.mark.parametrize("name", ["nowhere", "/no/where", "./no", "a/b/c"])
def test_what_is_neither_a_folder_nor_on_the_hub_is_named(name):
    with pytest.raises(FileNotFoundError, match=f"no model at {name}"):
        Refiner.load(name)


def test_a_model_on_the_hub_is_downloaded_without_pickles(toy, tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(name, *, repo_type, allow_patterns):
        asked.append((name, repo_type, allow_patterns))
        return str(tmp_path)

    toy.parts("linear", "pixel").save(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    Refiner.load("someone/refiner")
    assert asked == [("someone/refiner", "model", ["*.json", "*.txt", "*.safetensors"])]


def test_grey_reconstructions_become_rgb(toy):
    refiner, scene = toy.refiner("linear", "pixel"), toy.scene()
    factors = scene.measurement.factors
    single = type(factors)(
        *(getattr(factors, name)[0] for name in ("u_left", "u_right", "v_left", "v_right")),
        gains=factors.gains[0],
        mean_free=True,
    )
    measurement = Measurement(scene.measurement.capture[:, :1], single, 0.01, 0.3)
    found = refiner(scene.linear[:, :1], measurement, FAST)
    assert found.image.shape == (2, 3, 32, 32) and found.residual.shape == (2, 1)


def test_a_model_of_captures_needs_no_camera(toy):
    refiner, scene = toy.refiner("capture", "latent"), toy.scene()
    picture = refiner.from_capture(scene.measurement.capture, FAST)
    assert picture.shape == (2, 3, 32, 32)
    with pytest.raises(ValueError, match="sees linear reconstructions"):
        toy.refiner("linear", "latent").from_capture(scene.measurement.capture)


def test_wrong_arguments_are_named(toy):
    refiner, scene = toy.refiner("linear", "latent"), toy.scene()
    with pytest.raises(ShapeError, match=r"linear must have shape \(2, 3 or 1, 32, 32\)"):
        refiner(scene.linear[:1], scene.measurement)
    with pytest.raises(ValueError, match="multiples of 4"):
        refiner(scene.linear, scene.measurement, replace(FAST, size=(30, 32)))
    with pytest.raises(ValueError, match="no text encoder for the prompt 'a cat'"):
        refiner(scene.linear, scene.measurement, replace(FAST, prompt="a cat"))
    with pytest.raises(ValueError, match="needs linear"):
        refiner.sample(torch.zeros(1, 8, 32, 32), replace(FAST, strength=0.5))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no record of a refiner"),
        ("[]", "no record of a refiner"),
        ({"format": "other", "format_version": 1}, "has the format 'other'"),
        ({"format": "barelens.refiner", "format_version": 2}, "format version 2"),
        ({"format": "barelens.refiner", "format_version": 1}, "missing 2 required"),
        (
            {
                "format": "barelens.refiner",
                "format_version": 1,
                "conditioning": "linear",
                "space": "hyper",
            },
            "space must be one of latent, pixel",
        ),
    ],
)
def test_damaged_and_newer_records_are_refused(tmp_path, content, message):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "refiner.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        RefinerRecord.load(tmp_path)
    (tmp_path / "refiner.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no refiner\.json"):
        RefinerParts.load(tmp_path)


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], None])
@pytest.mark.parametrize(
    "file",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "controlnet/transform.safetensors",
        "scheduler/scheduler_config.json",
        "vae/config.json",
    ],
)
def test_damaged_and_missing_files_are_named(toy, tmp_path, file, damage):
    toy.parts("capture", "latent").save(tmp_path)
    path = tmp_path / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises((OSError, ValueError), match=path.name.split(".")[0]):
        RefinerParts.load(tmp_path)


def test_the_noise_schedule_is_kept_to_the_letter(toy, tmp_path):
    config = {"_class_name": "PNDMScheduler", "steps_offset": 1, "skip_prk_steps": True}
    parts = replace(toy.parts("linear", "pixel"), scheduler_config=config)
    parts.save(tmp_path)
    loaded = RefinerParts.load(tmp_path).scheduler_config
    assert config.items() <= loaded.items()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_seed_means_the_same_on_every_device(toy):
    parts, scene = toy.parts("linear", "pixel"), toy.scene()
    expected = Refiner(parts)(scene.linear, scene.measurement, FAST).image
    factors = scene.measurement.factors
    names = ("u_left", "u_right", "v_left", "v_right", "gains")
    measurement = replace(
        scene.measurement,
        capture=scene.measurement.capture.cuda(),
        factors=replace(factors, **{name: getattr(factors, name).cuda() for name in names}),
    )
    found = Refiner(parts, device="cuda")(scene.linear.cuda(), measurement, FAST)
    torch.testing.assert_close(found.image.cpu(), expected, rtol=1e-2, atol=1e-2)


def test_parts_must_fit_their_record(toy):
    parts = toy.parts("linear", "latent")
    with pytest.raises(ValueError, match="'pixel' has no vae"):
        replace(parts, record=RefinerRecord("linear", "pixel"))
    with pytest.raises(ValueError, match="'latent' has a vae"):
        replace(parts, vae=None)
    with pytest.raises(ValueError, match="'capture' does not fit a controlnet of ControlNetModel"):
        replace(parts, record=RefinerRecord("capture", "latent"))
    with pytest.raises(ValueError, match="for the space 'pixel'"):
        RefinerRecord("linear", "latent", patch=2)


def test_a_pixel_space_has_no_autoencoder_to_replace(toy, tmp_path):
    toy.parts("linear", "pixel").save(tmp_path)
    with pytest.raises(ValueError, match="no vae for tiny_vae to replace"):
        RefinerParts.load(tmp_path, tiny_vae=tmp_path)


def test_recommended_settings_are_the_default(toy):
    record = {"settings": {"steps": 3, "scheduler": "lcm", "size": [32, 64]}}
    refiner, scene = toy.refiner("linear", "pixel", **record), toy.scene()
    found = refiner(scene.linear, scene.measurement)
    assert found.settings == RefinerSettings(steps=3, scheduler="lcm", size=(32, 64))
    assert found.image.shape == (2, 3, 32, 64)
