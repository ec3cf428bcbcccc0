# SPDX-License-Identifier: BSD-3-Clause
"""Recto in gdb. In ~/.gdbinit, or at the prompt:

    source PREFIX/share/recto/gdb/recto.py

Page faults are Recto's daily work: SIGSEGV and SIGBUS are passed to the program without a
word, and gdb stops where nobody resolves one. Commands:

    recto segments                        the shared arrays of this rank
    recto pages NAME|ADDRESS [FIRST [COUNT]]   home, rights and state of pages, in runs

Both read memory only, so they work on a core file, too, as far as it holds the tables.
Needs librecto's debugging symbols (the presets release and debug have them).
"""
import gdb

PAGE = 4096
CHUNK = 512             # pages, src/vm/protect.h
SHOWN = 200             # runs
RIGHTS = ["-", "r", "rw", "?"]
FRESH = 0x4a            # own, intent and kernel rw
MSI_STATES = ["Invalid", "Shared", "Modified", "IS", "IM", "SM", "MI"]
MSI_FLAGS = [(0x10, "waited"), (0x20, "aged"), (0x40, "wanted")]
REL_WORDS = [(1, "locked"), (4, "twin")]
REL_WRITERS = ((1 << 14) - 1) << 3
REL_FLAGS = [(1, "written"), (4, "atomic"), (8, "copy"), (16, "aged")]


def variable(name, file):
    """A variable of one of Recto's files, whose name others may have, too."""
    for symbol in gdb.lookup_static_symbols(name):
        if symbol.symtab.filename.endswith(file):
            return symbol.value()
    symbol = gdb.lookup_global_symbol(name)
    if symbol is not None and symbol.symtab.filename.endswith(file):
        return symbol.value()
    raise gdb.GdbError(f"no {name} of {file}: is librecto loaded, with debugging symbols?")


def number(value, count, index):
    """Entry `index` of a table of integers of `count` bytes; None: not in the core."""
    try:
        memory = gdb.selected_inferior().read_memory(int(value) + index * count, count)
    except gdb.MemoryError:
        return None
    return int.from_bytes(bytes(memory), "little")


