// config.json and process.json into plain types, and back.
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "container/spec/spec.hpp"

namespace nagaya::container {

/// A whole config.json. Refused: text over `bundle_limit`, nesting beyond 64, fields of another type than the specification's, numbers
/// out of range, paths and strings with a NUL in them, a version that is not 1.x.
Result<Spec> parse_spec(std::string_view json);
/// A process object alone, as `exec --process FILE` gets it.
Result<Process> parse_process(std::string_view json);
/// A resources object alone, as `update --resources FILE` gets it.
Result<Resources> parse_resources(std::string_view json);

/// config.json's text (of what `Spec` holds; empty parts are left out).
std::string write_spec(const Spec& spec);
std::string write_process(const Process& process);

/// Largest config.json that is read, in bytes.
inline constexpr std::size_t bundle_limit = 4u << 20;

}  // namespace nagaya::container
