# SPDX-License-Identifier: BSD-3-Clause
"""The text of a comment, or of --help, as blocks:

    ("text", TEXT)            a paragraph
    ("head", TEXT)            a word alone before a list
    ("items", [BLOCKS, ...])  lines that begin with "- "
    ("rows", [(TEXT, BLOCKS), ...])  two columns, two blanks or more apart;
                              a third one comes behind a colon
    ("code", TEXT)            what else is indented

Pages (manual.py) have more: docs, (functions, BLOCKS) of each entry, and what a synopsis
and a list of links need.
"""
import re
import textwrap

ROW = re.compile(r"( *)(\S+(?: \S+)*?)  +(\S.*)")


def indent(line):
    return len(line) - len(line.lstrip(" "))


def blocks(lines):
    found, lines = [], list(lines)
    while lines:
        if not lines[0].strip():
            lines.pop(0)
        elif lines[0].startswith("- "):
            found.append(take_items(lines))
        elif ROW.fullmatch(lines[0]):
            found.append(take_rows(lines))
        elif indent(lines[0]) > 1:
            code = take(lines, lambda line: indent(line) > 1 or not line.strip())
            found.append(("code", textwrap.dedent("\n".join(code)).rstrip()))
        else:
            found.append(take_text(lines))
    return found


def take(lines, wanted):
    """Removes the lines at the front that are wanted, one at least."""
    taken = [lines.pop(0)]
    while lines and wanted(lines[0]):
        taken.append(lines.pop(0))
    return taken


def take_text(lines):
    taken = take(lines, lambda line: line.strip() and not line.startswith("- ") and
                 not indent(line) and not ROW.fullmatch(line))
    text = " ".join(" ".join(taken).split())
    before_list = lines and (lines[0].startswith("- ") or ROW.fullmatch(lines[0]))
    return ("head" if before_list and re.fullmatch(r"[A-Z]\w+", text) else "text", text)


def take_items(lines):
    items = []
    while lines and lines[0].startswith("- "):
        item = take(lines, lambda line: indent(line) > 0)
        items.append(blocks([item[0][2:], *textwrap.dedent("\n".join(item[1:])).split("\n")]))
    return ("items", items)


def take_rows(lines):
    """Rows begin where the first one does; what is further in goes on with one."""
    margin, rows = indent(lines[0]), []
    while lines and lines[0].strip() and indent(lines[0]) == margin:
        match = ROW.fullmatch(lines[0])
        if not match and not margin:
            break
        row = take(lines, lambda line: line.strip() and indent(line) > margin)
        tag, first = match.groups()[1:] if match else (row[0].strip(), "")
        rest = textwrap.dedent("\n".join(row[1:])).split("\n")
        rows.append((tag, blocks([re.sub("  +", ": ", first), *rest])))
    return ("rows", rows)


def plain(found):
    """All text in blocks, to look for names in."""
    words = []
    for kind, value in found:
        if kind == "items":
            words += [plain(item) for item in value]
        elif kind == "rows":
            words += [tag + " " + plain(body) for tag, body in value]
        elif kind == "docs":
            words += [plain(body) for _, body in value]
        elif kind in ("text", "head"):
            words.append(value)
    return " ".join(words)
