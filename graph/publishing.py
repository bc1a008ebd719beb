"""What others read of a run at work: the champion's file and the idea graph. Both follow from the journal.

The champion's file is written when there is another champion. The graph is written whole, so that its cost grows with
the run: it takes a hundredth of the time at most, and the last state is always written.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from graph.run_folder import write_atomically
from memory.idea_graph import idea_graph, write_graphml

if TYPE_CHECKING:
    from graph.run_folder import RunFolder
    from memory.knowledge import Knowledge

SHARE_OF_TIME = 100.0  # a graph that took a second to write is not written again for a hundred


class Publisher:
    """Writes what others read of one run.

    Args:
        folder: The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._champion: int | None = None
        self._graph_of = -1  # entries of the history that the written graph shows
        self._rest_until = 0.0

    def publish(self, knowledge: Knowledge, *, whole: bool = False) -> None:
        """Write what changed; the graph only where it is due, or `whole`.

        Raises:
            OSError: A file cannot be written.
        """
        champion = knowledge.history.champion
        if champion is not None and champion.number != self._champion:
            self._folder.champion.mkdir(exist_ok=True)
            write_atomically(self._folder.champion / "train.py", knowledge.source(champion.number))
            self._champion = champion.number
        begun = time.monotonic()
        if knowledge.history.n_entries != self._graph_of and (whole or begun >= self._rest_until):
            write_graphml(idea_graph(knowledge.history), self._folder.graphml)
            self._graph_of = knowledge.history.n_entries
            self._rest_until = time.monotonic() + SHARE_OF_TIME * (time.monotonic() - begun)
