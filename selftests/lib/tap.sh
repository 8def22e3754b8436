# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# For scripts that print TAP; sourced.

# count: results so far; failed: those that are "not ok".
count=0 failed=0
# May a command that succeeds print something?  A checker that does has found something.
silent=no

# check DESCRIPTION COMMAND...: passes if the command succeeds.  A function that is called
# here sees the variables of the script: those of check have names that no script uses.
check() {
	local _name=$1 _out _status
	shift
	count=$((count + 1))
	_out=$("$@" 2>&1)
	_status=$?
	if [ "$_status" -eq 0 ] && { [ "$silent" = no ] || [ -z "$_out" ]; }; then
		echo "ok $count $_name"
		return
	fi
	[ -z "$_out" ] || head -n 60 <<<"# ${_out//$'\n'/$'\n'# }"
	echo "not ok $count $_name # exit status $_status"
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
