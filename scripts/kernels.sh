#!/bin/sh
# Puts Debian's kernels and memtest86+ into .kensho/kernels, for the tests that load them where they are there.
# Needs Debian's apt-get and dpkg; installs nothing.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .kensho/kernels/packages
cd .kensho/kernels/packages
for flavour in amd64 cloud-amd64 rt-amd64 6.12-amd64 6.12-cloud-amd64; do
  # The metapackage depends on the newest kernel of its flavour.
  image=$(apt-cache depends "linux-image-$flavour" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
  apt-get -qq -o APT::Sandbox::User=root download "$image"
done
apt-get -qq -o APT::Sandbox::User=root download memtest86+
for package in *.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C .. --strip-components=2 --wildcards './boot/vmlinuz-*' './boot/memtest86+*.bin' 2>/dev/null || true
done
ls ..
