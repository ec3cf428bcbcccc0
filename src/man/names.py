# SPDX-License-Identifier: BSD-3-Clause
"""Finds in a text what has a meaning of its own: names of functions, constants, variables
and headers, what stands between backticks or asterisks."""
import re
import typing

NAME = re.compile(r"`([^`]+)`|(recto_\w+)(?:\(\))?(?![\w*(])|(RECTO_\w+)(?!\w|\*|\.\.)|"
                  r"\*(\w+)\*|(?:recto(?:/\w+)?\.h)\b")
OPEN, CLOSE = "([", ".,:;)]?!"


class Names(typing.NamedTuple):
    pages: dict  # of a function: its page
    errors: dict  # code: meaning
    variables: set
    commands: set


class Part(typing.NamedTuple):
    """Words, or a name with what sticks to it."""
    kind: str  # text, quote, argument, function, error, variable, constant, header, word, command
    text: str
    before: str = ""
    behind: str = ""


def kind_of(match, known, arguments):
    quote, function, constant, word = match.groups()
    if quote:
        command = re.fullmatch(r"recto ([a-z]+)", quote)
        if command and command.group(1) in known.commands:
            return "command", command.group(1)
        return ("argument" if quote in arguments else "quote"), quote
    if function:
        return ("function" if function in known.pages else "text"), function
    if constant:
        return ("error" if constant in known.errors else
                "variable" if constant in known.variables else "constant"), constant
    return ("word", word) if word else ("header", match.group(0))


def parts(text, known, arguments=()):
    """The text as Parts; a name ends at the next blank."""
    at = 0
    for match in NAME.finditer(text):
        start, end = match.span()
        if start < at:
            continue
        start = max(text.rfind(" ", at, start) + 1, at)
        end = text.find(" ", end) if " " in text[end:] else len(text)
        kind, name = kind_of(match, known, arguments)
        if kind == "text":
            continue
        if text[at:start].strip():
            yield Part("text", text[at:start].strip())
        yield Part(kind, name, text[start:match.start()], text[match.end():end])
        at = end
    if text[at:].strip():
        yield Part("text", text[at:].strip())
