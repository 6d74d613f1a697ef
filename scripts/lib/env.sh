# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The environment that every script of the project runs in. Source it:
#
#     . "$(dirname "$0")/lib/env.sh"
#
# Sets ROOT (checkout), CACHE (outside the checkout), OUT (build products),
# and, once scripts/setup has run, puts the pinned tools first in PATH:
# rustc, cargo, rustfmt, clippy-driver, bindgen, clang/LLVM and vng; exports
# LIBCLANG_PATH, RUST_LIB_SRC and LLVM (the value for make, such as "-22").

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
OUT=$ROOT/out

# log MESSAGE...: a progress line on stderr, with the script's name.
log() {
	printf '[%s] %s\n' "${0##*/}" "$*" >&2
}

# die MESSAGE...: says what is wrong and ends the script.
die() {
	printf '[%s] error: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# show_help: prints the comment at the head of the script.
show_help() {
	sed -n '/^[^#]/q; /^#!/d; /^# SPDX/,/^#$/d; s/^# \{0,1\}//p' "$0"
}

# Messages of tools are read by scripts, too; LANGUAGE goes before LC_ALL.
export LC_ALL=C.UTF-8
unset LANGUAGE

[ -n "${XDG_CACHE_HOME:-${HOME-}}" ] || die "HOME is not set; set it, or XDG_CACHE_HOME to a folder for the cache"
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/zsmalloc_rs
case $CACHE in
/*) ;;
*) die "the cache, $CACHE, is not an absolute path; see XDG_CACHE_HOME and HOME" ;;
esac
# Neither make nor the kernel's build can take them.
case $ROOT$CACHE in
*[[:space:]:]*) die "there is a space or a colon in the path of the checkout, $ROOT, or of the cache, $CACHE" ;;
esac
export ROOT CACHE OUT

# load_toolchain: takes over the tools that scripts/setup installed; fails if
# it has not run yet. The paths are those of CACHE/toolchain/env.sh.
load_toolchain() {
	[ -r "$CACHE/toolchain/env.sh" ] || return 1
	# shellcheck source=/dev/null
	. "$CACHE/toolchain/env.sh"
	export LIBCLANG_PATH RUST_LIB_SRC LLVM TOOLCHAIN_ID
	case ":$PATH:" in
	"$TOOLCHAIN_PATH":*) ;;
	*) PATH=$TOOLCHAIN_PATH:$PATH ;;
	esac
	case ":$PATH:" in
	*:/usr/sbin:*) ;;
	*) PATH=$PATH:/usr/sbin:/sbin ;;
	esac
	export PATH
	# A rustup or kbuild setting of the caller must not replace the pinned tools.
	unset RUSTUP_TOOLCHAIN RUSTC RUSTFLAGS CARGO_ENCODED_RUSTFLAGS KBUILD_OUTPUT
}

# require_setup: makes sure that this machine is ready, running scripts/setup
# if it is not.
require_setup() {
	"$ROOT/scripts/setup" --quiet || die "the set-up failed, see above; fix that and run 'make setup'"
	load_toolchain || die "no toolchain in $CACHE after the set-up; remove that folder and run 'make setup'"
}

# kernel_arch FLAVOUR: the kernel's name for what it runs on.
kernel_arch() {
	case $1 in
	arm64*) echo arm64 ;;
	um) echo um ;;
	*) echo x86_64 ;;
	esac
}

# kernel_image FLAVOUR: what is booted, inside of the kernel's build folder.
kernel_image() {
	case $1 in
	arm64*) echo arch/arm64/boot/Image ;;
	um) echo linux ;;
	*) echo arch/x86/boot/bzImage ;;
	esac
}

load_toolchain || true
