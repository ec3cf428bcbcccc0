# SPDX-License-Identifier: BSD-3-Clause
"""Reads Recto's public headers: comments, and the declarations that they are about.

A comment is about what follows it up to the next comment, or to a blank line behind a
function. One that nothing follows is about the whole file, as is the first. A comment
behind a function is about it alone. X-lists stand in an enum as what they make.
Rules of dashes with a title part sections.
"""
import re
import typing

RULER = re.compile(r"/\* -{4} .* -+ \*/$")
SKIPPED = re.compile(r"#(if|ifdef|ifndef|endif|include|pragma|undef)\b|extern \"C\"|}$")
FUNCTION = re.compile(r"((?:[\w*]+ +)+\**)(recto_\w+)\((.*)\);$")
BEHIND = re.compile(r" */\*(.*?)\*/", re.S)


class Function(typing.NamedTuple):
    result: str
    name: str
    arguments: list
    behind: str  # the comment behind it, or ""


class Block(typing.NamedTuple):
    comment: list  # lines
    functions: list
    types: list  # declarations as they stand there


class Header(typing.NamedTuple):
    name: str
    comments: list  # those about the whole file
    blocks: list


def comment_lines(text):
    lines = text.strip()[2:-2].split("\n")
    return [re.sub(r"^ ?\*? ?", "", line.rstrip()) if n else line.strip()
            for n, line in enumerate(lines)]


def pieces(text):
    """Comments, definitions, declarations, and "" for a blank line, in their order."""
    lines = iter(text.split("\n"))
    for line in lines:
        if line.startswith("/*"):
            while "*/" not in line:
                line += "\n" + next(lines)
        elif line.startswith("#define"):
            while line.endswith("\\"):
                line = line[:-1].rstrip() + "\n" + next(lines)
        elif line and not SKIPPED.match(line):
            while not complete(line):
                line += "\n" + next(lines)
        if not SKIPPED.match(line):
            yield line


def complete(text):
    """Is the declaration over, with the comment behind it?"""
    bare = BEHIND.sub("", text).rstrip()
    return "/*" not in bare and bare.endswith(";") and bare.count("{") == bare.count("}")


def lists(text):
    """X-lists: name, and the arguments of each X."""
    found = {}
    for name, rows in re.findall(r"#define (RECTO_\w+_LIST)\(X\)((?:.*\\\n)+.*)", text):
        found[name] = [re.split(r", ", row) for row in re.findall(r"\bX\((.*?)\)", rows)]
    return found


def expand(declaration, known):
    """An enum with what its X-list makes."""
    declaration = re.sub(r"^#(define|undef).*\n", "", declaration, flags=re.M)

    def rows(match):
        return "".join(f"    {row[0]} = {row[1]},{meaning(row[2])}\n"
                       for row in known[match.group(1)])
    return re.sub(r"^ +(RECTO_\w+_LIST)\(.*\),?\n", rows, declaration, flags=re.M)


def meaning(word):
    return f" /* {word[1:-1]} */" if word.startswith('"') else ""


def function_of(piece):
    behind = " ".join(re.sub(r"\n *\*", " ", "".join(BEHIND.findall(piece))).split())
    match = FUNCTION.match(" ".join(BEHIND.sub("", piece).split()))
    if not match or piece.startswith("typedef"):
        return None
    arguments = [a.strip() for a in match.group(3).split(",")]
    return Function(match.group(1).strip(), match.group(2), arguments, behind)


def macro_of(piece):
    """What users of a macro see; None: it is not for them."""
    name = re.match(r"#define (\w+)", piece).group(1)
    if re.search(r"_H$|_LIST$|_ENUM$|_NAME$|_VERSION_", name):
        return None
    first = piece.split("\n")[0]
    return first if "\n" not in piece else re.sub(r"\).*", ")", first)


def read(path, name):
    """The Header of a file, which programs include as `name`."""
    text = path.read_text(encoding="utf-8")
    known = lists(text)
    about, blocks = [], []
    block = None
    for piece in pieces(text):
        if RULER.match(piece) or (piece == "" and block and block.functions):
            block = None
        elif piece.startswith("/*"):
            if block and not block.functions and not block.types:
                about.append(blocks.pop().comment)
            block = Block([] if "/* X(" in piece else comment_lines(piece), [], [])
            blocks.append(block)
        elif piece:
            if block is None:
                block = Block([], [], [])
                blocks.append(block)
            add(block, piece, known)
    return Header(name, about[1:], [b for b in blocks if b.functions or b.types])  # [0]: SPDX


def add(block, piece, known):
    function = function_of(piece)
    if function:
        block.functions.append(function)
        return
    shown = macro_of(piece) if piece.startswith("#define") else expand(piece, known)
    if shown:
        block.types.append(shown)
