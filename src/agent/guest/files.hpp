// Files of the guest to the host, and back.
#pragma once
#include "agent/channel.hpp"

namespace nagaya::agent::guest {

/// A file, link or folder with all below it. What is none of these (sockets, devices, pipes) is left out with a warning.
Result<> send_files(Channel& channel, const std::string& path);
/// Takes entries and puts them below the place that the request says; never outside it, whatever links say.
Result<> receive_files(Channel& channel, const PutRequest& request);

}  // namespace nagaya::agent::guest
