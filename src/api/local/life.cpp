#include "api/local/life.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <thread>

#include "api/local/commands.hpp"

namespace nagaya::api {

std::unexpected<Error> of_code(int code, std::string what, std::string why) { return std::unexpected(Error{std::move(what), std::move(why), {}, code}); }

Result<> start_domain(const std::string& name, Task& task) {
  task.progress(-1, "starting");
  TRY_ASSIGN(const CommandEnd end, run_command({"start", "-d", "-q", name}, task.stop(), [&](const std::string& line) { task.progress(-1, line); }));
  return succeed(fmt::format("cannot start '{}'", name), end);
}

Result<> end_slowly(const std::function<bool()>& running, const std::function<Result<>()>& ask, unsigned seconds, Task& task) {
  if (seconds == 0) return {};
  TRY(ask());
  task.progress(-1, "waiting for it to end");
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (running() && std::chrono::steady_clock::now() < end) {
    if (task.stop().stop_requested()) return of_code(ECANCELED, "cancelled; it may still end");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (running()) task.progress(-1, "ending it by force");
  return {};
}

}  // namespace nagaya::api
