# SPDX-License-Identifier: GPL-2.0
"""A small Rust scanner shared by the checkers in scripts/.

It lexes Rust properly (nested comments, raw strings, lifetimes against
character literals) and finds what the checkers ask about: functions, unsafe
blocks, the statement a token belongs to, and the comments that stand above it.
It is no parser: it works on brackets and keywords, which is enough for the
questions asked and cannot be misled by the contents of strings or comments.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {close: open_ for open_, close in OPENERS.items()}

# Folders that hold products or other people's code, and files that the build writes.
SKIPPED_DIRS = frozenset({".git", "out", "target", "__pycache__", "node_modules"})
GENERATED_SUFFIXES = ("_generated.rs", ".mod.rs")

# What follows a closing brace when the statement goes on.
_NO_STATEMENT_BEGINS_WITH = frozenset({"else", "as", ".", "?", ")", "=", "=>"})

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<linecomment>//[^\n]*)
  | (?P<blockcomment>/\*)
  | (?P<rawstr>(?:br|cr|r)(?P<hashes>\#*)")
  | (?P<str>(?:b|c)?"(?:\\.|[^"\\])*")
  | (?P<char>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'\n])')
  | (?P<lifetime>'[^\W\d]\w*)
  | (?P<ident>(?:r\#)?[^\W\d]\w*)
  | (?P<num>\d\w*(?:\.(?=\d)\d\w*)?)
  | (?P<punct>->|=>|::|\.\.=|\.\.\.|\.\.|.)
    """,
    re.VERBOSE | re.DOTALL,
)


class ScanError(Exception):
    """The text is not Rust as far as the scanner can tell."""


@dataclass(frozen=True)
class Token:
    """One token of code. Lines count from 1."""

    kind: str
    text: str
    line: int
    end_line: int


@dataclass(frozen=True)
class Comment:
    """One comment, and where it stands among the code tokens."""

    text: str
    line: int
    end_line: int
    before: int  # index of the first code token after it
    trailing: bool  # code stands before it on its first line

    @property
    def doc(self) -> bool:
        """True for outer documentation: three slashes, or a block with two stars."""
        if self.text.startswith("//"):
            return self.text.startswith("///") and not self.text.startswith("////")
        return self.text.startswith("/**") and not self.text.startswith(("/***", "/**/"))

    @property
    def body(self) -> str:
        """The text without the comment marks, lines joined by newlines."""
        if self.text.startswith("//"):
            return self.text.lstrip("/").removeprefix("!").strip()
        inner = self.text[2:-2].lstrip("*!")
        return "\n".join(line.strip().lstrip("*").strip() for line in inner.split("\n"))


@dataclass(frozen=True)
class Function:
    """A function with a name, from its first attribute to the closing brace."""

    name: str
    start: int  # token index of its first attribute or modifier
    keyword: int  # token index of `fn`
    body: tuple[int, int] | None  # token indexes of the braces, None for a declaration
    unsafe: bool
    doc: str


@dataclass(frozen=True)
class UnsafeUse:
    """One use of the keyword `unsafe`."""

    kind: str  # block, impl, fn, trait, extern, type
    index: int  # token index of the keyword
    body: tuple[int, int] | None = None


