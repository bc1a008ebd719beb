"""A scripted endpoint whose answers a test writes, and what is known in a run of the shipped seed."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from evaluation_locked.task import load_task
from graph.run_folder import RunFolder
from memory.history import History
from memory.idea_memory import IdeaMemory
from memory.journal import Journal
from memory.knowledge import Knowledge
from memory.techniques import load_playbook
from team.model.access import ModelAccess
from team.model.retry import RetryPolicy
from team.model.settings import ROLES, RoleSettings, TeamSettings
from team.model.spend import SpendBook
from team.running import shipped_seed_folder
from team.scripted.chat import ChatRequest, Reply
from team.scripted.server import ScriptedServer
from team.thinking import model_team
from team.thinking.desk import Desk
from tests.memory.builders import trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graph.roles import Team
    from memory.records import TrialRecord

SEED = shipped_seed_folder()
SOURCE = (SEED / "train.py").read_text()


class Said:
    """Answers by role, in order; when all are said, nothing is answered but an empty text. It keeps what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = defaultdict(list)
        self.asked: list[ChatRequest] = []

    def reply(self, request: ChatRequest) -> Reply:
        self.asked.append(request)
        left = self.answers[request.role]
        answer = left.pop(0) if left else ""
        return Reply(answer if isinstance(answer, str) else json.dumps(answer))


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def thinkers(said: Said, tmp_path: Path) -> Iterator[Team]:
    """Return a team whose models answer what the test put into `said`; one attempt a question."""
    with ScriptedServer(said) as server:
        role = RoleSettings(model="scripted", base_url=server.base_url)
        settings = TeamSettings(roles=dict.fromkeys(ROLES, role))
        access = ModelAccess(settings, SpendBook(tmp_path), policy=RetryPolicy(attempts=1))
        yield model_team(settings, Desk(access, RunFolder(tmp_path)))


@pytest.fixture
def knowledge(tmp_path: Path) -> Callable[..., Knowledge]:
    """Return a function that builds what is known after the given records, with the seed's file for each trial."""

    def build(*records: TrialRecord) -> Knowledge:
        known = records or (BASELINE, AGAIN)
        for record in known:
            folder = tmp_path / "trials" / f"{record.number:04d}-{record.idea.slug}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "train.py").write_text(SOURCE)
        return Knowledge(
            task=load_task(SEED),
            brief=(SEED / "brief.md").read_text(),
            techniques={t.id: t for t in load_playbook(SEED / "playbook")},
            history=History(known),
            ideas=IdeaMemory.open_or_rebuild(tmp_path / "chroma", known),
            journal=Journal(tmp_path / "journal.jsonl"),
            trial_folder=RunFolder(tmp_path).trial,
            seed_train_py=SOURCE,
            n_train=4000,
            seed=0,
        )

    return build


BASELINE = trial(0, 0.5, "kept", title="seed", parent=None)
AGAIN = trial(1, 0.51, "replicate", mode="replicate", axis="-", title="again", parent=0, code_sha="code-0")
