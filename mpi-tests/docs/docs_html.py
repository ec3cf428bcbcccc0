# SPDX-License-Identifier: BSD-3-Clause
"""Shows that doxygen made HTML of all Markdown pages and of the manual without a warning,
that no link in it is dead once it is installed, and that it names no folder of the build."""
import html.parser
import re
import subprocess
import urllib.parse

from common import BUILD, SOURCE, WORK, expect, finish, fresh, skip_unless


class Page(html.parser.HTMLParser):
    """What a page links to, and what may be linked to in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.words = set(), set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.add(value)
            if name in ("id", "name") and value:
                self.anchors.add(value)

    def handle_data(self, data):
        self.words.append(data)


def install():
    subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(WORK / "prefix"),
                    "--component", "dev"], check=True, stdout=subprocess.DEVNULL,
                   timeout=100)
    return next((WORK / "prefix").glob("**/html"))


def check_links(folder, pages):
    for name, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("javascript:"):
                continue
            other = parts.path or name
            expect((folder / urllib.parse.unquote(other)).exists(), f"{name}: {link} is dead")
            if parts.fragment and other in pages:
                expect(parts.fragment in pages[other].anchors, f"{name}: no anchor {link}")


def check_pages(pages):
    """Each file's title and last heading are there, and each page of the manual."""
    words = {name: " ".join(" ".join(page.words).split()) for name, page in pages.items()}
    everything = "\n".join(words.values())
    files = [*SOURCE.glob("*.md"), *SOURCE.glob("docs/*.md")]
    expect(len(files) > 5, f"files: {files}")
    for file in files:
        headings = re.findall(r"^#+ ([\w ,]+)$", file.read_text(encoding="utf-8"), re.M)
        for heading in headings[:1] + headings[-1:]:
            expect(heading in everything, f"{file}: no {heading!r}")
    for page in (BUILD / "docs" / "man").glob("man*/*"):
        if not page.read_text(encoding="utf-8").startswith(".so "):
            name, section = page.name.rsplit(".", 1)
            expect(f"man{section}_{name}.html" in pages, f"no page {page.name}")


def main():
    warnings = BUILD / "docs" / "html.warnings"
    skip_unless((BUILD / "docs" / "html").is_dir(), "built without HTML documentation")
    fresh()
    expect(warnings.read_text(encoding="utf-8") == "", warnings.read_text(encoding="utf-8"))
    folder = install()
    texts = {f.name: f.read_text(encoding="utf-8") for f in folder.glob("*.html")}
    pages = {name: Page(text) for name, text in texts.items()}
    check_links(folder, pages)
    check_pages(pages)
    for file in folder.rglob("*"):
        expect(file.is_dir() or str(SOURCE).encode() not in file.read_bytes(),
               f"{file.name} names {SOURCE}")
    finish(f"{len(pages)} pages, {sum(len(p.links) for p in pages.values())} links")


main()
