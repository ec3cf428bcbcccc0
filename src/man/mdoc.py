# SPDX-License-Identifier: BSD-3-Clause
"""Writes a page as mdoc(7)."""
import re

import names

MACROS = {"quote": "Ql", "argument": "Fa", "function": "Fn", "error": "Er",
          "variable": "Ev", "word": "Em", "constant": "Dv", "header": "In"}
SENTENCE = re.compile(r"(?<=[^.][.!?])(?<!\b[A-Z]\.) (?![a-z])|(?<=\.\)) ")
USAGE = re.compile(r"\[|\]|\.\.\.|\||=|--?\w[\w-]*|[A-Z]+|[^\s\[\]]+")


def text_line(text):
    text = text.replace("\\", "\\e")
    return "\\&" + text if text[:1] in (".", "'") else text


def word(text):
    """An argument of a macro."""
    text = text.replace("\\", "\\e").replace('"', "\\(dq")
    if text in names.OPEN + names.CLOSE + "|" or re.fullmatch(r"[A-Z%][a-z]\w?", text):
        text = "\\&" + text
    return f'"{text}"' if " " in text else text


class Writer:
    def __init__(self, page, known):
        self.page, self.known, self.lines = page, known, []

    def add(self, *lines):
        self.lines += lines

    def reference(self, part):
        """The macro of a name, and its argument."""
        if part.kind == "command":
            return f"Xr recto-{part.text} 1"
        if part.kind == "function":
            page = self.known.pages[part.text]
            if page != self.page.name:
                return f"Xr {part.text} 3"
        return f"{MACROS[part.kind]} {word(part.text)}"

    def inline(self, text, arguments=()):
        for part in names.parts(text, self.known, arguments):
            if part.kind == "text":
                for sentence in SENTENCE.split(part.text):
                    self.add(text_line(sentence))
                continue
            line = self.reference(part)
            if part.before:
                line = f"Pf {word(part.before)} {line}"
            closers = re.match(f"[{re.escape(names.CLOSE)}]*", part.behind).group(0)
            rest = part.behind[len(closers):]
            if rest:
                line += f" Ns No {word(part.behind)}"
            else:
                line += "".join(" " + c for c in closers)
            self.add("." + line)

    def blocks(self, blocks, arguments=()):
        before = None
        for kind, value in blocks:
            if (before not in (None, "head") and kind in ("text", "code") or
                    before == "code" and kind == "prototypes"):
                self.add(".Pp")
            getattr(self, kind)(value, arguments)
            before = kind

    def text(self, text, arguments):
        self.inline(text, arguments)

    def head(self, text, _):
        self.add(f".Ss {text}")

    def code(self, text, _):
        self.add(".Bd -literal -offset indent -compact",
                 *(text_line(line) for line in text.split("\n")), ".Ed")

    def items(self, items, arguments):
        self.add(".Bl -bullet")
        for item in items:
            self.add(".It")
            self.blocks(item, arguments)
        self.add(".El")

    def rows(self, rows, arguments):
        self.add(".Bl -tag -width Ds")
        for tag, body in rows:
            self.tag(tag)
            self.blocks(body, arguments)
        self.add(".El")

    def tag(self, text):
        """A name, an option with its argument, or words."""
        part, *more = names.parts(text, self.known)
        if not more and part.kind != "text":
            self.add(f".It {self.reference(part)}")
        elif text.startswith("-"):
            self.add(".It " + usage(text))
        else:
            self.add(f".It {' '.join(word(w) for w in text.split())}")

    def functions(self, functions, arguments):
        """The entry of functions that have one text."""
        *others, last = [f.name for f in functions]
        self.add(".It Xo", *(f".Fn {name} ," for name in others), f".Fn {last}", ".Xc")

    def docs(self, docs, _):
        self.add(".Bl -tag -width Ds")
        for functions, body in docs:
            self.functions(functions, ())
            self.blocks(body, [re.split(r"\W+", a)[-1] for f in functions
                               for a in f.arguments])
        self.add(".El")

    def include(self, path, _):
        self.add(f".In {path}")

    def prototypes(self, functions, _):
        for f in functions:
            self.add(f".Ft {word(f.result).strip(chr(34))}",
                     ".Fn " + " ".join(f'"{word(a).strip(chr(34))}"'
                                       for a in [f.name, *f.arguments]))

    def usages(self, lines, _):
        for line in lines:
            name, *rest = line.split(" ", 1)
            self.add(f".Nm {name}", *(["." + usage(rest[0], True)] if rest else []))

    def links(self, links, _):
        marks = [" ,"] * (len(links) - 1) + [""]
        self.add(*(f".Xr {name} {section}{mark}"
                   for (name, section), mark in zip(links, marks)))

    def write(self, date, version):
        page = self.page
        self.add(f".Dd {date}", f".Dt {page.name.upper()} {page.section}",
                 f".Os Recto {version}", ".Sh NAME")
        marks = [" ,"] * (len(page.names) - 1) + [""]
        self.add(*(f".Nm {name}{mark}" for name, mark in zip(page.names, marks)),
                 f".Nd {page.about}")
        for heading, blocks in page.sections:
            self.add(f".Sh {heading}")
            self.blocks(blocks)
        return "\n".join(self.lines) + "\n"


def usage(text, command=False):
    """A command line: options, arguments, what may be left out."""
    line, behind = [], -1
    for match in USAGE.finditer(text):
        token = match.group(0)
        kind = ("Oo" if token == "[" else "Oc" if token == "]" else
                "Fl " + token[1:] if token[0] == "-" and len(token) > 1 else
                "Ar " + token if re.fullmatch(r"[A-Z]+", token) else
                "Cm " + token if command and not line else "No " + word(token))
        if token == "|":
            kind = "|"
        elif match.start() == behind and token != "]" and line[-1] != "Oo":
            kind = "Ns " + kind
        line.append(kind)
        behind = match.end()
    return " ".join(line)
