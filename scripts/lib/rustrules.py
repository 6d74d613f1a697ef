# SPDX-License-Identifier: GPL-2.0
"""The rules of style that scripts/unsafe_audit checks on each Rust file.

Each rule is a generator over one scanned file that yields findings. The texts
say what is wrong and what to do; tests/lint plants one fault per rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rustscan import OPENERS, Function, Source, UnsafeUse

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

# The one place for conversions: `as` needs no tag there.
CONVERSION_MODULES = frozenset({"rust/logic/conv.rs", "rust/kapi/conv.rs"})

# It includes what bindgen wrote, which is not ours to lint.
GENERATED_BINDINGS = "rust/kapi/bindings.rs"

# Functions that are called *_acquire or *_release but order no memory.
NO_ORDERING = frozenset({"lock_acquire", "lock_release", "single_release", "seq_release"})

_FILLER_WORDS = frozenset(
    "a all also always an and any are as at be because both by call called caller can cannot "
    "do does fine for from function good guarantee guaranteed guarantees has have here holds "
    "in invariants is it its just known me must never no non non-null nonnull not now null of "
    "ok okay on operation or our pointer pointers promise promised promises ptr requirements "
    "safe safely safety satisfied see should since so sound that the them there therefore "
    "these they this to true trust unsafe upheld valid we well which with".split()
)
_PLACEHOLDERS = re.compile(r"\b(TODO|FIXME|XXX|TBD)\b")
_NOTHING_ASKED = re.compile(r"\bno (safety )?(requirements|preconditions)\b", re.IGNORECASE)

_KEYWORDS_BEFORE_ARRAY = frozenset(
    "as break const dyn else for if impl in let loop match move mut pub ref return static where "
    "while yield".split()
)
_PANICKING_METHODS = frozenset({"unwrap", "expect", "unwrap_err", "expect_err"})
_PANICKING_MACROS = frozenset({"panic", "unreachable", "assert", "assert_eq", "assert_ne"})
_UNFINISHED_MACROS = frozenset({"todo", "unimplemented"})
_ORDERINGS = frozenset({"Acquire", "Release", "AcqRel", "SeqCst"})


@dataclass(frozen=True)
class Finding:
    """One violation, at a place."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.message}"


def is_filler(text: str, least_words: int = 5) -> bool:
    """True if a justification says nothing: too short, a placeholder or stock phrases."""
    words = re.findall(r"[\w'-]+", text)
    if len(words) < least_words or _PLACEHOLDERS.search(text):
        return True
    if _NOTHING_ASKED.search(text):
        return False
    content = {w.lower() for w in words} - _FILLER_WORDS
    return not content


def safety_text(source: Source, use: UnsafeUse) -> str | None:
    """The SAFETY text of an unsafe block or impl, None if it has none."""
    return source.tag_text(use.index, "SAFETY:")


def check_header(source: Source) -> Iterator[Finding]:
    """A file opens with the SPDX line and then its purpose."""
    lines = source.text.split("\n")
    if lines[0].strip() != "// SPDX-License-Identifier: GPL-2.0":
        yield Finding(
            source.path, 1, "the first line must be `// SPDX-License-Identifier: GPL-2.0`"
        )
    after = next((n for n, text in enumerate(lines[1:], 2) if text.strip()), 1)
    if not lines[after - 1].startswith("//!"):
        yield Finding(
            source.path, after, "`//!` documentation of the file must follow the SPDX line"
        )


def check_sizes(source: Source) -> Iterator[Finding]:
    """Files and functions stay readable."""
    total = source.text.count("\n")
    if total > MAX_FILE_LINES:
        yield Finding(
            source.path, 0, f"{total} lines in the file, {MAX_FILE_LINES} allowed: split it"
        )
    for fun in source.functions:
        if fun.body is None:
            continue
        lines = len(source.code_lines(fun.keyword, fun.body[1]))
        if lines > MAX_FUNCTION_LINES:
            yield Finding(
                source.path,
                source.tokens[fun.keyword].line,
                f"fn {fun.name} has {lines} lines of code, {MAX_FUNCTION_LINES} allowed: split it",
            )


