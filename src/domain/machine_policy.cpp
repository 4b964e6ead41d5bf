#include "domain/machine_policy.hpp"

#include <unistd.h>

#include "base/log.hpp"
#include "host/fd.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::domain {
namespace {

constexpr u64 longest_file = 4 * KiB;

Result<MachinePolicy> parse(std::string_view text) {
  TRY_ASSIGN(const auto object, proto::parse_object(text, "restart policy"));
  proto::Fields fields(object, "restart policy");
  MachinePolicy out;
  if (std::string said; fields.text("restart", said)) {
    TRY_ASSIGN(out.restart, RestartPolicy::parse(said));
  }
  fields.flag("autostart", out.autostart);
  TRY(fields.finish());
  return out;
}

}  // namespace

MachinePolicy MachinePolicy::read(const Machine& machine) {
  const auto bytes = host::read_file(machine.places.policy(), longest_file);
  if (!bytes) return {};
  auto out = parse({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (out) return *out;
  log::info("machine '{}': {}", machine.spec.name, out.error().message());
  return {};
}

Result<> MachinePolicy::write(const Machine& machine) const {
  const std::string text = proto::print({{"restart", restart.text()}, {"autostart", autostart}}, 2) + "\n";
  return host::replace_file(machine.places.policy(), {reinterpret_cast<const u8*>(text.data()), text.size()});
}

bool MachinePolicy::again(int exit_code, unsigned restarts) const {
  switch (restart.when) {
    case RestartPolicy::When::always:
    case RestartPolicy::When::unless_stopped: return true;
    case RestartPolicy::When::on_failure: return exit_code != 0 && (restart.retries == 0 || restarts < restart.retries);
    case RestartPolicy::When::no: break;
  }
  return false;
}

bool MachinePolicy::with_host(const Machine& machine) const {
  using When = RestartPolicy::When;
  return autostart || restart.when == When::always || (restart.when == When::unless_stopped && !was_stopped(machine));
}

Result<> mark_stopped(const Machine& machine) { return host::replace_file(machine.places.stopped(), {}); }

bool was_stopped(const Machine& machine) { return ::access(machine.places.stopped().c_str(), F_OK) == 0; }

void forget_stopped(const Machine& machine) { ::unlink(machine.places.stopped().c_str()); }

}  // namespace nagaya::domain
