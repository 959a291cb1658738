#!/usr/bin/env bash
# What somebody does with the package on a machine with systemd: install, try, reload, take over, update, crash, remove.
set -euo pipefail
cd /root
socket=/run/shopwire/shopwire.sock
drop_in=/etc/systemd/system/shopwire.service.d/takeover.conf

step() { echo "debian: $*"; }
fail() { echo "debian: FAILED: $*" >&2; cat tail.out tail.err >&2 2>/dev/null; exit 1; }
# Until it holds, or 20 s have passed.
eventually() {
  local what=$1; shift
  for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  fail "$what"
}
main_pid() { systemctl show --property MainPID --value shopwire; }
get() { exec 3<>/dev/tcp/127.0.0.1/3001; printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" >&3; cat <&3; exec 3>&-; }
arrives() {
  shopwire emit --socket $socket product:deleted --data "{\"productId\":\"$1\"}" >/dev/null || fail "$1 was not taken"
  eventually "$1 did not arrive" grep --quiet "\"$1\"" tail.out
}
# Connected once, and never again.
undisturbed() { [ "$(wc -l <tail.err)" = "$1" ] || fail "the connection was disturbed"; }

step install
dpkg --install shopwire.deb >dpkg.out 2>&1 || { cat dpkg.out; fail "dpkg --install"; }
systemctl is-active --quiet shopwire || fail "it does not run"
systemctl is-enabled --quiet shopwire || fail "it would not run after a boot"
[ "$(stat --format '%a %U' /etc/shopwire/jwt-secret)" = "600 root" ] || fail "the secret is not root's alone"
[ "$(ps -o user= -p "$(main_pid)")" = shopwire ] || fail "it runs as another user"
[ "$(awk '/Max core file size/ { print $5 }' "/proc/$(main_pid)/limits")" = 0 ] || fail "it would dump core"

step an event, metrics
token=$(shopwire token --user sam --role staff --jwt-secret-file /etc/shopwire/jwt-secret)
shopwire tail --url ws://127.0.0.1:3001/api/ws --token "$token" --namespaces products >tail.out 2>tail.err &
eventually "tail does not connect" grep --quiet connected tail.err
arrives first
get /readyz | grep --quiet '200 OK' || fail "it is not ready"
get /metrics | grep --quiet '^shopwire_' || fail "no metrics"

step reload
systemctl reload shopwire
arrives reloaded
undisturbed 1

step take over by a reload
install -D -m 644 /usr/share/doc/shopwire/deploy/systemd/takeover.conf $drop_in
chgrp shopwire /etc/shopwire/jwt-secret && chmod 640 /etc/shopwire/jwt-secret
systemctl daemon-reload
# With the credential gone from the unit the first one cannot be by a reload.
systemctl restart shopwire
eventually "tail does not come back" grep --quiet "reconnecting" tail.err
arrives restarted
lines=$(wc -l <tail.err) old=$(main_pid)
systemctl reload shopwire || fail "the takeover"
[ "$(main_pid)" != "$old" ] || fail "systemd still watches the old process"
arrives taken-over
undisturbed "$lines"

step a takeover that fails
cp /etc/shopwire/shopwire.toml good.toml
echo 'host = 5' >>/etc/shopwire/shopwire.toml
old=$(main_pid)
! systemctl reload shopwire 2>/dev/null || fail "a reload with wrong settings succeeded"
cp good.toml /etc/shopwire/shopwire.toml
[ "$(main_pid)" = "$old" ] || fail "the old process does not go on"
arrives still-there
undisturbed "$lines"

step an update
dpkg --install shopwire.deb >dpkg.out 2>&1 || { cat dpkg.out; fail "the update"; }
[ "$(main_pid)" != "$old" ] || fail "the old process runs on"
arrives updated
undisturbed "$lines"

step kill -9
kill -9 "$(main_pid)"
eventually "it does not take events again" \
  shopwire emit --socket $socket product:deleted --data '{"productId":"after-a-crash"}' --key after-a-crash
eventually "the client does not come back" grep --quiet '"after-a-crash"' tail.out
[ "$(grep --count product:deleted tail.out)" = "$(grep product:deleted tail.out | sort --unique | wc -l)" ] || fail "an event came twice"
[ "$(grep --count product:deleted tail.out)" = 7 ] || fail "an event is missing"

step remove
dpkg --remove shopwire >dpkg.out 2>&1 || { cat dpkg.out; fail "dpkg --remove"; }
! pgrep --full 'shopwire serve' >/dev/null && [ ! -e /run/shopwire ] || fail "it still runs"
[ -e /etc/shopwire/jwt-secret ] || fail "the secret went with the program"
dpkg --purge shopwire >dpkg.out 2>&1 || { cat dpkg.out; fail "dpkg --purge"; }
[ ! -e /etc/shopwire/jwt-secret ] && [ ! -e /var/lib/shopwire ] || fail "something stayed"
step all of it holds
