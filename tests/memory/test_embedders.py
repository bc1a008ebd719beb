"""The embedders by name: real endpoints and servers on this machine, and what is said where something is missing."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from memory.chroma_folder import EmbeddingMismatchError
from memory.embedders import (
    EmbedderError,
    OnnxEmbedder,
    OpenAIEmbedder,
    SentenceTransformersEmbedder,
    fetch_onnx,
    open_embedder,
    resolve,
)
from memory.embedding import LocalEmbedder
from memory.idea_memory import IdeaMemory
from tests.memory.builders import trial

if TYPE_CHECKING:
    from collections.abc import Iterator


class Endpoint(ThreadingHTTPServer):
    """Serves /v1/embeddings as OpenAI does, with the local embedder's vectors in reversed order, and files."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.status = 200
        self.answer: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.headers.get("Authorization", ""), asked))
        vectors = LocalEmbedder(64)(asked["input"])
        data = [{"object": "embedding", "index": i, "embedding": v.tolist()} for i, v in enumerate(vectors)]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        whole = {"object": "list", "data": data[::-1], "model": asked["model"], "usage": usage}
        self.reply(json.dumps(whole if self.server.answer is None else self.server.answer).encode())

    def do_GET(self) -> None:
        if self.path not in self.server.files:
            self.server.status = 404
        self.reply(self.server.files.get(self.path, b"not here"))

    def reply(self, body: bytes) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever)
        thread.start()
        try:
            yield endpoint
        finally:
            endpoint.shutdown()
            thread.join()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-the-test")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with serving() as server:
        yield server


def test_an_endpoint_gives_vectors_in_the_order_of_the_texts(endpoint: Endpoint) -> None:
    embedder = OpenAIEmbedder("small", f"{endpoint.url}/v1")
    texts = [f"idea {i}" for i in range(300)]
    np.testing.assert_allclose(np.stack(embedder(texts)), np.stack(LocalEmbedder(64)(texts)), atol=1e-6)
    assert [len(asked["input"]) for _, asked in endpoint.requests] == [256, 44]
    assert {key for key, _ in endpoint.requests} == {"Bearer a-key-of-the-test"}
    assert {asked["model"] for _, asked in endpoint.requests} == {"small"}


def test_a_memory_of_an_endpoint_is_refused_to_another(endpoint: Endpoint, tmp_path: Path) -> None:
    name = resolve(f"openai:small@{endpoint.url}/v1/")
    embedder = open_embedder(name)
    with IdeaMemory.open_or_rebuild(tmp_path / "chroma", [trial(0, title="EMA"), trial(1)], embedder) as memory:
        assert memory.nearest("Polyak averaging", 1)[0].number == 0
    assert not any("a-key-of-the-test" in path.read_text(errors="ignore") for path in tmp_path.rglob("*.*"))
    for other in (LocalEmbedder(), OpenAIEmbedder("large", f"{endpoint.url}/v1")):
        with pytest.raises(EmbeddingMismatchError, match=r"openai \(small at http.*" + other.identity.split()[0]):
            IdeaMemory(tmp_path / "chroma", other)


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, {"error": {"message": "Incorrect API key provided: a-key-of-the-test"}}, "401 Unauthorized"),
        (200, {"object": "list", "data": []}, "gives no vectors|0 vectors"),
        (200, {"object": "list", "data": [{"index": 0, "embedding": [1, 2]}]}, "2 texts with 1 vectors"),
        (200, {"detail": "no such route"}, "gives no vectors"),
    ],
)
def test_an_endpoint_that_gives_no_vectors_is_named_without_the_key(
    endpoint: Endpoint, status: int, answer: Any, words: str
) -> None:
    endpoint.status, endpoint.answer = status, answer
    with pytest.raises(EmbedderError, match=words) as caught:
        OpenAIEmbedder("small", endpoint.url)(["one", "two"])
    assert "openai (small at http://127.0.0.1" in str(caught.value)
    assert "a-key-of-the-test" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_endpoint_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving() as server:
        url = server.url
    embedder = OpenAIEmbedder("small", url)
    embedder._client = embedder._client.with_options(max_retries=0)
    with pytest.raises(EmbedderError, match="Connection error"):
        embedder(["one"])


def test_names_are_resolved_and_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.chdir(tmp_path)
    assert resolve("openai:nomic:v1") == "openai:nomic:v1@http://127.0.0.1:9/v1"
    assert resolve(resolve("openai:m@001")) == "openai:m@001@http://127.0.0.1:9/v1"
    assert resolve("sentence-transformers:m") == f"sentence-transformers:{tmp_path / 'm'}"
    for name in ("", "locale", "openai:", "openai:@http://x", "sentence-transformers:", "onnx:x"):
        with pytest.raises(EmbedderError, match="is no embedder"):
            resolve(name)
    with pytest.raises(EmbedderError, match="OPENAI_API_KEY") as caught:
        resolve("openai:m@http://me:my-secret@127.0.0.1/v1")
    assert "my-secret" not in str(caught.value)
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(EmbedderError, match="set OPENAI_API_KEY"):
        open_embedder("openai:text-embedding-3-small")


