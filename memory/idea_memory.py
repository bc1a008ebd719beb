"""The idea memory: every idea that was tried, in Chroma on disk, found again by what it says.

It is a view of the journal and may be deleted at any time: `IdeaMemory.open_or_rebuild` makes it anew. Nothing is
downloaded, and nothing is sent anywhere.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from memory.embedding import LocalEmbedder
from memory.records import DecisionRecord, TrialRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from memory.records import Entry

COLLECTION = "ideas"
_FRESH = "ideas-rebuilding"
_BATCH = 2_000
_DECIDED = ("outcome", "reason", "gain", "gain_low", "gain_high")
_SPACE = {"space": "cosine", "ef_construction": 200, "ef_search": 200, "num_threads": 2}


class IdeaMemoryError(RuntimeError):
    """A folder that Chroma cannot use; the message names it and the mend."""


class EmbeddingMismatchError(IdeaMemoryError):
    """Ideas that were embedded by another function, with which no similarity can be computed; both are named."""


@dataclass(frozen=True)
class Neighbour:
    """An idea that says something similar.

    Attributes:
        number: Its trial.
        similarity: Cosine of the two texts' vectors, 1 for equal texts.
        title: Its title.
        outcome: What became of it.
    """

    number: int
    similarity: float
    title: str
    outcome: str


class IdeaMemory:
    """The ideas of one run.

    Args:
        folder: `runs/<name>/chroma`; made where it does not exist.
        embedder: `local` (see `memory.embedding`), or any other Chroma embedding function. The first to open the
            folder is recorded there.

    Raises:
        EmbeddingMismatchError: The folder records another embedding function, or other synonyms.
        IdeaMemoryError: The folder is damaged.
    """

    def __init__(self, folder: Path, embedder: Any = "local") -> None:
        if isinstance(embedder, str) and embedder != "local":
            raise ValueError(f"embedder is {embedder!r}: use 'local', or pass a Chroma embedding function")
        self.folder = Path(folder)
        self._embedder = LocalEmbedder() if embedder == "local" else embedder
        self._identity = json.dumps([self._embedder.name(), self._embedder.get_config()], sort_keys=True, default=str)
        self._vectors: dict[int, np.ndarray] | None = None
        with _named_errors(self.folder):
            self._client = _open(self.folder)
            try:
                self._collection = self._open_collection()
            except BaseException:
                self._client.close()
                raise

    @classmethod
    def open_or_rebuild(cls, folder: Path, entries: Iterable[Entry], embedder: Any = "local") -> IdeaMemory:
        """Open a folder and bring it to the journal's state, whatever state it is in.

        What lacks is added, what changed is updated. A folder that Chroma cannot read, or that holds what the
        journal does not, is made anew; unreadable files are put aside as `<folder>.damaged`.

        Close any other memory of the folder in this process before: Chroma shares its files between them.

        Raises:
            EmbeddingMismatchError: The folder records another embedding function, or other synonyms.
        """
        folder, wanted = Path(folder), _as_decided(entries)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Chroma's index may end the whole process on a file that was cut short: who finds the mark knows that it did.
        mark = folder.with_name(f"{folder.name}.opening")
        if mark.exists():
            _put_aside(folder)
        mark.touch()
        try:
            memory, held = cls._open_and_probe(folder, embedder)
        finally:
            mark.unlink()
        if held.keys() - wanted.keys():
            memory._rebuild(wanted.values())
        else:
            memory._upsert(record for number, record in wanted.items() if held.get(number) != _metadata(record))
        return memory

    @classmethod
    def _open_and_probe(cls, folder: Path, embedder: Any) -> tuple[IdeaMemory, dict[int, dict[str, Any]]]:
        memory = None
        try:
            memory = cls(folder, embedder)
            return memory, memory._probe()
        except EmbeddingMismatchError:
            raise
        except IdeaMemoryError:
            if memory is not None:
                memory.close()
            _put_aside(folder)
            return cls(folder, embedder), {}

    def __enter__(self) -> IdeaMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        with _named_errors(self.folder):
            return int(self._collection.count())

    def close(self) -> None:
        """Let go of the files; without it they are let go of when the process ends."""
        self._client.close()

    def numbers(self) -> list[int]:
        """Return the trials whose ideas are held, in ascending order."""
        with _named_errors(self.folder):
            return sorted(int(name) for name in self._collection.get(include=[])["ids"])

    def add(self, record: TrialRecord) -> None:
        """Take in a trial's idea; one that is held is replaced, so that adding twice changes nothing.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        self._upsert([record])

    def decide(self, decision: DecisionRecord) -> None:
        """Take in a later word on a trial that is held.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        changed: dict[str, Any] = {name: getattr(decision, name) for name in _DECIDED}
        with _named_errors(self.folder):
            self._collection.update(ids=[_name(decision.trial)], metadatas=[changed])

    def nearest(self, text: str, k: int, exclude: Collection[int] = ()) -> tuple[Neighbour, ...]:
        """Return the ideas whose text is most similar, the nearest first; ties by number.

        It compares with every idea held: among many variants of one idea, Chroma's graph index (HNSW) missed the
        equal text itself in half of the cases.

        Args:
            text: `Idea.text`, or a question in words.
            k: At most so many; fewer where fewer are held.
            exclude: Trials to leave out, such as the idea's own.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        left_out = set(exclude)
        vectors = self._load_vectors()
        numbers = [number for number in sorted(vectors) if number not in left_out]
        if not numbers or k < 1:
            return ()
        wanted = _unit(self._embedder.embed_query([text])[0])
        similarities = np.stack([vectors[number] for number in numbers]) @ wanted  # [m]
        best = np.argsort(-similarities, kind="stable")[:k].tolist()
        with _named_errors(self.folder):
            found = self._collection.get(ids=[_name(numbers[at]) for at in best], include=["metadatas"])
        about = dict(zip(found["ids"], found["metadatas"], strict=True))
        return tuple(_hit(about[_name(numbers[at])], similarities[at]) for at in best)

    def search(self, text: str, k: int = 10, **fields: str | int) -> tuple[Neighbour, ...]:
        """Return the nearest ideas among those whose fields have the given values, such as `axis="A2"`.

        For a reader: it asks Chroma's index, which is fast and may miss one.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        clauses: list[dict[str, Any]] = [{name: value} for name, value in fields.items()]
        return self._query(text, k, {"$and": clauses} if len(clauses) > 1 else clauses[0] if clauses else None)

    def rebuild(self, entries: Iterable[Entry]) -> None:
        """Replace everything held by the ideas of a journal; the old ones stay until the new ones are complete.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        self._rebuild(_as_decided(entries).values())

    def _rebuild(self, records: Iterable[TrialRecord]) -> None:
        with _named_errors(self.folder):
            if any(held.name == _FRESH for held in self._client.list_collections()):
                self._client.delete_collection(_FRESH)
            fresh, self._vectors = self._create_collection(_FRESH), None
            self._upsert(records, fresh)
            self._client.delete_collection(COLLECTION)
            fresh.modify(name=COLLECTION)
            self._collection = fresh

    def _upsert(self, records: Iterable[TrialRecord], collection: Any = None) -> None:
        wanted, collection = list(records), self._collection if collection is None else collection
        with _named_errors(self.folder):
            for start in range(0, len(wanted), _BATCH):
                batch = wanted[start : start + _BATCH]
                texts = [record.idea.text for record in batch]
                vectors = self._embedder(texts)
                collection.upsert(
                    ids=[_name(record.number) for record in batch],
                    documents=texts,
                    embeddings=vectors,
                    metadatas=[_metadata(record) for record in batch],
                )
                if self._vectors is not None:
                    numbers = (record.number for record in batch)
                    self._vectors |= {number: _unit(vector) for number, vector in zip(numbers, vectors, strict=True)}

    def _query(self, text: str, k: int, where: dict[str, Any] | None) -> tuple[Neighbour, ...]:
        with _named_errors(self.folder):
            k = min(k, self._collection.count())
            if k <= 0:
                return ()
            found = self._collection.query(
                query_texts=[text], n_results=k, where=where, include=["metadatas", "distances"]
            )
        hits = [_hit(*hit) for hit in zip(found["metadatas"][0], 1 - np.array(found["distances"][0]), strict=True)]
        return tuple(sorted(hits, key=lambda hit: (-hit.similarity, hit.number)))

    def _load_vectors(self) -> dict[int, np.ndarray]:
        """Return the vectors by number, of length 1; read once, since a run has one writer."""
        if self._vectors is None:
            with _named_errors(self.folder):
                held = self._collection.get(include=["embeddings"])
            self._vectors = {
                int(name): _unit(vector) for name, vector in zip(held["ids"], held["embeddings"], strict=True)
            }
        return self._vectors

    def _probe(self) -> dict[int, dict[str, Any]]:
        """Return the metadata of everything held, having read every vector and searched once."""
        with _named_errors(self.folder):
            held = self._collection.get(include=["metadatas", "embeddings"])
            n_vectors = len(held["embeddings"])
            hits = self._query("anything", 10, None)
        if n_vectors != len(held["ids"]) or len(hits) != min(10, n_vectors):
            raise IdeaMemoryError(f"{self.folder} holds {len(held['ids'])} ideas and {n_vectors} vectors: {_MEND}")
        return {int(name): dict(about) for name, about in zip(held["ids"], held["metadatas"], strict=True)}

    def _open_collection(self) -> Any:
        held = {collection.name: collection for collection in self._client.list_collections()}
        if COLLECTION not in held:
            return self._create_collection(COLLECTION)
        recorded = (held[COLLECTION].metadata or {}).get("embedding", "unknown")
        if recorded != self._identity:
            raise EmbeddingMismatchError(
                f"{self.folder} was embedded by {recorded}, and is opened with {self._identity}: open it with the "
                "former, or delete the folder, so that it is made anew from the journal"
            )
        return self._client.get_collection(COLLECTION, embedding_function=self._embedder)

    def _create_collection(self, name: str) -> Any:
        return self._client.create_collection(
            name,
            embedding_function=self._embedder,
            configuration={"hnsw": dict(_SPACE)},
            metadata={"embedding": self._identity},
        )


