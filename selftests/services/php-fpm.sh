# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# PHP-FPM with OPcache and APCu, by its unit; sourced by recipes.sh.
unit=php8.2-fpm
cp -a /etc/php /run/php.before
cat >/etc/php/8.2/fpm/conf.d/99-size.ini <<'END'
opcache.memory_consumption = 256
apc.shm_size = 64M
END
sed -i 's/^pm = .*/pm = static/; s/^pm.max_children = .*/pm.max_children = 20/' /etc/php/8.2/fpm/pool.d/www.conf
mkdir -p /srv/php
cat >/srv/php/count.php <<'END'
<?php
echo "count: ", apcu_inc("n"), " ", opcache_get_status(false)["opcache_enabled"] ? "cached" : "not cached", "\n";
END

answer() {
	SCRIPT_FILENAME=/srv/php/count.php REQUEST_METHOD=GET cgi-fcgi -bind -connect /run/php/php8.2-fpm.sock |
		tr -d '\r' | sed -n 's/^count: //p'
}
answers() { answer | grep -q ' cached$'; }
counts_on() {
	for _ in {1..40}; do
		answer
	done | sort -n | uniq | wc -l | grep -qx 40
}
cat >/srv/php/jit.php <<'END'
<?php
for ($i = $n = 0; $i < 100000; $i++)
	$n += $i;
echo "\n$n ", opcache_get_status(false)["jit"]["on"] ? "compiled" : "not compiled", "\n";
END
jit() {
	mshare run -v --anywhere -- php8.2 -d opcache.enable_cli=1 -d opcache.jit=tracing -d opcache.jit_buffer_size=32M /srv/php/jit.php >/run/jit 2>&1
	cat /run/jit
	grep -qx '4999950000 compiled' /run/jit && grep -q 'remain ordinary memory: MAP_FIXED$' /run/jit &&
		! grep -q 'are a region$' /run/jit
}

check "PHP-FPM starts" start $unit
check "it answers" becomes answers
check "its workers count together" counts_on
check "its memory is ordinary" ordinary $unit 21
echo "# page tables without: $(tables $unit)"
step php-fpm use
check "it answers then" becomes answers
check "its memory is in regions" served $unit 21
check "which are listed" listed php-fpm8.2 21
check "its workers count together then" counts_on
echo "# page tables with: $(tables $unit)"
check "a reload" systemctl reload $unit
check "it answers after that" becomes answers
check "its memory is in regions after that" becomes served $unit 21
check "a restart" systemctl restart $unit
check "its memory is in regions again" becomes served $unit 21
check "the JIT's memory remains ordinary, and it works" jit
step php-fpm undo
check "it answers without" becomes answers
check "its memory is ordinary without" becomes ordinary $unit 21
check "a stop" systemctl stop $unit
rm -r /etc/php /srv/php
mv /run/php.before /etc/php
