// What can be done with a container that runs.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "cgroup/cgroup.hpp"
#include "container/container.hpp"
#include "domain/container_store.hpp"
#include "image/image.hpp"

namespace nagaya::domain {

/// A signal's number from "TERM", "SIGTERM" or "15".
[[nodiscard]] Result<int> parse_signal(const std::string& text);

/// Sends its stop signal, waits up to `seconds`, then kills it. Returns when its monitor has ended. One that does not run is no error.
[[nodiscard]] Result<> stop_container(const ContainerStore& store, const Container& container, const image::OciConfig& image, unsigned seconds);
/// The first half of it: asks, and does not wait. Its restart policy does not answer this end.
[[nodiscard]] Result<> ask_container_to_stop(const ContainerStore& store, const Container& container, const image::OciConfig& image);
[[nodiscard]] Result<> kill_container(const ContainerStore& store, const Container& container, int signal);
[[nodiscard]] Result<> pause_container(const ContainerStore& store, const Container& container);
[[nodiscard]] Result<> resume_container(const ContainerStore& store, const Container& container);
/// Its limits now and for later starts.
[[nodiscard]] Result<> update_container(const ContainerStore& store, Container& container, const DomainLimits& limits, const std::optional<RestartPolicy>& restart);
/// Waits for its end, at most so long (-1: without end); the exit code, or nothing when it still runs.
[[nodiscard]] Result<std::optional<int>> wait_container(const ContainerStore& store, const Container& container, int timeout_ms);
[[nodiscard]] bool container_paused(const Container& container);
[[nodiscard]] Result<cgroup::Stats> container_stats(const ContainerStore& store, const Container& container);
[[nodiscard]] Result<std::vector<pid_t>> container_processes(const ContainerStore& store, const Container& container);

struct ExecRequest {
  std::vector<std::string> command, env{};
  std::string user{}, workdir{};
  bool terminal = false, detach = false, privileged = false;
  std::string pid_file{};
};
/// One more program inside, with our standard streams; its exit status.
[[nodiscard]] Result<int> exec_in_container(const ContainerStore& store, const Container& container, const image::OciConfig& image, const ExecRequest& request);

}  // namespace nagaya::domain
