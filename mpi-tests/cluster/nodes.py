# SPDX-License-Identifier: BSD-3-Clause
"""A cluster for a test in Python: starts it, stops it however the test ends, and
looks at what is left on its nodes.

    with Cluster(3) as cluster:
        cluster.run("n1", ["hostname"])
        cluster.crash("n1")

Where there can be none the test ends with exit code 77 and the reason."""
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT = str(HERE / "cluster")
SOURCE = HERE.parent.parent
LIMIT = 120  # seconds for any command of the script


class Cluster:
    """Nodes n1 .. nNODES and the head n0. `root` is the cluster's own folder, and
    `work` in it one that all nodes share, both removed at the end."""

    def __init__(self, nodes, root=None):
        self.root = pathlib.Path(root or os.environ["TEST_WORK"]).resolve()
        self.work = self.root / "work"
        self.names = ["n%d" % (i + 1) for i in range(nodes)]
        if str(self.root).startswith("/tmp/") and SOURCE not in self.root.parents:
            skip("the nodes have a /tmp of their own: build elsewhere")

    def __enter__(self):
        subprocess.run([SCRIPT, "down", str(self.root)], check=False)
        shutil.rmtree(self.root, ignore_errors=True)
        self.work.mkdir(parents=True)
        done = self.script("up", str(len(self.names)), check=False)
        if done.returncode == 77:
            skip(done.stderr.strip())
        if done.returncode != 0:
            sys.exit("cluster up: exit code %d\n%s" % (
                done.returncode, done.stderr))
        return self

    def __exit__(self, *_):
        subprocess.run([SCRIPT, "down", str(self.root)], check=False)

    def script(self, command, *arguments, check=True):
        """cluster COMMAND ROOT ARGUMENT..."""
        return subprocess.run(
            [SCRIPT, command, str(self.root), *arguments], cwd=self.work,
            env={**os.environ, "CLUSTER_OWNER": str(os.getpid())},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=check)

    def crash(self, node):
        self.script("crash", node)

    def start(self, node):
        self.script("start", node)

    def cut(self, node):
        self.script("cut", node)

    def heal(self, node):
        self.script("heal", node)

    def command(self, node, words):
        """The words that run `words` on a node."""
        return [SCRIPT, "exec", str(self.root), node, *map(str, words)]

    def run(self, node, words, **options):
        """Runs a command on a node to its end."""
        return subprocess.run(
            self.command(node, words), cwd=self.work, timeout=LIMIT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, check=False, **options)

    def alive(self):
        """The nodes that are up."""
        return [n for n in self.names
                if (self.root / "run" / (n + ".init")).exists()]

    def processes(self, node):
        """Command lines of a node's processes but for its first and its sleep."""
        done = self.run(node, ["bash", "-c", """
            for p in /proc/[0-9]*; do
                [ ${p#/proc/} = 1 ] || [ ${p#/proc/} = $$ ] ||
                    tr '\\0' ' ' <$p/cmdline && echo
            done 2>/dev/null"""])
        return [line.strip() for line in done.stdout.splitlines()
                if line.strip() and not line.startswith(("sleep 3600", "tr "))]

    def leftovers(self):
        """What a job left on the living nodes: processes, and files in /dev/shm."""
        found = []
        for node in self.alive():
            found += ["%s: process %s" % (node, p) for p in self.processes(node)]
            shm = self.run(node, ["ls", "-A", "/dev/shm"]).stdout.split()
            found += ["%s: /dev/shm/%s" % (node, f) for f in shm]
        return found


def skip(reason):
    print(reason)
    sys.exit(77)
