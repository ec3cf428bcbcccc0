# SPDX-License-Identifier: BSD-3-Clause
"""Makes the manual: of the public headers pages for groups of functions (section 3), of
`recto COMMAND --help` a page for each command (1), of `recto env --json` recto(7). What
they do not say stands in written.txt. The pages are written as mdoc(7), and with
--markdown, with the project's own Markdown files, as doxygen reads them.

Every function of the headers is in one page of PAGES, else this fails.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import typing

import headers
import markdown
import mdoc
import names
import text

# Pages of section 3, each with what it is about and its functions.
PAGES = [
    ("recto_init", "start and end, ranks, version",
     r"init|init_comm|finalize|rank|size|node|nodes|version"),
    ("recto_alloc", "shared memory under a name", "alloc|array|free"),
    ("recto_malloc", "a heap of all ranks", "malloc|mfree"),
    ("recto_home", "where pages of shared memory live", "home|migrate|is_shared"),
    ("recto_barrier", "synchronise ranks and their memory",
     r"barrier|(release|acquire)(_range)?|prefetch"),
    ("recto_pin", "keep shared memory accessible to devices", "pin|unpin"),
    ("recto_lock", "locks between threads of all ranks", r"lock(_\w+)?|trylock|unlock"),
    ("recto_rwlock", "locks for one writer or many readers", r"rwlock_\w+"),
    ("recto_event", "events that threads of all ranks wait for", r"event_\w+"),
    ("recto_sem", "counting semaphores of all ranks", r"sem_\w+"),
    ("recto_cond", "conditions that threads of all ranks wait for", r"cond_\w+"),
    ("recto_atomic", "atomic operations on shared memory",
     r"(fetch_add|exchange|cas|load|store)_\w+"),
    ("recto_type_create", "elements that are structs, and attributes for readers",
     r"type_\w+|attribute_\w+"),
    ("recto_protect", "private memory in checkpoints",
     r"protect|protect_(block|redistribute)|unprotect|pieces_read"),
    ("recto_checkpoint", "write a checkpoint", "checkpoint|checkpoint_wait|epoch"),
    ("recto_checkpoint_due", "when to checkpoint and when to end", "checkpoint_due"),
    ("recto_restart", "load a checkpoint", "restart|restart_select|recover"),
    ("recto_error", "errors and their messages", "strerror|last_error"),
    ("recto_stats", "counters and invariants", "stats|check_all"),
    ("recto_vm", "page protection without MPI",
     r"vm_(init|finalize|thread_init|page_size|backend|dirty_method(_of)?|stats|check)"),
    ("recto_vm_map", "memory and its views",
     r"vm_(map|unmap|table_create|memory_\w+)"),
    ("recto_vm_range", "rights to pages",
     r"vm_(range_\w+|prot1|protn|unprot|own|own_all|disown|hides?|show|found_bytes|right_of)"),
    ("recto_vm_trap", "handlers of page faults", r"vm_trap_\w+"),
    ("recto_vm_dirty", "which pages were written",
     r"vm_dirty_(start|stop|runs|collect|mark|forget|learn|before|shut|open)"),
    ("recto_vm_watch", "which pages of private memory were written", r"vm_watch_\w+"),
]


class Page(typing.NamedTuple):
    name: str
    section: int
    about: str
    names: list  # what it describes
    sections: list  # (heading, blocks)


def page_of(function):
    found = [name for name, _, pattern in PAGES
             if re.fullmatch(f"recto_({pattern})", function)]
    if len(found) != 1:
        sys.exit(f"{__file__}: {function} is in {len(found)} pages of PAGES: {found}")
    return found[0]


# ---- section 3 -------------------------------------------------------------------------


class Group:
    """What a page of functions is made of."""

    def __init__(self):
        self.headers, self.types, self.docs, self.comments = [], [], [], []

    def add_header(self, header):
        if header.name not in self.headers:
            self.headers.append(header.name)
            self.comments += [text.blocks(comment) for comment in header.comments[1:]]

    def add(self, block):
        """Functions with a comment behind them have an entry of their own."""
        together = [f for f in block.functions if not f.behind or block.comment]
        body = text.blocks(block.comment)
        body += [("text", f"{f.name}: {f.behind}") for f in together if f.behind]
        if together:
            self.docs.append((together, body))
        self.docs += [([f], [("text", f.behind)]) for f in block.functions
                      if f not in together]


def groups_of(all_headers):
    """Types stand in the page of the function that comes next."""
    groups = {name: Group() for name, _, _ in PAGES}
    for header in all_headers:
        types = []
        for block in header.blocks:
            types += declared(block)
            for page in dict.fromkeys(page_of(f.name) for f in block.functions):
                group = groups[page]
                group.add_header(header)
                group.types += types
                types = []
                group.add(headers.Block(block.comment, [f for f in block.functions
                                                        if page_of(f.name) == page], []))
    return groups


def declared(block):
    if not block.types:
        return []
    comment = [line for line in block.comment if line]
    shown = [] if block.functions or not comment else [
        "/* " + "\n * ".join(comment) + " */"]
    return ["\n".join([*shown, "\n\n".join(block.types)])]


def function_page(name, about, group, front, known):
    functions = [f for entry, _ in group.docs for f in entry]
    for entry, body in group.docs:
        if not body:
            sys.exit(f"{__file__}: nothing is said of {[f.name for f in entry]}")
    first = group.headers[0]
    include = first if first in ("recto/vm.h", "recto/mpi.h") else "recto.h"
    synopsis = [("include", include)]
    synopsis += [("include", h) for h in group.headers[1:] if h == "recto/mpi.h"]
    synopsis += [("code", "\n\n".join(group.types))] if group.types else []
    synopsis += [("prototypes", functions)]
    blocks = [b for comment in group.comments for b in comment]
    if any(kind == "head" for kind, _ in blocks):
        blocks.append(("head", "Functions"))
    sections = [("SYNOPSIS", synopsis),
                ("DESCRIPTION", blocks + [("docs", group.docs)])]
    if {"int", "void *"} & {f.result for f in functions}:
        sections.append(("RETURN VALUES",
                         front["vm" if include == "recto/vm.h" else "returns"]))
    said = text.plain(sections[1][1])
    errors = sorted(set(re.findall(r"RECTO_E[A-Z]+\b", said)) & set(known.errors))
    if errors:
        sections.append(("ERRORS", [("rows", [(e, [("text", known.errors[e])])
                                              for e in errors])]))
    return Page(name, 3, about, list(dict.fromkeys([name] + [f.name for f in functions])),
                sections)


def front_page(blocks):
    return Page("recto", 3, "interface of the library Recto", ["recto"],
                [("SYNOPSIS", [("include", "recto.h")]), ("DESCRIPTION", blocks)])


def function_pages(all_headers, known):
    by_name = {h.name: h for h in all_headers}
    front = text.blocks(by_name["recto.h"].comments[0])
    own = text.blocks(by_name["recto/vm.h"].comments[0])
    returns = {"returns": [("text", front.pop()[1].replace("Conventions. ", ""))],
               "vm": [own.pop()]}
    groups = groups_of(all_headers)
    groups["recto_vm"].comments = [own[1:]]
    for page, name in [("recto_error", "error"), ("recto_type_create", "types")]:
        groups[page].comments = [text.blocks(by_name[f"recto/{name}.h"].comments[0])[1:]]
    return [front_page(front[1:])] + [
        function_page(name, about, groups[name], returns, known)
        for name, about, _ in PAGES]


# ---- sections 1 and 7 ------------------------------------------------------------------


def usage_lines(lines):
    """Takes the usage from the front: command lines, each with what stands beside it."""
    found = []
    while lines and re.match(r"usage: |       ", lines[0], re.I):
        line = lines.pop(0)
        if line[7:].startswith("recto"):
            words, _, meaning = line[7:].partition("  ")
            found.append([words, meaning.strip()])
        else:
            found[-1][1] = f"{found[-1][1]} {line.strip()}".strip()
    return found


def exit_status(lines):
    """Takes the exit status from the end."""
    at = next(n for n, line in enumerate(lines) if re.match("exit status: ", line, re.I))
    words = " ".join(" ".join(lines[at:]).split())[len("exit status: "):]
    del lines[at:]
    rows = [re.fullmatch(r"(\d+(?: \+ N)?) (.*?)\.?", row).groups()
            for row in re.split(r"; +(?=\d)", words)]
    return ("rows", [(code, [("text", meaning)]) for code, meaning in rows])


def command_page(name, about, help_text):
    lines = help_text.rstrip("\n").split("\n")
    usages = usage_lines(lines)
    status = exit_status(lines)
    beside = [(words, [("text", meaning)]) for words, meaning in usages if meaning]
    body = text.blocks(lines) + ([("rows", beside)] if beside else [])
    return Page(name, 1, about, [name],
                [("SYNOPSIS", [("usages", [words for words, _ in usages])]),
                 ("DESCRIPTION", body), ("EXIT STATUS", [status])])


def command_pages(run):
    lines = run("--help").split("\n")
    usages = usage_lines(lines)
    commands = {}
    for words, meaning in usages:
        match = re.match(r"recto ([a-z]+)\b", words)
        if match:
            commands[match.group(1)] = meaning
    pages = [command_page(f"recto-{name}", about, run(name, "--help"))
             for name, about in commands.items()]
    rows = [(f"`recto {name}`", [("text", about)]) for name, about in commands.items()]
    own = [w for w, _ in usages if re.match("recto (-|COMMAND)", w)]
    return [Page("recto", 1, "looks after runs of Recto and their checkpoints", ["recto"],
                 [("SYNOPSIS", [("usages", ["recto COMMAND [ARGUMENT]...", *own])]),
                  ("DESCRIPTION", [("rows", rows)]),
                  ("EXIT STATUS", [exit_status(lines)])])] + pages


def variable_row(variable):
    values = f"Values: {variable['allowed']}. Default: {variable['default'] or 'none'}."
    return (variable["name"], [("text", variable["text"] + "."), ("text", values)])


def variables_page(variables):
    return Page("recto", 7, "shared memory and checkpoints for MPI programs", ["recto"],
                [("ENVIRONMENT", [("rows", [variable_row(v) for v in variables])])])


# ---- all of them -----------------------------------------------------------------------

ORDER = ["SYNOPSIS", "DESCRIPTION", "RETURN VALUES", "ENVIRONMENT", "FILES", "EXIT STATUS",
         "EXAMPLES", "ERRORS", "SEE ALSO"]


def written(path):
    """{(page, section): [(heading, blocks)]} of written.txt."""
    found = {}
    for part in re.split(r"^= ", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        name, section, heading = re.fullmatch(r"([\w-]+)\((\d)\) ([A-Z ]+)", title).groups()
        found.setdefault((name, int(section)), []).append(
            (heading, text.blocks(body.split("\n"))))
    return found


def see_also(page, known):
    """What its text names, and what belongs to all pages of a section."""
    links = {("recto", 7), {3: ("recto", 3), 1: ("recto", 1), 7: ("recto", 1)}[page.section]}
    if page.section == 3:
        links.add(("recto_error", 3))
    links |= {("recto", 3)} if page.section == 7 else set()
    for _, blocks in page.sections:
        for part in names.parts(text.plain(blocks), known):
            if part.kind == "function":
                links.add((known.pages[part.text], 3))
            elif part.kind == "command":
                links.add((f"recto-{part.text}", 1))
    links.discard((page.name, page.section))
    return sorted(links, key=lambda link: (link[1], link[0]))


def finish(page, extra, known):
    sections = sorted(page.sections + extra.pop((page.name, page.section), []),
                      key=lambda s: ORDER.index(s[0]))
    page = page._replace(sections=sections)
    return page._replace(sections=sections + [
        ("SEE ALSO", [("links", see_also(page, known))])])


def run_recto(path):
    """Calls it as if no variable were set."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RECTO_")}

    def run(*words):
        return subprocess.run([path, *words], env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, check=True,
                              timeout=60).stdout
    return run


