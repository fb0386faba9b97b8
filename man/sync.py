#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Holds the manual against the tables of the source, and writes anew what is made of them.

    man/sync.py                         says what differs; exits 1 where something does
    man/sync.py --write                 writes it
    man/sync.py --gatewayctl PROGRAM    also compares gatewayctl(8) with this program's --help

    gateway.env(5)              default and range of each option; an option that is missing is added
                                with its help text, and wants a sentence of yours
    docs/configuration.md       the tables, from gateway.env(5)
    openclaw-gateway(7)         the codes of errors
    gatewayctl(8)               verbs and flags
"""

import argparse
import os
import re
import subprocess
import sys
import textwrap

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FACT = re.compile(r"^(No default|Default [^;\n]*)[.;][^\n]*$")
RETRY = {
    "NEVER": "",
    "LATER": ", later",
    "SAME_KEY": ", with the same key",
}


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        return file.read()


def rows(path, pattern):
    """The argument lists of the macro rows of a .def file."""
    text = re.sub(r"/\*.*?\*/", "", read(path), flags=re.S)
    for macro, arguments in re.findall(rf"^({pattern})\((.*)\)$", text, flags=re.M):
        parts = re.findall(r'"((?:[^"\\]|\\.)*)"|([^,"\s][^,"]*)', arguments)
        yield macro, [quoted or bare.strip() for quoted, bare in parts]


# ---- options ------------------------------------------------------------------------------------


def number(text):
    return str(int(text))


def fact(macro, row):
    """The sentence about default and range, and the help text."""
    if macro == "OPTION_INT":
        return f"Default {number(row[2])}; from {number(row[3])} to {number(row[4])}.", row[5]
    if macro == "OPTION_CHOICE":
        return f"Default {row[2]}; one of {row[3].replace('|', ', ')}.", row[4]
    if macro == "OPTION_SECRET":
        return "No default.", row[2]
    return (f"Default {row[2]}." if row[2] else "No default."), row[4]


def options():
    """name -> (fact, help), in the order of the table."""
    found = {}
    for macro, row in rows("src/base/option.def", "OPTION_[A-Z]+"):
        if macro == "OPTION_TEXT" and len(row) == 4:  # an empty default
            row.insert(2, "")
        found[row[1]] = fact(macro, row)
    return found


def option_items(page):
    """name -> the lines of its entry in gateway.env(5)."""
    found, name = {}, None
    section = page[page.index("\n.Sh OPTIONS\n") : page.index("\n.Sh ENVIRONMENT\n")]
    for line in section.split("\n"):
        head = re.match(r"\.It Ev ([A-Z0-9_]+)$", line)
        if head:
            name = head.group(1)
            found[name] = []
        elif line.startswith((".El", ".Ss", ".Sh")):
            name = None
        elif name:
            found[name].append(line)
    return found


def synced_options(page):
    known, items = options(), option_items(page)
    for name in items.keys() - known.keys():
        page = page.replace("\n".join([f".It Ev {name}", *items[name], ""]), "")
    before = None
    for name, (sentence, help_text) in known.items():
        old = "\n".join([f".It Ev {name}", *items.get(name, [])])
        if name in items:
            kept = [line for line in items[name] if not FACT.match(line)]
            page = page.replace(old + "\n", "\n".join([f".It Ev {name}", *kept, sentence, ""]))
        else:
            text = help_text[0].upper() + help_text[1:].rstrip(".") + "."
            new = f".It Ev {name}\n{text}\n{sentence}\n"
            items = option_items(page)
            anchor = "\n".join([f".It Ev {before}", *items[before], ""])
            page = page.replace(anchor, anchor + new)
        items, before = option_items(page), name
    return page


# ---- configuration.md ---------------------------------------------------------------------------


def markdown_line(line):
    match = re.match(r"\.(Ev|Ql|Pa|Fl|Pq Ql|Pq)\s+(.*?)(?: ([.,;:)]))?$", line)
    if not match:
        return line.replace("\\(aq", "'").replace("\\&", "")
    macro, text, end = match.groups()
    text = text.strip().replace("\\&", "")
    if macro == "Fl":
        text = "-" + text.replace("Fl ", "-")
    inner = text if macro == "Pq" else f"`{text.rstrip()}`"
    if macro.startswith("Pq"):
        inner = f"({inner})"
    return inner + (end or "")


def configuration_tables(page):
    section = page[page.index("\n.Sh OPTIONS\n") : page.index("\n.Sh ENVIRONMENT\n")]
    out = []
    for part in section.split("\n.Ss ")[1:]:
        title = part.split("\n", 1)[0]
        out += ["", f"### {title}", "", "| option | default | allowed | what it is |", "|---|---|---|---|"]
        for name, lines in option_items("\n.Sh OPTIONS\n" + part + "\n.Sh ENVIRONMENT\n").items():
            sentence = next((line for line in lines if FACT.match(line)), "No default.")
            prose = " ".join(markdown_line(line) for line in lines if not FACT.match(line))
            default = re.match(r"Default (.*?)(?:;|\.$)", sentence)
            allowed = re.search(r"; (?:one of )?(.*)\.$", sentence)
            out.append(
                f"| `{name}` | {f'`{default.group(1)}`' if default else ''} "
                f"| {allowed.group(1) if allowed else ''} | {prose.replace('|', chr(92) + '|')} |"
            )
    return "\n".join(out).strip()


# ---- blocks between two comments ----------------------------------------------------------------


def between(page, name, text, begin='.\\" {} begins', end='.\\" {} ends'):
    begin, end = begin.format(name), end.format(name)
    head, rest = page.split(begin + "\n", 1)
    _, tail = rest.split(end + "\n", 1)
    return f"{head}{begin}\n{text}\n{end}\n{tail}"


def errors_block():
    out = [".Bl -tag -width Ds"]
    seen = set()
    for _, (_, code, http, retry, status, phrase) in rows("src/base/error.def", "ERROR"):
        if code not in seen:
            out += [f".It Sy {code} Pq {http}, exit {status}{RETRY[retry]}", escaped(phrase) + "."]
        seen.add(code)
    return "\n".join([*out, ".El"])


def sentence_case(text):
    """Its first letter a capital, where the first word is one of language and not one to type."""
    return text if re.match(r"\S*[:/]", text) else text[0].upper() + text[1:]


def escaped(text):
    text = "\n".join(textwrap.wrap(text, 78, break_on_hyphens=False))
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def verbs_block(program):
    usage = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    out, open_flags = [".Bl -tag -width Ds"], False
    for line in usage.split("\n\nThe exit status", 1)[0].split("\n")[2:]:
        verb = re.match(r"  (\S.*)$", line)
        flag = re.match(r"        (--[a-z-]+)(?: ([A-Z]+(?:[/:][A-Z]+)?))? +(\S.*)$", line)
        if verb:
            if open_flags:
                out.append(".El")
            open_flags = False
            words = [word for word in verb.group(1).split()]
            names = " ".join(word for word in words if not word.isupper())
            operands = " ".join(word for word in words if word.isupper())
            out.append(f".It Cm {names}" + (f" Ar {operands}" if operands else ""))
        elif flag:
            if not open_flags:
                out.append(".Bl -tag -width Ds -compact")
            open_flags = True
            name, value, text = flag.groups()
            out.append(f".It Fl Fl {name[2:]}" + (f" Ar {value}" if value else ""))
            out.append(escaped(sentence_case(text)) + ".")
        elif line.strip():
            text = line.strip()
            for sentence in re.split(r"(?<=[.;]) ", sentence_case(text).rstrip(".") + "."):
                out.append(escaped(sentence))
    if open_flags:
        out.append(".El")
    return "\n".join([*out, ".El"])


# ---- all of it ----------------------------------------------------------------------------------


def wanted(program):
    page = synced_options(read("man/gateway.env.5"))
    files = {"man/gateway.env.5": page}
    files["docs/configuration.md"] = between(
        read("docs/configuration.md"),
        "options",
        "\n" + configuration_tables(page) + "\n",
        "<!-- {}: from man/gateway.env.5, by man/sync.py -->",
        "<!-- {} end -->",
    )
    files["man/openclaw-gateway.7"] = between(
        read("man/openclaw-gateway.7"), "errors", errors_block()
    )
    if program:
        files["man/gatewayctl.8"] = between(
            read("man/gatewayctl.8"), "verbs", verbs_block(program)
        )
    return files


def differing(program=None):
    """path -> its text as it should be, where it is not that."""
    return {path: text for path, text in wanted(program).items() if text != read(path)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--gatewayctl", metavar="PROGRAM")
    arguments = parser.parse_args()
    different = differing(arguments.gatewayctl)
    for path, text in different.items():
        print(f"{path}: " + ("written" if arguments.write else "differs from the tables"))
        if arguments.write:
            with open(os.path.join(TOP, path), "w", encoding="utf-8") as file:
                file.write(text)
    return 1 if different and not arguments.write else 0


if __name__ == "__main__":
    sys.exit(main())
