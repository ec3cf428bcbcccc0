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
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT = str(HERE / "cluster")
SOURCE = HERE.parent.parent
LIMIT = 120  # seconds for any command of the script, and for one on a node
# What Open MPI needs as root, and with more ranks than cores
AS_ROOT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}


class Failure(Exception):
    """A test found something wrong."""


class Cluster:
    """Nodes n1 .. nNODES and the head n0. `root` is the cluster's own folder, and
    `work` in it one that all nodes share; both are made anew, and stay for whoever
    looks for the cause of a failure. It ends with the process `owner`, or else with
    this one."""

    def __init__(self, nodes, root=None, owner=None):
        self.root = pathlib.Path(root or os.environ["TEST_WORK"]).resolve()
        self.work = self.root / "work"
        self.owner = str(owner or os.getpid())
        self.names = ["n%d" % (i + 1) for i in range(nodes)]
        if str(self.root).startswith("/tmp/") and SOURCE not in self.root.parents:
            skip("the nodes have a /tmp of their own: build elsewhere")

    def __enter__(self):
        if os.geteuid() != 0:
            skip("needs root (namespaces and a bridge)")
        self.down()
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
        self.down()

    def down(self):
        subprocess.run([SCRIPT, "down", str(self.root)], check=False,
                       stdin=subprocess.DEVNULL, timeout=LIMIT)

    def script(self, command, *arguments, check=True):
        """cluster COMMAND ROOT ARGUMENT..."""
        done = subprocess.run(
            [SCRIPT, command, str(self.root), *arguments], cwd=self.work,
            env={**os.environ, "CLUSTER_OWNER": self.owner},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False)
        if check and done.returncode != 0:
            raise Failure("cluster %s %s: exit code %d: %s" % (
                command, " ".join(arguments), done.returncode, done.stderr.strip()))
        return done

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

    def mpirun(self, words):
        """The words of an mpirun on the head, with the settings for these nodes."""
        return [SCRIPT, "mpirun", str(self.root), *map(str, words)]

    def run(self, node, words, **options):
        """Runs a command on a node to its end."""
        return subprocess.run(
            self.command(node, words), cwd=self.work, timeout=LIMIT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, check=False, **options)

    # ---- what is on a node, seen from the machine: nothing is started there ----------

    def number(self, node, kind="init"):
        """The first process of a node; kind "pid": the one that started it."""
        return int((self.root / "run" / ("%s.%s" % (node, kind))).read_text())

    def alive(self):
        """The nodes that are up, without the head."""
        return [n for n in self.names
                if (self.root / "run" / (n + ".init")).exists()]

    def processes(self, node):
        """{pid: command line} of what runs on a node, its first process apart. A node
        is its network."""
        own = (self.number(node), self.number(node, "pid"))
        network = os.readlink("/proc/%d/ns/net" % own[0])
        found = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                if pid not in own and os.readlink("/proc/%d/ns/net" % pid) == network:
                    found[pid] = command_line(pid)
            except OSError:
                pass  # it has just ended
        return found

    def files(self, node, folder):
        """Paths of what lies in a folder of a node: its own one, not the machine's."""
        inside = pathlib.Path("/proc/%d/root%s" % (self.number(node), folder))
        shared = [*SOURCE.parents, SOURCE, *self.root.parents, self.root]
        return [p for p in inside.iterdir()
                if pathlib.Path(folder) / p.name not in shared]

    def leftovers(self, folders=("/dev/shm",)):
        """What a job left on the living nodes and the head: processes and files."""
        found = []
        for node in ["n0"] + self.alive():
            found += ["%s: process %d: %s" % (node, pid, words)
                      for pid, words in self.processes(node).items()]
            found += ["%s: %s/%s" % (node, folder, p.name)
                      for folder in folders for p in self.files(node, folder)]
        return found

    def wait_clean(self, seconds=30, folders=("/dev/shm",), but=()):
        """Waits until there are no leftovers, `but` those that begin so."""
        def left():
            return [l for l in self.leftovers(folders) if not l.startswith(tuple(but))]
        try:
            wait_for("nothing is left", lambda: not left(), seconds)
        except Failure as late:
            raise Failure("left behind:\n" + "\n".join(left())) from late

    def clean(self):
        """Ends and removes what leftovers() finds."""
        for node in ["n0"] + self.alive():
            for pid in self.processes(node):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for path in self.files(node, "/dev/shm") + self.files(node, "/tmp"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def stacks(self, program=""):
        """Prints where the processes are whose command lines contain `program`."""
        for node in ["n0"] + self.alive():
            for pid, words in self.processes(node).items():
                if program in words:
                    print("---- %s: process %d: %s" % (node, pid, words), flush=True)
                    stack(pid)


def wait_for(what, condition, seconds=LIMIT):
    """Until condition() is true; its value."""
    end = time.time() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.time() > end:
            raise Failure("after %d s not yet: %s" % (seconds, what))
        time.sleep(0.05)


def command_line(pid):
    words = pathlib.Path("/proc/%d/cmdline" % pid).read_bytes()
    return words.replace(b"\0", b" ").decode(errors="replace").strip()


def stack(pid):
    """Prints where a process is."""
    try:
        wchan = pathlib.Path("/proc/%d/wchan" % pid).read_text()
        print("in the kernel:", wchan, flush=True)
        subprocess.run(["gdb", "-batch", "-p", str(pid), "-ex",
                        "thread apply all bt 20"], check=False, timeout=60,
                       stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as why:
        print("no stack:", why, flush=True)


def skip(reason):
    print("skipped:", reason)
    sys.exit(77)