@dataclass
class Source:
    """A Rust file, lexed, with the structures that the checkers ask about."""

    path: str
    text: str
    tokens: list[Token] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    match: dict[int, int] = field(default_factory=dict)
    enclosing: list[int] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    unsafes: list[UnsafeUse] = field(default_factory=list)
    whole_file_is_test: bool = False

    @classmethod
    def parse(cls, path: str, text: str) -> Source:
        """Lex `text` and find its structures; `path` is only a label."""
        source = cls(path, text)
        source._lex()
        source._pair_brackets()
        source.functions = list(source._find_functions())
        source.unsafes = list(source._find_unsafes())
        source._test_ranges = list(source._find_test_ranges())
        source._trait_impls = list(source._find_trait_impls())
        return source

    _test_ranges: list[tuple[int, int]] = field(default_factory=list)
    _trait_impls: list[tuple[int, int]] = field(default_factory=list)

    # Lexing.

    def _lex(self) -> None:
        starts = [0] + [m.end() for m in re.finditer("\n", self.text)]

        def line_of(offset: int) -> int:
            return bisect_right(starts, offset)

        pos = 0
        last_code_line = 0
        while pos < len(self.text):
            found = _TOKEN.match(self.text, pos)
            if found is None:
                raise ScanError(f"{self.path}:{line_of(pos)}: cannot lex this text")
            kind = found.lastgroup or ""
            end = found.end()
            if found.group("rawstr"):
                kind = "str"
                end = self._end_of(found.group("hashes"), found.end(), line_of(pos))
            elif kind == "blockcomment":
                end = self._end_of_block_comment(pos, line_of(pos))
            text = self.text[pos:end]
            line, end_line = line_of(pos), line_of(max(pos, end - 1))
            pos = end
            if kind == "space":
                continue
            if kind in ("linecomment", "blockcomment"):
                trailing = line == last_code_line
                self.comments.append(Comment(text, line, end_line, len(self.tokens), trailing))
                continue
            if kind == "punct" and text in "\"'":
                raise ScanError(f"{self.path}:{line}: a quote that is never closed")
            self.tokens.append(Token(kind, text, line, end_line))
            last_code_line = end_line

    def _end_of(self, hashes: str, start: int, line: int) -> int:
        end = self.text.find('"' + hashes, start)
        if end < 0:
            raise ScanError(f"{self.path}:{line}: a raw string that is never closed")
        return end + 1 + len(hashes)

    def _end_of_block_comment(self, start: int, line: int) -> int:
        depth = 0
        for mark in re.finditer(r"/\*|\*/", self.text[start:]):
            depth += 1 if mark.group() == "/*" else -1
            if depth == 0:
                return start + mark.end()
        raise ScanError(f"{self.path}:{line}: a block comment that is never closed")

    def _pair_brackets(self) -> None:
        stack: list[int] = []
        for i, token in enumerate(self.tokens):
            if token.kind == "punct" and token.text in CLOSERS:
                if not stack or self.tokens[stack[-1]].text != CLOSERS[token.text]:
                    raise ScanError(f"{self.path}:{token.line}: unmatched {token.text}")
                opener = stack.pop()
                self.match[opener], self.match[i] = i, opener
            self.enclosing.append(stack[-1] if stack else -1)
            if token.kind == "punct" and token.text in OPENERS:
                stack.append(i)
        if stack:
            token = self.tokens[stack[-1]]
            raise ScanError(f"{self.path}:{token.line}: unmatched {token.text}")

    # Small helpers on tokens.

    def at(self, i: int) -> str:
        """The text of token `i`, or "" outside the file."""
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ""

    def is_ident(self, i: int) -> bool:
        """True if token `i` exists and is an identifier or a keyword."""
        return 0 <= i < len(self.tokens) and self.tokens[i].kind == "ident"

    def code_lines(self, first: int = 0, last: int | None = None) -> set[int]:
        """The lines that the tokens `first..=last` stand on (default: all)."""
        stop = len(self.tokens) if last is None else last + 1
        lines: set[int] = set()
        for token in self.tokens[first:stop]:
            lines.update(range(token.line, token.end_line + 1))
        return lines

    def item_start(self, i: int) -> int:
        """The first token of the item whose keyword is token `i`: attributes included."""
        while True:
            before = i - 1
            if self.at(before) in {"pub", "const", "async", "unsafe", "extern", "default"}:
                i = before
            elif self.at(before) == ")" and self.at(self.match[before] - 1) == "pub":
                i = self.match[before] - 1
            elif before >= 0 and self.tokens[before].kind == "str" and self.at(i - 2) == "extern":
                i -= 2
            elif self.at(before) == "]" and self.at(self.match[before] - 1) == "#":
                i = self.match[before] - 1
            else:
                return i

    def item_end(self, i: int) -> int:
        """The last token of the item that begins at token `i`: its `;` or closing brace."""
        while i < len(self.tokens):
            text = self.at(i)
            if text == "#" and self.at(i + 1) == "[":
                i = self.match[i + 1]
            elif text == ";":
                return i
            elif text == "{":
                return self.match[i]
            elif text in OPENERS:
                i = self.match[i]
            i += 1
        return len(self.tokens) - 1

    def statement_start(self, i: int) -> int:
        """The first token of the statement, field or match arm that token `i` belongs to."""
        while i > 0:
            before = self.at(i - 1)
            if self.tokens[i - 1].kind != "punct":
                i -= 1
            elif before in (")", "]"):
                i = self.match[i - 1]
            elif before == "}":
                if self.at(i) not in _NO_STATEMENT_BEGINS_WITH:
                    return i
                i = self.match[i - 1]
            elif before in (";", "{"):
                return i
            elif before == "," and self.enclosing[i] >= 0 and self.at(self.enclosing[i]) == "{":
                return i
            else:
                i -= 1
        return i

    # Structures.

    def _find_functions(self) -> Iterator[Function]:
        for i, token in enumerate(self.tokens):
            if token.text != "fn" or token.kind != "ident":
                continue
            name = i + 2 if self.at(i + 1) == "$" else i + 1
            if not self.is_ident(name):
                continue  # a function pointer type
            start = self.item_start(i)
            end = self.item_end(i)
            body = (self.match[end], end) if self.at(end) == "}" else None
            modifiers = {self.at(k) for k in range(start, i)}
            yield Function(
                self.at(name), start, i, body, "unsafe" in modifiers, self.doc_above(start, i)
            )

    def _find_unsafes(self) -> Iterator[UnsafeUse]:
        for i, token in enumerate(self.tokens):
            if token.text != "unsafe" or token.kind != "ident":
                continue
            k = i + 1
            if self.at(k) == "{":
                yield UnsafeUse("block", i, (k, self.match[k]))
                continue
            while self.at(k) in {"extern", "auto"} or (
                k < len(self.tokens) and self.tokens[k].kind == "str"
            ):
                k += 1
            if self.at(k) == "fn":
                named = self.is_ident(k + 1) or self.at(k + 1) == "$"
                yield UnsafeUse("fn" if named else "type", i)
            elif self.at(k) in {"impl", "trait"}:
                yield UnsafeUse(self.at(k), i)
            elif self.at(k) == "{":
                yield UnsafeUse("extern", i, (k, self.match[k]))
            elif self.at(k) == "(":
                yield UnsafeUse("attribute", i)  # #[unsafe(no_mangle)]
            else:
                yield UnsafeUse("type", i)

    def _find_test_ranges(self) -> Iterator[tuple[int, int]]:
        for i, end, _ in self.attributes():
            if self._is_test_attribute(i, end):
                yield i, self.item_end(i)

    def _is_test_attribute(self, start: int, end: int) -> bool:
        words = [self.at(k) for k in range(start, end)]
        if "cfg" not in words:
            return words[-1] == "test" if words else False
        return ("test" in words or "loom" in words) and "not" not in words

    def attributes(self) -> Iterator[tuple[int, int, bool]]:
        """Every attribute as (index of `#`, index of `]`, is it an inner one)."""
        for i in range(len(self.tokens)):
            if self.at(i) != "#" or self.tokens[i].kind != "punct":
                continue
            inner = self.at(i + 1) == "!"
            opener = i + 2 if inner else i + 1
            if self.at(opener) == "[":
                yield i, self.match[opener], inner

    def _find_trait_impls(self) -> Iterator[tuple[int, int]]:
        for i, token in enumerate(self.tokens):
            if token.text != "impl" or self.at(i - 1) not in {"", "}", ";", "{", "]", "unsafe"}:
                continue
            end = self.item_end(i)
            if self.at(end) != "}":
                continue
            head = range(i, self.match[end])
            if any(self.at(k) == "for" and self.at(k + 1) != "<" for k in head):
                yield self.match[end], end

    def in_test(self, i: int) -> bool:
        """True if token `i` is compiled for tests only."""
        return self.whole_file_is_test or any(a <= i <= b for a, b in self._test_ranges)

    def in_trait_impl(self, i: int) -> bool:
        """True if token `i` lies in an `impl Trait for Type` block."""
        return any(a <= i <= b for a, b in self._trait_impls)

    def in_extern_block(self, i: int) -> bool:
        """True if token `i` stands directly in an `extern "C" { ... }` block."""
        opener = self.enclosing[i]
        return opener > 0 and (self.at(opener - 1) == "extern" or self.at(opener - 2) == "extern")

    def function_at(self, i: int) -> Function | None:
        """The innermost function whose body holds token `i`."""
        best = None
        for fun in self.functions:
            if fun.body and fun.body[0] <= i <= fun.body[1]:
                if best is None or fun.body[0] > best.body[0]:
                    best = fun
        return best

    # Comments.

    def doc_above(self, start: int, end: int) -> str:
        """The outer documentation of the item whose first tokens are `start..=end`."""
        docs = [
            c.body for c in self.comments if c.doc and not c.trailing and start <= c.before <= end
        ]
        return "\n".join(docs)

    def comment_groups(self) -> list[list[Comment]]:
        """Comments on lines of their own, joined where they follow each other directly."""
        if self._groups is None:
            self._groups = []
            for comment in self.comments:
                if comment.trailing:
                    continue
                last = self._groups[-1][-1] if self._groups else None
                joined = last is not None and last.before == comment.before
                if joined and last.end_line + 1 == comment.line:
                    self._groups[-1].append(comment)
                else:
                    self._groups.append([comment])
        return self._groups

    _groups: list[list[Comment]] | None = None

    def tag_text(self, i: int, tag: str) -> str | None:
        """The text behind `tag` in the comment that belongs to token `i`.

        That comment stands at the end of the token's line, or directly above the
        line, or directly above the statement. None if there is no such comment.
        """
        line = self.tokens[i].line
        for comment in self.comments:
            if comment.trailing and comment.line == line and tag in comment.body:
                return _after_tag(comment.body, tag)
        start = self.statement_start(i)
        for group in reversed(self.comment_groups()):
            before = group[-1].before
            if not start <= before <= i or self.tokens[before].line != group[-1].end_line + 1:
                continue
            if before > start and self._another_unsafe_between(before, i):
                continue
            body = "\n".join(c.body for c in group)
            if tag in body:
                return _after_tag(body, tag)
        return None

    def _another_unsafe_between(self, before: int, i: int) -> bool:
        line = self.tokens[i].line
        return any(
            before <= use.index < i and use.kind == "block" and self.tokens[use.index].line != line
            for use in self.unsafes
        )

    def comment_near(self, line: int, above: int) -> str:
        """All comments that touch `line` or the `above` lines before it, as one text.

        A group of comment lines that reaches into the range counts whole.
        """
        low = line - above
        texts = [c.body for c in self.comments if c.trailing and low <= c.line <= line]
        for group in self.comment_groups():
            if group[0].line <= line and group[-1].end_line >= low:
                texts.append("\n".join(c.body for c in group))
        return "\n".join(texts)


