#include "proto/vm_config.hpp"

#include <algorithm>
#include <array>

#include "proto/json_fields.hpp"

namespace nagaya::proto {
namespace {

constexpr std::array<std::string_view, 3> engines = {"auto", "kvm", "soft"};
constexpr std::array<std::string_view, 3> cpus = {"portable", "host", "common"};
constexpr std::array<std::string_view, 5> protocols = {"auto", "linux64", "linux32", "pvh", "multiboot"};
constexpr u64 least_memory = 2 * MiB, most_memory = 1024 * GiB;
constexpr unsigned most_vcpus = 255;
constexpr unsigned most_node = 1023;  // MAX_NUMNODES of x86
constexpr std::size_t longest_append = 64 * KiB - 1;

template <std::size_t N>
Result<> one_of(const char* key, std::string_view value, const std::array<std::string_view, N>& allowed) {
  if (std::ranges::find(allowed, value) != allowed.end()) return {};
  return fail(fmt::format("{} '{}'", key, value), "no such choice", fmt::format("one of {}", fmt::join(allowed, ", ")));
}

}  // namespace

Result<> VmConfig::validate() const {
  if (!plain_name(name)) {
    return fail(fmt::format("name '{}'", name), "1 to 64 letters, digits, '-', '_', '.', beginning with none of the marks");
  }
  if (memory < least_memory || memory > most_memory || memory % MiB != 0) {
    return fail(fmt::format("memory of {} bytes", memory), "it must be whole MiB, from 2 MiB to 1 TiB");
  }
  if (vcpus < 1 || vcpus > most_vcpus) return fail(fmt::format("{} vCPUs", vcpus), "it must be 1 to 255");
  if (numa_node && *numa_node > most_node) return fail(fmt::format("NUMA node {}", *numa_node), fmt::format("it must be 0 to {}", most_node));
  TRY(one_of("engine", engine, engines));
  TRY(one_of("cpu", cpu, cpus));
  TRY(soft.validate());
  if (soft.observes() && engine == "kvm") return fail("engine kvm", "it translates nothing, so there is nothing to log or to map", "choose soft");
  TRY(one_of("protocol", protocol, protocols));
  if (kernel.empty() && firmware.empty() && restore.empty()) {
    return fail("nothing to start", "neither kernel, firmware nor a saved machine is given");
  }
  if (kernel.empty() && restore.empty() && (!initrd.empty() || !append.empty() || !modules.empty())) {
    return fail("initrd, append and modules", "they need a kernel");
  }
  if (append.size() > longest_append || append.find('\0') != std::string::npos) {
    return fail("append", "longer than 65535 bytes, or it holds a zero byte");
  }
  for (const auto& [key, path] : {std::pair{"kernel", &kernel}, {"initrd", &initrd}, {"firmware", &firmware},
                                  {"restore", &restore}, {"save_file", &save_file}, {"control", &control}}) {
    TRY(check_path(key, *path));
  }
  for (const std::string& module : modules) TRY(check_path("modules", module));
  return validate_devices();
}

std::string VmConfig::to_json() const {
  nlohmann::ordered_json out = {{"name", name}, {"memory", memory}, {"vcpus", vcpus}, {"engine", engine}, {"cpu", cpu}};
  if (numa_node) out["numa_node"] = *numa_node;
  if (soft != SoftEngineConfig{}) out["soft"] = proto::to_json(soft);
  const auto text = [&](const char* key, const std::string& value) {
    if (!value.empty()) out[key] = value;
  };
  text("kernel", kernel);
  text("initrd", initrd);
  text("append", append);
  if (!modules.empty()) out["modules"] = modules;
  out["protocol"] = protocol;
  out["decompress_in_guest"] = decompress_in_guest;
  text("firmware", firmware);
  text("restore", restore);
  put_devices(out, *this);
  out["no_reboot"] = no_reboot;
  text("save_file", save_file);
  out["save_then_exit"] = save_then_exit;
  text("control", control);
  return print(out, 1);
}

Result<VmConfig> VmConfig::from_json(std::string_view text) {
  TRY_ASSIGN(const auto object, parse_object(text, "machine configuration"));
  Fields fields(object, "machine configuration");
  VmConfig out;
  fields.text("name", out.name);
  fields.number("memory", out.memory);
  fields.number("vcpus", out.vcpus);
  if (unsigned node = 0; fields.number("numa_node", node)) out.numa_node = node;
  fields.text("engine", out.engine);
  fields.text("cpu", out.cpu);
  if (const auto* options = fields.take("soft")) {
    TRY_ASSIGN(out.soft, soft_engine_from(*options));
  }
  fields.text("kernel", out.kernel);
  fields.text("initrd", out.initrd);
  fields.text("append", out.append);
  fields.texts("modules", out.modules);
  fields.text("protocol", out.protocol);
  fields.flag("decompress_in_guest", out.decompress_in_guest);
  fields.text("firmware", out.firmware);
  fields.text("restore", out.restore);
  TRY(take_devices(fields, out));
  fields.flag("no_reboot", out.no_reboot);
  fields.text("save_file", out.save_file);
  fields.flag("save_then_exit", out.save_then_exit);
  fields.text("control", out.control);
  TRY(fields.finish());
  TRY(out.validate());
  return out;
}

}  // namespace nagaya::proto
