"""Submit finite predictions so large that their errors overflow in the scorer.

Stopped by: protocol
Outcome: invalid crashed
"""

import numpy as np

from evaluation_locked.client import Task

task = Task.open()
task.start_training()
task.submit(np.where(np.arange(len(task.finish_training())) % 2, 1.7e308, -1.7e308))