def make(include, recto):
    """All pages, and the names in them."""
    all_headers = [headers.read(p, str(p.relative_to(include))) for p in
                   [include / "recto.h", *sorted((include / "recto").glob("*.h"))]]
    run = run_recto(recto)
    variables = json.loads(run("env", "--json"))["variables"]
    errors = headers.lists((include / "recto/error.h").read_text(encoding="utf-8"))
    commands = command_pages(run)
    known = names.Names(
        {f.name: page_of(f.name) for h in all_headers for b in h.blocks for f in b.functions},
        {row[0]: row[2][1:-1] for row in errors["RECTO_ERROR_LIST"]},
        {v["name"] for v in variables}, {p.name[len("recto-"):] for p in commands[1:]})
    pages = function_pages(all_headers, known) + commands + [variables_page(variables)]
    extra = written(pathlib.Path(__file__).with_name("written.txt"))
    pages = [finish(page, extra, known) for page in pages]
    if extra:
        sys.exit(f"{__file__}: written.txt: no pages {list(extra)}")
    return pages, known


def main():
    parser = argparse.ArgumentParser(description="makes the manual pages")
    for name in ["source", "recto", "version", "man"]:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--markdown")
    options = parser.parse_args()
    source = pathlib.Path(options.source)
    pages, known = make(source / "include", options.recto)
    now = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    date = time.strftime("%B %d, %Y", now).replace(" 0", " ")
    for page in pages:
        folder = pathlib.Path(options.man) / f"man{page.section}"
        folder.mkdir(parents=True, exist_ok=True)
        text_of = mdoc.Writer(page, known).write(date, options.version)
        (folder / f"{page.name}.{page.section}").write_text(text_of, encoding="utf-8")
        for name in page.names:
            if name != page.name:
                (folder / f"{name}.{page.section}").write_text(
                    f".so man{page.section}/{page.name}.{page.section}\n", encoding="utf-8")
    if options.markdown:
        markdown.write(pages, known, pathlib.Path(options.markdown), source)


if __name__ == "__main__":
    main()