def check_unsafe_comments(source: Source) -> Iterator[Finding]:
    """Each unsafe block and impl says why it is sound, each unsafe fn and trait what it asks."""
    functions = {fun.keyword: fun for fun in source.functions}
    for use in source.unsafes:
        line = source.tokens[use.index].line
        if use.kind in {"block", "impl", "extern"}:
            what = "unsafe extern block" if use.kind == "extern" else f"unsafe {use.kind}"
            text = safety_text(source, use)
            if text is None:
                yield Finding(source.path, line, f"{what} without a `// SAFETY:` comment above it")
            elif is_filler(text):
                yield Finding(
                    source.path,
                    line,
                    f"SAFETY comment says nothing ({text!r}): name the invariant or guard",
                )
        elif use.kind == "fn":
            fun = functions.get(_fn_keyword(source, use.index))
            if fun is not None and not _documents_safety(source, fun):
                yield Finding(
                    source.path, line, f"unsafe fn {fun.name} without a `# Safety` doc section"
                )
        elif use.kind == "trait":
            doc = source.doc_above(source.item_start(use.index), use.index)
            if "# Safety" not in doc:
                yield Finding(source.path, line, "unsafe trait without a `# Safety` doc section")
    for token in source.tokens:
        if token.text == "unsafe_op_in_unsafe_fn" and source.path != GENERATED_BINDINGS:
            yield Finding(
                source.path,
                token.line,
                "unsafe_op_in_unsafe_fn must not be changed: each unsafe operation needs its block",
            )


def _fn_keyword(source: Source, index: int) -> int:
    while source.at(index) != "fn":
        index += 1
    return index


def _documents_safety(source: Source, fun: Function) -> bool:
    if source.in_trait_impl(fun.keyword) or source.in_extern_block(fun.keyword):
        return True  # the trait or the C header documents it
    return "# Safety" in fun.doc


def check_orderings(source: Source) -> Iterator[Finding]:
    """Every atomic ordering names its partner."""
    for i, token in enumerate(source.tokens):
        if token.kind != "ident":
            continue
        if token.text == "Ordering" and source.at(i + 1) == "::":
            if source.at(i + 2) in {"{", "*"} or source.at(source.statement_start(i)) == "use":
                if _imports_variants(source, i):
                    yield Finding(
                        source.path,
                        token.line,
                        "orderings imported by name: write `Ordering::Acquire` where it is used",
                    )
                continue
            if source.at(i + 2) not in _ORDERINGS:
                continue
            what = f"Ordering::{source.at(i + 2)}"
        elif _is_ordered_call(source, i):
            what = f"{token.text}()"
        else:
            continue
        if not _names_partner(source, i):
            yield Finding(
                source.path,
                token.line,
                f"{what} without its partner: say `pairs with ...` in a comment above it "
                "or in the function's documentation",
            )


def _imports_variants(source: Source, i: int) -> bool:
    group = range(i + 2, source.match.get(i + 2, i + 2) + 1)
    return any(source.at(k) in _ORDERINGS | {"*", "Relaxed"} for k in group)


def _is_ordered_call(source: Source, i: int) -> bool:
    name = source.at(i)
    return (
        name.endswith(("_acquire", "_release"))
        and name not in NO_ORDERING
        and source.at(i + 1) == "("
        and source.at(i - 1) != "fn"
    )


def _names_partner(source: Source, i: int) -> bool:
    partner = re.compile(r"pairs\s+with\W+\w+", re.IGNORECASE)
    line = source.tokens[i].line
    start = source.tokens[source.statement_start(i)].line
    if partner.search(source.comment_near(line, 4 + min(line - start, 4))):
        return True
    fun = source.function_at(i)
    return fun is not None and partner.search(fun.doc) is not None


def check_casts(source: Source) -> Iterator[Finding]:
    """`as` stands in the conversions modules, or says why it loses nothing."""
    if source.path in CONVERSION_MODULES:
        return
    for i, token in enumerate(source.tokens):
        if token.text != "as" or token.kind != "ident" or source.in_test(i):
            continue
        if not _is_cast(source, i):
            continue
        yield from _need_tag(
            source,
            i,
            "CAST:",
            f"`as {source.at(i + 1)}` outside the conversions module: use a helper from "
            "conv.rs, or justify it with a `// CAST:` comment",
        )


def _is_cast(source: Source, i: int) -> bool:
    if _inside_use(source, i) or source.at(source.statement_start(i)) == "extern":
        return False
    if source.at(i + 1) == "&":
        return False  # a reference to a trait object loses nothing
    depth = 0
    k = i + 1
    while k < len(source.tokens):
        text = source.at(k)
        if text in OPENERS:
            k = source.match[k]
        elif text == "<":
            depth += 1
        elif text == ">":
            depth -= 1
            if depth < 0:
                return source.at(k + 1) != "::"  # <T as Trait>::item is no cast
        elif text in {";", ")", "]", "}", "=", "?"}:
            break
        k += 1
    return True


