#include "proto/exit_codes.hpp"

#include <array>

#include "proto/json_fields.hpp"

namespace nagaya::proto {
namespace {

struct Name {
  Outcome outcome;
  std::string_view name;
  int exit_code;
  std::string_view sentence;
};
constexpr std::array names = {
    Name{Outcome::power_off, "power_off", exit_power_off, "the guest powered off"},
    Name{Outcome::reset, "reset", exit_reset, "the guest asked for a reset"},
    Name{Outcome::debug_exit, "debug_exit", 0, "the guest ended with a debug exit"},
    Name{Outcome::triple_fault, "triple_fault", exit_triple_fault, "the guest crashed with a triple fault"},
    Name{Outcome::internal_error, "internal_error", exit_guest_internal, "the engine cannot go on with this guest"},
    Name{Outcome::killed, "killed", exit_power_off, "the machine was told to stop"},
    Name{Outcome::saved, "saved", exit_saved, "the machine was saved"},
    Name{Outcome::failed, "failed", exit_failure, "the machine failed"},
};
static_assert(names[static_cast<std::size_t>(Outcome::failed)].outcome == Outcome::failed);

const Name& entry(Outcome outcome) { return names[static_cast<std::size_t>(outcome)]; }

}  // namespace

std::string_view outcome_name(Outcome outcome) { return entry(outcome).name; }

int VmOutcome::exit_code() const { return outcome == Outcome::debug_exit ? value & 0xff : entry(outcome).exit_code; }

std::string VmOutcome::sentence() const {
  std::string out(entry(outcome).sentence);
  if (outcome == Outcome::debug_exit) out += fmt::format(", status {}", value);
  if (!detail.empty()) out += ": " + detail;
  return out;
}

std::string VmOutcome::to_json() const {
  return print({{"outcome", outcome_name(outcome)}, {"value", value}, {"detail", detail}});
}

Result<VmOutcome> VmOutcome::from_json(std::string_view line) {
  TRY_ASSIGN(const auto object, parse_object(line, "outcome of a machine"));
  Fields fields(object, "outcome of a machine");
  VmOutcome out;
  std::string name;
  fields.text("outcome", name);
  fields.number("value", out.value);
  fields.text("detail", out.detail);
  const auto* found = std::ranges::find(names, name, &Name::name);
  if (found == names.end()) {
    fields.note(fmt::format("unknown outcome '{}'", name));
  } else {
    out.outcome = found->outcome;
  }
  TRY(fields.finish());
  return out;
}

}  // namespace nagaya::proto
