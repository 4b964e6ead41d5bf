// Files between a guest and this host, or as a tar stream through a descriptor.
#pragma once
#include <functional>

#include "agent/channel.hpp"

namespace nagaya::agent {

using Warn = std::function<void(const std::string&)>;

/// The guest's `from` into the folder `to`, or as `to` when there is none. Never writes outside, whatever the guest sends.
Result<> copy_out(Channel& channel, const std::string& from, const std::string& to, const Warn& warn);
/// The same as a tar stream.
Result<> copy_out_tar(Channel& channel, const std::string& from, int fd, const Warn& warn);
/// This host's `from` into the guest's folder `to`, or as `to` when there is none.
Result<> copy_in(Channel& channel, const std::string& from, const std::string& to, const Warn& warn);
/// What a tar stream holds, into the guest's folder `to`.
Result<> copy_in_tar(Channel& channel, int fd, const std::string& to, const Warn& warn);

}  // namespace nagaya::agent
