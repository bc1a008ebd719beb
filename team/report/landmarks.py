"""Lays landmarks out in the plane, in a process of its own: scikit-learn takes 120 MB, and a run lives for days.

    python -P -m team.report.landmarks < distances.npy > layout.npy

The layout is t-SNE's (van der Maaten, Hinton 2008), its faithfulness the trustworthiness of Venna and Kaski (2001).
"""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np

NEIGHBOURS = 5
PERPLEXITY = 8.0
LONGEST_SECONDS = 600.0


class LayoutError(RuntimeError):
    """The process that lays out came to nothing; the message says how it ended."""


def place(distances: np.ndarray) -> tuple[np.ndarray, float]:
    """Return [n, 2] places, scaled to a unit spread, and the share of neighbourhoods of 5 that they keep.

    Args:
        distances: [n, n] between the landmarks.

    Raises:
        LayoutError: The process failed, or took too long.
    """
    sent = io.BytesIO()
    np.save(sent, distances.astype(np.float64))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "team.report.landmarks"],
            input=sent.getvalue(),
            capture_output=True,
            timeout=LONGEST_SECONDS,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # it runs beside trials that train
            start_new_session=True,  # Ctrl-C is for the run
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LayoutError(f"the map of ideas was not laid out in {LONGEST_SECONDS:g} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise LayoutError(f"the map of ideas was not laid out: status {done.returncode}, {' '.join(said) or 'no word'}")
    rows = np.load(io.BytesIO(done.stdout), allow_pickle=False)  # [n + 1, 2], the last one's first is the faithfulness
    return rows[:-1], float(rows[-1, 0])


def main() -> None:
    """Read distances from standard input, and write places and faithfulness to standard output."""
    from sklearn.manifold import TSNE, trustworthiness

    distances = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    perplexity = min(PERPLEXITY, (len(distances) - 1) / 3)
    # The exact method, since the other one's OpenMP threads wait for each other beside a trial that trains.
    layout = TSNE(2, metric="precomputed", init="random", random_state=0, perplexity=perplexity, method="exact")
    places = layout.fit_transform(distances)
    n_neighbours = min(NEIGHBOURS, len(distances) // 3)
    faithful = float(trustworthiness(distances, places, n_neighbors=n_neighbours, metric="precomputed"))
    places = (places - places.mean(axis=0)) / max(float(places.std()), 1e-9)
    written = io.BytesIO()
    np.save(written, np.vstack([places, [faithful, 0.0]]))
    sys.stdout.buffer.write(written.getvalue())


if __name__ == "__main__":
    main()
