"""A folder of Chroma's files: opened on this machine alone, its faults named, put aside where it cannot be read."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEND = "`team memory rebuild` makes it anew from the journal"
COLLECTION = "ideas"
# 40 instead of 200 builds the index several times as fast; what a role relies on does not come from it
# (`IdeaMemory.similar`).
_SPACE = {"space": "cosine", "ef_construction": 40, "ef_search": 200, "num_threads": 2}


class IdeaMemoryError(RuntimeError):
    """A memory that cannot be used; the message names it and the mend."""


class EmbeddingMismatchError(IdeaMemoryError):
    """Ideas that were embedded by another function, with which no similarity can be computed; both are named."""


def open_client(folder: Path) -> Any:
    """Return a Chroma client of the folder, made where it does not exist; it sends nothing anywhere."""
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings

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
def named_errors(folder: Path) -> Iterator[None]:
    """Turn what Chroma raises on unreadable files into an error that names the folder and the mend."""
    from chromadb.errors import ChromaError

    try:
        yield
    except ChromaError as error:
        raise IdeaMemoryError(f"Chroma cannot use {folder} ({error}): {MEND}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what its Rust part raises, beside `Exception`
            raise
        raise IdeaMemoryError(f"Chroma cannot use {folder} ({error}): {MEND}") from error


def open_collection(client: Any, folder: Path, embedder: str) -> Any:
    """Return the collection of ideas of a client, made where there is none.

    Args:
        client: Of the folder.
        folder: For the message.
        embedder: Its identity; the first to open the folder is recorded there.

    Raises:
        EmbeddingMismatchError: The folder records another embedder.
    """
    held = {collection.name: collection for collection in client.list_collections()}
    if COLLECTION not in held:
        return client.create_collection(
            COLLECTION,
            embedding_function=None,  # vectors are given: Chroma embeds nothing, and downloads nothing
            configuration={"hnsw": dict(_SPACE)},
            metadata={"embedder": embedder},
        )
    recorded = (held[COLLECTION].metadata or {}).get("embedder", "unknown")
    if recorded != embedder:
        raise EmbeddingMismatchError(
            f"{folder} was embedded by {recorded}, and is opened with {embedder}: vectors of "
            "the two cannot be compared; `team memory rebuild` embeds its ideas anew from the journal"
        )
    return client.get_collection(COLLECTION, embedding_function=None)


def put_aside(folder: Path) -> None:
    """Move a folder that cannot be read to `<folder>.damaged`, in the place of an earlier one."""
    if folder.exists():
        aside = folder.with_name(f"{folder.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
