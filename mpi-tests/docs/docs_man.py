# SPDX-License-Identifier: BSD-3-Clause
"""Shows that the manual is whole: each function that the library exports, each command and
each variable is in exactly one page, with all options that --help names; that mandoc has
nothing to say against a page, that each can be rendered, that what they refer to is there;
and that a function which no page takes is an error."""
import json
import re
import shutil
import subprocess
import sys

from common import BUILD, SOURCE, WORK, expect, finish, fresh, skip_unless

MAN = BUILD / "docs" / "man"
RECTO = BUILD / "bin" / "recto"
LINK = re.compile(r"\.so (man(\d)/[\w-]+\.\2)\n")


def run(*words):
    return subprocess.run([str(w) for w in words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)


def read_pages():
    """Pages by "name.section", links apart."""
    texts = {f.name: f.read_text(encoding="utf-8") for f in MAN.glob("man*/*")}
    links = {name: text for name, text in texts.items() if text.startswith(".so ")}
    return {n: t for n, t in texts.items() if n not in links}, links


def names_of(page):
    """What the section NAME lists."""
    return re.findall(r"^\.Nm ([\w-]+)", page.split("\n.Sh ")[1], re.M)


def check_functions(pages, links):
    library = run("nm", "-D", "--defined-only", BUILD / "lib" / "librecto.so").stdout
    functions = set(re.findall(r" T (recto_\w+)@@RECTO_", library))
    expect(len(functions) > 100, f"{len(functions)} functions in librecto.so")
    listed = [name for page, text in pages.items() if page.endswith(".3")
              for name in names_of(text)]
    for name in functions:
        expect(listed.count(name) == 1, f"{name} is in {listed.count(name)} pages")
    for name in set(listed) - functions:
        expect(f"{name}.3" in pages, f"{name} is no function, nor a page")
    for name in listed:
        expect(f"{name}.3" in pages or f"{name}.3" in links, f"no page {name}.3")


def check_links(pages, links):
    for name, text in links.items():
        match = LINK.fullmatch(text)
        target = MAN / match.group(1) if match else None
        expect(target and target.is_file() and name.rsplit(".", 1)[0]
               in names_of(pages[target.name]), f"{name}: {text}")
    for name, text in pages.items():
        for other, section in re.findall(r"Xr ([\w-]+) (\d)", text):
            expect(f"{other}.{section}" in {**pages, **links},
                   f"{name}: no {other}({section})")


def check_commands(pages):
    commands = set(re.findall(r"^(?:usage:|      ) recto ([a-z]+) ",
                              run(RECTO, "--help").stdout, re.M))
    expect(len(commands) > 10, f"commands: {commands}")
    named = {n[len("recto-"):-2] for n in pages if re.match(r"recto-.*\.1$", n)}
    expect(named == commands, f"commands: {named ^ commands}")
    for command in commands & named:
        page = pages[f"recto-{command}.1"]
        text = run(RECTO, command, "--help").stdout
        for option in set(re.findall(r"(?:^ +|\[(?=--))(--?[a-z][-a-z]*)", text, re.M)):
            expect(f"Fl {option[1:]}" in page, f"recto-{command}(1) lacks {option}")
        for code in re.findall(r"[:;]\s+(\d) ", text[text.lower().index("exit status"):]):
            expect(f"\n.It {code}\n" in page, f"recto-{command}(1) lacks exit status {code}")
        for section in ["SYNOPSIS", "EXAMPLES", "SEE ALSO"]:
            expect(f"\n.Sh {section}\n" in page, f"recto-{command}(1) lacks {section}")


def check_variables(pages):
    variables = json.loads(run(RECTO, "env", "--json").stdout)["variables"]
    listed = re.findall(r"^\.It Ev (\w+)$", pages["recto.7"], re.M)
    expect(listed == [v["name"] for v in variables], f"recto(7): {listed}")


def check_form(pages):
    """No warning, and a text that has all the names."""
    files = sorted(f for f in MAN.glob("man*/*") if f.name in pages)
    lint = run("mandoc", "-Tlint", "-Wwarning", *files)
    expect(lint.returncode == 0 and not lint.stdout, lint.stdout + lint.stderr)
    for file in files:
        text = run("mandoc", "-Tascii", "-Owidth=78", file)
        plain = re.sub("\b.", "", text.stdout)
        expect(text.returncode == 0 and not text.stderr, f"{file}: {text.stderr}")
        for name in names_of(pages[file.name]):
            expect(name in plain, f"{file.name}: {name} is not rendered")
        if shutil.which("man"):
            text = run("man", "--warnings", "-l", file)
            expect(text.returncode == 0 and not text.stderr, f"man {file}: {text.stderr}")


def check_failure():
    include = WORK / "include"
    shutil.copytree(SOURCE / "include", include)
    header = include / "recto.h"
    text = header.read_text(encoding="utf-8")
    header.write_text(text.replace("int recto_barrier(void);",
                                   "int recto_barrier(void);\nint recto_unheard(void);"),
                      encoding="utf-8")
    made = run(sys.executable, "-B", SOURCE / "src/man/manual.py", "--source", WORK,
               "--recto", RECTO, "--version", "0", "--man", WORK / "man")
    expect(made.returncode == 1 and "recto_unheard is in 0 pages" in made.stderr,
           f"a function of no page: {made}")


def main():
    skip_unless(MAN.is_dir(), "built without the manual")
    skip_unless(shutil.which("mandoc"), "no mandoc")
    fresh()
    pages, links = read_pages()
    if (BUILD / "lib" / "librecto.so").exists():
        check_functions(pages, links)
    check_links(pages, links)
    check_commands(pages)
    check_variables(pages)
    check_form(pages)
    check_failure()
    finish(f"{len(pages)} pages, {len(links)} links to them")


main()
