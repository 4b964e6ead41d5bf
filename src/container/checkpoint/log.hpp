// CRIU's log, for errors: it says why, among hundreds of lines that do not matter.
#pragma once
#include <string>

namespace nagaya::container::criu {

/// The last few complaints of a log file (or its last lines when it has none), joined by "; ", without time stamps and source lines.
std::string complaints(const std::string& path);
/// What a user can do about them, where that is known; else "".
std::string advice(const std::string& complaints);

}  // namespace nagaya::container::criu
