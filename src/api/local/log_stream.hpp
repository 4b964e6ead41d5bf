// A log file as a stream: its last lines, and what is added.
#pragma once
#include <functional>

#include "api/backend.hpp"

namespace nagaya::api {

/// `path` is read from its end backwards for the last lines. With `follow` it goes on while `lives` says so.
[[nodiscard]] Result<ByteStream> stream_log(const std::string& path, const LogOptions& options, std::function<bool()> lives);

}  // namespace nagaya::api
