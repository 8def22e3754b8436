# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Kamailio, by its unit; sourced by recipes.sh.

# An OPTIONS request gets an answer.
answers() {
	python3 - <<-'END'
	import socket
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	s.bind(('127.0.0.1', 0))
	s.settimeout(5)
	at = '127.0.0.1:%d' % s.getsockname()[1]
	lines = ['OPTIONS sip:127.0.0.1 SIP/2.0', 'Via: SIP/2.0/UDP %s;branch=z9hG4bK1' % at,
	         'Max-Forwards: 70', 'From: <sip:test@%s>;tag=1' % at, 'To: <sip:127.0.0.1>',
	         'Call-ID: %s' % at, 'CSeq: 1 OPTIONS', 'Content-Length: 0', '', '']
	s.sendto('\r\n'.join(lines).encode(), ('127.0.0.1', 5060))
	exit(not s.recv(4096).startswith(b'SIP/2.0 '))
	END
}

check "Kamailio starts" start kamailio
check "it answers" becomes answers
check "its memory is ordinary" ordinary kamailio 8
echo "# page tables without: $(tables kamailio)"
step kamailio use
check "it answers then" becomes answers
check "its memory is in a region" served kamailio 8
check "which is listed" listed kamailio 8
echo "# page tables with: $(tables kamailio)"
check "a restart" systemctl restart kamailio
check "it answers after that" becomes answers
check "its memory is in a region again" served kamailio 8
step kamailio undo
check "it answers without" becomes answers
check "its memory is ordinary without" ordinary kamailio 8
check "a stop" systemctl stop kamailio
