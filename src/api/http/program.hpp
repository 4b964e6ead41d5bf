// The server as a program: options, sockets (its own, or from systemd), state, start and end.
#pragma once
#include <functional>
#include <memory>

#include "api/backend.hpp"

namespace nagaya::api {

using MakeBackend = std::function<Result<std::unique_ptr<Backend>>()>;

/// Reads the command line, serves, and gives the exit code.
[[nodiscard]] int run_server_program(int argc, char** argv, const MakeBackend& make_backend);

}  // namespace nagaya::api
