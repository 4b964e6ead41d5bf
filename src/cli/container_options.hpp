// What 'nagaya run --container' and 'nagaya update' say about a container, as its definition.
#pragma once
#include <vector>

#include "cli/command.hpp"
#include "domain/container_definition.hpp"

namespace nagaya::cli {

/// The options that containers have and machines have not.
[[nodiscard]] std::vector<OptionSpec> container_options();
/// Options for the limits of a cgroup, as 'run' and 'update' take them; memory and CPUs are apart, because machines have them, too.
[[nodiscard]] std::vector<OptionSpec> limit_options();

/// The first option given that belongs to containers alone, with its dashes; empty: none. Machines of images have limits, too.
[[nodiscard]] std::string container_only_option(const Parsed& options, bool limits_count = true);
/// The first option given that containers do not have.
[[nodiscard]] std::string machine_only_option(const Parsed& options);

/// What `options` say; image and command are the words of IMAGE. Errors name the option. The name may stay empty.
[[nodiscard]] Result<domain::ContainerDefinition> definition_from_options(const Parsed& options);
/// Limits among `options` replace those in `limits`.
[[nodiscard]] Result<> limits_from_options(const Parsed& options, domain::DomainLimits& limits);
/// The same without --memory and --cpus, which say something else of a machine.
[[nodiscard]] Result<> other_limits_from_options(const Parsed& options, domain::DomainLimits& limits);
/// "1.5" → 1500
[[nodiscard]] Result<u64> cpu_thousandths(const std::string& text);

}  // namespace nagaya::cli
