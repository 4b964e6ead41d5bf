// What makes a guest of a plain Debian: run by mmdebstrap inside its namespace, with the new root as $1. Mostly a table of files.
#include "image/debian.hpp"

namespace nagaya::image {

const char* const debian_recipe = R"recipe(set -eu
cd "$1"
write() { mkdir -p "$(dirname "./$1")"; cat >"./$1"; }

echo debian >etc/hostname
write etc/hosts <<'END'
127.0.0.1 localhost
127.0.1.1 debian
::1 localhost ip6-localhost ip6-loopback
END

# The disk has no partitions; a larger overlay is grown into at the first boot.
write etc/fstab <<'END'
/dev/vda / ext4 rw,relatime,errors=remount-ro,x-systemd.growfs 0 1
END

write etc/systemd/network/80-dhcp.network <<'END'
[Match]
Type=ether
Name=en* eth*

[Network]
DHCP=yes
IPv6AcceptRA=yes

[DHCPv4]
UseDomains=yes
END
write etc/systemd/resolved.conf.d/guest.conf <<'END'
[Resolve]
LLMNR=no
MulticastDNS=no
DNSSEC=no
END

# Who holds the console holds the machine: root is there without a password, which is locked.
write etc/systemd/system/serial-getty@.service.d/autologin.conf <<'END'
[Service]
Environment=TERM=xterm-256color
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200,57600,38400,9600 %I $TERM
END
write etc/systemd/system/console-getty.service.d/autologin.conf <<'END'
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud console 115200,57600,38400,9600 $TERM
END
chroot . usermod -p '*' root

# Each machine has keys of its own, made at its first boot.
write etc/systemd/system/ssh-host-keys.service <<'END'
[Unit]
Description=SSH host keys of this machine
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -C "" -f /etc/ssh/ssh_host_ed25519_key
RemainAfterExit=yes

[Install]
WantedBy=ssh.service
END
rm -f etc/ssh/ssh_host_*
write etc/ssh/sshd_config.d/guest.conf <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
END

# cloud-init runs when a seed is attached, and not at all otherwise. Each of its modules costs a new guest time: those stay
# that user data is written for.
write etc/cloud/cloud.cfg.d/90-guest.cfg <<'END'
datasource_list: [NoCloud, ConfigDrive]
disable_root: false
ssh_deletekeys: false
ssh_genkeytypes: []
cloud_init_modules: [write-files, set_hostname, update_hostname, ca-certs, users-groups, ssh]
cloud_config_modules: [set-passwords, apt-configure, timezone, runcmd]
cloud_final_modules: [package-update-upgrade-install, write-files-deferred, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, final-message, power-state-change]
END
write etc/cloud/ds-identify.cfg <<'END'
policy: search,found=first,maybe=none,notfound=disabled
END

# An upgrade of the kernel inside makes a small RAM disk, should the disk ever be booted elsewhere.
if [ -d etc/initramfs-tools ]; then
  sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=lz4/' etc/initramfs-tools/initramfs.conf
  printf '%s\n' virtio_pci virtio_blk >>etc/initramfs-tools/modules
fi

units="systemd-networkd systemd-resolved ssh-host-keys"
if [ -e usr/sbin/nagaya-agent ]; then
  usr/sbin/nagaya-agent --print-unit >etc/systemd/system/nagaya-agent.service
  echo vmw_vsock_virtio_transport >etc/modules-load.d/nagaya-agent.conf
  units="$units nagaya-agent"
fi
chroot . systemctl -q enable $units
for unit in getty@tty1.service systemd-pstore.service systemd-networkd-wait-online.service e2scrub_reap.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer; do
  [ ! -e "lib/systemd/system/$unit" ] && [ "${unit#getty}" = "$unit" ] || chroot . systemctl -q disable "$unit"
done
# What systemd would load and mount at each boot whether anybody needs it or not; all of it still comes when asked for by name.
for unit in systemd-binfmt.service proc-sys-fs-binfmt_misc.automount modprobe@drm.service modprobe@dm_mod.service modprobe@loop.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount systemd-network-generator.service; do
  ln -s /dev/null "etc/systemd/system/$unit"
done
# Most devices of a guest are terminals that do not exist: udev is told of those that may.
write etc/systemd/system/systemd-udev-trigger.service.d/guest.conf <<'END'
[Service]
ExecStart=
ExecStart=-udevadm trigger --type=subsystems --action=add
ExecStart=-udevadm trigger --type=devices --action=add --subsystem-nomatch=tty --subsystem-nomatch=vc --subsystem-nomatch=bdi --subsystem-nomatch=workqueue --subsystem-nomatch=event_source --subsystem-nomatch=wakeup
ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=tty --sysname-match=ttyS* --sysname-match=hvc*
END

# No two machines have one identity.
: >etc/machine-id
rm -f var/lib/systemd/random-seed var/lib/dbus/machine-id
rm -f etc/resolv.conf
ln -s ../run/systemd/resolve/stub-resolv.conf etc/resolv.conf

rm -rf var/log/apt var/log/*.log var/cache/ldconfig/aux-cache boot/initrd.img-* initrd.img initrd.img.old
# Nothing is left for the first boot to bring up to date.
touch -r usr etc/.updated var/.updated
)recipe";

}  // namespace nagaya::image
