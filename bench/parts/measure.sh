# One measurement each. Sourced by bench/run; results go to $results as "contender program value checksum".

note() { echo "$1 $2 $3 ${4:--}" >>"$results"; }

# In the background, since a shell that waits for its foreground hears no signal until that ends.
run_to_end() {
  start "$@" &
  wait $!
}

# Wall and CPU seconds from process start to power-off.
measure_boot() {
  local contender=$1 log=$work/boot-$1.log times wall user system
  TIMEFORMAT='%R %U %S'
  times=$({ time run_to_end "$contender" "$cpus" nothing "echo up" </dev/null >"$log" 2>&1; } 2>&1) ||
    { echo "bench: $contender: boot failed, see $log" >&2; return 0; }
  grep -q '^up' "$log" || { echo "bench: $contender: the guest said nothing, see $log" >&2; return 0; }
  read -r wall user system <<<"$times"
  note "$contender" boot-wall "$wall"
  note "$contender" boot-cpu "$(awk "BEGIN { printf \"%.3f\", $user + $system }")"
}

# The lines that programs print (bench.h), and those of openssl, whose rates become the time of a fixed amount of work.
read_results() {
  tr -d '\r' | awk -v contender="$1" '
    $1 == "bench" && NF == 4 && $3 != "absent" { print contender, $2, $3, $4 }
    $1 == "rate" && NF == 4 {
      fields = split($4, field, ":")
      if (field[1] == "+F" && field[fields] > 0) printf "%s %s %.6f -\n", contender, $2, $3 / field[fields]
      if (field[1] == "+F2") printf "%s %s %.6f -\n", contender, $2, $3 / field[4]
    }' >>"$results"
}

native_disk() {  # the tree is a root of its own for the programs, as it is in guests
  local user=()
  [[ $(id -u) -eq 0 ]] || user=(-r)
  unshare -m "${user[@]}" sh -c 'mount --bind "$1" "$2/bench"; mount -t tmpfs tmpfs "$2/tmp"; mount --rbind /dev "$2/dev"; mount --rbind /proc "$2/proc"
    root=$2; shift 2; PATH=$PATH:/sbin:/usr/sbin exec chroot "$root" /bin/sh /bench/go "$@"' - "$work/programs" "$guest/bench-tree" "$@"
}
native_programs() { sh "$work/programs/go" "$@"; }

# measure_programs CONTENDER GROUP NAME…
measure_programs() {
  local contender=$1 group=$2 what=programs script=go vcpus=$cpus log=$work/$2-$1.log
  shift 2
  [[ $group != real ]] || what=disk script=go-disk
  [[ $group != pair ]] || vcpus=2
  if [[ $contender == native ]]; then
    "native_$what" "$@" >"$log" 2>"$log.errors" </dev/null || echo "bench: native: $group failed, see $log.errors" >&2
  else
    run_to_end "$contender" "$vcpus" "$what" "sh /bench/$script $*" >"$log" 2>"$log.errors" </dev/null ||
      echo "bench: $contender: $group ended with $?, see $log" >&2
  fi
  read_results "$contender" <"$log"
  local name
  for name in "$@"; do grep -qE "^(bench|rate) $name " "$log" || echo "bench: $contender: $name gave nothing, see $log" >&2; done
}

# What an idle guest costs: the monitor's own memory, and CPU.
measure_idle() {
  local contender=$1 log=$work/idle-$1.log
  start "$contender" "$cpus" nothing "echo up; sleep 14" </dev/null >"$log" 2>&1 &
  local pid=$!
  for _ in $(seq 600); do
    ! grep -q '^up' "$log" || break
    kill -0 $pid 2>/dev/null || break
    sleep 0.1
  done
  sleep 2
  note "$contender" idle-percent "$(idle_cost $pid)"
  note "$contender" memory-MiB "$(awk "BEGIN { printf \"%.1f\", $(own_memory $pid) / 1024 }")"
  wait $pid || true
}
