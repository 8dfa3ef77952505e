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
(agent &) # not a job of this shell, which waits for those

# Disks that say so by their serial numbers (pattern-INDEX-DISKS-KIB) are written over, as lab/pattern.py describes.
pattern_disk() {
    for path in /sys/block/vd*; do
        case "$(cat "$path/serial")" in pattern-$1-*) echo "/dev/${path##*/}" ;; esac
    done
}

# Prints the number in the header of a slot; nothing where there is none.
pattern_number() {
    dd if="$(pattern_disk $(($1 % disks)))" bs=$((kib * 1024)) skip=$(($1 / disks)) count=1 2>/dev/null |
        head -c 128 | tr '\0' '\n' | sed -n 's/^pvc-pattern 0*\([0-9]*\) .*/\1/p'
}

# The slots' numbers rise by one up to the newest: looked for by halves.
pattern_newest() {
    first=$(pattern_number 0)
    [ -n "$first" ] || first=$(($(pattern_number $((slots - 1))) - slots + 1))
    [ $first -gt 0 ] || { echo 0; return; }
    low=0 high=$((slots - 1))
    while [ $low -lt $high ]; do
        middle=$(((low + high + 1) / 2))
        if [ "$(pattern_number $middle)" = $((first + middle)) ]; then low=$middle; else high=$((middle - 1)); fi
    done
    echo $((first + low))
}

write_pattern() {
    first_disk=/sys/block/$(basename "$(pattern_disk 0)")
    IFS=- read -r _ _ disks kib <"$first_disk/serial" # there is no newline at its end
    slots=$(($(cat "$first_disk/size") / (2 * kib) * disks))
    number=$(pattern_newest)
    say "pattern continues after $number, over $disks disks of $slots blocks"
    [ $number -gt 0 ] && number=$((number - 1)) # the newest may be torn: it is written again
    while [ ! -e /run/power-button ]; do
        number=$((number + 1))
        slot=$(((number - 1) % slots))
        head -c $((kib * 1024 - 128)) /dev/urandom >/run/payload
        digest=$(sha256sum /run/payload)
        { printf 'pvc-pattern %020d %-94s\n' $number "${digest%% *}"; cat /run/payload; } |
            dd of="$(pattern_disk $((slot % disks)))" bs=$((kib * 1024)) seek=$((slot / disks)) \
                iflag=fullblock conv=notrunc,fsync 2>/dev/null || say "pattern $number cannot be written"
        [ $((number % 10)) -eq 0 ] && say "pattern $number"
    done
    say "pattern stops at $number"
}
[ -n "$(pattern_disk 0)" ] && write_pattern &
writer=$!

# A disk with the serial number load-KIB is overwritten with noise, so many KiB each second.
write_load() {
    megabytes=$(($(cat "/sys/block/$1/size") / 2048)) place=0
    until [ -e /run/power-button ]; do
        sleep 1 &
        dd if=/dev/urandom of="/dev/$1" bs=256k count=$(($2 / 256)) seek=$((place * 4)) iflag=fullblock \
            conv=notrunc,fsync 2>/dev/null || say "the load on $1 cannot be written"
        place=$((place + $2 / 1024 + 1))
        [ $((place + $2 / 1024 + 1)) -lt $megabytes ] || place=0
        wait $!
    done
}
for path in /sys/block/vd*; do
    case "$(cat "$path/serial")" in load-*) write_load "${path##*/}" "$(sed 's/load-//' "$path/serial")" & ;; esac
done

while [ ! -e /run/power-button ]; do
    n=$((n + 1))
    echo "$n" | dd of=/data/count oflag=append conv=notrunc,fsync 2>/dev/null || say "count $n cannot be written"
    [ $((n % 10)) -eq 0 ] && watch_devices && say "count $n"
    [ $((n % 100)) -eq 0 ] && say "check $(check)"
    sleep 0.1
done

wait $writer
say "the power button was pressed; count stops at $n"
umount /data
sync
poweroff -f
