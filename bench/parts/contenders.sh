# The contenders, and what is read off their processes from outside. Sourced; needs build, engine, and for start() guest and work.

# start CONTENDER CPUS WHAT COMMANDS: a guest that runs the commands and powers off; replaces this shell. WHAT it is given:
# nothing, programs, or disk (programs, and the disk of real programs). It is ended when it takes too long.
start() {
  local contender=$1 cpus=$2 what=$3 append="console=ttyS0 quiet panic=-1 guest_run=\"$4\"" initrd=$work/initrd-$3
  local command=() disk=()
  [[ $what != nothing ]] || initrd=$guest/initrd-amd64
  case $contender in
    nagaya)
      [[ $what != disk ]] || disk=(--disk "path=$guest/bench-disk.img,format=raw,readonly=on")
      command=("$build/src/nagaya" run --kernel "$guest/vmlinuz-amd64" --initrd "$initrd" --append "$append" -m 512M -c "$cpus"
        --engine "$engine" --no-reboot -q "${disk[@]}") ;;
    tcg | tcg-max | tcg-single)
      local cpu=qemu64 thread=multi
      [[ $contender != tcg-max ]] || cpu=max
      [[ $contender != tcg-single ]] || thread=single
      [[ $what != disk ]] || disk=(-drive "file=$guest/bench-disk.img,format=raw,if=virtio,readonly=on")
      # Shared memory with a name, so that it can be told from the monitor's own.
      command=(qemu-system-x86_64 -accel "tcg,thread=$thread" -cpu "$cpu" -smp "$cpus" -nodefaults -display none -serial stdio
        -no-reboot -object memory-backend-memfd,id=guest-ram,size=512M -machine pc,memory-backend=guest-ram -m 512M
        -kernel "$guest/vmlinuz-amd64" -initrd "$initrd" -append "$append" "${disk[@]}") ;;
    uml)
      [[ $what != disk ]] || disk=("ubd0r=$guest/bench-disk.img")
      command=(linux.uml mem=512M "initrd=$initrd" con=null con0=null,fd:1 quiet panic=-1 "uml_dir=$work/uml" "${disk[@]}"
        "guest_run=\"$4\"") ;;
  esac
  exec timeout -k 5 "$limit" "${command[@]}"
}

installed() {  # installed CONTENDER
  case $1 in
    tcg*) command -v qemu-system-x86_64 >/dev/null ;;
    uml) command -v linux.uml >/dev/null ;;
  esac
}

children_of() { cat "/proc/$1/task/$1/children" 2>/dev/null || true; }

# Memory of the monitor's processes, KiB (proportional set size, so that a page mapped twice counts once): all except the
# guest's RAM, recognised by its name (User-Mode Linux keeps it in a file of /dev/shm without one).
own_memory() {
  local total child
  total=$(awk '/^[0-9a-f]+-[0-9a-f]+ / { ram = /memfd:(guest-ram|memory-backend)|\/dev\/shm\/#/ } /^Pss:/ && !ram { sum += $2 }
    END { print sum + 0 }' "/proc/$1/smaps" 2>/dev/null || echo 0)
  for child in $(children_of "$1"); do total=$((total + $(own_memory "$child"))); done
  echo "$total"
}

# CPU time of the same processes so far, in hundredths of a second (USER_HZ, which is 100 on every x86 Linux).
own_cpu() {
  local total child
  total=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '{ sum = $12 + $13 + $14 + $15 } END { print sum + 0 }')
  for child in $(children_of "$1"); do total=$((total + $(own_cpu "$child"))); done
  echo "$total"
}

# idle_cost PID: per cent of a core it takes over ten seconds.
idle_cost() {
  local before
  before=$(own_cpu "$1")
  sleep 10
  awk "BEGIN { printf \"%.2f\", ($(own_cpu "$1") - $before) / 10 }"
}
