// What goes on inside a container: its log and console through its monitor; programs and files through our own command line, which
// knows how to enter it.
#pragma once
#include "api/backend.hpp"
#include "domain/container_store.hpp"

namespace nagaya::api {

[[nodiscard]] Result<ByteStream> container_logs(const domain::ContainerStore& store, const domain::Container& container, const LogOptions& options);
[[nodiscard]] Result<Terminal> container_console(const domain::Container& container);
[[nodiscard]] Result<Terminal> container_exec(const domain::Container& container, const Json& exec);
[[nodiscard]] Result<Json> container_run(const domain::Container& container, const Json& exec, const std::stop_token& stop);
[[nodiscard]] Result<ByteStream> container_get_files(const domain::Container& container, const std::string& path);
[[nodiscard]] Result<> container_put_files(const domain::Container& container, const std::string& path, int tar);

}  // namespace nagaya::api
