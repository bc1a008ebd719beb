"""The embedders by name: how a run turns the text of an idea into a vector, chosen once and recorded.

    local                           ours: deterministic, no model (see `memory.embedding`)
    onnx                            Chroma's all-MiniLM-L6-v2, from a file that `team memory fetch` brings
    openai:MODEL[@URL]              an endpoint that speaks OpenAI's protocol; the key is in OPENAI_API_KEY
    sentence-transformers:FOLDER    a model folder on this machine

Nothing here downloads on its own: `fetch_onnx` does, and only where somebody asks for it. No key is stored or shown.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import numpy as np

from memory.embedding import LocalEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = "local, onnx, openai:MODEL[@URL] or sentence-transformers:FOLDER"
OPENAI_URL = "https://api.openai.com/v1"
_TEXTS_A_REQUEST = 256
_REQUEST_SECONDS = 60.0


class EmbedderError(RuntimeError):
    """An embedder that cannot be used; the message names it and the mend, never a key."""


class Embedder(Protocol):
    """Texts to vectors, the same vector for the same text.

    Attributes:
        identity: What determines the vectors, for people; vectors of two identities are never compared.
    """

    @property
    def identity(self) -> str: ...  # noqa: D102

    def __call__(self, texts: Sequence[str]) -> Sequence[np.ndarray]:
        """Return a vector a text, all of one length."""


def resolve(name: str) -> str:
    """Return an embedder's name with all that a resumed run must know: an absolute folder, the endpoint's address.

    Raises:
        EmbedderError: The name is no embedder's.
    """
    kind, _, rest = name.partition(":")
    if name in ("local", "onnx"):
        return name
    if kind == "openai" and rest:
        model, url = _model_and_url(rest)
        return f"openai:{model}@{url}"
    if kind == "sentence-transformers" and rest:
        return f"sentence-transformers:{Path(rest).expanduser().resolve()}"
    raise EmbedderError(f"{name!r} is no embedder: use {KINDS}")


@lru_cache(maxsize=1)  # a model is loaded once, however many ask for it
def open_embedder(name: str) -> Embedder:
    """Return an embedder that is ready for use.

    Raises:
        EmbedderError: The name is no embedder's, or what it needs is not here; the message says how to get it.
    """
    kind, _, rest = resolve(name).partition(":")
    if kind == "openai":
        return OpenAIEmbedder(*_model_and_url(rest))
    if kind == "sentence-transformers":
        return SentenceTransformersEmbedder(Path(rest))
    return OnnxEmbedder() if kind == "onnx" else LocalEmbedder()


class OnnxEmbedder:
    """all-MiniLM-L6-v2 as Chroma ships it: 384 dimensions, on the CPU, the first 256 tokens of a text.

    Args:
        folder: Where the model lies, Chroma's own place where None.

    Raises:
        EmbedderError: The model's files are not there.
    """

    FILES = (
        "model.onnx",
        "tokenizer.json",
        "config.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vocab.txt",
    )

    def __init__(self, folder: Path | None = None) -> None:
        model = _mini_lm(folder)
        place = Path(model.DOWNLOAD_PATH) / model.EXTRACTED_FOLDER_NAME
        if missing := [file for file in self.FILES if not (place / file).is_file()]:
            raise EmbedderError(
                f"embedder onnx lacks {missing[0]} in {place}: `team memory fetch` downloads the model (83 MB), "
                "or use --embedder local"
            )
        self._model = model

    @property
    def identity(self) -> str:
        """The model's name."""
        return f"onnx ({self._model.MODEL_NAME})"

    def __call__(self, texts: Sequence[str]) -> Sequence[np.ndarray]:
        """Return [384] float32 a text, of length 1."""
        return list(self._model(list(texts)))


def fetch_onnx(url: str | None = None, folder: Path | None = None, sha256: str | None = None) -> Path:
    """Download the model of `onnx` where it is not there yet, check it, and return its folder.

    Args:
        url: A mirror of the archive; Chroma's own address where None.
        folder: Where to put it, Chroma's own place where None.
        sha256: Of the archive, the one that Chroma knows where None.

    Raises:
        EmbedderError: It cannot be downloaded, or is not the archive that Chroma knows.
    """
    import httpx

    model = _mini_lm(folder)
    model.MODEL_DOWNLOAD_URL = url or model.MODEL_DOWNLOAD_URL
    model._MODEL_SHA256 = sha256 or model._MODEL_SHA256
    try:
        model._download_model_if_not_exists()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EmbedderError(
            f"{model.MODEL_DOWNLOAD_URL} cannot be read ({error or type(error).__name__}): name a mirror with --url, "
            f"or put the archive at {Path(model.DOWNLOAD_PATH) / model.ARCHIVE_FILENAME}"
        ) from error
    except ValueError as error:
        if "SHA256" not in str(error):
            raise
        raise EmbedderError(
            f"what {model.MODEL_DOWNLOAD_URL} sends is not the model (sha256 differs from {model._MODEL_SHA256[:12]}): "
            "name another mirror with --url"
        ) from error
    return Path(model.DOWNLOAD_PATH) / model.EXTRACTED_FOLDER_NAME


