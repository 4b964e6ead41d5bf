// The files of `nagaya apply`, and what it prints of each document: the same on this host and on a server.
#pragma once
#include "cli/command.hpp"
#include "definition/yaml.hpp"

namespace nagaya::cli {

/// All documents of --file: files, folders (what ends in .yaml, .yml and .json, by name), "-" for standard input; in the order in which
/// they are applied.
[[nodiscard]] Result<std::vector<definition::Json>> documents_of(const Parsed& options);
/// -f FILE…
[[nodiscard]] OptionSpec file_option();
[[nodiscard]] std::vector<OptionSpec> apply_options();
[[nodiscard]] CommandSpec apply_spec();
[[nodiscard]] CommandSpec delete_spec();
[[nodiscard]] CommandSpec export_spec();
/// YAML, several documents apart, or a JSON list, as --output says.
void print_documents(const Parsed& options, const std::vector<definition::Json>& documents);
/// One line for the document and, in a dry run, one for each field. `plan`: Plan of the API.
void tell_applied(const definition::Json& document, const definition::Json& plan, bool dry_run, bool waits, bool started);

/// apply, delete, export, schema: of this host.
[[nodiscard]] std::vector<CommandSpec> definition_commands();

/// Exit code of apply when something waits for a restart or for being made anew.
inline constexpr int exit_waits = 3;

}  // namespace nagaya::cli
