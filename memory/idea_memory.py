"""The idea memory: every idea that was tried, in Chroma on disk, found again by what it says.

It is a view of journals and may be deleted at any time: `IdeaMemory.open_or_rebuild` makes it anew. It holds the ideas
of one run, or of several that share it (see `memory.shared_memory`). Which vectors it holds is the embedder's matter;
those of two embedders are never mixed.
"""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from memory.chroma_folder import (
    MEND,
    EmbeddingMismatchError,
    IdeaMemoryError,
    named_errors,
    open_client,
    open_collection,
    put_aside,
)
from memory.embedding import LocalEmbedder
from memory.idea_fields import (
    CHECKSUM,
    DECIDED,
    Key,
    Neighbour,
    Similar,
    all_fields,
    as_decided,
    checksum,
    chroma_id,
    from_chroma,
    neighbour,
    to_chroma,
)
from memory.text_vectors import TextVectors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from memory.embedders import Embedder
    from memory.records import DecisionRecord, Entry, Idea, TrialRecord

_BATCH = 2_000
_WRITTEN_AT_ONCE = 32  # Chroma takes about as long to write so many as to write one
_RECENT = 512


class IdeaMemory:
    """The ideas of one run, or of several.

    Args:
        folder: Of Chroma's files; made where it does not exist.
        embedder: See `memory.embedders`; the first to open the folder is recorded there. `local` where None.
        run: Under which name this run's ideas lie beside those of others; empty in a memory of one run.

    Attributes:
        remark: What had to be repaired at opening, in a sentence; empty where nothing had.

    Raises:
        EmbeddingMismatchError: The folder records another embedder.
        IdeaMemoryError: The folder is damaged.
    """

    def __init__(self, folder: Path, embedder: Embedder | None = None, run: str = "") -> None:
        self.folder = Path(folder)
        self.run = run
        self.remark = ""
        self._embedder: Embedder = LocalEmbedder() if embedder is None else embedder
        self._loaded = False
        self._vectors = TextVectors()
        self._unwritten: dict[int, TrialRecord] = {}
        self._recent: dict[str, np.ndarray] = {}
        self._in_flight = TextVectors()
        with named_errors(self.folder):
            self._client = open_client(self.folder)
            try:
                self._collection = open_collection(self._client, self.folder, self._embedder.identity)
            except BaseException:
                self._client.close()
                raise

    @classmethod
    def open_or_rebuild(
        cls,
        folder: Path,
        entries: Iterable[Entry],
        embedder: Embedder | None = None,
        run: str = "",
        others: Callable[[], Mapping[str, Iterable[Entry]]] = dict,
    ) -> IdeaMemory:
        """Open a folder and bring this run's ideas to its journal's state, whatever state the folder is in.

        What lacks is added, what changed is updated, what the journal does not hold goes. A folder that Chroma cannot
        read is put aside as `<folder>.damaged` and made anew from the journals, and `remark` says so.

        Close any other memory of the folder in this process before: Chroma shares its files between them.

        Args:
            folder: See the class.
            entries: This run's journal.
            embedder: See the class.
            run: See the class.
            others: Gives the journals of the other runs by name; asked only where the folder is made anew.

        Raises:
            EmbeddingMismatchError: The folder records another embedder.
        """
        folder, wanted = Path(folder), as_decided(entries)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Chroma's index may end the whole process on a file that was cut short: who finds the mark knows that it did.
        mark = folder.with_name(f"{folder.name}.opening")
        if damaged := mark.exists():
            put_aside(folder)
        mark.touch()
        held: dict[int, int] = {}
        memory = None
        try:
            try:
                memory = cls(folder, embedder, run)
                held = memory._load()
            except EmbeddingMismatchError:
                raise
            except IdeaMemoryError:
                if memory is not None:
                    memory.close()
                put_aside(folder)
                damaged, memory = True, cls(folder, embedder, run)
        finally:
            mark.unlink()
        if damaged:
            for name, others_entries in others().items():
                memory._upsert(as_decided(others_entries).values(), name)
        if gone := held.keys() - wanted.keys():
            memory._forget(gone)
        memory._upsert(
            (record for number, record in wanted.items() if held.get(number) != checksum(all_fields(record, run))), run
        )
        if damaged:
            memory.remark = (
                f"the idea memory was damaged: {len(memory)} ideas made anew from the journal; "
                f"the old files are in {folder.name}.damaged"
            )
        return memory

    @classmethod
    def rebuild(cls, folder: Path, journals: Mapping[str, Iterable[Entry]], embedder: Embedder | None = None) -> int:
        """Replace a folder, whatever it holds, by the ideas of some journals; return how many there are.

        The old folder stays until the new one is complete.

        Args:
            folder: See the class.
            journals: Entries by the name of their run; the one name is empty in a memory of one run.
            embedder: The one from now on.
        """
        fresh = Path(folder).with_name(f"{Path(folder).name}.rebuilding")
        shutil.rmtree(fresh, ignore_errors=True)
        with cls(fresh, embedder) as memory:
            for run, entries in journals.items():
                memory._upsert(as_decided(entries).values(), run)
            n_ideas = len(memory)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
        return n_ideas

    def __enter__(self) -> IdeaMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        self.flush()
        with named_errors(self.folder):
            return int(self._collection.count())

    def close(self) -> None:
        """Let go of the files; without it they are let go of when the process ends."""
        try:
            self.flush()
        finally:
            self._client.close()

    def begin(self, idea: Idea) -> None:
        """Hold the idea of a trial in flight, which `similar` finds and Chroma does not hold."""
        self._in_flight.keep((self.run, idea.number), self._embedded([idea.text])[0])

    def abandon(self, number: int) -> None:
        """Forget the idea of a trial in flight."""
        self._in_flight.drop((self.run, number))

    def add(self, record: TrialRecord) -> None:
        """Take in a trial's idea; one that is held is replaced, so that adding twice changes nothing.

        It is found by `similar` at once, and written to Chroma with those that follow: what a process that dies had
        not written is added from the journal when the memory is opened again.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        if not self._loaded:
            self._load()
        self.abandon(record.number)
        self._unwritten[record.number] = record
        self._keep([(self.run, record.number)], self._embedded([record.idea.text]))
        if len(self._unwritten) >= _WRITTEN_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what was added since the last time to Chroma.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        if self._unwritten:
            self._upsert(self._unwritten.values(), self.run)
            self._unwritten.clear()

    def decide(self, decision: DecisionRecord) -> None:
        """Take in a later word on a trial that is held.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        if (added := self._unwritten.get(decision.trial)) is not None:
            fields = {name: getattr(decision, name) for name in DECIDED}
            self._unwritten[decision.trial] = added.model_copy(update=fields)
            return
        name, changed = chroma_id((self.run, decision.trial)), {field: getattr(decision, field) for field in DECIDED}
        with named_errors(self.folder):
            for held in self._collection.get(ids=[name], include=["metadatas"])["metadatas"]:
                self._collection.update(ids=[name], metadatas=[to_chroma(from_chroma(held) | changed)])

    def nearest(self, text: str, k: int, exclude: Collection[int] = ()) -> tuple[Neighbour, ...]:
        """Return the recorded ideas whose text is most similar, with what is told of them; see `similar`.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        found = self.similar(text, k + len(self._in_flight), exclude)
        best = [hit for hit in found if hit.key not in self._in_flight][:k]
        if not best:
            return ()
        about = {
            (self.run, number): all_fields(record, self.run)
            for number, record in self._unwritten.items()
            if any(hit.key == (self.run, number) for hit in best)
        }
        if names := [chroma_id(hit.key) for hit in best if hit.key not in about]:
            with named_errors(self.folder):
                found = self._collection.get(ids=names, include=["metadatas"])
            fields = (from_chroma(held) for held in found["metadatas"])
            about |= {(str(held["run"]), int(held["number"])): held for held in fields}
        return tuple(neighbour(about[hit.key], hit.similarity, self.run) for hit in best)

    def similar(self, text: str, k: int, exclude: Collection[int] = ()) -> tuple[Similar, ...]:
        """Return which ideas' texts are most similar, those in flight among them, the nearest first; ties by number.

        It compares with every idea held, in one product: among many variants of one idea, Chroma's graph index (HNSW)
        missed the equal text itself in half of the cases, and a repeat that is missed costs a trial.

        Args:
            text: `Idea.text`, or a question in words.
            k: At most so many; fewer where fewer are held.
            exclude: Trials of this run to leave out, such as the idea's own.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        if not self._loaded:
            self._load()
        if k < 1:
            return ()
        (asked,) = self._embedded([text])
        left_out = [(self.run, number) for number in exclude]
        found = [*self._vectors.nearest(asked, k, left_out), *self._in_flight.nearest(asked, k, left_out)]
        nearest = sorted(found, key=lambda hit: (-round(hit[1], 6), hit[0]))[:k]
        return tuple(Similar(*key, similarity, self.run) for key, similarity in nearest)

    def search(self, text: str, k: int = 10, **fields: str | int) -> tuple[Neighbour, ...]:
        """Return the nearest ideas among those whose fields have the given values, such as `axis="A2"`.

        For a reader: it asks Chroma's index, which reads no more than it needs and may miss one.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        clauses: list[dict[str, Any]] = [{name: value} for name, value in fields.items()]
        where = {"$and": clauses} if len(clauses) > 1 else clauses[0] if clauses else None
        self.flush()
        with named_errors(self.folder):
            k = min(k, self._collection.count())
            if k <= 0:
                return ()
            found = self._collection.query(
                query_embeddings=self._embedded([text]),
                n_results=k,
                where=where,
                include=["metadatas", "distances"],
            )
        pairs = zip(found["metadatas"][0], 1 - np.array(found["distances"][0]), strict=True)
        return tuple(
            sorted(
                (neighbour(from_chroma(held), likeness, self.run) for held, likeness in pairs),
                key=lambda hit: (-hit.similarity, hit.run, hit.number),
            )
        )

    def diffs_of_others(self) -> Iterator[tuple[str, str]]:
        """Yield label and unified diff of the ideas of other runs that changed a file.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        for _, page in self._pages(["metadatas"]):
            for held in page["metadatas"]:
                if held["run"] != self.run and (diff := from_chroma(held).get("diff")):
                    yield f"{held['run']}/{held['number']}", diff

    def _load(self) -> dict[int, int]:
        """Read every vector, search once, and return the checksum of each of this run's ideas by number.

        Raises:
            IdeaMemoryError: The folder is damaged.
        """
        mine: dict[int, int] = {}
        n_held = 0
        self._vectors = TextVectors()
        for n_page, page in self._pages(["metadatas", "embeddings"]):
            n_held += n_page
            keys = [(str(fields["run"]), int(fields["number"])) for fields in page["metadatas"]]
            self._keep(keys, page["embeddings"])
            for (run, number), fields in zip(keys, page["metadatas"], strict=True):
                if run == self.run:
                    mine[number] = int(fields.get(CHECKSUM, -1))
        if n_held != len(self._vectors) or len(self.search("anything", 10)) != min(10, n_held):
            raise IdeaMemoryError(f"{self.folder} holds {n_held} ideas and not all of their vectors: {MEND}")
        self._loaded = True
        return mine

    def _pages(self, include: list[str]) -> Iterator[tuple[int, Any]]:
        """Yield everything held, a page at a time, so that no copy of all of it is made."""
        self.flush()
        with named_errors(self.folder):
            for offset in range(0, self._collection.count(), _BATCH):
                page = self._collection.get(limit=_BATCH, offset=offset, include=include)
                yield len(page["ids"]), page

    def _upsert(self, records: Iterable[TrialRecord], run: str) -> None:
        wanted = list(records)
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            keys = [(run, record.number) for record in batch]
            vectors = self._embedded([record.idea.text for record in batch])
            with named_errors(self.folder):
                self._collection.upsert(
                    ids=[chroma_id(key) for key in keys],
                    embeddings=list(vectors),
                    metadatas=[to_chroma(all_fields(record, run)) for record in batch],
                )
            if self._loaded:
                self._keep(keys, vectors)

    def _embedded(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the vectors of some texts; one round asks for that of an idea half a dozen times."""
        missing = list(dict.fromkeys(text for text in texts if text not in self._recent))
        fresh = dict(zip(missing, self._embedder(missing), strict=True)) if missing else {}
        found = [fresh[text] if text in fresh else self._recent[text] for text in texts]
        if len(self._recent) + len(fresh) > _RECENT:
            self._recent = {}
        self._recent |= dict(islice(fresh.items(), _RECENT))
        return found

    def _keep(self, keys: Sequence[Key], vectors: Sequence[np.ndarray]) -> None:
        """Hold vectors in memory as well."""
        for key, vector in zip(keys, vectors, strict=True):
            self._vectors.keep(key, vector)

    def _forget(self, numbers: Iterable[int]) -> None:
        with named_errors(self.folder):
            self._collection.delete(ids=[chroma_id((self.run, number)) for number in numbers])
        self._load()