def test_a_model_that_is_missing_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=r"lacks model.onnx in .*team memory fetch"):
        OnnxEmbedder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_model_is_fetched_where_it_is_asked_for(endpoint: Endpoint, tmp_path: Path) -> None:
    source = tmp_path / "onnx"
    source.mkdir()
    for name in OnnxEmbedder.FILES:
        (source / name).write_text(name)
    archive = tmp_path / "served.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, "onnx")
    endpoint.files["/onnx.tar.gz"] = archive.read_bytes()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    place = fetch_onnx(f"{endpoint.url}/onnx.tar.gz", tmp_path / "there", digest)
    assert (place / "vocab.txt").read_text() == "vocab.txt"
    assert OnnxEmbedder(tmp_path / "there").identity == "onnx (all-MiniLM-L6-v2)"
    endpoint.files.clear()
    assert fetch_onnx(f"{endpoint.url}/gone", tmp_path / "there", digest) == place, "what is there is not fetched again"


def field(number: int, value: int | bytes | str) -> bytes:
    """Return a protobuf field, a varint or a text of bytes."""

    def varint(n: int) -> bytes:
        return bytes([n]) if n < 128 else bytes([n % 128 + 128]) + varint(n // 128)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tiny_onnx(table: np.ndarray) -> bytes:
    """Return an ONNX model with MiniLM's inputs and output whose hidden state is a row of `table` a token."""

    def value(name: str, kind: int, *dimensions: str) -> bytes:
        shape = b"".join(field(1, field(2, dimension)) for dimension in dimensions)
        return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))

    dims = b"".join(field(1, n) for n in table.shape)
    weights = dims + field(2, 1) + field(8, "table") + field(9, table.astype("<f4").tobytes())
    gather = field(1, "table") + field(1, "input_ids") + field(2, "last_hidden_state") + field(4, "Gather")
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    graph = field(1, gather) + field(2, "tiny") + field(5, weights)
    graph += b"".join(field(11, value(name, 7, "batch", "length")) for name in inputs)
    graph += field(12, value("last_hidden_state", 1, "batch", "length", "width"))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def test_a_model_file_is_run_as_chroma_runs_it(tmp_path: Path) -> None:
    """With a table of vectors in the place of MiniLM: its mean over a text's tokens, padding left out, of length 1."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"[PAD]": 0, "[UNK]": 1, "bond": 2, "angles": 3, "dropout": 4}
    table = np.random.default_rng(0).standard_normal((5, 384)).astype(np.float32)
    place = tmp_path / "onnx"
    place.mkdir()
    for name in OnnxEmbedder.FILES:
        (place / name).write_text("{}")
    (place / "model.onnx").write_bytes(tiny_onnx(table))
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(place / "tokenizer.json"))
    one, two = OnnxEmbedder(tmp_path)(["bond angles", "dropout"])
    mean = table[2] + table[3]
    np.testing.assert_allclose(one, mean / np.linalg.norm(mean), atol=1e-5)
    np.testing.assert_allclose(two, table[4] / np.linalg.norm(table[4]), atol=1e-5)
    with IdeaMemory.open_or_rebuild(
        tmp_path / "chroma", [trial(0, title="bond angles")], OnnxEmbedder(tmp_path)
    ) as held:
        assert held.nearest("angles", 1)[0].similarity > 0.4


def test_what_is_not_the_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

    monkeypatch.setattr(ONNXMiniLM_L6_V2._download.retry, "stop", lambda state: True)  # its pauses are seconds
    with serving() as server:
        server.files["/onnx.tar.gz"] = b"something else"
        with pytest.raises(EmbedderError, match=r"is not the model.*913d7300ceae.*--url"):
            fetch_onnx(f"{server.url}/onnx.tar.gz", tmp_path)
        url = server.url
    with pytest.raises(EmbedderError, match=r"cannot be read.*--url"):
        fetch_onnx(f"{url}/onnx.tar.gz", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=r"neither modules.json nor config.json"):
        SentenceTransformersEmbedder(tmp_path / "absent")


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is not None, reason="sentence-transformers is installed"
)
def test_a_missing_package_is_named_with_its_command(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(EmbedderError, match=r"pip install 'crystal-research-team\[sentence-transformers\]'"):
        SentenceTransformersEmbedder(tmp_path)
