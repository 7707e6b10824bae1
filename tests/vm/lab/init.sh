#!/bin/busybox sh
# The first program of a guest: finds its root on the host and hands over to the agent.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in virtio_pci virtio_console 9pnet_virtio 9p overlay; do
	modprobe "$module" || echo "no module $module"
done
mkdir -p /lower /upper /newroot
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 root /lower
mount -t tmpfs tmpfs /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /newroot
mkdir -p /newroot/proc /newroot/sys /newroot/dev /newroot/run /newroot/host /newroot/tmp
mkdir -p /newroot/usr/lib/modules /newroot/dev/shm
cp -a /lib/modules/* /newroot/usr/lib/modules/
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /newroot/host
mkdir -p /newroot/site
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 site /newroot/site
mount --move /proc /newroot/proc
mount --move /sys /newroot/sys
mount --move /dev /newroot/dev
mount -t tmpfs tmpfs /newroot/run
mount -t tmpfs tmpfs /newroot/tmp
mkdir -p /newroot/dev/shm /newroot/dev/virtio-ports
mount -t tmpfs tmpfs /newroot/dev/shm
mount -t debugfs debugfs /newroot/sys/kernel/debug
mount -t tracefs tracefs /newroot/sys/kernel/tracing
for port in /newroot/sys/class/virtio-ports/*; do
	ln -s "../${port##*/}" "/newroot/dev/virtio-ports/$(cat "$port/name")"
done
cp /agent.sh /newroot/run/agent.sh
exec switch_root /newroot /bin/sh /run/agent.sh
