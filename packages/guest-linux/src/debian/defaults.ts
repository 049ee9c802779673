/** The shell, and all of a system that is in no package of its own. */
export const BUSYBOX = 'busybox-static';
/** In that package. */
export const BUSYBOX_FILE = 'bin/busybox';

/** fio, to measure disks with, and the daemons of the integration services, with the shell that their scripts are for. */
export const DEFAULT_PACKAGES: readonly string[] = ['fio', 'hyperv-daemons', 'bash'];

/** Made from the kernel's source, for its interfaces: taken from the suite that the kernel is from. */
export const OF_THE_KERNEL: readonly string[] = ['hyperv-daemons'];

/** Drivers of both paths to each device, and file systems. What a kernel has built in, or not at all, is passed over. */
export const DEFAULT_MODULES: readonly string[] = [
  // VMBus and what is on it
  'hv_vmbus',
  'hv_storvsc',
  'hv_netvsc',
  'hv_utils',
  'hv_balloon',
  'hv_sock',
  'hid_hyperv',
  'hyperv_keyboard',
  'hyperv_drm',
  'hyperv_fb',
  'uio_hv_generic',
  'pci_hyperv',
  // The Generation-1 board
  'ata_piix',
  'ata_generic',
  'tulip',
  'de2104x',
  'psmouse',
  // The processor's registers, from user space
  'msr',
  // Disks and file systems
  'sd_mod',
  'sr_mod',
  'sg',
  'loop',
  'ext4',
  'vfat',
  'isofs',
  'nls_ascii',
  'nls_cp437',
  'nls_utf8',
  'crc32c_generic',
  'crc32c_intel',
  // Networks and input
  '8021q',
  'af_packet',
  'hid_generic',
  'evdev',
];

/**
 * What packages name among their dependencies and the guest can do without: nothing in it is installed, updated or
 * started by Debian's own tools. Each can be asked for by name.
 */
export const DONE_WITHOUT: readonly string[] = [
  'adduser',
  'debconf',
  'dpkg',
  'init-system-helpers',
  'initramfs-tools',
  'install-info',
  'kmod',
  'linux-base',
  'lsb-base',
  'media-types',
  'passwd',
  'python3',
  'systemd',
  'sysvinit-utils',
  'ucf',
  'udev',
];
