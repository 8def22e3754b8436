# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# PostgreSQL, by its unit; sourced by recipes.sh.
unit=postgresql@15-main
# shellcheck source=SCRIPTDIR/database.sh disable=SC1091,SC2154
. "$here/database.sh"

check "PostgreSQL starts" start $unit
check "it answers" becomes answers
check "its memory is ordinary" ordinary $unit 5
step postgresql use
check "it answers then" becomes answers
check "its memory is in a region" served $unit 5
check "which is listed" listed postgres 5
check "it works" work
check "a reload" systemctl reload $unit
check "it answers after that" same
check "a restart" systemctl restart $unit
check "it has kept its data" becomes same
check "its memory is in a region again" served $unit 5
step postgresql undo
check "it answers without" becomes same
check "its memory is ordinary without" ordinary $unit 5
check "a stop" systemctl stop $unit
