# SPDX-License-Identifier: BSD-3-Clause
"""The pages of the documentation, taken apart: fenced blocks with the comment that says how
they are tested, headings, links, and indented text."""
import os
import pathlib
import re

SOURCE = pathlib.Path(os.environ["TEST_SOURCE"])
FENCE = re.compile(r"^```(\S*)\s*$")


class Block:
    """A fenced block: `rule` and `given` are what the comment before it says, its first line
    behind "test:" and the lines after that."""

    def __init__(self, page, line, language, rule, given):
        self.page, self.line, self.language = page, line, language
        self.rule, self.given = rule, given
        self.lines = []

    @property
    def text(self):
        return "\n".join(self.lines) + "\n"

    @property
    def place(self):
        return f"{self.page.name}:{self.line}"


class Page:
    """A Markdown file. `bare`: its lines outside of fenced blocks and comments, with their
    numbers from 1."""

    def __init__(self, path):
        self.path = path
        self.name = str(path.relative_to(SOURCE))
        self.blocks, self.bare = [], []
        self._parse(path.read_text(encoding="utf-8").splitlines())

    def _parse(self, lines):
        block = comment = None
        rule, given = "", ""
        for number, line in enumerate(lines, 1):
            fence = FENCE.match(line)
            if block is not None:
                if fence:
                    block = None
                else:
                    block.lines.append(line)
            elif comment is not None or line.startswith("<!-- test:"):
                comment = line if comment is None else f"{comment}\n{line}"
                if "-->" in line:
                    body = comment.partition("test:")[2].partition("-->")[0]
                    rule, _, given = (part.strip() for part in body.partition("\n"))
                    comment = None
            elif fence:
                block = Block(self, number, fence[1], rule, given)
                self.blocks.append(block)
                rule, given = "", ""
            else:
                if line.strip() and rule:
                    raise SystemExit(f"{self.name}:{number}: \"test: {rule}\" stands before "
                                     "no block")
                self.bare.append((number, line))
        if block is not None or comment is not None or rule:
            raise SystemExit(f"{self.name}: a block or comment has no end")

    def headings(self):
        """Texts of its headings, in order."""
        return [line.lstrip("#").strip() for _, line in self.bare
                if re.match(r"#{1,6} ", line)]

    def anchors(self):
        """What "#..." may name, as GitHub makes it of the headings."""
        found = set()
        for text in self.headings():
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            name, count = slug, 0
            while name in found:
                count += 1
                name = f"{slug}-{count}"
            found.add(name)
        return found

    def links(self):
        """(line, target) of its links and pictures."""
        text = "\n".join(line for _, line in self.bare)
        numbers = [number for number, _ in self.bare]
        for match in re.finditer(r"\]\(([^()\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
            yield numbers[text[:match.start()].count("\n")], match[1]


def pages():
    """All pages with blocks and links to be tested."""
    files = [SOURCE / "README.md", SOURCE / "CONTRIBUTING.md"]
    files += sorted((SOURCE / "docs").rglob("*.md"))
    files += [SOURCE / "apps" / "examples" / "README.md"]
    return [Page(file) for file in files]