class OpenAIEmbedder:
    """A model behind an endpoint that speaks OpenAI's protocol.

    Args:
        model: Its name there.
        url: The endpoint's base, such as http://127.0.0.1:8000/v1.

    Raises:
        EmbedderError: There is no key for OpenAI's own endpoint; others may need none.
    """

    def __init__(self, model: str, url: str) -> None:
        import openai

        key = os.environ.get("OPENAI_API_KEY", "")
        if not key and url == OPENAI_URL:
            raise EmbedderError(
                f"embedder openai:{model} needs a key: set OPENAI_API_KEY, or name your own endpoint, "
                f"openai:{model}@http://127.0.0.1:8000/v1"
            )
        self.model, self.url = model, url
        self._client = openai.OpenAI(api_key=key or "none", base_url=url, timeout=_REQUEST_SECONDS, max_retries=2)

    @property
    def identity(self) -> str:
        """The model's name and where it is."""
        return f"openai ({self.model} at {self.url})"

    def __call__(self, texts: Sequence[str]) -> Sequence[np.ndarray]:
        """Return a vector a text.

        Raises:
            EmbedderError: The endpoint does not answer, or with something else than vectors.
        """
        import openai

        vectors: list[np.ndarray] = []
        for start in range(0, len(texts), _TEXTS_A_REQUEST):
            batch = list(texts[start : start + _TEXTS_A_REQUEST])
            try:
                answer = self._client.embeddings.create(model=self.model, input=batch, encoding_format="float")
                found = [np.asarray(item.embedding, np.float32) for item in sorted(answer.data, key=lambda x: x.index)]
            except openai.APIStatusError as error:
                raise EmbedderError(
                    f"{self.identity} refuses ({error.status_code} {error.response.reason_phrase}): see that the "
                    "model's name and OPENAI_API_KEY are right; what was recorded is safe"
                ) from error
            except (openai.OpenAIError, TypeError, ValueError, AttributeError) as error:
                raise EmbedderError(
                    f"{self.identity} gives no vectors ({error or type(error).__name__}): see that it is up and serves "
                    "/embeddings; what was recorded is safe"
                ) from error
            if len(found) != len(batch) or any(vector.shape != found[0].shape or not vector.size for vector in found):
                raise EmbedderError(
                    f"{self.identity} answered {len(batch)} texts with {len(found)} vectors: ask its owner"
                )
            vectors += found
        return vectors


class SentenceTransformersEmbedder:
    """A model folder of sentence-transformers on this machine, on the CPU.

    Args:
        folder: With `modules.json` or `config.json` in it; a name that would be looked up elsewhere is refused.

    Raises:
        EmbedderError: There is no such folder, or the package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
            raise EmbedderError(
                f"embedder sentence-transformers: {folder} holds neither modules.json nor config.json: name the folder "
                "of a model that lies on this machine; nothing is downloaded"
            )
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise EmbedderError(
                f"embedder sentence-transformers cannot be imported ({error}): "
                "pip install 'crystal-research-team[sentence-transformers]'"
            ) from error
        self._identity = f"sentence-transformers ({folder.name}, files {_digest(folder)[:12]})"
        self._model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)

    @property
    def identity(self) -> str:
        """The folder's name and what is in it, so that a model may move and may not change."""
        return self._identity

    def __call__(self, texts: Sequence[str]) -> Sequence[np.ndarray]:
        """Return a vector a text."""
        return list(self._model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False))


def _mini_lm(folder: Path | None) -> Any:
    from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

    model = ONNXMiniLM_L6_V2(preferred_providers=["CPUExecutionProvider"])
    if folder is not None:
        model.DOWNLOAD_PATH = folder
    return model


def _model_and_url(text: str) -> tuple[str, str]:
    """Return model and base address of `MODEL[@URL]`; the address of OPENAI_BASE_URL where none is given."""
    model, at, url = text.partition("@http")
    url = f"http{url}" if at else os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
    parts = urlsplit(url)
    if not model or parts.scheme not in ("http", "https") or not parts.hostname:
        raise EmbedderError(f"'openai:{text}' is no embedder: write openai:MODEL@http://HOST:PORT/v1")
    if parts.username or parts.password or parts.query:
        raise EmbedderError(
            f"embedder openai:{model}: the address holds a name, a password or a query, and would be recorded: "
            "leave it out, and set OPENAI_API_KEY"
        )
    return model, url.rstrip("/")


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
