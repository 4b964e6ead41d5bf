// The files of `nagaya apply`, and what it prints of each document: the same on this host and on a server.
#pragma once
#include <functional>
#include <optional>

#include "cli/command.hpp"
#include "definition/libvirt/write.hpp"
#include "definition/yaml.hpp"

namespace nagaya::cli {

/// All documents of --file: files, folders (what ends in .yaml, .yml, .json and .xml, by name), "-" for standard input; in the order in which
/// they are applied. Of a libvirt domain, what it has and we have not is told on standard error, or refused with --strict.
[[nodiscard]] Result<std::vector<definition::Json>> documents_of(const Parsed& options);
/// The same for those who are to go: of a libvirt domain its name alone is read.
[[nodiscard]] Result<std::vector<definition::Json>> documents_to_remove(const Parsed& options);
/// -f FILE…
[[nodiscard]] OptionSpec file_option();
[[nodiscard]] std::vector<OptionSpec> apply_options();
[[nodiscard]] CommandSpec apply_spec();
[[nodiscard]] CommandSpec delete_spec();
[[nodiscard]] CommandSpec export_spec();
/// Where machines of this host have what they start from; not known of a server's.
using BootOf = std::function<std::optional<definition::libvirt::Boot>(const std::string& name)>;
/// YAML, several documents apart, or a JSON list, or one libvirt domain, as --output says.
[[nodiscard]] Result<> print_documents(const Parsed& options, const std::vector<definition::Json>& documents, const BootOf& boot = {});
/// What --print asks for: the definitions as YAML, and nothing is applied.
[[nodiscard]] Result<int> print_only(const Parsed& options);
/// One line for the document and, in a dry run, one for each field. `plan`: Plan of the API.
void tell_applied(const definition::Json& document, const definition::Json& plan, bool dry_run, bool waits, bool started);

/// apply, delete, export, schema: of this host.
[[nodiscard]] std::vector<CommandSpec> definition_commands();

/// Exit code of apply when something waits for a restart or for being made anew.
inline constexpr int exit_waits = 3;

}  // namespace nagaya::cli
