# What contenders are given: our programs in a RAM disk, and real programs on a disk made of Debian packages. Sourced by
# bench/run, which sets root, guest (fetched files) and work (what is made here).

packages=dash,coreutils,sed,grep,findutils,diffutils,gcc,libc6-dev,openssl,xz-utils,gzip,python3-minimal,libpython3-stdlib

# Programs that compute find the C library as those of a distribution do, in files of its own; the others are whole, so that starting one
# is mostly the kernel's work.
compile_programs() {
  local source name how
  mkdir -p "$work/programs"
  for source in "$root"/bench/guest/*.c; do
    name=$(basename "$source" .c)
    how=-static
    ! grep -q "^compute $name\b" "$root/bench/guest/programs" || how=-pie
    [[ $work/programs/$name -nt $source && $work/programs/$name -nt $root/bench/guest/bench.h && $work/programs/$name -nt $root/bench/parts/set-up.sh ]] ||
      gcc-12 -O2 $how -s -o "$work/programs/$name" "$source" -lm
  done
  cp "$root"/bench/guest/{bench.h,core.c,go,go-disk,loop.py,programs,script,twice} "$work/programs/"
}

# The kernel unpacks several archives one after the other (Documentation/driver-api/early-userspace/buffer-format.rst).
make_initrds() {
  local tree
  tree=$(mktemp -d "$work/tree.XXXXXX")
  cp -r "$work/programs" "$tree/bench"
  mkdir -p "$tree"/lib64 "$tree/lib/x86_64-linux-gnu"
  cp -L /lib64/ld-linux-x86-64.so.2 "$tree/lib64/"
  cp -L /lib/x86_64-linux-gnu/{libc.so.6,libm.so.6} "$tree/lib/x86_64-linux-gnu/"
  (cd "$tree" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$work/programs.cpio"
  rm -r "$tree"
  cat "$guest/initrd-amd64" "$work/programs.cpio" >"$work/initrd-programs"
  cat "$guest/initrd-amd64-devices" "$work/programs.cpio" >"$work/initrd-disk"
}

# Unpacked packages without their scripts do for what is run here, need no root, and take seconds.
make_disk() {
  tree=$guest/bench-tree disk=$guest/bench-disk.img
  [[ ! -e $disk || $(cat "$guest/bench-tree.packages" 2>/dev/null) != "$packages" ]] || return 0
  echo "bench: making the disk of real programs" >&2
  rm -rf "$tree" "$disk" "$guest/bench-tree.packages"
  mkdir -p "$tree"
  mmdebstrap --quiet --variant=extract --format=tar --include="$packages" --aptopt='Apt::Install-Recommends "false"' bookworm - |
    tar -x -C "$tree" --no-same-owner --exclude='./dev/*'
  mkdir -p "$tree"/{bench,dev,proc,tmp}
  truncate -s 500M "$disk.tmp"
  PATH=$PATH:/sbin:/usr/sbin mke2fs -q -t ext4 -O ^has_journal -d "$tree" "$disk.tmp"
  mv "$disk.tmp" "$disk"
  echo "$packages" >"$guest/bench-tree.packages"
}
