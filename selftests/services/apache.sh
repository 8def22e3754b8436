# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Apache, by its unit; sourced by recipes.sh.
cp -a /etc/apache2 /run/apache2.before
a2enmod -q ssl
sed -i 's/ssl_scache(512000)/ssl_scache(33554432)/' /etc/apache2/mods-available/ssl.conf

answers() { curl -s http://127.0.0.1/ | grep -q 'Apache2 Debian Default Page'; }

check "Apache starts" start apache2
check "it answers" becomes answers
check "its memory is ordinary" ordinary apache2 3
step apache use
check "it answers then" becomes answers
check "its memory is in a region" served apache2 3
check "which is listed" listed apache2 3
check "a reload" systemctl reload apache2
check "it answers after that" becomes answers
check "its memory is in a region after that" becomes served apache2 3
check "a restart" systemctl restart apache2
check "its memory is in a region again" becomes served apache2 3
step apache undo
check "it answers without" becomes answers
check "its memory is ordinary without" becomes ordinary apache2 3
check "a stop" systemctl stop apache2
# But what the recipe was to put back.
cp -a /etc/apache2/envvars /run/apache2.before/
rm -r /etc/apache2
mv /run/apache2.before /etc/apache2
