#!/usr/bin/env python3
"""The public C++ API as a list of declarations, held against tests/data/api.txt: a change of it is meant, or a fault.

usage: api.py [--write]     compares, exit status 1 and the difference where they are not the same; --write: takes it over
"""
import difflib
import os
import re
import sys

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
HEADERS = os.path.join(ROOT, "include/ravenwing")
LIST = os.path.join(ROOT, "tests/data/api.txt")
LITERAL = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''
SCOPE = re.compile(r"(?:namespace|class|struct|enum(?: class)?)\b(?!.*[(=])")


def without_comments(text):
    """Nor preprocessor lines."""
    text = re.sub(rf"({LITERAL})|//[^\n]*", lambda found: found[1] or "", text)
    return re.sub(r"(?m)^#.*$", "", text)


def end_of_block(text, begin):
    """Behind the brace that closes the one at `begin`."""
    depth = 0
    for token in re.finditer(rf"{LITERAL}|[{{}}]", text[begin:]):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0:
            return begin + token.end()
    raise ValueError("a brace is not closed")


def tidied(declaration):
    text = " ".join(declaration.split()).replace("( ", "(")
    # The body of a constructor is preceded by what it initialises.
    return re.sub(r"\) : [\w:]+[({].*$", ")", text)


def declarations(text):
    """(scope, declaration) of all that a user may name, in order."""
    text = without_comments(text)
    scopes, at, begin, parentheses = [], 0, 0, 0  # scopes: [name, is_enum, is_public]

    def take(end):
        declaration = tidied(text[begin:end])
        while label := re.match(r"(public|private|protected): ?", declaration):
            scopes[-1][2] = label[1] == "public"
            declaration = declaration[label.end():]
        return declaration

    def found(declaration):
        hidden = "gnu::visibility" in declaration or re.fullmatch(r"(friend )?(class|struct) \w+;", declaration)
        declaration = declaration.rstrip(";")
        if declaration and not hidden and all(scope[2] for scope in scopes):
            yield "::".join(scope[0] for scope in scopes if scope[0] != "ravenwing"), declaration

    while at < len(text):
        literal = re.compile(LITERAL).match(text, at)
        character = text[at]
        if literal:
            at = literal.end()
            continue
        at += 1
        parentheses += {"(": 1, ")": -1}.get(character, 0)
        if parentheses or character not in "{};":
            continue
        if character == ";":
            yield from found(take(at))
            begin = at
        elif character == "}":
            scope = scopes.pop()
            if scope[1]:
                scopes.append(scope)
                for value in text[begin:at - 1].split(","):
                    yield from found(tidied(value))
                scopes.pop()
            begin = at
        elif SCOPE.match(head := take(at - 1)):
            if not head.startswith("namespace"):
                yield from found(head)
            name = re.sub(r"\[\[.*?\]\]|\bfinal\b", "", head.split(" : ")[0]).split()[-1]
            scopes.append([name, head.startswith("enum"), not head.startswith("class")])
            begin = at
        else:
            at = end_of_block(text, at - 1)
            # A function that is defined here, else a value in braces: the declaration goes on behind that.
            if re.search(r"\)( const| noexcept| override)*( : .*)?$", head):
                yield from found(head)
                while re.match(r"\s*{", text[at:]):  # that was the value of a member, and here is the body
                    at = end_of_block(text, text.index("{", at))
                begin = at


def listing():
    for name in sorted(os.listdir(HEADERS)):
        with open(os.path.join(HEADERS, name), encoding="utf-8") as file:
            lines = [f"  {scope + ': ' if scope else ''}{declaration}" for scope, declaration in declarations(file.read())]
        if lines:
            yield from [name, *lines]


def main():
    now = list(listing())
    if sys.argv[1:] == ["--write"]:
        with open(LIST, "w", encoding="utf-8") as file:
            file.write("\n".join(now) + "\n")
        return
    with open(LIST, encoding="utf-8") as file:
        known = file.read().splitlines()
    if now != known:
        print("\n".join(difflib.unified_diff(known, now, "tests/data/api.txt", "include/ravenwing", lineterm="", n=1)))
        sys.exit("The public API changed. If that is meant: python3 tests/tidy/api.py --write, and a line in CHANGELOG.md; "
                 "docs/cpp.md says what may change.")


if __name__ == "__main__":
    main()
