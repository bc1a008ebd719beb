from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memory.embedding import LocalEmbedder
from memory.idea_memory import EmbeddingMismatchError, IdeaMemory, IdeaMemoryError
from memory.records import TrialRecord
from tests.memory.builders import decision, trial

MANY = 1_100
IDEAS = (
    trial(0, 0.30, "kept", title="CGCNN-style baseline"),
    trial(1, 0.29, "kept", title="EMA of weights", axis="A6", techniques=("ema",), parent=0, gain=0.01),
    trial(2, 0.31, title="space-group embedding", axis="A3", techniques=("space-group",), parent=1),
    trial(3, None, "crashed", title="bond angles", axis="A2", techniques=("line-graph",), parent=1),
    trial(4, 0.30, "near-miss", title="Lion", axis="A6", techniques=("lion",), parent=1),
)


class Other(LocalEmbedder):
    @staticmethod
    def name() -> str:
        return "other-v1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with IdeaMemory(tmp_path / "chroma") as memory:
        for record in IDEAS:
            memory.add(record)
    return tmp_path / "chroma"


def test_ideas_are_found_by_other_words_after_reopening(folder: Path) -> None:
    with IdeaMemory(folder) as memory:
        assert (len(memory), memory.numbers()) == (5, [0, 1, 2, 3, 4])
        first, second = memory.nearest("Polyak averaging", 2)
        assert (first.number, first.title, first.outcome) == (1, "EMA of weights", "kept")
        assert 0.6 < first.similarity <= 1
        assert second.similarity < 0.3
        assert memory.nearest(IDEAS[2].idea.text, 1)[0].similarity == pytest.approx(1, abs=1e-5)


def test_an_idea_is_not_its_own_neighbour(folder: Path) -> None:
    with IdeaMemory(folder) as memory:
        found = memory.nearest(IDEAS[1].idea.text, 10, exclude=(1, 77))
        assert sorted(hit.number for hit in found) == [0, 2, 3, 4]
        assert len(memory.nearest("one-hot of the space group", 2, exclude=(1,))) == 2
        assert memory.nearest("one-hot of the space group", 2, exclude=(2,))[0].number != 2


def test_search_looks_among_the_fields_that_are_asked_for(folder: Path) -> None:
    with IdeaMemory(folder) as memory:
        assert {hit.number for hit in memory.search("space group", axis="A6")} == {1, 4}
        assert [hit.number for hit in memory.search("space group", axis="A6", outcome="near-miss")] == [4]
        assert memory.search("space group", 1)[0].number == 2


def test_an_empty_memory_has_no_neighbours(tmp_path: Path) -> None:
    with IdeaMemory(tmp_path / "chroma") as memory:
        assert memory.nearest("anything", 5) == ()
        assert len(memory) == 0


def test_adding_twice_and_deciding_later_change_one_idea(folder: Path) -> None:
    with IdeaMemory(folder) as memory:
        memory.add(IDEAS[4])
        memory.decide(decision(4, "kept"))
        assert len(memory) == 5
        assert memory.nearest("Lion", 1)[0].outcome == "kept"


def test_another_embedding_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(EmbeddingMismatchError, match=r"team-local-v1.*other-v1"):
        IdeaMemory(folder, Other())
    with pytest.raises(EmbeddingMismatchError, match=r"512.*256"):
        IdeaMemory.open_or_rebuild(folder, IDEAS, LocalEmbedder(256))
    with pytest.raises(ValueError, match="'openai'"):
        IdeaMemory(folder, "openai")
    with IdeaMemory(folder) as memory:
        assert len(memory) == 5


def test_another_embedding_of_another_process_is_refused(tmp_path: Path) -> None:
    """Of which this process knows no class."""
    code = """
import sys
from memory.idea_memory import IdeaMemory
from memory.embedding import LocalEmbedder
class Foreign(LocalEmbedder):
    @staticmethod
    def name(): return "foreign-v1"
IdeaMemory(sys.argv[1], Foreign())  # and ends without closing
"""
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "chroma")],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONWARNINGS": "error,ignore::DeprecationWarning"},
        check=True,
        timeout=60,
    )
    with pytest.raises(EmbeddingMismatchError, match="foreign-v1"):
        IdeaMemory(tmp_path / "chroma")


