// The members of a domain's limits by the names that they have in definitions: for writing and for reading.
#pragma once

namespace nagaya::domain {

template <class Archive, class Limits>
void limits_members(Archive& a, Limits& limits) {
  a.number("memory_reservation", limits.memory_reservation);
  a.number("memory_swap", limits.memory_swap);
  a.number("cpu_thousandths", limits.cpu_thousandths);
  a.number("cpu_shares", limits.cpu_shares);
  a.text("cpuset_cpus", limits.cpuset_cpus);
  a.text("cpuset_mems", limits.cpuset_mems);
  a.number("pids", limits.pids);
  a.number("blkio_weight", limits.blkio_weight);
  a.texts("read_bps", limits.read_bps);
  a.texts("write_bps", limits.write_bps);
  a.texts("read_iops", limits.read_iops);
  a.texts("write_iops", limits.write_iops);
}

}  // namespace nagaya::domain
