# SPDX-License-Identifier: BSD-3-Clause
"""What the crash drivers share: running mpirun, arguments, counting cases."""
import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SKIP = 77
MPI_SETTINGS = {
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    # mpirun need not wait before it kills what is left of a job
    "OMPI_MCA_odls_base_sigkill_timeout": "0",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


def prepare(template, folder):
    """The folder as a copy of the template, or as none."""
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.isdir(template):
        shutil.copytree(template, folder)


def skip(reason):
    print("SKIP:", reason)
    sys.exit(SKIP)


def seed_option(parser):
    """For drivers that draw: Driver(__doc__, seed_option), then driver.random()."""
    parser.add_argument("--seed", type=int,
                        default=os.environ.get("TEST_SEED") or
                        random.SystemRandom().randrange(1 << 32))


class Driver:
    """Arguments, a work folder that is removed on success, and a tally."""

    def __init__(self, description, options=None):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--bin", default=".",
                            help="folder of the test programs")
        parser.add_argument("--recto", help="the recto command "
                            "(default: recto in --bin)")
        parser.add_argument("--long", action="store_true",
                            help="all cases instead of the quick choice")
        parser.add_argument("--keep", action="store_true",
                            help="keep the work folder")
        parser.add_argument("--nodes", type=int, default=0,
                            help="run over so many nodes of mpi-tests/cluster")
        if options:
            options(parser)
        self.args = parser.parse_args()
        self.recto_path = self.args.recto or os.path.join(self.args.bin,
                                                          "recto")
        if not shutil.which("mpirun"):
            skip("no mpirun")
        if not shutil.which("ssh") and not shutil.which("rsh"):
            MPI_SETTINGS["OMPI_MCA_plm_rsh_agent"] = ""  # one machine
        self.work = os.environ.get("TEST_WORK")
        if self.work:
            shutil.rmtree(self.work, ignore_errors=True)
            os.makedirs(self.work)
        else:
            self.work = tempfile.mkdtemp(prefix="recto-crash-")
        self.cluster = self.start_cluster() if self.args.nodes else None
        self.slots = []  # of the nodes for the job that was started last
        self.cases = 0
        self.failures = []
        self.started = time.time()

    def random(self):
        print("seed %d" % self.args.seed, flush=True)
        return random.Random(self.args.seed)

    @contextlib.contextmanager
    def room(self, name):
        """A folder in memory, where there is one; it stays when a case has failed."""
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else self.work
        room = tempfile.mkdtemp(prefix="recto-%s-" % name, dir=memory)
        try:
            yield room
        finally:
            if not self.failures and not self.args.keep:
                shutil.rmtree(room, ignore_errors=True)

    def program(self, name):
        path = os.path.join(self.args.bin, name)
        if not os.access(path, os.X_OK):
            skip("%s is not built" % path)
        return os.path.abspath(path)

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def environment(self, folder=None, **more):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("RECTO_")}
        env.update(MPI_SETTINGS)
        env["RECTO_CKPT_COMPACT"] = "0" # when it would come is a matter of time
        if folder:
            env["RECTO_CKPT_DIR"] = folder
        env.update(more)
        return env

    def start_cluster(self):
        """Its nodes end with this process. The work folder must be one that all see."""
        sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent /
                               "cluster"))
        import nodes # pylint: disable=import-outside-toplevel
        return nodes.Cluster(self.args.nodes, self.path("cluster")).__enter__()

    def start(self, ranks, command, env, **more):
        words = ["mpirun", "--oversubscribe", "-n", str(ranks)] + command
        if self.cluster:
            each, rest = divmod(ranks, self.args.nodes)
            self.slots = [each + (i < rest) for i in range(self.args.nodes)]
            hosts = ["n%d:%d" % (i + 1, n) for i, n in enumerate(self.slots) if n]
            words = self.cluster.mpirun(["--host", ",".join(hosts), *words[1:]])
        return subprocess.Popen(
            words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True, **more)

    def kill(self, rank, pid):
        """SIGKILL to a rank of the job that was started last, which knows itself as
        `pid`: on a node that is a number of the node's own."""
        if self.cluster:
            ends = [sum(self.slots[:i + 1]) for i in range(len(self.slots))]
            node = "n%d" % (1 + sum(rank >= end for end in ends))
            for process in self.cluster.processes(node):
                status = pathlib.Path("/proc/%d/status" % process).read_text()
                if re.search(r"^NSpid:.*\t%d$" % pid, status, re.M):
                    pid = process
                    break
            else:
                raise ProcessLookupError("no process %d on %s" % (pid, node))
        os.kill(pid, signal.SIGKILL)

    def finish(self, process, timeout=120):
        """(exit status, stdout, stderr); -1 when it hung and was ended."""
        try:
            out, err = process.communicate(timeout=timeout)
            return process.returncode, out, err
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            if self.cluster:
                self.cluster.clean()
            out, err = process.communicate()
            return -1, out, err + "\nTIMEOUT after %d s" % timeout

    def mpirun(self, ranks, command, env, timeout=120):
        return self.finish(self.start(ranks, command, env), timeout)

    def recto(self, *words):
        done = subprocess.run([self.recto_path] + list(words), text=True,
                              capture_output=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    def recto_json(self, *words):
        code, out, err = self.recto("--json", *words)
        return code, json.loads(out) if out else None, err

    def fail(self, what, detail=""):
        self.failures.append(what)
        print("FAIL: %s\n%s" % (what, detail), flush=True)

    @staticmethod
    def is_wrong(err):
        """Does a rank of a job that was to be killed tell of more than MPI's word that
        another one is gone?"""
        return "WRONG" in err or any(
            "FAIL" in line and "RECTO_EMPI" not in line for line in err.splitlines())

    def check(self, good, what, detail=""):
        self.cases += 1
        if not good:
            self.fail(what, detail)
        return good

    def restart_all(self, ranks, victim, folders, env=None):
        """Has one job restart from each folder, go on, and restart again.
        {folder: "EPOCH STEP" or "error CODE"}, and the job's stderr."""
        listing = self.path("folders.txt")
        with open(listing, "w", encoding="utf-8") as out:
            out.writelines(folder + "\n" for folder in folders)
        code, out, err = self.mpirun(ranks, [victim, "check", listing],
                                     env or self.environment(), timeout=600)
        if code != 0:
            self.fail("restart from the folders", err[-6000:])
        lines = [line.split(" ", 1) for line in out.splitlines()]
        return {w[0]: w[1] for w in lines if len(w) == 2}, err

    def strays(self, folder):
        """Files that no manifest names and that a job should have removed."""
        _, listing, _ = self.recto_json("ls", folder)
        known = {e["file"] for e in listing["epochs"]}
        known |= {"manifest", "manifest.copy", "lock"}
        return sorted(set(os.listdir(folder)) - known)

    def end(self):
        if self.cluster:
            self.cluster.down()
        print("%d cases, %d failures, %.0f s" % (
            self.cases, len(self.failures), time.time() - self.started))
        if self.failures or self.args.keep:
            print("work folder: %s" % self.work)
        else:
            shutil.rmtree(self.work, ignore_errors=True)
        sys.exit(1 if self.failures or self.cases == 0 else 0)
