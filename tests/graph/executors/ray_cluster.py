"""A Ray cluster of several nodes on this host, whose nodes are added and killed by lines on standard input.

It prints the cluster's address, then of `add FOLDER` the number of the node's raylet, and of `kill RAYLET` a word.
"""

from __future__ import annotations

import os
import sys

CPUS = 2  # of a node


def main() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    print(cluster.address, file=answers, flush=True)
    nodes = {}
    for line in sys.stdin:
        word, about = line.split()
        if word == "add":
            node = cluster.add_node(num_cpus=CPUS, env_vars={"TMPDIR": about})
            raylet = node.all_processes["raylet"][0].process.pid
            nodes[raylet] = node
            print(raylet, file=answers, flush=True)
        else:
            cluster.remove_node(nodes.pop(int(about)), allow_graceful=False)
            print("killed", file=answers, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
