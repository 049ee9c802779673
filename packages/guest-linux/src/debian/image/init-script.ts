/**
 * Process 1 of the guest. Linux passes words of its command line that it does not know, `NAME=VALUE` without a dot, to
 * process 1 as environment variables (Documentation/admin-guide/kernel-parameters.rst): `kensho_run` and
 * `kensho_modules` come that way.
 */
export const INIT_SCRIPT = `#!/usr/bin/busybox sh
export PATH=/usr/bin HOME=/root TERM=linux LANG=C.UTF-8

# Applets of busybox, but for what packages bring themselves.
/usr/bin/busybox --install -s /usr/bin 2>/dev/null

# On a root disk they are there already.
if [ ! -e /proc/mounts ]; then
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t devtmpfs devtmpfs /dev
  mkdir -p /dev/pts /dev/shm
  mount -t devpts devpts /dev/pts
  mount -t tmpfs tmpfs /dev/shm
  mount -t tmpfs tmpfs /run
  mount -t tmpfs tmpfs /tmp
fi
hostname kensho
ip link set lo up

# Disks and file systems, then whatever the devices that there are ask for. A bus driver brings further devices.
modprobe -a -b sd_mod sr_mod $(echo "$kensho_modules" | tr , ' ')
seen=
while :; do
  aliases=$(cat /sys/bus/*/devices/*/modalias 2>/dev/null | sort -u)
  [ "$aliases" = "$seen" ] && break
  seen=$aliases
  IFS='
'
  modprobe -a -b $aliases 2>/dev/null
  unset IFS
done

root=
for word in $(cat /proc/cmdline); do
  case $word in root=*) root=$(echo "$word" | cut -d = -f 2-) ;; esac
done
if [ -n "$root" ] && ! grep -q '^[^ ]* / ext4' /proc/mounts; then
  # LABEL=, UUID= or a device, which takes a moment to appear.
  tries=0
  until device=$(findfs "$root" 2>/dev/null) && [ -b "$device" ] || [ $tries = 300 ]; do
    tries=$((tries + 1))
    sleep 0.1
  done
  if mount "$device" /mnt; then
    [ -d /kensho ] && mkdir -p /mnt/kensho && cp -a /kensho/. /mnt/kensho
    for each in proc sys dev run tmp; do mount --move /$each /mnt/$each; done
    exec switch_root /mnt /sbin/init
  fi
  echo "kensho: no root file system on $root"
fi

# From now on they may come and go.
uevent /usr/lib/kensho/hotplug >/dev/null 2>&1 &

for daemon in kvp vss fcopy; do
  [ -c /dev/vmbus/hv_$daemon ] && command -v "hv_"$daemon"_daemon" >/dev/null && "hv_"$daemon"_daemon"
done
# From Linux 6.10 on file copy is up to a daemon alone, by the driver that hands a device to user space.
if [ -e /sys/bus/vmbus/devices/eb765408-105f-49b6-b4aa-c123b64d17d4 ] && command -v hv_fcopy_uio_daemon >/dev/null; then
  modprobe uio_hv_generic
  echo 34d14be3-dee4-41c8-9ae7-6b174977c192 >/sys/bus/vmbus/drivers/uio_hv_generic/new_id
  hv_fcopy_uio_daemon
fi

read -r uptime idle </proc/uptime
echo "kensho: ready $uptime"

end() {
  sync
  grep ^/dev/ /proc/mounts | cut -d ' ' -f 2 | tac | xargs -r -n 1 umount
  "$1" -f
}
# busybox's poweroff and reboot, which an orderly shutdown runs, ask process 1 by these signals.
trap 'kill -TERM -1; sleep 1; kill -KILL -1; end poweroff' USR2
trap 'kill -TERM -1; sleep 1; kill -KILL -1; end reboot' TERM

run=$kensho_run
[ -z "$run" ] && [ -e /kensho/run ] && run=/kensho/run
if [ -n "$run" ]; then
  # What it prints goes to the second serial port where there is one, else to the console; what it complains of, there.
  output=/dev/console
  if [ "$(cat /sys/class/tty/ttyS1/type)" != 0 ]; then
    output=/dev/ttyS1
    stty -F $output raw -echo 115200
  fi
  cd /root
  # In the background: a trap is not run while the shell waits for what is in the foreground.
  setsid sh -c "$run" </dev/null >$output &
  wait $!
  echo "kensho: exit $?"
else
  cd /root
  setsid cttyhack sh -l </dev/console >/dev/console 2>&1 &
  wait $!
fi
end poweroff
`;

/** Run for each event of the kernel's about a device (uevent). */
export const HOTPLUG_SCRIPT = `#!/usr/bin/busybox sh
[ "$ACTION" = add ] && [ -n "$MODALIAS" ] && modprobe -b "$MODALIAS"
`;

/** What `udhcpc` of busybox runs when it has got, or lost, an address. */
export const DHCP_SCRIPT = `#!/usr/bin/busybox sh
case $1 in
deconfig)
  ip addr flush dev $interface
  ip link set $interface up
  ;;
bound | renew)
  ip addr flush dev $interface
  ip addr add $ip/$mask dev $interface
  for gateway in $router; do
    ip route replace default via $gateway dev $interface
    break
  done
  for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
  ;;
esac
`;

/**
 * What `hv_kvp_daemon` runs to give an adapter its addresses, with a file of `KEY=VALUE` lines. Each distribution has to
 * bring one (`tools/hv/hv_kvp_daemon.c`), and Debian's package does not. Where the file is kept, the package's
 * `hv_get_dhcp_info` looks for it. The daemon checks all addresses, but not masks: the file is read, never run.
 */
export const SET_ADDRESSES_SCRIPT = `#!/usr/bin/busybox sh
value() {
  sed -n "s/^$1=//p" "$config" | head -n 1
}
config=$1
mkdir -p /etc/sysconfig/network-scripts
cp "$config" /etc/sysconfig/network-scripts/
device=$(value DEVICE)
lease=/run/udhcpc.$device.pid
[ -e "$lease" ] && kill "$(cat "$lease")"
ip addr flush dev "$device"
ip link set "$device" up
if [ "$(value BOOTPROTO)" = dhcp ]; then
  udhcpc -i "$device" -n -t 5 -p "$lease" >/dev/null 2>&1 || exit 1
fi
n=0
while address=$(value IPADDR$n) && [ -n "$address" ]; do
  ip addr add "$address/$(value NETMASK$n)" dev "$device" || exit 1
  n=$((n + 1))
done
n=
while address=$(value "IPV6ADDR$n") && [ -n "$address" ]; do
  ip addr add "$address/$(value "IPV6NETMASK$n" | tr -d /)" dev "$device" || exit 1
  n=_$((\${n#_} + 1))
done
for gateway in $(value GATEWAY) $(value IPV6_DEFAULTGW); do
  ip route replace default via "$gateway" dev "$device" || exit 1
done
servers=$(sed -n 's/^DNS[0-9]*=/nameserver /p' "$config")
[ -n "$servers" ] && echo "$servers" >/etc/resolv.conf
exit 0
`;
