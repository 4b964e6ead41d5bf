// Programs of the system that set up networks: ip, nft, dnsmasq.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"

namespace nagaya::net {

/// Runs a program to its end with `input` as its standard input; gives what it printed on standard output. Failing, the
/// error has what it said on standard error; one that is not installed gives the package's name as the hint.
Result<std::string> run_tool(const std::string& program, const std::vector<std::string>& args, const std::string& input = {});

/// Whether a program is in PATH or the system's folders.
[[nodiscard]] bool have_tool(const std::string& program);

}  // namespace nagaya::net
