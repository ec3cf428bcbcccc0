# SPDX-License-Identifier: BSD-3-Clause
"""Markdown for doxygen: the pages of the manual, and the project's own Markdown files with
links and headings as doxygen resolves them. What a link names outside of these is looked
for where it is installed, beside the HTML."""
import os
import re

import names

SPECIAL = re.compile(r"[\\@#%*<>\[\]&|~$`\"]|---?|(?<!\w)_|_(?!\w)")
ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;"}


def escape(text):
    return SPECIAL.sub(lambda m: ENTITIES.get(m.group(0), "\\" + m.group(0)), text)


# ---- the manual ------------------------------------------------------------------------


def label(name, section):
    return f"man{section}_{name}"


class Writer:
    def __init__(self, page, known):
        self.page, self.known, self.lines = page, known, []

    def add(self, *lines):
        self.lines += lines

    def name(self, part):
        text = f"<code>{escape(part.text)}</code>"
        if part.kind == "command":
            return f"[recto {part.text}](@ref {label('recto-' + part.text, 1)})"
        if part.kind == "function":
            page = self.known.pages[part.text]
            return text if page == self.page.name else (
                f"[{escape(part.text)}](@ref {label(page, 3)})")
        return f"*{part.text}*" if part.kind == "word" else text

    def inline(self, text):
        return " ".join(escape(p.text) if p.kind == "text" else
                        escape(p.before) + self.name(p) + escape(p.behind)
                        for p in names.parts(text, self.known))

    def blocks(self, blocks):
        for kind, value in blocks:
            getattr(self, kind)(value)

    def text(self, text):
        self.add("<p>" + self.inline(text) + "</p>")

    def head(self, text):
        self.add("", f"### {text}", "")

    def code(self, text):
        self.add("", "```c" if ";" in text else "```", text, "```", "")

    def items(self, items):
        self.add("<ul>")
        for item in items:
            self.add("<li>")
            self.blocks(item)
            self.add("</li>")
        self.add("</ul>")

    def entries(self, entries):
        self.add("<dl>")
        for title, body in entries:
            self.add(f"<dt>{title}</dt><dd>")
            self.blocks(body)
            self.add("</dd>")
        self.add("</dl>")

    def rows(self, rows):
        self.entries([(self.inline(tag), body) for tag, body in rows])

    def docs(self, docs):
        self.entries([(", ".join(f"<code>{escape(f.name)}</code>" for f in functions), body)
                      for functions, body in docs])

    def include(self, path):
        self.add("", "```c", f"#include <{path}>", "```", "")

    def prototypes(self, functions):
        self.code("\n".join(f"{f.result} {f.name}({', '.join(f.arguments)});".replace("* ", "*")
                            for f in functions))

    def usages(self, lines):
        self.code("\n".join(lines))

    def links(self, links):
        self.add(", ".join(f"[{escape(name)}({section})](@ref {label(name, section)})"
                           for name, section in links))

    def write(self):
        page = self.page
        self.add(f"# {page.name}({page.section}) {{#{label(page.name, page.section)}}}", "",
                 f"{escape(', '.join(page.names))}: {escape(page.about)}", "")
        for heading, blocks in page.sections:
            self.add("", f"## {heading.capitalize()}", "")
            self.blocks(blocks)
        return "\n".join(self.lines) + "\n"


def contents(pages):
    lines = ["# Manual {#manual}", ""]
    for section, title in [(7, "Overview, environment"), (1, "Commands"), (3, "Functions")]:
        lines += [f"## {title}", ""]
        lines += [f"- @subpage {label(p.name, p.section)} {escape(p.about)}"
                  for p in pages if p.section == section] + [""]
    return "\n".join(lines)


# ---- Markdown files -----------------------------------------------------------------------

FENCE = re.compile(r" *(```|~~~)")
HEADING = re.compile(r"^(#+) (.*?) *#*$", re.M)
SPAN = re.compile(r"(`+)(.+?)\1(?!`)|\[([^\]]*)\]\(([^)\s]+)\)", re.S)
INSTALLED = {"apps/examples": "../examples", "docs": "../docs"}


def slug(heading):
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def file_label(path):
    return re.sub(r"\W", "_", path)


def target(link, path, files):
    """What doxygen is to be told instead; None: the link leads nowhere."""
    if re.match(r"\w+:", link):
        return link
    name, _, anchor = link.partition("#")
    name = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
    if name in files:
        return "@ref " + file_label(name + ("__" + anchor if anchor else ""))
    for folder, place in INSTALLED.items():
        if name.startswith(folder + "/"):
            return place + name[len(folder):]
    return None


def convert_text(text, path, files, anchors):
    """Text without code blocks."""
    def span(match):
        _, code, words, link = match.groups()
        if code:
            return "<code>" + escape(" ".join(code.split()).replace("\\|", "|")) + "</code>"
        place = target(link, path, files)
        words = SPAN.sub(span, words)
        return f"[{words}]({place})" if place else words

    def heading(match):
        marks, words = match.groups()
        anchor = slug(words)
        anchors.append(anchor)
        again = anchors.count(anchor) - 1
        if len(anchors) > 1:
            here = f"{path}__{anchor}" + (f"-{again}" if again else "")
        else:
            here = path  # the page itself
        return f"{marks} {words} {{#{file_label(here)}}}"
    return SPAN.sub(span, HEADING.sub(heading, text))


def convert(text, path, files):
    """What of a Markdown file is no code, a stretch at a time; not comments before it."""
    done, stretch, fence, anchors = [], [], None, []

    def flush():
        done.append(convert_text("\n".join(stretch), path, files, anchors))
        stretch.clear()
    for line in re.sub(r"\A(<!--.*?-->\s*)+", "", text, flags=re.S).split("\n"):
        match = FENCE.match(line)
        if match or fence or line.startswith("    "):
            if stretch:
                flush()
            done.append(line)
            fence = not fence if match else fence
        else:
            stretch.append(line)
    flush()
    return "\n".join(done)


def write(pages, known, folder, source):
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages:
        (folder / f"{label(page.name, page.section)}.md").write_text(
            Writer(page, known).write(), encoding="utf-8")
    (folder / "manual.md").write_text(contents(pages), encoding="utf-8")
    files = [str(p.relative_to(source)) for p in
             [*source.glob("*.md"), *source.glob("docs/*.md"), *source.glob("docs/*/*.md"),
              *source.glob("apps/examples/*.md")]]
    for path in files:
        (folder / f"{file_label(path)}.md").write_text(
            convert((source / path).read_text(encoding="utf-8"), path, files),
            encoding="utf-8")