_MEND = "IdeaMemory.open_or_rebuild makes it anew from the journal"


def _as_decided(entries: Iterable[Entry]) -> dict[int, TrialRecord]:
    """Return the trials by number, each as the latest decision left it."""
    records: dict[int, TrialRecord] = {}
    for entry in entries:
        if isinstance(entry, DecisionRecord):
            fields = {name: getattr(entry, name) for name in _DECIDED}
            records[entry.trial] = records[entry.trial].model_copy(update=fields)
        else:
            records.setdefault(entry.number, entry)
    return records


def _metadata(record: TrialRecord) -> dict[str, Any]:
    """Return a trial's flat fields, as Chroma stores them: without those that are None."""
    fields = {
        "number": record.number,
        "title": record.idea.title,
        "mode": record.idea.mode,
        "axis": record.idea.axis,
        "techniques": " ".join(record.idea.techniques),
        "source": record.idea.source,
        "parent": record.idea.parent,
        "outcome": record.outcome,
        "reason": record.reason,
        "gain": record.gain,
        "gain_low": record.gain_low,
        "gain_high": record.gain_high,
        "score": None if record.score is None else record.score.value,
        "seconds": record.train_seconds,
        "code_sha": record.code_sha,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _hit(about: Mapping[str, Any], similarity: float) -> Neighbour:
    return Neighbour(int(about["number"]), float(similarity), str(about["title"]), str(about["outcome"]))


def _unit(vector: np.ndarray) -> np.ndarray:
    array = np.asarray(vector, dtype=np.float32)
    return array / max(float(np.linalg.norm(array)), 1e-12)


def _name(number: int) -> str:
    return f"{number:06d}"


def _open(folder: Path) -> Any:
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings
    from chromadb.utils.embedding_functions import register_embedding_function

    register_embedding_function(LocalEmbedder)
    folder.mkdir(parents=True, exist_ok=True)
    place = str(folder.resolve())
    # `_env_file`: Chroma would otherwise read a `.env` of the working directory.
    settings = Settings(_env_file=None, is_persistent=True, anonymized_telemetry=False, allow_reset=True)
    try:
        return chromadb.PersistentClient(place, settings=settings)
    except BaseException:
        # Chroma keeps the half-started system by its path and would hand it to the next client.
        SharedSystemClient._identifier_to_system.pop(place, None)
        raise


@contextmanager
def _named_errors(folder: Path) -> Iterator[None]:
    """Turn what Chroma raises on unreadable files into an error that names the folder and the mend."""
    from chromadb.errors import ChromaError

    try:
        yield
    except ChromaError as error:
        raise IdeaMemoryError(f"Chroma cannot use {folder} ({error}): {_MEND}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what its Rust part raises, beside `Exception`
            raise
        raise IdeaMemoryError(f"Chroma cannot use {folder} ({error}): {_MEND}") from error


def _put_aside(folder: Path) -> None:
    if folder.exists():
        aside = folder.with_name(f"{folder.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
