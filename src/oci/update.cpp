// update: new limits for a container that runs.
#include <charconv>

#include "container/spec/parse.hpp"
#include "host/fd.hpp"
#include "oci/commands.hpp"
#include "oci/options.hpp"

namespace nagaya::oci {
namespace {

constexpr Option update_options[] = {
    {"resources", 'r', true},        {"memory", 0, true},         {"memory-swap", 0, true},
    {"memory-reservation", 0, true}, {"kernel-memory", 0, true},  {"kernel-memory-tcp", 0, true},
    {"cpu-quota", 0, true},          {"cpu-period", 0, true},     {"cpu-share", 0, true},
    {"cpu-shares", 0, true},         {"cpu-burst", 0, true},      {"cpu-idle", 0, true},
    {"cpu-rt-period", 0, true},      {"cpu-rt-runtime", 0, true}, {"cpuset-cpus", 0, true},
    {"cpuset-mems", 0, true},        {"pids-limit", 0, true},     {"blkio-weight", 0, true}};

Result<i64> number(const std::string& text, const char* name) {
  i64 value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  int shift = 0;
  // Powers of 1024, as `docker update` and its kin write them.
  if (unit == "k" || unit == "K") shift = 10;
  if (unit == "m" || unit == "M") shift = 20;
  if (unit == "g" || unit == "G") shift = 30;
  if (code != std::errc{} || (shift == 0 && !unit.empty()) || value < -1 || value > (i64{1} << 60 >> shift)) {
    return fail("'" + text + "' is no value for --" + std::string(name));
  }
  return value < 0 ? value : value << shift;
}

/// Sets `field` when the option is given.
template <class T>
Result<> take(const Parsed& parsed, const char* name, std::optional<T>& field) {
  if (!parsed.has(name)) return {};
  TRY_ASSIGN(const i64 value, number(parsed.get(name), name));
  field = static_cast<T>(value);
  return {};
}

Result<container::Resources> from_options(const Parsed& parsed) {
  container::MemoryLimits memory;
  container::CpuLimits cpu;
  container::BlockIoLimits block;
  container::Resources out;
  TRY(take(parsed, "memory", memory.limit));
  TRY(take(parsed, "memory-swap", memory.swap));
  TRY(take(parsed, "memory-reservation", memory.reservation));
  TRY(take(parsed, "kernel-memory", memory.kernel));
  TRY(take(parsed, "kernel-memory-tcp", memory.kernel_tcp));
  TRY(take(parsed, "cpu-quota", cpu.quota));
  TRY(take(parsed, "cpu-period", cpu.period));
  TRY(take(parsed, "cpu-share", cpu.shares));
  TRY(take(parsed, "cpu-shares", cpu.shares));
  TRY(take(parsed, "cpu-burst", cpu.burst));
  TRY(take(parsed, "cpu-idle", cpu.idle));
  TRY(take(parsed, "cpu-rt-period", cpu.realtime_period));
  TRY(take(parsed, "cpu-rt-runtime", cpu.realtime_runtime));
  TRY(take(parsed, "pids-limit", out.pids_limit));
  TRY(take(parsed, "blkio-weight", block.weight));
  cpu.cpus = parsed.get("cpuset-cpus");
  cpu.mems = parsed.get("cpuset-mems");
  for (const char* name : {"memory", "memory-swap", "memory-reservation", "kernel-memory", "kernel-memory-tcp"}) {
    if (parsed.has(name)) out.memory = memory;
  }
  for (const char* name : {"cpu-quota", "cpu-period", "cpu-share", "cpu-shares", "cpu-burst", "cpu-idle",
                           "cpu-rt-period", "cpu-rt-runtime", "cpuset-cpus", "cpuset-mems"}) {
    if (parsed.has(name)) out.cpu = cpu;
  }
  if (parsed.has("blkio-weight")) out.block_io = block;
  return out;
}

}  // namespace

Result<int> update_command(const Global& global, Words words) {
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, update_options, false));
  TRY_ASSIGN(const std::string id, only_argument(parsed.arguments, "the container's id"));
  container::Resources resources;
  if (parsed.has("resources")) {
    const std::string file = parsed.get("resources");
    TRY_ASSIGN(const std::vector<u8> bytes, file == "-" ? host::read_all(0, container::bundle_limit, "standard input")
                                                        : host::read_file(file, container::bundle_limit));
    TRY_ASSIGN(resources, container::parse_resources({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  } else {
    TRY_ASSIGN(resources, from_options(parsed));
  }
  TRY(container::update(global.root, id, resources));
  return 0;
}

}  // namespace nagaya::oci
