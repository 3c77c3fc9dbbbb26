#!/bin/sh
# The first program of a guest (tools/guest.py): lays an overlay on the machine's files, makes a
# system of it, and hands over to what is to be PID 1 there.
#
# In QEMU it runs in an initramfs, by busybox. User Mode Linux starts on the machine's files, so
# there it is the machine's shell. When it fails the kernel panics, for PID 1 has ended, and the
# guest's console is shown.
set -eu

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
here=${0%/*}
# shellcheck source=/dev/null
. "$here/settings" # release, modules, systemd, functions

if [ -e "$here/modules" ]; then
    /bin/busybox --install -s /bin
    while read -r module; do
        insmod "$here/modules/$module"
    done <"$here/modules/order"
    machine=/machine scratch=/scratch
    mkdir $machine $scratch
    mount_machine $machine
    lower=/hot:$machine # what is in memory first (tools/guest_files.py)
else
    lower=/ scratch=/mnt
fi

mount -t tmpfs -o mode=0755 scratch $scratch
mkdir $scratch/upper $scratch/work $scratch/root
mount -t overlay -o lowerdir=$lower,upperdir=$scratch/upper,workdir=$scratch/work \
    overlay $scratch/root
cd $scratch/root

mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t devtmpfs devtmpfs dev
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs run
mkdir dev/pts dev/shm
mount -t devpts -o gid=5,mode=0620,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mkdir -m 1777 run/lock
mkdir -p run/guest/ports

unpack_packages
mount_shares # over the overlay: what is written there comes back

if [ -n "$modules" ]; then
    mkdir -p lib/modules
    ln -sfn "$modules" "lib/modules/$release"
fi

cp "$here/settings" "$here/command" "$here/run" run/guest/
if [ -n "$modules" ]; then # the kernel announces ports one by one
    until [ -L run/guest/ports/out ] && [ -L run/guest/ports/err ] &&
        [ -L run/guest/ports/status ]; do
        for port in sys/class/virtio-ports/*; do
            name=$(cat "$port/name" 2>/dev/null) || continue
            ln -sf "/dev/${port##*/}" "run/guest/ports/$name"
        done
    done
else # consoles of User Mode Linux
    for port in 1:out 2:err 3:status; do
        stty -F "dev/tty${port%:*}" raw -echo
        ln -s "/dev/tty${port%:*}" "run/guest/ports/${port#*:}"
    done
fi

if [ -n "$systemd" ]; then
    # The machine's other file systems are not here. Its /tmp is, and may hold the checkout: it must
    # not be cleared. Its being a container or not says nothing about the guest.
    : >etc/fstab
    rm -f .dockerenv
    mkdir -p etc/tmpfiles.d run/systemd/system
    ln -sf /dev/null etc/tmpfiles.d/tmp.conf
    # With udev: rules for the guest's hundred consoles would take it twenty seconds. Devices that
    # are made later, such as wg0, have theirs.
    ln -sf /dev/null etc/systemd/system/systemd-udev-trigger.service
    ln -sf /dev/null etc/systemd/system/systemd-hwdb-update.service
    [ -s etc/machine-id ] || echo 77670000000000000000000000000000 >etc/machine-id
    cat >run/systemd/system/guest.service <<'UNIT'
[Unit]
Description=The command that this guest was started for
Wants=sockets.target
After=basic.target
SuccessAction=poweroff-immediate
FailureAction=poweroff-immediate
[Service]
Type=exec
ExecStart=/bin/sh /run/guest/run
UNIT
    set -- /lib/systemd/systemd --unit=guest.service --show-status=yes
else
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    set -- /bin/sh /run/guest/run
fi

if [ -n "$modules" ]; then
    mount --move . / # as switch_root(8), but what was started from stays: /hot is in use
    exec chroot . "$@" <dev/console >dev/console 2>&1
else
    pivot_root . mnt
    exec chroot . "$@" <dev/console >dev/console 2>&1
fi
