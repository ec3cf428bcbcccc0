#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows what `recto run` does in every case that it knows, with an mpirun and an
agent that do what the case says: which attempts it makes, with which hosts, arguments
and settings; how it ends; that it passes signals on, ends what hangs or is left over,
and tells all of it in its log. And which requests `recto halt` writes and refuses."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

SOURCE = pathlib.Path(os.environ["TEST_SOURCE"])
RECTO = pathlib.Path(os.environ["TEST_BUILD"]) / "bin" / "recto"
WORK = pathlib.Path(os.environ["TEST_WORK"])
EPOCHS = SOURCE / "mpi-tests" / "data" / "epoch-v1"  # a folder with epochs 0 to 2

# Keeps what it was given in calls/N, and does what step-N says.
MPIRUN = """#!/bin/bash
n=1; while ! mkdir calls/$n 2>/dev/null; do n=$((n + 1)); done
printf '%s\\n' "$@" >calls/$n/arguments
env >calls/$n/environment
while [ $# -gt 0 ]; do [ "$1" = --hostfile ] && cat "$2" >calls/$n/hosts; shift; done
echo "mpirun $n speaks" >&2
: >calls/$n/ready
[ -e step-$n ] || exit 0
. ./step-$n
"""
# HOST COMMAND...: a host is dead when dead-HOST is there, and hangs with hang-HOST.
AGENT = """#!/bin/bash
cd "$(dirname "$0")"
echo "$1" >>asked
[ -e dead-$1 ] && exit 255
[ -e hang-$1 ] && echo $$ >hung && exec sleep 1000.5
shift
exec bash -c "$*"
"""
# As Open MPI says it.
LOST = "printf '%s\\nORTE has lost communication with a remote daemon.\\n' " + \
    "-" * 74 + " >&2; "