def test_rebuild_leaves_exactly_the_journal(folder: Path) -> None:
    with IdeaMemory(folder) as memory:
        memory.rebuild([IDEAS[0], IDEAS[4], decision(4, "discarded")])
        assert memory.numbers() == [0, 4]
        memory.add(IDEAS[1])
    with IdeaMemory(folder) as memory:
        assert memory.numbers() == [0, 1, 4]
        assert memory.nearest("Lion", 1)[0].outcome == "discarded"


def test_what_the_memory_missed_is_taken_from_the_journal(folder: Path) -> None:
    with IdeaMemory.open_or_rebuild(
        folder, [*IDEAS, trial(5, title="SwiGLU", parent=1), decision(4, "kept")]
    ) as memory:
        assert memory.numbers() == [0, 1, 2, 3, 4, 5]
        assert memory.nearest("gated linear unit", 1)[0].number == 5
        assert memory.nearest("Lion", 1)[0].outcome == "kept"


def test_ideas_that_the_journal_does_not_know_go(folder: Path) -> None:
    with IdeaMemory.open_or_rebuild(folder, IDEAS[:2]) as memory:
        assert memory.numbers() == [0, 1]


@pytest.mark.parametrize("damage", ["not a database", "half a database"])
def test_a_damaged_database_is_made_anew_from_the_journal(folder: Path, damage: str) -> None:
    database = folder / "chroma.sqlite3"
    if damage == "not a database":
        database.write_bytes(b"x" * 10_000)
    else:
        database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])
    with pytest.raises(IdeaMemoryError, match="open_or_rebuild makes it anew"):
        IdeaMemory(folder)
    with IdeaMemory.open_or_rebuild(folder, IDEAS) as memory:
        assert memory.numbers() == [0, 1, 2, 3, 4]
        assert memory.nearest("Polyak averaging", 1)[0].number == 1
    assert sorted(path.name for path in folder.parent.iterdir()) == ["chroma", "chroma.damaged"]
    with IdeaMemory(folder) as memory:
        assert len(memory) == 5


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many ideas that Chroma has written its vector index to files of their own."""
    folder = tmp_path_factory.mktemp("many") / "chroma"
    with IdeaMemory(folder) as memory:
        memory.rebuild([trial(number) for number in range(MANY)])
    return folder


@pytest.mark.parametrize("damage", ["vectors gone", "vectors overwritten"])
def test_lost_vectors_are_noticed_and_made_anew(many: Path, tmp_path: Path, damage: str) -> None:
    """Without its index Chroma opens and answers, from the ideas since the last sync alone."""
    folder = tmp_path / "chroma"
    shutil.copytree(many, folder)
    index = next(path for path in folder.iterdir() if path.is_dir())
    if damage == "vectors gone":
        shutil.rmtree(index)
    else:
        for path in index.glob("*.bin"):
            path.write_bytes(b"x" * 100)
    with IdeaMemory.open_or_rebuild(folder, [trial(number) for number in range(MANY)]) as memory:
        assert len(memory) == MANY
        assert memory.nearest("idea 700", 1)[0].number == 700
        memory.add(trial(MANY, title="Polyak averaging"))
        assert memory.nearest("EMA", 1)[0].number == MANY
    assert folder.with_name("chroma.damaged").exists()


def test_a_folder_on_which_opening_died_is_made_anew(folder: Path) -> None:
    mark = folder.with_name("chroma.opening")
    mark.touch()  # as a process leaves it that Chroma's index killed
    with IdeaMemory.open_or_rebuild(folder, IDEAS) as memory:
        assert len(memory) == 5
    assert folder.with_name("chroma.damaged").exists()
    assert not mark.exists()


def test_what_is_none_is_not_stored_and_everything_else_is(folder: Path) -> None:
    scored: TrialRecord = IDEAS[1]
    with IdeaMemory(folder) as memory:
        held = memory._collection.get(ids=["000001", "000003"], include=["metadatas", "documents"])
    assert held["documents"][0] == scored.idea.text
    assert held["metadatas"][0] == {
        "number": 1, "title": "EMA of weights", "mode": "explore", "axis": "A6", "techniques": "ema", "source": "own",
        "parent": 0, "outcome": "kept", "reason": "as built", "gain": 0.01, "score": 0.29, "seconds": 0.0,
        "code_sha": "code-1",
    }  # fmt: skip
    assert "score" not in held["metadatas"][1]
