// The back end of this host: virtual machines and containers of this user.
#pragma once
#include <memory>

#include "api/backend.hpp"

namespace nagaya::api {

[[nodiscard]] Result<std::unique_ptr<Backend>> local_backend();

}  // namespace nagaya::api
