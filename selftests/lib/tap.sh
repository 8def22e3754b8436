# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# For scripts that print TAP; sourced.

# count: results so far; failed: those that are "not ok".
count=0 failed=0
# May a command that succeeds print something?  A checker that does has found something.
silent=no

# check DESCRIPTION COMMAND...: passes if the command succeeds.
check() {
	local name=$1 out status
	shift
	count=$((count + 1))
	out=$("$@" 2>&1)
	status=$?
	if [ "$status" -eq 0 ] && { [ "$silent" = no ] || [ -z "$out" ]; }; then
		echo "ok $count $name"
		return
	fi
	[ -z "$out" ] || head -n 60 <<<"# ${out//$'\n'/$'\n'# }"
	echo "not ok $count $name # exit status $status"
	failed=$((failed + 1))
}

# becomes COMMAND...: waits, at most a minute or so, until the command succeeds.
becomes() {
	local i
	for i in {1..300}; do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.2
	done
	echo "not after $i times: $*"
	return 1
}

# The last line, and the exit status of the script.
plan() {
	echo "1..$count"
	[ "$failed" -eq 0 ]
}
