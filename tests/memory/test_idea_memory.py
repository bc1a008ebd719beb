from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from memory.chroma_folder import EmbeddingMismatchError, IdeaMemoryError
from memory.embedding import LocalEmbedder
from memory.idea_memory import IdeaMemory
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
    @property
    def identity(self) -> str:
        return "other-v1"


def numbers(memory: IdeaMemory) -> list[int]:
    return sorted(hit.number for hit in memory.nearest("anything", 10_000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with IdeaMemory(tmp_path / "chroma") as memory:
        for record in IDEAS:
            memory.add(record)
    return tmp_path / "chroma"


def test_ideas_are_found_by_other_words_after_reopening(folder: Path) -> None:
    with IdeaMemory(folder) as memory:
        assert (len(memory), numbers(memory)) == (5, [0, 1, 2, 3, 4])
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
    with pytest.raises(EmbeddingMismatchError, match=r"local v1 \(512.*other-v1.*team memory rebuild"):
        IdeaMemory(folder, Other())
    with pytest.raises(EmbeddingMismatchError, match=r"512.*256"):
        IdeaMemory.open_or_rebuild(folder, IDEAS, LocalEmbedder(256))
    with IdeaMemory(folder) as memory:
        assert len(memory) == 5


def test_another_embedding_of_another_process_is_refused(tmp_path: Path) -> None:
    """Of which this process knows no class."""
    code = """
import sys
from pathlib import Path
from memory.idea_memory import IdeaMemory
from memory.embedding import LocalEmbedder
class Foreign(LocalEmbedder):
    identity = "foreign-v1"
IdeaMemory(Path(sys.argv[1]), Foreign())  # and ends without closing
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


@pytest.mark.parametrize("state", ["whole", "damaged", "absent", "of another embedder"])
def test_rebuild_leaves_exactly_the_journal(folder: Path, state: str) -> None:
    if state == "damaged":
        (folder / "chroma.sqlite3").write_bytes(b"x" * 10_000)
    elif state == "absent":
        shutil.rmtree(folder)
    embedder = LocalEmbedder(256) if state == "of another embedder" else None
    assert IdeaMemory.rebuild(folder, {"": [IDEAS[0], IDEAS[4], decision(4, "discarded")]}, embedder) == 2
    with IdeaMemory(folder, embedder) as memory:
        assert numbers(memory) == [0, 4]
        memory.add(IDEAS[1])
    with IdeaMemory(folder, embedder) as memory:
        assert numbers(memory) == [0, 1, 4]
        assert memory.nearest("Lion", 1)[0].outcome == "discarded"


def test_ideas_of_two_runs_lie_side_by_side(folder: Path) -> None:
    shared = folder.with_name("shared")
    changed = [trial(1, title="EMA of weights", parent=0, diff="-a = 1\n+a = 2\n"), trial(7, title="Lion")]
    with IdeaMemory.open_or_rebuild(shared, changed, run="first") as memory:
        assert [hit.label for hit in memory.nearest("Polyak averaging", 1)] == [1]
    with IdeaMemory.open_or_rebuild(shared, [trial(1, title="dropout")], run="second") as memory:
        assert [hit.label for hit in memory.nearest("Polyak averaging", 1, exclude=(1,))] == ["first/1"]
        assert [hit.label for hit in memory.nearest("dropout", 1)] == [1]
        assert sorted(str(hit.label) for hit in memory.search("Lion")) == ["1", "first/1", "first/7"]
        assert list(memory.diffs_of_others()) == [("first/1", "-a = 1\n+a = 2\n")]
    with IdeaMemory.open_or_rebuild(shared, [], run="second") as memory:
        assert len(memory) == 2, "an idea that its own journal does not hold goes, those of others stay"
    (shared / "chroma.sqlite3").write_bytes(b"x" * 10_000)
    with IdeaMemory.open_or_rebuild(shared, [IDEAS[2]], run="second", others=lambda: {"first": changed}) as memory:
        assert sorted(str(hit.label) for hit in memory.nearest("x", 9)) == ["2", "first/1", "first/7"]
        assert memory.remark.startswith("the idea memory was damaged: 3 ideas made anew")


def test_what_the_memory_missed_is_taken_from_the_journal(folder: Path) -> None:
    with IdeaMemory.open_or_rebuild(
        folder, [*IDEAS, trial(5, title="SwiGLU", parent=1), decision(4, "kept")]
    ) as memory:
        assert numbers(memory) == [0, 1, 2, 3, 4, 5]
        assert memory.nearest("gated linear unit", 1)[0].number == 5
        assert memory.nearest("Lion", 1)[0].outcome == "kept"


def test_ideas_that_the_journal_does_not_know_go(folder: Path) -> None:
    with IdeaMemory.open_or_rebuild(folder, IDEAS[:2]) as memory:
        assert numbers(memory) == [0, 1]


@pytest.mark.parametrize("damage", ["not a database", "half a database"])
def test_a_damaged_database_is_made_anew_from_the_journal(folder: Path, damage: str) -> None:
    database = folder / "chroma.sqlite3"
    if damage == "not a database":
        database.write_bytes(b"x" * 10_000)
    else:
        database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])
    with pytest.raises(IdeaMemoryError, match="team memory rebuild"):
        IdeaMemory(folder)
    with IdeaMemory.open_or_rebuild(folder, IDEAS) as memory:
        assert memory.remark == (
            "the idea memory was damaged: 5 ideas made anew from the journal; the old files are in chroma.damaged"
        )
        assert numbers(memory) == [0, 1, 2, 3, 4]
        assert memory.nearest("Polyak averaging", 1)[0].number == 1
    assert sorted(path.name for path in folder.parent.iterdir()) == ["chroma", "chroma.damaged"]
    with IdeaMemory(folder) as memory:
        assert len(memory) == 5


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many ideas that Chroma has written its vector index to files of their own."""
    folder = tmp_path_factory.mktemp("many") / "chroma"
    IdeaMemory.rebuild(folder, {"": [trial(number) for number in range(MANY)]})
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
    spent = {"featurise_seconds": 1.5, "train_seconds": 20.0, "predict_seconds": 0.25}
    diff = "-LION = False\n+LION = True  # größer\n"
    full = trial(4, 0.30, "near-miss", title="Lion", axis="A6", techniques=("lion",), parent=1, source="2302.06675",
                 gain=0.01, gain_low=-0.005, gain_high=0.025, diff=diff, **spent)  # fmt: skip
    with IdeaMemory(folder) as memory:
        memory.add(full)
        memory.flush()
        held = memory._collection.get(ids=["/000003", "/000004"], include=["metadatas"])["metadatas"]
    assert {name: held[1][name] for name in ("run", "number", "mode", "axis", "outcome")} == {
        "run": "", "number": 4, "mode": "explore", "axis": "A6", "outcome": "near-miss",
    }  # fmt: skip
    assert json.loads(zlib.decompress(base64.b64decode(held[1]["fields"].removeprefix("000004 ")))) == {
        "run": "", "number": 4, "title": "Lion", "text": "Lion. lion", "mode": "explore", "axis": "A6",
        "techniques": ["lion"], "source": "2302.06675", "parent": 1, "outcome": "near-miss", "reason": "as built",
        "gain": 0.01, "gain_low": -0.005, "gain_high": 0.025, "score": 0.30, "seconds": 21.75, "diff": diff,
    }  # fmt: skip
    assert (
        not {"score", "gain", "diff"}
        & json.loads(zlib.decompress(base64.b64decode(held[0]["fields"].removeprefix("000003 ")))).keys()
    )
