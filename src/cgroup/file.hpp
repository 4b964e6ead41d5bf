// The few ways a cgroup's files are read and written. Plain errno values here: callers choose between fallbacks by
// them.
#pragma once
#include <string>
#include <string_view>

#include "base/lines.hpp"
#include "base/result.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::cgroup {

/// Writes `value` into an existing file of `folder` by one write; 0 or an errno value.
int put(const std::string& folder, std::string_view file, std::string_view value);
/// The same in two steps. After a failure to open the descriptor is empty and errno tells.
host::Fd open_for_writing(const std::string& folder, std::string_view file);
int put_open(int fd, std::string_view value);
/// The whole text of a file (at most 16 MiB); the error carries the errno value.
Result<std::string> get(const std::string& folder, std::string_view file);
/// The same, as a number: "max" and what is no number are ~0.
Result<u64> get_number(const std::string& folder, std::string_view file);

/// Takes the next word (ended by blanks) off `text`; empty at the end.
std::string_view take_word(std::string_view& text, char separator = ' ');
/// A decimal number, or ~0 for "max" and for what is none.
u64 number(std::string_view text);

}  // namespace nagaya::cgroup
