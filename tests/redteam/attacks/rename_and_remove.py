"""Remove or rename the run's files: what cannot be read can still be destroyed.

Stopped by: kernel
"""

import os

import numpy as np

from evaluation_locked.client import Task

for change in (
    lambda: os.remove("/bait/run/journal.jsonl"),
    lambda: os.rename("/bait/run/locked", "/bait/run/gone"),
    lambda: os.rename("/bait/run/trials/0001-earlier/score.json", "score.json"),
    lambda: os.mkdir("/bait/run/new"),
    lambda: os.symlink("/bait", "/bait/run/link"),
    lambda: os.truncate("/bait/run/journal.jsonl", 0),
):
    try:
        change()
        print("REACHED a change")
    except OSError as error:
        print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
