# SPDX-License-Identifier: BSD-3-Clause
"""Slurm on a cluster for a test in Python: submits jobs, waits for them with an end,
and says what Slurm knew when a wait was in vain.

    with Slurm(4) as slurm:
        job = slurm.sbatch("job.sh", "-N", "3")
        slurm.end_of(job)

Where there can be none the test ends with exit code 77 and the reason."""
import os
import re
import subprocess
import sys
import time

from nodes import AS_ROOT, HERE, Cluster, Failure, skip, wait_for

SCRIPT = str(HERE / "slurm")
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL",
        "DEADLINE", "OUT_OF_MEMORY")
# Slurm's own processes on a node and on the head
DAEMONS = re.compile(r"unshare --pid |slurmd |slurmctld |: slurmscriptd|munged |sleep 1$|"
                     r"bash " + re.escape(SCRIPT) + " serve ")


class Slurm(Cluster):
    """A cluster with Slurm, 2 processors a node. `env` is what jobs inherit."""

    def __init__(self, nodes, root=None, **env):
        super().__init__(nodes, root)
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith(("RECTO_", "SLURM_", "SBATCH_"))}
        self.env.update(AS_ROOT, SLURM_CONF=str(self.root / "slurm.conf"), **env)

    def __enter__(self):
        super().__enter__()
        try:
            done = subprocess.run([SCRIPT, "start", str(self.root)], text=True,
                                  stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=180, check=False)
            if done.returncode == 77:
                skip(done.stderr.strip())
            if done.returncode != 0:
                sys.exit("slurm start: exit code %d\n%s" % (
                    done.returncode, done.stderr))
        except BaseException:
            self.__exit__()
            raise
        return self

    def head(self, *words, check=True, env=None):
        """Runs one of Slurm's commands on the head; its output."""
        done = self.run("n0", ["timeout", "60", *words], env={**self.env, **(env or {})})
        if check and done.returncode != 0:
            raise Failure("%s: exit code %d: %s" % (
                " ".join(map(str, words)), done.returncode, done.stderr.strip()))
        return done.stdout

    def sbatch(self, script, *arguments, options=(), name, **env):
        """Submits `script arguments`; the job's number. Its output is NAME.out, as is
        that of the jobs that it submits."""
        return int(self.head("sbatch", "--parsable", "--output=%s.out" % name,
                             "--job-name=%s" % name, *options, script, *arguments,
                             env=env))

    def job(self, number):
        """What Slurm says of a job, by Slurm's names."""
        text = self.head("scontrol", "-o", "show", "job", str(number))
        return dict(w.split("=", 1) for w in text.split() if "=" in w)

    def jobs(self, name):
        """The numbers of all jobs of that name, those that ended included."""
        text = self.head("scontrol", "-o", "show", "job")
        return sorted(int(n) for n in
                      re.findall(r"JobId=(\d+) JobName=%s " % name, text))

    def nodes_of(self, number):
        """The nodes of a running job, the one with its script first."""
        job = self.job(number)
        names = self.head("scontrol", "show", "hostnames", job["NodeList"]).split()
        return [job["BatchHost"]] + [n for n in names if n != job["BatchHost"]]

    def output(self, name):
        path = self.work / (name + ".out")
        return path.read_text(errors="replace") if path.exists() else ""

    def end_of(self, number, seconds=120):
        """Waits for a job's end; what Slurm says of it then."""
        def over():
            job = self.job(number)
            return job if job["JobState"] in OVER else None
        return wait_for("end of job %d" % number, over, seconds)

    def requeued(self, number, seconds=120):
        """Waits until Slurm has queued a job again, and then has it not wait on for its
        two minutes, unless they are over. Those are there because nodes take
        credentials of the second in which a job ended, and of before, for revoked."""
        def again():
            job = self.job(number)
            on = job["JobState"] in ("RUNNING", *OVER) and int(job["Restarts"]) > 0
            return job["JobState"] if on or job["JobState"] == "PENDING" else None
        if wait_for("job %d is queued again" % number, again, seconds) != "PENDING":
            return
        wait_for("no node completes", lambda: "comp" not in
                 self.head("sinfo", "-h", "-N", "-o", "%T"), seconds)
        time.sleep(3)
        self.head("scontrol", "update", "jobid=%d" % number, "starttime=now",
                  check=False)  # its two minutes may be over

    def set_node(self, node, state):
        """As an administrator does: down, resume."""
        self.head("scontrol", "update", "nodename=" + node, "state=" + state,
                  "reason=test")

    def idle(self, nodes):
        """Waits until nodes are there and without a job."""
        def states():
            text = self.head("sinfo", "-h", "-N", "-o", "%N %T", "-n", ",".join(nodes))
            return set(line.split()[1] for line in text.splitlines()) == {"idle"}
        wait_for("%s are idle" % nodes, states)

    def processes(self, node):
        """Without those of Slurm itself."""
        return {pid: words for pid, words in super().processes(node).items()
                if not DAEMONS.match(words)}

    def report(self):
        """What one wants to know when something went wrong."""
        parts = ["---- squeue and sinfo", self.head("squeue", check=False),
                 self.head("sinfo", "-N", "-l", check=False),
                 self.head("scontrol", "-o", "show", "job", check=False)]
        for path in sorted(self.work.glob("*.out")):
            parts += ["---- " + path.name, path.read_text(errors="replace")[-4000:]]
        log = self.root / "log" / "n0.slurm.out"
        parts += ["---- " + log.name] + [
            line for line in log.read_text(errors="replace").splitlines()
            if not line.startswith("munged:")][-60:]
        return "\n".join(parts)
