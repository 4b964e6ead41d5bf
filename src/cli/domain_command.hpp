// Commands over machines and containers by name. A domain is one or the other; the words are the same.
#pragma once
#include <fmt/core.h>

#include <utility>
#include <vector>

#include "cli/command.hpp"
#include "cli/launch.hpp"
#include "domain/domain_store.hpp"

namespace nagaya::cli {

/// start, stop, restart, kill, rm, pause, resume, wait, rename, update.
[[nodiscard]] std::vector<CommandSpec> life_commands();
/// ps, logs, inspect, port, top, stats, attach.
[[nodiscard]] std::vector<CommandSpec> look_commands();

/// NAME and NAME… as arguments.
[[nodiscard]] OptionSpec name_argument();
[[nodiscard]] OptionSpec names_argument();

/// The domain that NAME means; an error of `command` when it was not given.
[[nodiscard]] Result<domain::Domain> one_domain(const domain::DomainStore& store, const Parsed& options, const char* command);

/// Does the same to each NAME and prints it; all are tried, and a failure gives exit code 125.
template <class Do>
Result<int> for_each_domain(const Parsed& options, const char* command, Do act) {
  if (!options.has("NAME")) return fail(fmt::format("nagaya {}", command), "nothing is named", "'nagaya ps -a' lists machines and containers");
  const domain::DomainStore store;
  int code = 0;
  for (const std::string& name : options.all("NAME")) {
    const auto done = [&]() -> Result<> {
      TRY_ASSIGN(const domain::Domain one, store.find(name));
      TRY(act(store, one));
      fmt::print("{}\n", domain::name_of(one));
      return {};
    }();
    if (done) continue;
    complain(done.error());
    code = 125;
  }
  return code;
}

/// The error of a verb that one kind does not have.
[[nodiscard]] std::unexpected<Error> not_for_machines(const domain::Machine& machine, const char* verb, std::string hint = {});

}  // namespace nagaya::cli
