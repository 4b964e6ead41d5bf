#include "cli/domain_command.hpp"

namespace nagaya::cli {

OptionSpec name_argument() { return {"NAME", "NAME", "the machine or container, or the beginning of its name"}; }

OptionSpec names_argument() { return {"NAME", "NAME", "machines and containers", Completes::nothing, {}, true, true}; }

Result<domain::Domain> one_domain(const domain::DomainStore& store, const Parsed& options, const char* command) {
  if (!options.has("NAME")) return fail(fmt::format("nagaya {}", command), "nothing is named", "'nagaya ps -a' lists machines and containers");
  return store.find(options.last("NAME"));
}

std::unexpected<Error> not_for_machines(const domain::Machine& machine, const char* verb, std::string hint) {
  return fail(fmt::format("nagaya {} {}", verb, machine.spec.name), "it is a virtual machine; containers have this", std::move(hint));
}

}  // namespace nagaya::cli
