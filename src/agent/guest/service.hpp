// One connection of the host: reads the request and carries it out.
#pragma once
#include "agent/channel.hpp"

namespace nagaya::agent::guest {

void serve(Channel& channel);

}  // namespace nagaya::agent::guest