def in_set(members, index):
    word = number(members["words"], 8, index // 64)
    return word is not None and word >> index % 64 & 1 == 1


def segments():
    s = variable("first", "space/segment.c")
    while int(s) != 0:
        yield s.dereference()
        s = s["next"]


def segment_of(word):
    for s in segments():
        if s["name"].string() == word:
            return s, 0
    try:
        address = int(gdb.parse_and_eval(word))
    except gdb.error:
        raise gdb.GdbError(f"{word}: no array of that name, and no address; "
                           "recto segments lists them")
    for s in segments():
        offset = address - int(s["recto"])
        if 0 <= offset < int(s["pages"]) * PAGE:
            return s, offset // PAGE
    raise gdb.GdbError(f"{word}: not in shared memory")


def placement_text(s):
    placement = int(s["attr"]["placement"])
    names = {0: "block", 1: "cyclic", 2: "first touch"}
    return names.get(placement) or f"at {placement - 65536}"


def is_sequential(s):
    return int(s["attr"]["consistency"]) == int(
        gdb.parse_and_eval("(int)RECTO_SEQUENTIAL"))


class Pages:
    """What can be told of the pages of one segment."""

    def __init__(self, s):
        self.s = s
        self.net = variable("net", "net/init.c")
        self.pages = int(s["pages"])
        self.vm = s["range"] if int(s["range"]) else None
        # by scan and hash nobody knows before the next checkpoint looks
        self.asks_kernel = self.vm is not None and bool(self.vm["tracked"]) and \
            self.vm["tracker"]["name"].string() != "fault"
        moved = s["moved"]
        self.moved = [] if int(moved) == 0 else [
            (int(r["first"]), int(r["end"]), int(r["home"]))
            for r in (moved["runs"][i] for i in range(int(moved["count"])))]
        self.m = None
        if int(s["coherence"]) and int(self.net["domains"]) > 1:
            kind = "struct msi_segment" if is_sequential(s) else "struct rel_segment"
            self.m = s["coherence"].cast(gdb.lookup_type(kind).pointer())

    def home(self, page):
        for first, end, home in self.moved:
            if first <= page < end:
                return home
        placement, size = int(self.s["attr"]["placement"]), int(self.net["size"])
        if placement == 0:
            return page // ((self.pages + size - 1) // size)
        if placement == 1:
            return page // int(self.s["granule_pages"]) % size
        if placement != 2:
            return (placement - 65536) % size
        try:  # first touch: the tables of several ranks say; not in a core
            return int(gdb.parse_and_eval(
                f"space_home((struct space_segment *){int(self.s.address)}, {page})"))
        except gdb.error:
            return "?"

    def state(self, page):
        """The byte of src/vm/protect.h."""
        word = number(self.vm["words"], 8, page // 8)
        if word is None:
            return None
        if word == 0 and in_set(self.vm["fresh"], page // CHUNK):
            return FRESH
        return word >> page % 8 * 8 & 0xff

    def coherence(self, page):
        if self.m is None:
            return ""
        if is_sequential(self.s):
            word = number(self.m["pages"], 4, page)
            if word is None:
                return "?"
            state = word & 0xf
            words = [MSI_STATES[state] if state < len(MSI_STATES) else f"?{state}"]
            return " ".join(words + [n for bit, n in MSI_FLAGS if word & bit])
        word, flags = number(self.m["words"], 4, page), number(self.m["flags"], 1, page)
        if word is None or flags is None:
            return "?"
        words = [n for bit, n in REL_WORDS if word & bit]
        writers = (word & REL_WRITERS) >> 3
        words += [f"{writers} writing"] if writers else []
        return " ".join(words + [n for bit, n in REL_FLAGS if flags & bit])

    def row(self, page):
        home = self.home(page)
        if self.vm is None:
            return home, "rw", "rw", "", self.coherence(page)
        state = self.state(page)
        if state is None:
            return home, "?", "?", "?", self.coherence(page)
        dirty = "dirty" if state & 0x20 else "?" if self.asks_kernel else ""
        return (home, RIGHTS[state & 3], RIGHTS[state >> 2 & 3], dirty,
                self.coherence(page))


class Recto(gdb.Command):
    """Recto's shared memory: recto segments, recto pages."""

    def __init__(self):
        super().__init__("recto", gdb.COMMAND_DATA, prefix=True)


class Segments(gdb.Command):
    """The shared arrays of this rank, in the order of their allocation."""

    def __init__(self):
        super().__init__("recto segments", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        net = variable("net", "net/init.c")
        print(f"rank {int(net['rank'])} of {int(net['size'])}, domain "
              f"{int(net['domain'])} of {int(net['domains'])}")
        print(f"{'NAME':20} {'ADDRESS':14} {'PAGES':>9}  PLACEMENT    CONSISTENCY")
        for s in segments():
            print(f"{s['name'].string():20} {int(s['recto']):#14x} {int(s['pages']):9}  "
                  f"{placement_text(s):12} "
                  f"{'sequential' if is_sequential(s) else 'release'}")


class PagesCommand(gdb.Command):
    """recto pages NAME|ADDRESS [FIRST [COUNT]]

Pages of a shared array, neighbours that are alike in one line: who homes them; the right
that Recto has granted and the one that the kernel gives now (-, r, rw: they differ where
writes are tracked); whether they were written since the last checkpoint (?: nobody looked); and, where there
are several domains, the state of the protocol: Invalid, Shared, Modified and those between
of sequential memory, copies, twins and pages written of release consistent memory."""

    def __init__(self):
        super().__init__("recto pages", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if not 1 <= len(words) <= 3:
            raise gdb.GdbError("recto pages NAME|ADDRESS [FIRST [COUNT]]")
        s, at = segment_of(words[0])
        pages = Pages(s)
        first = int(gdb.parse_and_eval(words[1])) if len(words) > 1 else at
        count = int(gdb.parse_and_eval(words[2])) if len(words) > 2 else pages.pages
        self.show(s, pages, first, min(first + count, pages.pages))

    @staticmethod
    def show(s, pages, first, end):
        print(f"{s['name'].string()}: {pages.pages} pages at {int(s['recto']):#x}")
        print(f"{'PAGES':>17}  HOME  GRANTED  KERNEL  WRITTEN  PROTOCOL")
        page = first
        for _ in range(SHOWN):
            if page >= end:
                return
            row, start = pages.row(page), page
            while page < end and pages.row(page) == row:
                page += 1
            print(f"{start:8}-{page - 1:<8}  {row[0]:4}  {row[1]:7}  {row[2]:6}  "
                  f"{row[3]:7}  {row[4]}".rstrip())
        if page < end:
            print(f"... recto pages {s['name'].string()} {page} goes on")


class Segment:
    """Prints a struct space_segment as what it is."""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        s = self.value
        return (f"{{\"{s['name'].string()}\", {int(s['pages'])} pages at "
                f"{int(s['recto']):#x}, {placement_text(s)}}}")


class Unresolved(gdb.Breakpoint):
    """Stops where a fault is not Recto's, before the process dies of it."""

    def __init__(self):
        super().__init__("vm_owner_call", internal=True)

    def stop(self):
        print("Recto does not resolve this fault: it is the program's own. The access is "
              "below <signal handler called> in the backtrace.")
        return True


def printers(value):
    return Segment(value) if value.type.unqualified().tag == "space_segment" else None


def loaded(_):
    """Librecto may have come; the breakpoint then stays, whatever program follows."""
    if gdb.lookup_global_symbol("vm_owner_call") is not None:
        gdb.events.new_objfile.disconnect(loaded)
        Unresolved()


def setup():
    gdb.execute("handle SIGSEGV SIGBUS nostop noprint pass", to_string=True)
    gdb.events.new_objfile.connect(loaded)
    loaded(None)  # it may be there already
    gdb.pretty_printers.append(printers)
    for command in Recto, Segments, PagesCommand:
        command()


setup()
