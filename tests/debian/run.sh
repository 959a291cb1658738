#!/usr/bin/env bash
# The Debian package on a fresh Debian 12 that runs a systemd of its own, in namespaces of its own: nothing outside of
# its folder is touched, and its network is a loopback alone. `make debian` calls it; it needs root and debootstrap.
#
#   run.sh PACKAGE FOLDER    FOLDER keeps the fresh system from run to run
set -euo pipefail

package=$(realpath "$1")
folder=$(realpath --canonicalize-missing "$2")
here=$(dirname "$(realpath "$0")")
fresh=$folder/bookworm root=$folder/root group=$(findmnt --noheadings --types cgroup2 --output TARGET | head -1)/shopwire-debian-$$

[ "$(id -u)" = 0 ] || { echo "make debian sets up namespaces and a root folder, and needs to be root for it" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install --yes --no-install-recommends debootstrap
mkdir -p "$folder"
if [ ! -e "$fresh/.complete" ]; then
  rm -rf "$fresh"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps bookworm "$fresh"
  touch "$fresh/.complete"
fi
rm -rf "$root"
cp --archive --reflink=auto "$fresh" "$root"
cp "$package" "$root/root/shopwire.deb"
cp "$here/inside.sh" "$root/root/"

# What init finds when it begins, as a container's manager lays it out. Mounts are shared with what it starts: else
# services would not see their credentials.
boot='
mount --make-rprivate / && mount --bind "$root" "$root" && cd "$root"
mount -t proc proc proc && mount -t sysfs sysfs sys && mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev && mount -t tmpfs -o mode=755 tmpfs run && mount -t tmpfs tmpfs tmp
for device in "null 3" "zero 5" "full 7" "random 8" "urandom 9"; do mknod -m 666 "dev/${device% *}" c 1 "${device#* }"; done
mknod -m 666 dev/tty c 5 0 && ln -s /proc/self/fd dev/fd && mkdir dev/pts dev/shm && ln -s pts/ptmx dev/ptmx
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts && mount -t tmpfs tmpfs dev/shm
ip link set lo up && hostname shopwire-debian
mkdir -p old && pivot_root . old && umount --lazy /old && mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console
'
mkdir "$group"
(echo "$BASHPID" >"$group/cgroup.procs"
 root=$root exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup bash -euc "$boot") >"$folder/console" 2>&1 </dev/null &
machine=$!
trap 'kill -9 $machine 2>/dev/null; wait $machine 2>/dev/null || true; rmdir "$group" 2>/dev/null || true' EXIT

inside() {
  nsenter --target "$init" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
}
for _ in $(seq 300); do
  kill -0 $machine 2>/dev/null || { cat "$folder/console" >&2; echo "the system did not start" >&2; exit 1; }
  init=$(pgrep --parent $machine || true)
  # Until systemd has it, that process is still the shell that lays out its mounts.
  [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ] && inside systemctl is-system-running --wait >/dev/null 2>&1 && break
  sleep 0.1
done
inside bash /root/inside.sh || { inside journalctl --no-pager --unit shopwire --lines 40; exit 1; }
