# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# A container of systemd-nspawn; sourced by recipes.sh.
unit=systemd-nspawn@web
mkdir -p /etc/systemd/nspawn
cat >/var/lib/machines/web/usr/local/bin/serve <<'END'
#!/usr/bin/python3
import mmap, os, time
m = mmap.mmap(-1, 64 << 20)
if os.fork() == 0:
    m[0:5] = b'hello'
    time.sleep(100000)
while m[0:5] != b'hello':
    time.sleep(.1)
open('/run/serves', 'w').close()
os.wait()
END
chmod +x /var/lib/machines/web/usr/local/bin/serve
cat >/etc/systemd/nspawn/web.nspawn <<'END'
[Exec]
Boot=no
ProcessTwo=yes
Parameters=/usr/local/bin/serve
[Network]
VirtualEthernet=no
Private=no
END

# The filter of its unit is in force in the container.
filtered() { grep -q '^Seccomp:.*2$' "/proc/$(pgrep -n serve)/status"; }

check "a container starts" start $unit
check "its memory is ordinary" becomes ordinary $unit 2
step nspawn use
check "its memory is in a region" becomes served $unit 2
check "which is listed" listed python3 2
check "there is a filter" filtered
check "a restart" systemctl restart $unit
check "its memory is in a region again" becomes served $unit 2
step nspawn undo
check "its memory is ordinary without" becomes ordinary $unit 2
check "a stop" systemctl stop $unit
rm -r /etc/systemd/nspawn
