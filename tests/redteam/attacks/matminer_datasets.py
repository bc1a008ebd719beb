"""Import matminer and read the folder of data sets that it keeps beside its code.

Stopped by: kernel
"""

import importlib
import os
import sys

import numpy as np

from evaluation_locked.client import Task

for module in ("matminer.datasets", "matbench.bench", "pymatgen.core", "sklearn.datasets", "pandas"):
    try:
        importlib.import_module(module)
        print("REACHED", module)
    except ImportError as error:
        print("refused:", error)
for folder in {path for path in sys.path if path.endswith("site-packages")}:
    try:
        print(os.listdir(f"{folder}/matminer/datasets"))  # names show; what they hold must not
        print("REACHED", open(f"{folder}/matminer/datasets/dataset_metadata.json").read(64))
    except OSError as error:
        print("refused:", error)

task = Task.open()
labels = task.start_training()
crystals = task.finish_training()
task.submit(np.full(len(crystals), labels.mean()))
