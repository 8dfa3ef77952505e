#!/bin/sh
# The guest's first and only program. It counts, ten times a second, onto its disk and onto its console, and tells
# what comes and goes: so that a test can see from outside whether the machine lived on without a gap.
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /data /run /www/cgi-bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module" 2>/dev/null; done </modules/order

say() { echo "guest: $*" >/dev/console; }

memory=0
while read -r range _ kind; do
    [ "$kind" = "System RAM" ] && memory=$((memory + 0x${range#*-} - 0x${range%-*} + 1))
done </proc/iomem
# The firmware keeps some for itself; sizes are in steps of 4 MiB.
say "$(nproc) vCPUs, $(((memory / 1048576 + 3) / 4 * 4)) MiB of memory"

# The data partition is the second one of the disk that this system was booted from.
until disk=$(ls /dev/vda2 /dev/sda2 2>/dev/null | head -n 1) && [ -n "$disk" ]; do sleep 0.05; done
mount -t ext4 "$disk" /data || say "the data partition $disk cannot be mounted"
touch /data/count

# Prints the lines on disk, and how many of them do not follow the one before.
check() {
    awk 'NR == 1 { gaps = ($1 != 1) } NR > 1 && $1 != last + 1 { gaps++ } { last = $1 }
        END { printf "%d lines on disk, %d gaps\n", NR, gaps }' /data/count
}
n=$(tail -n 1 /data/count)
n=${n:-0}
say "count continues after $n; $(check)"

# An address of its own for each card, without asking anyone: 10.99.X.Y from the last two bytes of the MAC address.
configure() {
    mac=$(cat "/sys/class/net/$1/address")
    bytes=${mac#*:*:*:*:}
    ip address add "10.99.$((0x${bytes%:*})).$((0x${bytes#*:}))/16" dev "$1" 2>/dev/null
    ip link set "$1" up
    say "nic $1 appeared: $mac, 10.99.$((0x${bytes%:*})).$((0x${bytes#*:}))"
}

devices() {
    for path in /sys/block/vd* /sys/block/sd* /sys/class/net/eth*; do
        [ -e "$path" ] && echo "${path##*/}"
    done
}

watch_devices() {
    now=" $(echo $(devices)) "
    [ "$now" = "$known" ] && return
    for device in $now; do
        case "$known" in *" $device "*) continue ;; esac
        case "$device" in
            eth*) configure "$device" ;;
            *) say "disk $device appeared: $(($(cat "/sys/block/$device/size") / 2048)) MiB" ;;
        esac
    done
    for device in $known; do
        case "$now" in *" $device "*) continue ;; esac
        case "$device" in
            eth*) say "nic $device gone" ;;
            *) say "disk $device gone" ;;
        esac
    done
    known=$now
}

# A press of the power button is an event of the input device of that name.
for name in /sys/class/input/event*/device/name; do
    grep -q '^Power Button' "$name" || continue
    event=${name#/sys/class/input/}
    (head -c 24 "/dev/input/${event%%/*}" >/dev/null && touch /run/power-button) &
done

printf '#!/bin/sh\necho "Content-Type: text/plain\n"\ntail -n 1 /data/count\n' >/www/cgi-bin/count
chmod +x /www/cgi-bin/count
ip link set lo up
httpd -h /www

while [ ! -e /run/power-button ]; do
    n=$((n + 1))
    echo "$n" | dd of=/data/count oflag=append conv=notrunc,fsync 2>/dev/null || say "count $n cannot be written"
    [ $((n % 10)) -eq 0 ] && watch_devices && say "count $n"
    [ $((n % 100)) -eq 0 ] && say "check $(check)"
    sleep 0.1
done

say "the power button was pressed; count stops at $n"
umount /data
sync
poweroff -f
