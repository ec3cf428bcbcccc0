# SPDX-License-Identifier: BSD-3-Clause
"""Writes pages as Markdown, for the HTML build."""


def write(pages, known, folder):
    pass
