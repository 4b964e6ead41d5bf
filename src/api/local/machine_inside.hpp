// What goes on inside a virtual machine: its log, and programs and files through its agent.
#pragma once
#include "api/backend.hpp"
#include "domain/machine_store.hpp"

namespace nagaya::api {

[[nodiscard]] Result<ByteStream> machine_logs(const domain::MachineStore& store, const domain::Machine& machine, const LogOptions& options);
/// Its serial console, when its process has one that several can reach.
[[nodiscard]] Result<Terminal> machine_console(const domain::MachineStore& store, const domain::Machine& machine);
[[nodiscard]] Result<Terminal> machine_exec(const domain::Machine& machine, const Json& exec);
[[nodiscard]] Result<Json> machine_run(const domain::Machine& machine, const Json& exec, const std::stop_token& stop);
[[nodiscard]] Result<Json> machine_processes(const domain::Machine& machine, const std::stop_token& stop);
[[nodiscard]] Result<ByteStream> machine_get_files(const domain::Machine& machine, const std::string& path);
[[nodiscard]] Result<> machine_put_files(const domain::Machine& machine, const std::string& path, int tar);

}  // namespace nagaya::api
