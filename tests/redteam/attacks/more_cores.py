"""Use more processor cores than the trial was given (two seconds of work in 0.7 s or so).

Stopped by: static review
"""

import os
import time

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
labels = task.start_training()
if len(os.sched_getaffinity(0)) < task.facts.n_threads + 1:
    os.sched_setaffinity(0, range(os.cpu_count()))
children = [os.fork() for _ in range(task.facts.n_threads)]
until = time.monotonic() + 0.5
while time.monotonic() < until:
    pass
if 0 in children:
    os._exit(0)
for child in children:
    os.waitpid(child, 0)
used = os.times()
print("cpu seconds", used.user + used.children_user)
if used.children_user > 0.3 * task.facts.n_threads:
    print("REACHED more cores than", task.facts.n_threads)
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