class Case:
    """A run of `recto run` in a folder of its own."""

    def __init__(self, name, steps=(), hosts=None, files=(), env=None):
        self.name = name
        self.folder = WORK / name
        self.folder.mkdir()
        (self.folder / "calls").mkdir()
        for file, text in (("mpirun", MPIRUN), ("agent", AGENT)):
            (self.folder / file).write_text(text)
            (self.folder / file).chmod(0o755)
        for i, step in enumerate(steps):
            (self.folder / ("step-%d" % (i + 1))).write_text(step)
        for file in files:
            (self.folder / file).touch()
        if hosts is not None:
            (self.folder / "hosts").write_text(hosts)
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith(("OMPI_MCA_", "RECTO_", "SLURM_", "UCX_"))}
        self.env.update(env or {}, HOME=str(self.folder))
        self.process = None
        self.text = ""

    def start(self, *options, program=("/bin/true", "1")):
        words = [str(RECTO), "run", "--mpirun", "./mpirun", "--log", "log", "--probe",
                 "30"]
        if (self.folder / "hosts").exists():
            words += ["--hostfile", "hosts", "--mca", "plm_rsh_agent",
                      str(self.folder / "agent")]
        self.process = subprocess.Popen(
            words + list(options) + list(program), cwd=self.folder, env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        return self

    def wait(self, code, calls=None):
        """The run must end so, after so many attempts."""
        try:
            self.text += self.process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.fail("it hangs")
        if self.process.returncode != code:
            self.fail("exit code %d, expected %d" % (self.process.returncode, code))
        if calls is not None and len(self.calls()) != calls:
            self.fail("%d attempts, expected %d" % (len(self.calls()), calls))
        return self

    def run(self, code, calls, *options):
        return self.start(*options).wait(code, calls)

    def fail(self, why):
        raise AssertionError("%s: %s\n%s" % (self.name, why, self.text))

    def check(self, condition, why):
        if not condition:
            self.fail(why)

    def says(self, *parts):
        for part in parts:
            self.check(part in self.text, "it does not say \"%s\"" % part)
        return self

    def calls(self):
        return sorted((self.folder / "calls").iterdir(), key=lambda p: int(p.name))

    def call(self, n, what):
        return (self.folder / "calls" / str(n) / what).read_text()

    def hosts(self, n):
        """{host: slots} that attempt n was given."""
        rows = [line.split() for line in self.call(n, "hosts").splitlines()]
        return {r[0]: r[1] if len(r) > 1 else "" for r in rows}

    def arguments(self, n):
        return self.call(n, "arguments").splitlines()

    def until(self, file):
        end = time.time() + 30
        while not (self.folder / file).exists():
            self.check(time.time() < end, "%s does not appear" % file)
            time.sleep(0.01)
        return self

    def ready(self, n=1):
        return self.until("calls/%d/ready" % n)

    def signal(self, number):
        self.process.send_signal(number)
        return self

    def events(self):
        return [json.loads(line)
                for line in (self.folder / "log").read_text().splitlines()]

    def event(self, name):
        return [e for e in self.events() if e["event"] == name]

    def gone(self, file):
        """The process whose number is in a file of the folder ends soon."""
        pid = int((self.folder / file).read_text())
        end = time.time() + 20
        while True:
            try:
                state = pathlib.Path("/proc/%d/stat" % pid).read_text()
            except (FileNotFoundError, ProcessLookupError):
                return self
            if state.rsplit(")", 1)[1].split()[0] == "Z":
                return self
            self.check(time.time() < end, "process %d of %s lives" % (pid, file))
            time.sleep(0.02)


# ---- how attempts end -------------------------------------------------------------

def ends():
    Case("done").run(0, 1, "-n", "2").says("mpirun 1 speaks")
    case = Case("continue", ["exit 75"]).run(75, 1)
    case.check(case.events()[-1]["code"] == 75, "the last event")
    Case("again", ["exit 3"]).run(0, 2).says("attempt 1 failed")
    Case("signalled", ["kill -SEGV $$"]).run(0, 2).says("SIGSEGV")
    Case("same", ["exit 3", "exit 3"]).run(1, 2).says(
        "failed 2 times from no checkpoint", "attempt 1:", "attempt 2:")
    case = Case("no-retry", ["exit 3"]).run(1, 1, "--retries", "0")
    case.says("given up after 1 failures")
    copy = "cp -r %s recto.ckpt; exit 3" % EPOCHS
    case = Case("progress", ["exit 3", copy, "exit 3"]).run(1, 3)
    case.says("from epoch 2", "there is no checkpoint")
    copy = "cp -r %s elsewhere; exit 3" % EPOCHS
    Case("progress-x", [copy, "exit 3"]).run(
        1, 2, "-x", "RECTO_CKPT_DIR=elsewhere").says("from epoch 2")
    case = Case("events", ["exit 3"]).run(0, 2, "-n", "3")
    names = [e["event"] for e in case.events()]
    case.check(names == ["start", "failed", "start", "done"], str(names))
    case.check(all(e["run"] == case.events()[0]["run"] and e["time"] > 1e9
                   and e["text"] for e in case.events()), "fields of all events")
    case.check(case.event("failed")[0]["code"] == 3, "code of the failure")
    # a chosen epoch is for the start: until something new is written
    case = Case("chosen", ["exit 3", copy.replace("elsewhere", "recto.ckpt"), "exit 3"],
                env={"RECTO_RESTART_EPOCH": "1"}).run(1, 3)
    chosen = ["RECTO_RESTART_EPOCH=1" in case.call(n, "environment").splitlines()
              for n in (1, 2, 3)]
    case.check(chosen == [True, True, False], "where an epoch is chosen: %s" % chosen)
    # mpirun's 0 is not the end while the program has not ended Recto: here a rank that
    # holds the checkpoint folder is lost; the next attempt goes on, and gives it back
    victim = str(RECTO.parent.parent / "mpi-tests" / "victim")
    lose = victim + " run 100000 3 >out 2>&1 & until grep -q written out; do " \
        "sleep 0.05; done; kill -KILL $!; exit 0"
    case = Case("early", [lose, victim + " run 1 >again 2>&1"]).run(0, 2)
    case.says("no recto_finalize; mpirun ended with code 0")
    case.check("restored" in (case.folder / "again").read_text(), "it goes on")


# ---- hosts ------------------------------------------------------------------------

FOUR = "n1 slots=2\nn2 slots=2\nn3 slots=2 # a comment\n\n n4 slots = 2 max_slots=4\n"


def hosts():
    case = Case("all", hosts=FOUR).run(0, 1, "-n", "4")
    case.check(list(case.hosts(1)) == ["n1", "n2", "n3", "n4"], "all take part")
    case.check("max_slots=4" in case.call(1, "hosts"), "max_slots is kept")
    case = Case("slots", hosts=FOUR).run(0, 1)
    case.check(case.arguments(1)[-4:] == ["-n", "8", "/bin/true", "1"], "-n 8")
    case = Case("spare", ["touch dead-n1; " + LOST + "exit 1", "rm dead-n1; touch dead-n2; exit 1"],
                hosts=FOUR).run(0, 3, "-n", "4", "--spare")
    case.check([list(case.hosts(i)) for i in (1, 2, 3)] ==
               [["n1", "n2"], ["n2", "n3"], ["n1", "n3"]], "spares step in")
    case.says("n1 does not answer", "n1 answers again")
    case = Case("dead-at-start", hosts=FOUR, files=["dead-n2"])
    case.run(0, 1, "-n", "6")
    case.check("n2" not in case.hosts(1), "n2 is left out from the start")
    case = Case("few", ["touch dead-n1 dead-n4; " + LOST + "exit 1"], hosts=FOUR)
    case.run(3, 1, "-n", "8").says("4 of 8, without n1 n4", "--elastic")
    case.check(case.event("gave-up")[0]["code"] == 3, "code of the end")
    case = Case("elastic", ["touch dead-n1; " + LOST + "exit 1"], hosts=FOUR)
    case.run(0, 2, "-n", "8", "--elastic", "--oversubscribe")
    case.check(case.arguments(2)[-3:] == ["6", "/bin/true", "1"], "6 ranks")
    case = Case("regrow", ["touch dead-n1; " + LOST + "exit 1", "rm dead-n1; exit 1"],
                hosts=FOUR).run(0, 3, "-n", "8", "--elastic")
    case.check([case.arguments(i)[-3] for i in (1, 2, 3)] == ["8", "6", "8"],
               "6 ranks while a host is gone")
    copy = "cp -r %s recto.ckpt; touch dead-n1; exit 1" % EPOCHS
    case = Case("inelastic", [copy], hosts=FOUR).run(3, 1, "-n", "8", "--elastic")
    case.says("the number of ranks stays")
    case = Case("crowded", [copy], hosts=FOUR)
    case.run(0, 2, "-n", "8", "--elastic", "--oversubscribe")
    case.check("--oversubscribe" in case.arguments(2) and "8" in case.arguments(2),
               "8 ranks on 6 slots")
    Case("none", hosts=FOUR, files=["dead-n%d" % i for i in range(1, 5)]).run(
        3, 0, "-n", "2").says("0 of 2")
    # Losing hosts, each time others, is not the program's fault, but has an end.
    lose = ["touch dead-n%d; exit 1" % i for i in range(1, 5)]
    case = Case("many", lose, hosts=FOUR).run(
        1, 3, "-n", "2", "--spare", "--retries", "2").says("given up after 3")
    case = Case("host-list", env={"OMPI_MCA_plm_rsh_agent": "nothing : ./agent -x"})
    (case.folder / "agent").write_text(AGENT.replace('echo "$1"', 'shift; echo "$1"'))
    case.run(0, 1, "--host", "n1:2,n2,n2", "-n", "3")
    case.check(case.hosts(1) == {"n1": "slots=2", "n2": "slots=2"}, "hosts of a list")
    case.check(set((case.folder / "asked").read_text().split()) == {"n1", "n2"},
               "the agent of the environment, with its option")


def silence():
    """Hosts that do not answer, and what is left on those that do."""
    case = Case("hang", hosts=FOUR, files=["hang-n3"]).run(0, 1, "-n", "2", "--probe",
                                                               "5")
    case.check("n3" not in case.hosts(1), "a host that hangs is left out")
    case.gone("hung")  # the question has ended
    leave = "setsid sleep 1000.25 <&- >&- 2>&- & echo $! >left; sleep 0.5; exit 1"
    case = Case("sweep", [leave], hosts=FOUR).run(0, 2, "-n", "2").gone("left")
    # these hosts are one machine: each of them may have seen it
    case.check(all(e["processes"] == 1 for e in case.event("swept")) and
               case.event("swept"), "one was swept")
    Case("sweep-here", [leave]).run(0, 2).gone("left")
    case = Case("watch", ["echo $$ >pid; touch dead-n2; trap '' TERM; sleep 1000.75"],
                hosts=FOUR).run(0, 2, "-n", "2", "--watch", "1").gone("pid")
    case.check("n2" not in case.hosts(2), "a host that goes silent is left out")
    case = Case("told-hang", ["echo $$ >pid; trap '' TERM; " + LOST + "sleep 1000.75"])
    case.run(0, 2, "--hang", "1").gone("pid").says("tells of a failure")
    words = "echo 'ORTE has lost communication with a remote daemon.' >&2; sleep 3"
    case = Case("hearsay", [words]).run(0, 1, "--hang", "1")
    case.check(not case.event("sign"), "the program's words are no sign")
    case = Case("told-lost", ["touch dead-n1; " + LOST + "sleep 1000.75"], hosts=FOUR)
    case.run(0, 2, "-n", "2", "--hang", "1000").says("n1 does not answer")
    stall = "trap '' TERM; sleep 1000.75"
    case = Case("stall", [stall, stall]).run(1, 2, "--stall", "2", "--grace", "1")
    case.says("no new epoch for", "it is killed")


# ---- signals ----------------------------------------------------------------------

def signals():
    quiet = "echo $$ >pid; trap 'echo ended >end; exit 1' TERM; touch armed; " \
            "while :; do sleep 0.05; done"
    deaf = "echo $$ >pid; trap '' TERM; touch armed; while :; do sleep 0.05; done"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        case = Case("ends-%d" % number, [quiet]).start().until("armed")
        case.signal(number).wait(128 + number, 1).gone("pid")
        case.check((case.folder / "end").exists(), "mpirun got its SIGTERM")
    Case("deaf", [deaf]).start("--grace", "1").until("armed").signal(
        signal.SIGINT).wait(130, 1).gone("pid").says("it is killed")
    case = Case("twice", [deaf]).start("--grace", "1000").until("armed")
    case.signal(signal.SIGINT)
    time.sleep(0.3)
    case.signal(signal.SIGINT).wait(130, 1).gone("pid")
    case = Case("at-probe", hosts=FOUR, files=["hang-n1"]).start("--probe", "50")
    case.until("asked").signal(signal.SIGINT)
    case.wait(130, 0)
    # a notice reaches mpirun when it can take it
    notice = "sleep 0.5; trap 'exit 75' USR1; while :; do sleep 0.05; done"
    case = Case("notice", [notice]).start().ready().signal(signal.SIGUSR1)
    case.wait(75, 1)
    case = Case("term-notice", [notice]).start("--term-notice").ready()
    case.signal(signal.SIGTERM).wait(75, 1)
    case = Case("term-twice", [deaf + "; trap '' USR1"]).start(
        "--term-notice", "--grace", "1").until("armed").signal(signal.SIGTERM)
    time.sleep(0.3)
    case.signal(signal.SIGTERM).wait(143, 1).gone("pid")
    case = Case("notice-dies", ["trap 'exit 1' USR1; touch armed; "
                                "while :; do sleep 0.05; done"]).start()
    case.until("armed").signal(signal.SIGUSR1)
    case.wait(75, 1).says("not started again")
    case = Case("notice-between", ["touch hang-n4; exit 1"], hosts=FOUR)
    case.start("-n", "2", "--probe", "2").ready()
    time.sleep(0.5)
    case.signal(signal.SIGUSR1).wait(75, 1)
    Case("usr2", ["trap 'exit 75' USR2; touch armed; while :; do sleep 0.05; done"]
         ).start().until("armed").signal(signal.SIGUSR2).wait(75, 1)
    # when recto run itself is killed, mpirun ends its job, or is killed
    case = Case("killed", [quiet]).start().until("armed").signal(signal.SIGKILL)
    case.wait(-signal.SIGKILL, 1).gone("pid").until("end")
    case = Case("killed-deaf", [deaf]).start().until("armed").signal(signal.SIGKILL)
    case.wait(-signal.SIGKILL, 1).gone("pid")


# ---- what mpirun is given -----------------------------------------------------------

def settings():
    ucx = ["OMPI_MCA_pml=ucx", "OMPI_MCA_osc=ucx"]
    case = Case("far", hosts=FOUR, env={"RECTO_STATS": "1", "UCX_A": "b", "OTHER": "1"})
    case.run(0, 1, "-n", "2", "--bind-to", "none", "-x", "OTHER", "-v")
    given = case.call(1, "environment").splitlines()
    case.check(all(s in given for s in ucx) and
               "OMPI_MCA_oob_tcp_keepalive_time=5" in given, "settings between hosts")
    words = " ".join(case.arguments(1))
    case.check("-x RECTO_STATS" in words and "-x UCX_A" in words and
               "--bind-to none -x OTHER -v" in words, "variables and options: " + words)
    case.check("--oversubscribe" not in words, "more ranks than slots only when said")
    for name, env, options in (
            ("own-env", {"OMPI_MCA_pml": "ob1"}, []),
            ("own-option", {}, ["--mca", "osc", "rdma"])):
        case = Case(name, hosts=FOUR, env=env).run(0, 1, "-n", "2", *options)
        given = case.call(1, "environment").splitlines()
        case.check("OMPI_MCA_osc=ucx" not in given, "the user's own choice stands")
    case = Case("own-file", hosts=FOUR)
    (case.folder / ".openmpi").mkdir()
    (case.folder / ".openmpi" / "mca-params.conf").write_text("# x\npml = ob1\n")
    case.run(0, 1, "-n", "2")
    case.check("OMPI_MCA_osc=ucx" not in case.call(1, "environment"), "and in a file")
    case = Case("near").run(0, 1)
    case.check("OMPI_MCA_pml=ucx" not in case.call(1, "environment"),
               "nothing for one machine")
    case = Case("env-list", hosts=FOUR, env={
        "OMPI_MCA_mca_base_env_list": "A;B", "RECTO_STATS": "1"})
    case.run(0, 1, "-n", "2")
    case.check("OMPI_MCA_mca_base_env_list=A;B;RECTO_STATS" in
               case.call(1, "environment") and "-x" not in case.arguments(1),
               "variables by the list when there is one")
    case = Case("words").start("--pass", "--new", "--pass", "7", "--", program=(
        "/bin/echo", "-n", "a b", "--spare")).wait(0, 1)
    case.check(case.arguments(1) == ["--new", "7", "/bin/echo", "-n", "a b", "--spare"],
               "the program's words: %s" % case.arguments(1))


WRONG = [
    ([], "a program is needed"),
    (["--frob", "/bin/true"], "--frob: no option of recto run"),
    (["-n"], "the value is missing"),
    (["-n", "0", "/bin/true"], "--n 0"),
    (["-n", "two", "/bin/true"], "--n two"),
    (["--retries", "-1", "/bin/true"], "--retries -1"),
    (["--mca", "pml"], "a value is missing"),
    (["--spare", "/bin/true"], "--spare needs -n"),
    (["-n", "2", "--spare", "/bin/true"], "several hosts"),
    (["--host", "a", "--hostfile", "b", "/bin/true"], "one of them"),
    (["--host", "a:0", "/bin/true"], "SLOTS"),
    (["--host", "-a", "/bin/true"], "no name of a host"),
    (["--hostfile", "none", "/bin/true"], "none: No such file"),
    (["--hostfile", "empty", "/bin/true"], "names no host"),
    (["--hostfile", "odd", "/bin/true"], "odd:2: \"slotz=2\""),
    (["--hostfile", "zero", "/bin/true"], "zero:1: \"slots=0\""),
    (["--hostfile", "less", "/bin/true"], "max_slots=1 is less"),
    (["--hostfile", "any", "-n", "1", "--spare", "/bin/true"], "slots=N for each"),
    (["--log", "none/log", "/bin/true"], "--log none/log"),
    (["./nothing"], "./nothing: No such file"),
    (["nothing-at-all"], "no such program in PATH"),
    (["./hosts"], "not a program"),
    (["/bin/true", ":", "/bin/true"], "one program at a time"),
    (["--mpirun", "none", "/bin/true"], "none: no such program"),
    (["--host", "a", "--mca", "plm_rsh_agent", "none", "/bin/true"], "no program \"none\""),
]


def usage():
    case = Case("wrong")
    for name, text in (("empty", "# nobody\n"), ("odd", "a\nb slotz=2\n"),
                       ("zero", "a slots=0\n"), ("less", "a slots=2 max_slots=1\n"),
                       ("any", "a\nb\n"), ("hosts", "a\n")):
        (case.folder / name).write_text(text)
    for words, said in WRONG:
        done = subprocess.run(
            [str(RECTO), "run", *(["--mpirun", "./mpirun"] if "--mpirun" not in words
                                  else []), *words],
            cwd=case.folder, env=case.env, stdout=subprocess.PIPE, timeout=60,
            stderr=subprocess.STDOUT, text=True, check=False)
        case.text = done.stdout
        case.check(done.returncode == 2 and said in done.stdout and
                   done.stdout.count("\n") == 1,
                   "%s: code %d, expected \"%s\"" % (words, done.returncode, said))
    case.check(not case.calls(), "nothing was started")
    done = subprocess.run([str(RECTO), "run", "--help"], stdout=subprocess.PIPE,
                          text=True, check=False)
    case.check(done.returncode == 0 and "--retries K" in done.stdout, "--help")


# ---- recto halt -----------------------------------------------------------------------

def halt():
    folder = WORK / "halt"
    folder.mkdir()
    shutil.copytree(EPOCHS, folder / "ckpt")
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "thesis.tex").touch()

    def ask(code, where, *words):
        done = subprocess.run(
            [str(RECTO), "halt", where, *words], cwd=folder, stdout=subprocess.PIPE,
            env={**os.environ, "TZ": "UTC"}, stderr=subprocess.STDOUT, text=True,
            timeout=60, check=False)
        if done.returncode != code:
            raise AssertionError("halt %s %s: code %d, expected %d\n%s" % (
                where, words, done.returncode, code, done.stdout))
        names = [f for f in os.listdir(folder / where) if f.startswith("halt-")] \
            if (folder / where).exists() else []
        return [(folder / where / f).read_text() for f in names]

    def near(rows, seconds):
        words = rows[0].split()
        if len(rows) != 1 or words[:4] != ["recto", "halt", "1", "time"] or abs(
                int(words[4]) - time.time() - seconds) > 30:
            raise AssertionError("in %d s: %s" % (seconds, rows))

    for words, wanted in (((), "recto halt 1 now\n"), (("--after", "3"),
                                                       "recto halt 1 epoch 5\n")):
        got = ask(0, "ckpt", *words)  # the newest is epoch 2
        if got != [wanted]:
            raise AssertionError("%s: %s" % (words, got))
    near(ask(0, "ckpt", "--before", "90m"), 5400)
    near(ask(0, "ckpt", "--before", "1d2h3m4s"), 93784)
    then = time.time() + 7200
    for form in ("%H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"):
        near(ask(0, "ckpt", "--before", time.strftime(form, time.gmtime(then))), 7200)
    for words in (["--before", "1m1h"], ["--before", "0s"], ["--before", "soon"],
                  ["--before", "2001-01-01T00:00"], ["--before", "99999d"],
                  ["--before", "25:00"], ["--before", ""], ["--before", "5"],
                  ["--after", "0"], ["--after", "-1"], ["--after", "x"], ["--after"],
                  ["--undo", "--after", "1"], ["--frob"], ["another"]):
        near(ask(2, "ckpt", *words), 7200)  # and leaves what there was
    if ask(0, "ckpt", "--undo") or ask(0, "ckpt", "--undo"):
        raise AssertionError("--undo leaves a request")
    if ask(0, "empty") != ["recto halt 1 now\n"]:
        raise AssertionError("a folder without checkpoints yet")
    ask(3, "none")
    ask(3, "other")


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    parts = [ends, hosts, silence, signals, settings, usage, halt]
    wrong = 0
    begin = time.time()
    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        for part, result in [(p, pool.submit(p)) for p in parts]:
            try:
                result.result()
                print("ok   %s, %.0f s" % (part.__name__, time.time() - begin))
            except Exception as why:  # every part is to be told of
                wrong += 1
                print("FAIL %s: %s" % (part.__name__, why))
    sys.exit(1 if wrong else 0)


main()
