// Our own command line, run for what it does in processes of its own: starting monitors, fetching images, examining the host. The
// server has many threads, and a process that forks without exec must not come out of it.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/process.hpp"

namespace nagaya::api {

struct CommandEnd {
  int code = 0;
  std::string output{};    ///< the beginning
  std::string errors{};    ///< the end
  bool truncated = false;  ///< there was more
};

struct CommandOptions {
  int input = -1;  ///< -1: none
  std::size_t most_output = 4 * MiB, most_errors = 4 * KiB;
};

/// What a program gets for 0, 1 and 2; -1: /dev/null.
struct CommandStreams {
  int input = -1, output = -1, errors = -1;
};

/// Runs "nagaya WORDS…" to its end. Each line on standard error goes to `on_line`. When `stop` is asked for, it gets SIGINT, ten seconds
/// later SIGKILL, and the error is ECANCELED. Words come after a "--" of the caller's where they could be taken for options.
[[nodiscard]] Result<CommandEnd> run_command(const std::vector<std::string>& words, const std::stop_token& stop = {},
                                             const std::function<void(const std::string&)>& on_line = {}, const CommandOptions& options = {});
/// Starts it; it is its caller's to wait for.
[[nodiscard]] Result<host::Process> start_nagaya(const std::vector<std::string>& words, const CommandStreams& streams);
/// Hands a document to "nagaya apply -f - OPTIONS".
[[nodiscard]] Result<CommandEnd> apply_by_command(const nlohmann::json& document, const std::vector<std::string>& options, const std::stop_token& stop,
                                                  const std::function<void(const std::string&)>& on_line);
/// An end that is no success becomes an error with what was said last.
[[nodiscard]] Result<> succeed(const std::string& what, const CommandEnd& end);

}  // namespace nagaya::api
