#include "init/command_line.hpp"

namespace nagaya::init {

RootOptions root_options(std::string_view command_line) {
  RootOptions out;
  std::string word;
  bool quoted = false;
  const auto take = [&] {
    const auto value_of = [&](std::string_view key, std::string& value) {
      if (word.starts_with(key) && word.size() > key.size()) value = word.substr(key.size());
    };
    value_of("root=", out.device);
    value_of("rootfstype=", out.type);
    value_of("rootflags=", out.flags);
    value_of("init=", out.program);
    if (word == "ro" || word == "rw") out.read_only = word == "ro";
    word.clear();
  };
  for (const char c : command_line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == ' ' || c == '\t' || c == '\n')) {
      take();
    } else {
      word += c;
    }
  }
  take();
  return out;
}

}  // namespace nagaya::init
