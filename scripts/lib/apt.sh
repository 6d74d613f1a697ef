# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Installs Debian packages. Source it after env.sh and /etc/os-release, with WORK set to a
# folder of the script's own; apt does not inherit file descriptor 9, the script's lock.

SUDO=()
[ "$(id -u)" = 0 ] || SUDO=(sudo)

can_be_root() {
	[ ${#SUDO[@]} = 0 ] || command -v sudo >/dev/null
}

# as_root WHAT: ends the script if nothing can be run as root.
as_root() {
	can_be_root || die "only root can $1; run this as root, or install sudo"
}

# apt ARGUMENTS...: apt-get without questions; waits while another one runs.
apt() {
	local try
	for try in 1 2 3 4 5 6; do
		if "${SUDO[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q \
			-o DPkg::Lock::Timeout=600 "$@" >"$WORK/apt.log" 2>&1 </dev/null 9>&-; then
			return 0
		fi
		grep -qiE 'could not get lock|temporar|timed out|connection' "$WORK/apt.log" || break
		log "apt-get $1 did not succeed (try $try of 6), again in 10 s"
		sleep 10
	done
	tail -n 15 "$WORK/apt.log" >&2
	return 1
}

# missing PACKAGES...: those that are not installed.
missing() {
	local package
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
	done
}

updated=no
update_lists() {
	[ "$updated" = no ] || return 0
	if ! can_be_root; then
		log "only root can update apt's package lists; going on with those that there are"
		return 0
	fi
	log "updating apt's package lists"
	apt update || die "apt-get update failed; see above"
	updated=yes
}

# install_packages PACKAGES...: installs those that are missing.
install_packages() {
	local -a wanted
	mapfile -t wanted < <(missing "$@")
	[ ${#wanted[@]} -gt 0 ] || return 0
	as_root "install ${wanted[*]}"
	update_lists
	log "installing ${wanted[*]}"
	apt install --no-install-recommends "${wanted[@]}" ||
		die "apt-get could not install the packages above; is $PRETTY_NAME's security archive in apt's sources?"
}