_NEXT_TAG = re.compile(r"(?:^|\n)[A-Z][A-Z ]{2,}:")


def _after_tag(body: str, tag: str) -> str:
    text = body[body.index(tag) + len(tag) :]
    following = _NEXT_TAG.search(text)
    if following:
        text = text[: following.start()]
    return " ".join(text.split())


def files_below(root: Path, suffix: str, folders: list[str]) -> list[str]:
    """Paths relative to `root` of all files named `*suffix` in `folders`, sorted.

    The folder "." stands for the top level alone; others are walked.
    """
    found: list[str] = []
    for folder in folders:
        top = root / folder
        if folder == ".":
            found += [p.name for p in top.iterdir() if p.is_file() and p.name.endswith(suffix)]
            continue
        for here, dirs, names in os.walk(top):
            dirs[:] = [d for d in dirs if d not in SKIPPED_DIRS]
            found += [
                os.path.relpath(os.path.join(here, n), root) for n in names if n.endswith(suffix)
            ]
    return sorted(path for path in found if not path.endswith(GENERATED_SUFFIXES))


def load(root: Path, paths: list[str]) -> list[Source]:
    """Scan all `paths`, and mark the files that only a `#[cfg(test)] mod` declares."""
    sources = {p: Source.parse(p, (root / p).read_text(encoding="utf-8")) for p in paths}
    for source in list(sources.values()):
        for child in _test_modules(source):
            if child in sources:
                sources[child].whole_file_is_test = True
    return list(sources.values())


def _test_modules(source: Source) -> Iterator[str]:
    folder, name = os.path.split(source.path)
    stem = name.removesuffix(".rs")
    base = folder if stem in {"mod", "lib", "main"} or not folder else f"{folder}/{stem}"
    for i in range(len(source.tokens)):
        if source.at(i) == "mod" and source.at(i + 2) == ";" and source.in_test(i):
            child = source.at(i + 1)
            yield os.path.join(base, f"{child}.rs")
            yield os.path.join(base, child, "mod.rs")