def _inside_use(source: Source, i: int) -> bool:
    while i >= 0:
        if any(source.at(k) == "use" for k in range(source.statement_start(i), i)):
            return True
        opener = source.enclosing[i]
        if source.at(opener) != "{" or source.at(opener - 1) != "::":
            return False
        i = opener
    return False


def check_panics(source: Source) -> Iterator[Finding]:
    """What can panic has its proof beside it."""
    for i, token in enumerate(source.tokens):
        if source.in_test(i):
            continue
        what = _panic_at(source, i)
        if what is None:
            continue
        if what.rstrip("!") in _UNFINISHED_MACROS:
            yield Finding(source.path, token.line, f"`{what}` left in the code: finish it")
            continue
        yield from _need_tag(
            source,
            i,
            "PANIC:",
            f"{what} can panic and a panic kills the machine: return an error, or prove "
            "with a `// PANIC:` comment that it cannot",
        )


def _panic_at(source: Source, i: int) -> str | None:
    token, before, after = source.tokens[i], source.at(i - 1), source.at(i + 1)
    what = None
    if token.kind == "ident" and after == "!" and before != "$":
        if token.text in _UNFINISHED_MACROS:
            return f"{token.text}!"
        if token.text in _PANICKING_MACROS:
            what = f"{token.text}!"
    elif token.kind == "ident" and token.text in _PANICKING_METHODS and before in {".", "::"}:
        what = f"{token.text}()"
    elif token.text == "[" and token.kind == "punct" and _is_index(source, i):
        what = "indexing"
    return None if what is None or _in_const(source, i) else what


def _is_index(source: Source, i: int) -> bool:
    before = i - 1
    if source.at(i + 1) == ".." and source.match[i] == i + 2:
        return False  # the whole range cannot be out of bounds
    if source.at(before) == "]":
        opener = source.match[before]
        return source.at(opener - 1) != "#" and source.at(opener - 2) != "#"
    if source.at(before) == ")":
        return source.at(source.match[before] - 1) != "pub"
    if source.at(before) == "?":
        return True
    return source.is_ident(before) and source.at(before) not in _KEYWORDS_BEFORE_ARRAY


def _in_const(source: Source, i: int) -> bool:
    """True in `const X: T = ...`, `static X: T = ...` and `const { ... }`: done at build time."""
    while i >= 0:
        head = source.statement_start(i)
        while source.at(head) in {"#", "pub"} or source.at(head - 1) in {"#", "pub"}:
            head = source.match.get(head, head) + 1
        if any(source.at(k) == "fn" for k in range(head, i)):
            return False
        if i > head and source.at(head) in {"const", "static"}:
            return True
        i = source.enclosing[i]
    return False


def check_blanket_allows(source: Source) -> Iterator[Finding]:
    """A lint is switched off for one item with a reason, never for a whole file."""
    for i, end, inner in source.attributes():
        words = {source.at(k) for k in range(i, end)}
        if source.path in CONVERSION_MODULES and "as_conversions" in words and "," not in words:
            continue
        if inner and words & {"allow", "expect"}:
            yield Finding(
                source.path,
                source.tokens[i].line,
                "lint switched off for the whole file: put `#[expect(..., reason = ...)]` on "
                "the one item that needs it",
            )


def _need_tag(source: Source, i: int, tag: str, message: str) -> Iterator[Finding]:
    text = source.tag_text(i, tag)
    line = source.tokens[i].line
    if text is None:
        yield Finding(source.path, line, message)
    elif is_filler(text, least_words=3):
        yield Finding(source.path, line, f"{tag} comment says nothing ({text!r}): give the proof")


Rule = Callable[[Source], Iterator[Finding]]

# Rules for all Rust files, for what runs in the kernel, for the module itself.
EVERYWHERE: tuple[Rule, ...] = (check_header, check_sizes)
IN_KERNEL: tuple[Rule, ...] = (*EVERYWHERE, check_unsafe_comments, check_orderings)
IN_MODULE: tuple[Rule, ...] = (*IN_KERNEL, check_casts, check_panics, check_blanket_allows)
