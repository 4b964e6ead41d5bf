#include "fuse/call.hpp"

#include <algorithm>
#include <cerrno>

namespace nagaya::fuse {

int Call::take_string(std::string& out_text, u64 longest) {
  const auto end = std::ranges::find(rest, u8{0});
  if (end == rest.end()) return EINVAL;
  const auto length = static_cast<std::size_t>(end - rest.begin());
  if (length > longest) return ENAMETOOLONG;
  out_text.assign(rest.begin(), end);
  rest = rest.subspan(length + 1);
  return 0;
}

int Call::take_name(std::string& name) {
  if (const int error = take_string(name, longest_name)) return error;
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) return EINVAL;
  return 0;
}

}  // namespace nagaya::fuse
