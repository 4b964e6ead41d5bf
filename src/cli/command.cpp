#include "cli/command.hpp"

#include <algorithm>

namespace nagaya::cli {

std::string OptionSpec::key() const {
  std::size_t dashes = flags.rfind("--");
  return dashes == std::string::npos ? flags : flags.substr(dashes + 2);
}

bool CommandSpec::takes_h() const {
  return std::ranges::any_of(options, [](const OptionSpec& option) { return option.flags.starts_with("-h,"); });
}

std::string Parsed::last(const std::string& key) const {
  auto at = values_.find(key);
  return at == values_.end() || at->second.empty() ? std::string{} : at->second.back();
}

const std::vector<std::string>& Parsed::all(const std::string& key) const {
  static const std::vector<std::string> none;
  auto at = values_.find(key);
  return at == values_.end() ? none : at->second;
}

const CommandSpec* find_command(std::string_view name) {
  for (const CommandSpec& command : commands())
    if (command.name == name) return &command;
  return nullptr;
}

}  // namespace nagaya::cli
