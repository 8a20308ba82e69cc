"""Second-generation models of ours against those of transformers, which rotate in float32."""

import pytest
import torch

from barelens.pose import load_checkpoint

transformers = pytest.importorskip("transformers", minversion="5.10")

HEAD = {
    "upsample_out_channels": [24, 16],
    "upsample_kernel_sizes": [3, 3],
    "conv_out_channels": [12, 8],
    "conv_kernel_sizes": [3, 3],
    "use_pixel_shuffle": True,
}
SCALE = {"scale_conv_out_channels": [16, 8, 8], "scale_final_hidden_sizes": [12, 6]}
DECONV = {
    "upsample_out_channels": [24, 16],
    "conv_out_channels": [12, 8],
}
CASES = {
    "PoseEstimation": ("pose", DECONV, 308, ("heatmaps",)),
    "SemanticSegmentation": ("segmentation", DECONV, 29, ("logits",)),
    "NormalEstimation": ("normal", HEAD, 3, ("normals",)),
    "PointmapEstimation": ("pointmap", HEAD | SCALE, 3, ("pointmaps", "scales")),
    "ImageMatting": ("matting", HEAD, 4, ("foregrounds", "alphas")),
}


@pytest.mark.filterwarnings("ignore::barelens.pose.LicenceNotice")
@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_outputs_equal_those_of_transformers(name, tmp_path):
    task, head, outputs, fields = CASES[name]
    config = transformers.Sapiens2Config(
        hidden_size=48,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_attention_heads=2,
        intermediate_size=64,
        image_size=[256, 128],
        use_gated_mlp=True,
        num_register_tokens=8,
        layerscale_value=0.5,
        num_labels=outputs,
        head_config=head,
    )
    theirs = getattr(transformers, f"Sapiens2For{name}")(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    theirs.save_pretrained(tmp_path)
    ours = load_checkpoint(tmp_path, config=config.to_dict() | {"rope_dtype": "fp32"})
    assert ours.tasks == (task,)
    assert ours.backbone.config.key_value_heads == (4,) * 8 + (2,) * 2 + (4,) * 8
    pixels = torch.randn(2, 3, 256, 128, generator=generator)
    found = ours(pixels)
    wanted = theirs(pixels)
    if task == "matting":
        found = (found[:, :3], found[:, 3:])
    elif isinstance(found, torch.Tensor):
        found = (found,)
    for mine, field in zip(found, fields, strict=True):
        torch.testing.assert_close(mine, wanted[field], rtol=0, atol=3e-5)
