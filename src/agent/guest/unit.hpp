// The text of nagaya-agent.service, which the build puts into the program.
#pragma once

namespace nagaya::agent::guest {

extern const char* const unit;

}  // namespace nagaya::agent::guest
