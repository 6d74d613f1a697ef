# SPDX-License-Identifier: GPL-2.0
"""The faults that tests/lint/run plants, and the texts for the scanner.

A fault replaces `old` (which must stand exactly once in the file) by `new`, or
appends `new` where `old` is None. `message` is a part of what the checker must
say about that file; None means that the change is harmless and must pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """One change to the clean tree."""

    name: str
    checker: str
    path: str
    old: str | None
    new: str
    message: str | None
    count: int = 1
    anywhere: bool = False


@dataclass(frozen=True)
class Scan:
    """A text for the scanner and what it must find."""

    name: str
    text: str
    wanted: dict[str, object] = field(default_factory=dict)


LICENCE = "// SPDX-License-Identifier: GPL-2.0\n"
KAPI, OBJECT, POOL = "rust/kapi/mod.rs", "rust/object/mod.rs", "rust/pool/mod.rs"
FRONT, LOGIC, WORD = "rust/front/mod.rs", "rust/logic/mod.rs", "rust/logic/word.rs"
ROOT, ZPDESC, MM = "zsmalloc_rs.rs", "zpdesc_rs.rs", "rust/helpers/mm.c"
SAFETY = "// SAFETY: The helper reads a static table that is never freed."


def _function(body: str, head: str = "fn planted(t: &[u8], c: &AtomicU64)") -> str:
    return f"\n{head} {{\n    {body}\n}}\n"


def _audit(name: str, path: str, new: str, message: str | None, **more: object) -> Fault:
    return Fault(name, "unsafe_audit", path, None, new, message, **more)


def _layers(name: str, path: str, new: str, message: str | None, **more: object) -> Fault:
    return Fault(name, "layers", path, None, new, message, **more)


def _layers_body(name: str, path: str, body: str, message: str | None) -> Fault:
    return _layers(name, path, _function(body, "fn planted()"), message)


def _repo(name: str, path: str, new: str, message: str | None) -> Fault:
    return Fault(name, "repo_check", path, None, new, message)


HEADERS_AND_SIZES = [
    Fault("no licence", "unsafe_audit", WORD, LICENCE, "// words\n", "the first line must be"),
    Fault("no purpose", "unsafe_audit", WORD, "//! Packed words.", "// Packed", "`//!` documen"),
    _audit("long file", WORD, "// line\n" * 480, "lines in the file, 500 allowed"),
    _audit("comments do not lengthen", WORD, _function("// line\n" * 100), None),
    _audit("long function", WORD, _function("f();\n" * 61), "fn planted has 63 lines of code"),
    _audit("long host test", "tests/host/a.rs", _function("f();\n" * 61), "lines of code", count=3),
]

UNSAFE = [
    Fault("no SAFETY", "unsafe_audit", KAPI, f"    {SAFETY}\n", "", "unsafe block without a `//"),
    Fault("short SAFETY", "unsafe_audit", KAPI, SAFETY, "// SAFETY: fine", "says nothing ('fine')"),
    Fault(
        "filler SAFETY",
        "unsafe_audit",
        KAPI,
        SAFETY,
        "// SAFETY: The pointer is valid and this is safe to call.",
        "SAFETY comment says nothing",
    ),
    Fault(
        "placeholder SAFETY",
        "unsafe_audit",
        KAPI,
        SAFETY,
        "// SAFETY: TODO explain why the static table outlives this call",
        "SAFETY comment says nothing",
    ),
    Fault(
        "SAFETY further up",
        "unsafe_audit",
        KAPI,
        SAFETY,
        f"{SAFETY}\n    let _ = 1;",
        "unsafe block without a `// SAFETY:`",
    ),
    Fault(
        "SAFETY behind a blank line",
        "unsafe_audit",
        KAPI,
        "    // TEST: low_bytes\n",
        "\n",
        "unsafe block without a `// SAFETY:`",
    ),
    _audit(
        "SAFETY in a string",
        KAPI,
        _function('let a = "// SAFETY: of a long and winding sort"; unsafe { f() };'),
        "unsafe block without a `// SAFETY:`",
    ),
    _audit(
        "SAFETY of another block",
        KAPI,
        _function(f"f(\n        {SAFETY}\n        unsafe {{ a() }},\n        unsafe {{ b() }},\n)"),
        "unsafe block without a `// SAFETY:`",
    ),
    _audit(
        "SAFETY above an attribute", KAPI, _function(f"{SAFETY}\n#[inline]\nunsafe {{ f() }}"), None
    ),
    _audit("SAFETY above a let", KAPI, _function(f"{SAFETY}\nlet x =\n unsafe {{ f() }};"), None),
    _audit(
        "SAFETY above a pattern",
        KAPI,
        _function(f"f();\n{SAFETY}\nlet P {{ a, b }} = unsafe {{ f() }};"),
        None,
    ),
    _audit("unsafe impl", KAPI, "\nunsafe impl Sendable for u8 {}\n", "unsafe impl without a `//"),
    _audit(
        "unsafe fn", KAPI, "\n/// Docs.\nunsafe fn f() {}\n", "unsafe fn f without a `# Safety`"
    ),
    _audit("unsafe trait", KAPI, "\npub unsafe trait T {}\n", "unsafe trait without a `# Safety`"),
    _audit(
        "unsafe fn of a trait's impl",
        KAPI,
        "\nimpl T for u8 {\n    unsafe fn f() {}\n}\n",
        None,
    ),
    _audit("function pointer", KAPI, '\ntype F = unsafe extern "C" fn(u8) -> u8;\n', None),
    _audit(
        "lint for unsafe fn bodies",
        KAPI,
        "\n#[allow(unsafe_op_in_unsafe_fn)]\nfn f() {}\n",
        "unsafe_op_in_unsafe_fn must not be changed",
    ),
    Fault("dangling TEST", "unsafe_audit", KAPI, "low_bytes", "lost_bytes", "names no test"),
    Fault(
        "blanket allow",
        "unsafe_audit",
        KAPI,
        "use crate",
        "#![allow(dead_code)]\nuse crate",
        "whole file",
    ),
]

BUDGETS = [
    _audit("unsafe in logic", WORD, _function(f"{SAFETY}\nunsafe {{ f() }}"), "where none may be"),
    _audit("unsafe in pool", POOL, _function(f"{SAFETY}\nunsafe {{ f() }}"), "where none may be"),
    _audit(
        "unsafe in the root", ROOT, _function(f"{SAFETY}\nunsafe {{ f() }}"), "where none may be"
    ),
    _audit(
        "unsafe impl in pool",
        POOL,
        "\n// SAFETY: A size refers to no thread at all.\nunsafe impl Send for S {}\n",
        "unsafe impl where none may be",
    ),
    _audit(
        "long block",
        KAPI,
        _function(
            f"{SAFETY}\nunsafe {{\n"
            + "f();\n" * 7
            + "}\n"
            + f"{SAFETY}\nunsafe {{ f() }};\n" * 14
            + "g();\n" * 20
        )
        + "const A: u8 = 1;\n" * 200,
        "an unsafe block of 9 lines, 8 allowed",
    ),
    _audit(
        "unsafe file",
        FRONT,
        _function(f"{SAFETY}\nunsafe {{ f() }};\n" * 3),
        "15 % allowed in a file",
    ),
    _audit(
        "unsafe tree",
        "rust/kapi/much.rs",
        f"{LICENCE}\n//! Much.\n" + _function(f"{SAFETY}\nunsafe {{ f() }};\n" * 25),
        "% of the code lines are unsafe, 5 % allowed",
        count=2,
        anywhere=True,
    ),
    _audit(
        "long blocks on average",
        "rust/kapi/long.rs",
        f"{LICENCE}\n//! Long.\n"
        + _function(f"{SAFETY}\nunsafe {{\nf()\n}};\n" * 2)
        + "const A: u8 = 1;\n" * 100,
        "lines per unsafe block on average",
        anywhere=True,
    ),
    _audit(
        "kunit is outside of the budget",
        "tests/kunit/suite.rs",
        _function(f"{SAFETY}\nunsafe {{ f() }};\n" * 20),
        None,
    ),
    _audit(
        "kunit needs SAFETY",
        "tests/kunit/suite.rs",
        _function("unsafe { f() };"),
        "without a `// SAFETY:`",
    ),
]

ORDERINGS = [
    _audit(
        "Acquire alone", KAPI, _function("c.load(Ordering::Acquire);"), "Ordering::Acquire without"
    ),
    _audit("Release alone", KAPI, _function("c.store(1, Ordering::Release);"), "Release without"),
    _audit("AcqRel alone", KAPI, _function("c.swap(1, Ordering::AcqRel);"), "AcqRel without"),
    _audit("SeqCst alone", KAPI, _function("fence(Ordering::SeqCst);"), "SeqCst without"),
    _audit(
        "method alone", KAPI, _function("c.load_acquire();"), "load_acquire() without its partner"
    ),
    _audit("Relaxed needs none", KAPI, _function("c.load(Ordering::Relaxed);"), None),
    _audit("other Ordering", KAPI, _function("a == Ordering::Less;"), None),
    _audit(
        "partner too far",
        KAPI,
        _function("// Pairs with `unlock`.\n" + "f();\n" * 6 + "c.load(Ordering::Acquire);"),
        "Ordering::Acquire without",
    ),
    _audit(
        "partner without a name",
        KAPI,
        _function("// It pairs with\nc.load(Ordering::Acquire);"),
        "Ordering::Acquire without",
    ),
    _audit(
        "partner across lines",
        KAPI,
        _function("// This pairs\n// with the Release in `unlock`.\nc.load(Ordering::Acquire);"),
        None,
    ),
    _audit(
        "imported ordering",
        KAPI,
        "\nuse core::sync::atomic::Ordering::{Acquire, Relaxed};\n",
        "by name",
    ),
    _audit("imported all", KAPI, "\nuse core::sync::atomic::Ordering::*;\n", "imported by name"),
    _audit(
        "imported one", KAPI, "\nuse core::sync::atomic::Ordering::Release;\n", "imported by name"
    ),
]

CASTS = [
    _audit("cast", KAPI, _function("t.len() as u8;"), "`as u8` outside the conversions module"),
    _audit("pointer cast", KAPI, _function("t.as_ptr() as *const u16;"), "`as *` outside"),
    _audit("inferred cast", KAPI, _function("t.len() as _;"), "`as _` outside"),
    _audit(
        "cast with empty tag", KAPI, _function("t.len() as u8; // CAST: ok"), "CAST: comment says"
    ),
    _audit("cast compared", KAPI, _function("t.len() as u64 > 3;"), "`as u64` outside"),
    _audit(
        "cast with a tag above",
        KAPI,
        _function("// CAST: At most 255 elements.\nt.len() as u8;"),
        None,
    ),
    _audit("trait object", KAPI, _function("t as &dyn Shown;"), None),
    _audit("qualified path", KAPI, _function("<T as Into<(u8, u8)>>::into(t);"), None),
    _audit("group of uses", KAPI, "\npub(crate) use a::{b::{c as d, e}, f as g};\n", None),
]

PANICS = [
    _audit("unwrap", KAPI, _function("t.first().unwrap();"), "unwrap() can panic"),
    _audit("unwrap as a path", KAPI, _function("f(Option::unwrap);"), "unwrap() can panic"),
    _audit("expect", KAPI, _function('t.first().expect("one");'), "expect() can panic"),
    _audit("index", KAPI, _function("t[1];"), "indexing can panic"),
    _audit("index of a call", KAPI, _function("f()[1];"), "indexing can panic"),
    _audit(
        "index of an index", KAPI, _function("// PANIC: Both are two long.\nlet a = t[1][0];"), None
    ),
    _audit("slice", KAPI, _function("&t[1..];"), "indexing can panic"),
    _audit("panic", KAPI, _function('panic!("no");'), "panic! can panic"),
    _audit("assert", KAPI, _function("assert!(t.len() == 1);"), "assert! can panic"),
    _audit("unreachable", KAPI, _function("unreachable!();"), "unreachable! can panic"),
    _audit(
        "todo", KAPI, _function("// PANIC: Never called by anybody.\ntodo!();"), "`todo!` left in"
    ),
    _audit("unimplemented", KAPI, _function("unimplemented!();"), "`unimplemented!` left in"),
    _audit("empty tag", KAPI, _function("t[1]; // PANIC: no"), "PANIC: comment says nothing"),
    _audit(
        "tag of another statement", KAPI, _function("// PANIC: Two long.\nf();\nt[1];"), "indexing"
    ),
    _audit(
        "in a const fn", KAPI, _function("t[1]", "const fn planted(t: &[u8; 2])"), "indexing can"
    ),
    _audit("unwrap_or", KAPI, _function("t.first().unwrap_or(&0);"), None),
    _audit(
        "array types",
        KAPI,
        "\nstruct A(pub [u8; 2], pub(crate) [u8; 2]);\nfn f<'a>(t: &'a [u8]) -> [u8; 2] {}\n",
        None,
    ),
    _audit(
        "array patterns",
        KAPI,
        _function("let [a, b] = t else { return };\nfor x in [1, 2] {}"),
        None,
    ),
    _audit("attributes and macros", KAPI, _function("#[cfg(a)] [1, 2];\nvec![1, 2];"), None),
    _audit("const block", KAPI, _function("const { assert!(A == 1) };"), None),
]

DIRECTION = [
    _layers(
        "logic uses kapi", WORD, "\nuse crate::kapi::Handle;\n", "logic uses kapi, which is above"
    ),
    _layers("kapi uses pool", KAPI, "\nuse crate::pool;\n", "kapi uses pool, which is above it"),
    _layers("object uses pool", OBJECT, "\nuse crate::{kapi, pool::first};\n", "object uses pool"),
    _layers("object uses front by super", OBJECT, "\nuse super::front;\n", "object uses front"),
    _layers("pool uses front", POOL, "\nuse crate::front::zsrs_free;\n", "pool uses front"),
    _layers_body("inline path", POOL, "crate::front::f();", "pool uses front"),
    _layers(
        "nested module", POOL, "\nmod m {\n    use super::super::front;\n}\n", "pool uses front"
    ),
    _layers("nested module, own layer", POOL, "\nmod m {\n    use super::first;\n}\n", None),
    _layers("zpdesc uses object", ZPDESC, "\nuse crate::object;\n", "zpdesc uses object"),
    _layers("crate root", POOL, "\nuse crate::start;\n", "belongs to the crate root"),
    _layers("file in no layer", "rust/else/x.rs", f"{LICENCE}", "belongs to no layer"),
    _layers("logic uses kernel", WORD, "\nuse kernel::prelude::*;\n", "logic names `kernel`"),
    _layers("logic uses std", WORD, "\nuse std::vec::Vec;\n", "logic names `std`"),
    _layers_body("logic calls kernel", WORD, "kernel::f();", "logic names `kernel`"),
    _layers("bindings in pool", POOL, "\nuse kernel::bindings;\n", "`bindings` named in pool"),
    _layers_body(
        "bindings in object", OBJECT, "kernel::bindings::f();", "`bindings` named in object"
    ),
    _layers("bindings in the root", ROOT, "\nuse bindings::f;\n", "`bindings` named in root"),
    _layers("bindings for all", KAPI, "\npub(crate) use kernel::bindings::*;\n", "re-exported"),
]

LAYER_RULES = [
    _layers_body("page field", KAPI, "(*page).flags = 0;", "struct page field `flags`"),
    _layers_body("page field of a call", KAPI, "(*head_page).lru;", "struct page field `lru`"),
    _layers_body("page field by name", OBJECT, "page.mapping;", "struct page field `mapping`"),
    _layers_body("method of a page", OBJECT, "page.index();", None),
    _layers_body("page flag", KAPI, "PG_private;", "`PG_private` outside zpdesc_rs.rs"),
    _layers_body("page type", OBJECT, "x.page_type;", "`page_type` outside"),
    _layers_body("page count", OBJECT, "x._refcount;", "`_refcount` outside"),
    _layers_body(
        "C flag function", FRONT, "bindings::__SetPageMovable(p);", "`__SetPageMovable` outside"
    ),
    _layers_body("flag helper", KAPI, "rust_helper_set_page_zsmalloc(p);", "zsmalloc` outside"),
    _layers_body("page lock", FRONT, "bindings::trylock_page(p);", "`trylock_page` outside"),
    _layers_body("offset", KAPI, "offset_of!(bindings::page, lru);", "an offset in struct page"),
    _layers_body("in kunit", "tests/kunit/suite.rs", "PG_locked;", "`PG_locked` outside"),
    _layers_body(
        "raw handle in pool", POOL, "Handle::from_raw(1);", "only front takes raw handles"
    ),
    _layers(
        "raw handle kept", POOL, "\nfn f(handle: usize) {}\n", "a raw handle (`handle: usize`)"
    ),
    _layers_body("handle from a word", OBJECT, "Handle::from_ptr(w);", None),
    Fault("logic may be unsafe", "layers", LOGIC, "#![forbid(unsafe_code)]\n", "", "is missing"),
    Fault("logic denies only", "layers", LOGIC, "forbid", "deny", "`#![forbid(unsafe_code)]` is"),
    Fault("pool may be unsafe", "layers", POOL, "#![deny(unsafe_code)]\n", "", "is missing"),
    _layers("pool allows", POOL, "\n#[allow(unsafe_code)]\nmod m;\n", "unsafe_code allowed again"),
]

HELPERS = [
    _layers(
        "two statements", MM, "\nvoid f(int a)\n{\n\tg(a);\n\th(a);\n}\n", "more than one statement"
    ),
    _layers("condition", MM, "\nvoid f(int a)\n{\n\tif (a) g(a);\n}\n", "a decision (`if`)"),
    _layers("loop", MM, "\nvoid f(int a)\n{\n\tfor (;;) { g(a); }\n}\n", "more than one statement"),
    _layers("arithmetic", MM, "\nint f(int a)\n{\n\treturn g(a + 1);\n}\n", "the operator `+`"),
    _layers("field", MM, "\nint f(struct p *a)\n{\n\treturn g(a->b);\n}\n", "the operator `->`"),
    _layers(
        "nested call", MM, "\nint f(int a)\n{\n\treturn g(h(a));\n}\n", "more than one call (g, h)"
    ),
    _layers("no call", MM, "\nint f(int a)\n{\n\treturn a * 2 * 3;\n}\n", "no call"),
    _layers("local variable", MM, "\nint f(int a)\n{\n\tint b = 1;\n}\n", "the operator `=`"),
    _layers("macro", MM, "\n#define F(a) void f##a(void) { g(); }\n", "a macro with statements"),
    _layers(
        "variant", MM, "\nvoid f(void)\n{\n#ifdef A\n\tg();\n\th();\n#endif\n}\n", "more than one"
    ),
    _layers("braces in a string", MM, '\nvoid f(void)\n{\n\tg("} { ; if");\n}\n', None),
]

# Built from parts, so that this file itself has no such name in it.
ROOT_PATH, WORK_PATH = "/ro" + "ot", "/wo" + "rk"
MIRROR, INDEX_HOST = "deb.deb" + "ian.org", "index.cra" + "tes.io"
LOCK_LINE = 'source = "registry+https://github.com/rust-lang/crates.io-index"\n'

REPOSITORY = [
    Fault(
        "no licence", "repo_check", MM, LICENCE, "", "`SPDX-License-Identifier: GPL-2.0` is missing"
    ),
    Fault("other licence", "repo_check", MM, "GPL-2.0\n", "GPL-2.0-only\n", "is missing here"),
    _repo("script without licence", "scripts/x", "#!/bin/sh\necho\n", "is missing here"),
    _repo("script with licence", "scripts/x", f"#!/bin/sh\n# {LICENCE[3:]}", None),
    _repo(
        "home of root", "a.rst", f".. {LICENCE[3:]}\nIn {ROOT_PATH}/linux.\n", "path of a machine"
    ),
    _repo("checkout", "a.rst", f".. {LICENCE[3:]}\ncd {WORK_PATH}/main\n", "path of a machine"),
    _repo("home", "a.rst", f".. {LICENCE[3:]}\ncd /home/" + "me/main\n", "path of a machine"),
    _repo("mirror", "a.rst", f".. {LICENCE[3:]}\nFrom {MIRROR}.\n", f"package host ({MIRROR})"),
    _repo("registry", "a.rst", f".. {LICENCE[3:]}\nhttps://{INDEX_HOST}/\n", "package host"),
    _repo(
        "odd URL", "a.rst", f".. {LICENCE[3:]}\nhttp" + "://example.net/x\n", "URL to example.net"
    ),
    _repo(
        "documentation",
        "a.rst",
        f".. {LICENCE[3:]}\nhttps://docs.kernel.org/mm/zsmalloc.html\n",
        None,
    ),
    _repo("long comment", "a.rs", f"{LICENCE}// {'x' * 98}\n", "comment of 101 columns"),
    _repo("comment that fits", "a.rs", f"{LICENCE}// {'x' * 97}\n", None),
    _repo("long row of a table", "a.rs", f"{LICENCE}//! | {'x' * 98} |\n", None),
    _repo("lock file", "tests/host/Cargo.lock", LOCK_LINE, None),
    _repo("path within the tree", "a.rst", f".. {LICENCE[3:]}\nIn out{WORK_PATH}/x.\n", None),
]

FAULTS = [
    *HEADERS_AND_SIZES,
    *UNSAFE,
    *BUDGETS,
    *ORDERINGS,
    *CASTS,
    *PANICS,
    *DIRECTION,
    *LAYER_RULES,
    *HELPERS,
    *REPOSITORY,
]

SCANS = [
    Scan("strings", 'let a = "unsafe { x }"; let b = "\\" unsafe {";', {"kinds": []}),
    Scan("raw strings", 'let a = r##"unsafe { "# "##; unsafe { f() }', {"kinds": ["block"]}),
    Scan("byte strings", 'let a = b"unsafe {"; let b = br#""unsafe {"#; c"{";', {"kinds": []}),
    Scan(
        "comments",
        "// unsafe {\n/* unsafe { /* unsafe { */ */\nunsafe { f() }",
        {"kinds": ["block"], "code_lines": 1},
    ),
    Scan(
        "lifetimes",
        "fn f<'a, 'b>(x: &'a str) { let c = 'x'; let d = '\\''; let e = '{'; }",
        {"functions": ["f"]},
    ),
    Scan("loop labels", "'outer: loop { break 'outer; }", {"code_lines": 1}),
    Scan(
        "raw identifiers",
        "fn r#unsafe() {} fn r#match() {}",
        {"kinds": [], "functions": ["r#unsafe", "r#match"]},
    ),
    Scan(
        "kinds",
        'unsafe impl A for B {}\nunsafe trait T {}\nunsafe fn f() {}\nunsafe extern "C" fn g() {}\n'
        'unsafe extern "C" { fn h(); }\ntype F = unsafe fn();\n#[unsafe(no_mangle)]\nfn i() {}\n',
        {
            "kinds": ["impl", "trait", "fn", "fn", "extern", "type", "attribute"],
            "functions": ["f", "g", "h", "i"],
        },
    ),
    Scan(
        "macros",
        "macro_rules! m { ($n:ident) => { fn $n() { unsafe { f() } } }; }",
        {"kinds": ["block"], "functions": ["n"]},
    ),
    Scan("lines of a string", 'let a = "one\ntwo\n\nfour";\n\n// five\n', {"code_lines": 4}),
    Scan(
        "generics",
        "fn f<const N: usize>(a: [u8; { N }]) where [u8; 2]: S { g() }",
        {"functions": ["f"]},
    ),
]

BROKEN = ["fn f() {", "fn f() }", "(]", '"never closed', "/* never closed", 'r#"never closed"']
