# SPDX-License-Identifier: GPL-2.0
"""Checks that C helper functions forward and do nothing else.

A helper's body is one statement: `f(args);` or `return f(args);`, or the return
of one constant. Where `#if` picks between variants, each variant is one. The
arguments are plain: no nested calls, no operators, no access to fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r]+|\\\n)
  | (?P<newline>\n)
  | (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<str>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
  | (?P<ident>[A-Za-z_]\w*)
  | (?P<num>\d\w*)
  | (?P<punct>->|==|!=|<=|>=|&&|\|\||<<|>>|\+\+|--|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CONTROL = frozenset({"if", "else", "for", "while", "do", "switch", "goto", "case"})
_OPERATORS = frozenset(
    {
        "->",
        "?",
        "=",
        "==",
        "!=",
        "&&",
        "||",
        "<<",
        ">>",
        "+",
        "-",
        "/",
        "%",
        "|",
        "^",
        "!",
        "++",
        "--",
    }
)
# Directives and declarations of a file that look like calls but are not in bodies.
_NOT_A_CALL = frozenset({"sizeof", "typeof", "__typeof__"})

Token = tuple[str, str, int]  # kind, text, line


class ScanError(Exception):
    """The text is not C as far as the scanner can tell."""


def _lex(text: str) -> list[Token]:
    """Tokens; a preprocessor line becomes one token of kind `directive`."""
    tokens: list[Token] = []
    line, pos, fresh = 1, 0, True
    while pos < len(text):
        if fresh and (found := re.compile(r"[ \t]*#(?:\\\n|[^\n])*").match(text, pos)):
            tokens.append(("directive", found.group().strip(), line))
        else:
            found = _TOKEN.match(text, pos)
            if found is None:
                raise ScanError(f"line {line}: cannot lex this text")
            kind = found.lastgroup or ""
            if kind not in {"space", "newline", "comment"}:
                tokens.append((kind, found.group(), line))
            fresh = kind == "newline" or (fresh and kind in {"space", "comment"})
        line += found.group().count("\n")
        pos = found.end()
    return tokens


def _bodies(tokens: list[Token]) -> Iterator[tuple[str, int, list[Token]]]:
    """Name, line and body tokens of each function."""
    depth, start = 0, 0
    head: list[Token] = []
    for i, (kind, text, line) in enumerate(tokens):
        if text == "{" and kind == "punct":
            if depth == 0:
                start = i + 1
            depth += 1
        elif text == "}" and kind == "punct":
            depth -= 1
            if depth < 0:
                raise ScanError(f"line {line}: unmatched }}")
            if depth == 0:
                if head and head[-1][1] == ")":
                    name, at = _name_of(head)
                    yield name, at, tokens[start:i]
                head = []
        elif depth == 0:
            head = [] if text == ";" or kind == "directive" else [*head, (kind, text, line)]
    if depth:
        raise ScanError("a { that is never closed")


def _name_of(head: list[Token]) -> tuple[str, int]:
    for (kind, text, line), following in pairwise(head):
        if kind == "ident" and following[1] == "(" and not text.startswith("__attribute"):
            return text, line
    return "?", head[0][2]


def _variants(body: list[Token]) -> list[list[Token]]:
    """The body, cut at its preprocessor lines."""
    variants: list[list[Token]] = [[]]
    for token in body:
        if token[0] == "directive":
            variants.append([])
        else:
            variants[-1].append(token)
    return [v for v in variants if v]


def _fault(statement: list[Token]) -> str | None:
    """Why this is not one forwarding statement, None if it is one."""
    texts = [text for _, text, _ in statement]
    if texts.count(";") != 1 or texts[-1] != ";" or "{" in texts:
        return "more than one statement"
    for word in texts:
        if word in _CONTROL:
            return f"a decision (`{word}`)"
        if word in _OPERATORS:
            return f"the operator `{word}`"
    calls = [
        text
        for (kind, text, _), following in pairwise(statement)
        if kind == "ident" and following[1] == "(" and text not in _NOT_A_CALL | {"return"}
    ]
    if len(calls) > 1:
        return f"more than one call ({', '.join(calls)})"
    if not calls and not (texts[0] == "return" and len(texts) <= 4):
        return "no call"
    return None


def check(text: str) -> Iterator[tuple[int, str]]:
    """Findings as (line, message)."""
    tokens = _lex(text)
    for kind, directive, line in tokens:
        if kind == "directive" and re.match(r"#\s*define\b.*[{;]", directive, re.DOTALL):
            yield line, "a macro with statements: write the helper out"
    for name, line, body in _bodies(tokens):
        variants = _variants(body)
        if not variants:
            continue  # an empty helper: nothing to do in this configuration
        for variant in variants:
            fault = _fault(variant)
            if fault:
                yield line, f"helper {name} does more than forward: {fault}; move it to Rust"
