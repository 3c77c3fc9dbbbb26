#!/bin/sh
# Run the command that a guest was started for, and tell how it ended (tools/guest.py). This is
# PID 1 of the guest, or its unit guest.service under systemd.
#
# The line "ended STATUS" is what the other side takes for a proof that the command ran to its end:
# nobody writes it in a guest that crashed.

# shellcheck source=/dev/null
. /run/guest/settings # release, modules, systemd
cd /run/guest || exit
ulimit -Hn 524288 # as systemd has it for all services

if [ -z "$systemd" ]; then
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    ip link set lo up
    hostname guest
    echo 3 4 1 3 >/proc/sys/kernel/printk
fi
if [ -n "$modules" ]; then # the kernel loads others by itself; nothing asks it for /dev/net/tun
    modprobe -a wireguard tun
fi

# A port can be opened once; as pipes, /dev/stdout and /dev/stderr can be opened by their names.
mkfifo out err
cat <out >ports/out &
out=$!
cat <err >ports/err &
err=$!
exec 3>ports/status
echo started >&3

env -i sh /run/guest/command </dev/null >out 2>err 3>&-
status=$?

# What the command left running may hold the pipes open: it is given two seconds to end.
tries=40
while { kill -0 $out || kill -0 $err; } 2>/dev/null && [ $tries -gt 0 ]; do
    sleep 0.05
    tries=$((tries - 1))
done
echo "ended $status" >&3

if [ -z "$systemd" ]; then
    echo o >/proc/sysrq-trigger # power off
    sleep 60
fi
