"""The process that scores: whoever asked may be gone before it answers."""

from __future__ import annotations

import subprocess
import sys


def test_a_scorer_whose_caller_is_gone_leaves_without_a_word() -> None:
    scorer = subprocess.Popen(
        [sys.executable, "-P", "-m", "evaluation_locked.scorer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert scorer.stdin is not None and scorer.stdout is not None and scorer.stderr is not None
    with scorer:
        scorer.stdout.close()
        scorer.stdin.write("{}\n")
        scorer.stdin.close()
        assert scorer.stderr.read() == "" and scorer.wait() == 0
