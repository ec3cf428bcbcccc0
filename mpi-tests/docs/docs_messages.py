# SPDX-License-Identifier: BSD-3-Clause
"""Shows that each message that docs/troubleshooting.md quotes is in the source, so that the
page cannot go stale. Quoted is what stands in backquotes in its headings of third level; "…"
stands for what differs from case to case. Headings in plain words are messages of others."""
import re
import sys

from pages import SOURCE, Page

STRING = r'"(?:[^"\\\n]|\\.)*"'
# Literals that the compiler joins, with macros such as PRIu64 between.
LITERALS = re.compile(rf"{STRING}(?:(?:\s|\\\n|PRI\w+)*{STRING})*")
LEAST = 12  # characters of a quotation that are to be found


def literals():
    """All texts of the source, macros between them as "…"."""
    for file in sorted((SOURCE / "src").rglob("*.[ch]")):
        for match in LITERALS.finditer(file.read_text(encoding="utf-8")):
            text = re.sub(r'"\s*PRI\w+\s*"', "…", match[0])
            text = re.sub(r'"(?:\s|\\\n)*"', "", text)[1:-1]
            yield text.replace('\\"', '"').replace("\\n", "\n")


def quoted(heading):
    """The parts of a heading between backquotes that are the same in each case."""
    match = re.fullmatch(r"`(.*)`", heading)
    return [part.strip() for part in match[1].split("…") if part.strip()] if match else None


def holds(text, parts):
    """Are these parts in the text, in this order?"""
    at = 0
    for part in parts:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


def main():
    texts = list(literals())
    page = Page(SOURCE / "docs" / "troubleshooting.md")
    count, wrong = 0, []
    for _, line in page.bare:
        parts = quoted(line[4:].strip()) if line.startswith("### ") else None
        if parts is None:
            continue
        count += 1
        if sum(map(len, parts)) < LEAST or not any(holds(t, parts) for t in texts):
            wrong.append(f"not in src/: {line}")
    print(f"{count} messages, {len(texts)} texts in src/")
    if wrong or count < 20:
        sys.exit("\n".join(wrong) or "too few messages: is the page read?")


main()
