# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# SQLite's own tests, each run twice: as it is, and under a command.  Sourced, after
# tap.sh, with these variables:
#	folder	where selftests/lib/databases-get has put them
#	tmp	for what they say; work: a folder in which they run
#	user, with	arrays: the command by which both run, and the one that is tried
#	more	if set, a command that is called with VARIANT and TEST when both have run
#	known	if set, a folder with what tests say without that command, VARIANT.TEST.verdict
# shellcheck disable=SC2154,SC2034

# What SQLite has of files that are mapped, locked, or changed under a mapping.
sqlite_default=('mmap*' bigmmap 'wal*' 'e_wal*' 'lock*' sharedlock shmlock superlock
	rowallock nolock exclusive exclusive2 pager1 pager2 pager3 pager4 pagesize incrvacuum incrvacuum2
	io incrblob incrblob2 incrblob3 vacuum vacuum2 autovacuum backup backup2 sysfault symlink
	temptable2 sort5 dbstatus2 pcache memsubsys1 'journal*' savepoint sync
	'crash8' 'corrupt[2-9]' 'corrupt[A-N]')
# Without mappings of databases, and with; see databases-get.
sqlite_variants=(plain mapped)

# sqlite_names PATTERN...: the tests that fit, a line each.
sqlite_names() {
	local pattern i
	for pattern; do
		# shellcheck disable=SC2231 # a pattern
		for i in "$folder"/sqlite/source/test/$pattern.test; do
			[ -e "$i" ] || { echo "$0: SQLite has no test $pattern" >&2; return 2; }
			basename "$i"
		done
	done | sort -u
	return "${PIPESTATUS[0]}"
}

# injections: a test that makes the Nth allocation or call fail tries N = 1, 2 .. until none
# fails any more.  How many there are depends on more than SQLite: walfault.test had 6323
# steps in three runs, and 6311 in six others, without the library and with it; its case
# walfault-10-full has 3 when all of it runs, and 4 by itself.  So the steps of one such
# test are one line, or two if some failed, and the total has no number.  The words are
# those of the kinds of faults that SQLite's tests have (FAULTSIM).
injections() {
	awk '/^[0-9]+ errors out of / { total = $0; next }
		/-(transient|persistent|full|interrupt|tmpread)\.[0-9]+ / { some = 1; sub(/\.[0-9]+ /, ".N "); if ($0 in seen) next; seen[$0] }
		{ print }
		END { if (some) sub(/of [0-9]+ tests/, "of N tests", total); if (total != "") print total }'
}

# sqlite_run VARIANT TEST OUT COMMAND...: a line with the verdict of each thing it tested.
# What else is written, by the library, goes to OUT.errors: it may come amid a verdict.
sqlite_run() {
	local variant=$1 name=$2 out=$3 dir=$work/$1.$2
	shift 3
	rm -rf "$dir"
	mkdir -p "$dir"
	[ "$(id -u)" != 0 ] || chown nobody "$dir"
	(
		cd "$dir" || exit
		timeout 5400 "${user[@]}" "$@" "$folder/sqlite/$variant/testfixture" "$folder/sqlite/source/test/$name" \
			>"$out.log" 2>"$out.errors" </dev/null
		echo "exit status $?"
		sed -n 's/^\([^ ]*\)\.\.\. Ok$/\1 ok/p; s/^! \([^ ]*\) expected:.*/\1 failed/p; s/^\([0-9]* errors out of [0-9]* tests\).*/\1/p' \
			"$out.log" | injections | sort
	) >"$out"
	rm -rf "$dir"
}

# sqlite_pair VARIANT TEST: runs both ways; what differs is run once more, both ways.  If
# the verdict without the command is known, the run with it is the only one, unless they
# differ.
sqlite_pair() {
	local out=$tmp/out/$1.$2 try=1 verdict=${known:-/nonexistent}/$1.$2.verdict
	if [ -e "$verdict" ]; then
		sqlite_run "$1" "$2" "$out.with" "${with[@]}"
		if cmp -s "$verdict" "$out.with"; then
			cp "$verdict" "$out.without"
			echo "known, not run" | tee "$out.known" >"$out.without.log"
			cp "$out.known" "$out.without.errors"
			try=4
		fi
		echo 1 >"$out.tries"
	fi
	for ((; try <= 3; try++)); do
		sqlite_run "$1" "$2" "$out.without"
		sqlite_run "$1" "$2" "$out.with" "${with[@]}"
		echo "$try" >"$out.tries"
		! diff "$out.without" "$out.with" >"$out.diff.$try" || break
	done
	[ -z "${more:-}" ] || "$more" "$1" "$2"
	touch "$out.done"
}
sqlite_same() {
	local out=$tmp/out/$1.$2 try
	for ((try = 1; try < $(cat "$out.tries"); try++)); do
		echo "once:"
		cat "$out.diff.$try"
	done
	diff "$out.without" "$out.with" || return
	# It must have done something.
	grep -q ' errors out of ' "$out.without" || { tail -n 5 "$out.without.log" "$out.without.errors"; return 1; }
}

# sqlite_tests PAIR...: each "VARIANT TEST", as many at a time as there are processors;
# the results come in order.
sqlite_tests() {
	local pair out way
	mkdir -p "$tmp/out"
	(
		running=0
		for pair; do
			[ $running -lt "${JOBS:-$(nproc)}" ] || { wait -n; running=$((running - 1)); }
			# shellcheck disable=SC2086 # words
			sqlite_pair $pair &
			running=$((running + 1))
		done
		wait
	) &
	for pair; do
		out=$tmp/out/${pair/ /.}
		until [ -e "$out.done" ]; do
			sleep 0.2
		done
		# shellcheck disable=SC2086 # words
		check "SQLite (${pair% *}): ${pair#* }" sqlite_same $pair
		echo "# $(grep ' errors out of ' "$out.without")"
		[ "$(cat "$out.tries")" = 1 ] || echo "# summary: SQLite $pair: not the same at first"
	done
	wait
	[ $# -gt 0 ] || return
	echo "# summary: SQLite, without: $(find "$tmp/out" -name '*.known' | wc -l) of $# are known and have not run"
	for way in without with; do
		echo "# summary: SQLite, $way: $(cat "$tmp"/out/*."$way" | grep -c ' ok$') ok$(
			cat "$tmp"/out/*."$way" | sed -n 's/\(.*\) failed$/, \1/p' | tr -d '\n')"
	done
}
