#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What can be said of the documents without a gateway: what they quote stands there, what they give to
compile compiles, links lead somewhere, and messages that they explain are ones that the programs print.

    ```c quote=FILE         these lines, one after the other, are in FILE; `…` alone: lines between
    ```c compile=FILE       compiles as FILE would in a build with --enable-werror, with the rows of the page
    ```c row=FILE           lines to be added to FILE, a table that is included
    `"message"`             in the headings of docs/troubleshooting.md: a program prints it
    | status | `CODE` |     the rows of its table are those of src/base/error.def
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

from tap import Tap

SOURCE = os.environ["abs_top_srcdir"]
PAGES = ["README.md", *(os.path.relpath(p, SOURCE) for p in sorted(glob.glob(f"{SOURCE}/docs/*.md")))]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)
PRINTED_BY = ("src", "sql/function", "deploy/lib", "deploy/quickstart", "deploy/supervise")

tap = Tap()


def read(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
        return file.read()


def test_quote(page, file, body):
    text, at = read(file), 0
    for chunk in re.split(r"^…$\n?", body, flags=re.M):
        found = text.find(chunk, at)
        if found < 0:
            tap.ok(False, f"{page} quotes {file}", f"not there, or not in this order:\n{chunk}")
            return
        at = found + len(chunk)
    tap.ok(True, f"{page} quotes {file}")


def test_compile(page, file, body, rows):
    """As the reader does it: the file as shown, the rows of the page at the end of their tables, warnings
    as errors. The tables' own readers (registry.c) are compiled with them, too."""
    compiler = os.environ.get("TEST_CC")
    if not compiler:
        tap.skip(f"{page}: {file} compiles", "there is no TEST_CC")
        return
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, os.path.basename(file))
        with open(path, "w", encoding="utf-8") as out:
            out.write(body)
        sources = [path]
        for table, added in rows:
            copy = os.path.join(directory, os.path.relpath(table, "src"))
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            with open(copy, "w", encoding="utf-8") as out:
                out.write(read(table) + added)
            sources.append(os.path.join(SOURCE, os.path.splitext(table)[0] + ".c"))
        result = subprocess.run(
            f"{compiler} -Werror -fsyntax-only -iquote {directory} {' '.join(sources)}",
            shell=True,
            cwd=os.environ["abs_top_builddir"],
            capture_output=True,
            text=True,
        )
    tap.ok(result.returncode == 0, f"{page}: {file} compiles", result.stderr)


def test_blocks(page):
    blocks = []
    for _, info, body in FENCE.findall(read(page)):
        blocks.append((dict(word.split("=", 1) for word in info.split() if "=" in word), body))
    rows = [(words["row"], body) for words, body in blocks if "row" in words]
    for words, body in blocks:
        if "quote" in words:
            test_quote(page, words["quote"], body)
        if "compile" in words:
            test_compile(page, words["compile"], body, rows)


def anchors(path):
    heads = re.findall(r"^#+ (.*)$", re.sub(FENCE, "", read(path)), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_links(page):
    text = re.sub(FENCE, "", read(page))
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        full = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not os.path.exists(os.path.join(SOURCE, full)):
            dead.append(target)
        elif anchor and full.endswith(".md") and anchor not in anchors(full):
            dead.append(target)
    tap.equal(dead, [], f"the links of {page} lead somewhere")


def printed():
    """All that programs may print, as one text, as it stands in their sources."""
    out = []
    for place in PRINTED_BY:
        full = os.path.join(SOURCE, place)
        paths = [full] if os.path.isfile(full) else glob.glob(f"{full}/**/*.*", recursive=True)
        for path in filter(os.path.isfile, paths):
            with open(path, encoding="utf-8", errors="replace") as file:
                out.append(file.read())
    # a string of C that goes on in the next line
    return re.sub(r'"\s*\n\s*"', "", "\n".join(out))


def test_symptoms():
    page = "docs/troubleshooting.md"
    all_printed = printed()
    symptoms = re.findall(r"^### .*?`([^`]+)`", read(page), flags=re.M)
    tap.ok(len(symptoms) >= 10, f"{page} has symptoms", symptoms)
    for symptom in symptoms:
        parts = [part.strip() for part in symptom.split("…") if part.strip()]
        lost = [part for part in parts if part not in all_printed]
        tap.equal(lost, [], f"a program prints: {symptom}")


def test_codes():
    """Each error that a client may get has its row: status, code, words."""
    page = "docs/troubleshooting.md"
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \| (.*?) \| .+\|$", read(page), flags=re.M))
    pattern = r'^ERROR\(\w+, "(\w+)", (\d+), \w+, \d+, "(.*)"\)$'
    errors = {(http, code, words) for code, http, words in re.findall(pattern, read("src/base/error.def"), re.M)}
    tap.ok(len(errors) > 30, "there are errors")
    tap.equal(rows ^ errors, set(), f"{page} has a row for each error there is, and no other")


for each in PAGES:
    test_blocks(each)
    test_links(each)
test_symptoms()
test_codes()
sys.exit(tap.done())
