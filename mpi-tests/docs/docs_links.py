# SPDX-License-Identifier: BSD-3-Clause
"""Shows that the links between the pages of the documentation lead somewhere, to files and
to headings, and that docs/README.md leads to every page."""
import sys
import urllib.parse

from pages import SOURCE, Page, pages


def check(page, line, target, anchors):
    """What is wrong with a link, or None."""
    path, _, anchor = target.partition("#")
    file = (page.path.parent / urllib.parse.unquote(path)).resolve() if path else page.path
    if not file.exists():
        return f"{page.name}:{line}: no {path}"
    if anchor and file.suffix == ".md":
        if file not in anchors:
            anchors[file] = Page(file).anchors()
        if anchor not in anchors[file]:
            return f"{page.name}:{line}: {target}: no such heading"
    return None


def main():
    wrong, count, reached, anchors = [], 0, set(), {}
    for page in pages():
        for line, target in page.links():
            if "://" in target or target.startswith("mailto:"):
                continue
            count += 1
            wrong.append(check(page, line, target, anchors))
            if page.path == SOURCE / "docs" / "README.md":
                reached.add((page.path.parent / target.partition("#")[0]).resolve())
    wrong += [f"docs/README.md does not lead to {page.name}" for page in pages()
              if page.name.startswith("docs/") and page.name != "docs/README.md"
              and page.path not in reached]
    wrong = [text for text in wrong if text]
    print(f"{count} links")
    if wrong or count < 20:
        sys.exit("\n".join(wrong) or "too few links: are the pages read?")


main()
