#include "cli/app.hpp"

#include <cstdio>

#include "cli/help.hpp"
#include "cli/launch.hpp"
#include "cli/parse.hpp"
#include "cli/remote.hpp"
#include "host/dirs.hpp"
#include "proto/exit_codes.hpp"

namespace nagaya::cli {

namespace {

Result<int> dispatch(std::span<const std::string> words) {
  TRY_ASSIGN(const RemoteOptions remote, take_remote_options(words));
  std::string name = words.empty() ? "help" : words[0];
  if (name == "-h" || name == "--help") name = "help";
  if (name == "-V" || name == "--version") name = "version";
  // What is about the program itself is the same with a server in view.
  const bool own = name == "help" || name == "version" || name == "completion" || name == "schema" || name == "serve";
  if (!remote.host.empty() && !own) return run_remote(remote, words);
  const CommandSpec* command = find_command(name);
  if (command == nullptr) return std::unexpected(unknown_command(name));
  TRY_ASSIGN(Parsed options, parse_arguments(*command, words.empty() ? words : words.subspan(1)));
  if (options.has("help")) {
    std::string text = help_of(*command);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  TRY(host::check_dirs());
  return command->run(options);
}

}  // namespace

int run_command_line(std::span<const std::string> words) {
  auto code = dispatch(words);
  if (!code) {
    complain(code.error());
    return proto::exit_failure;
  }
  // Output that could not be written (a full disk, a closed pipe) is a failure, too.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    complain(fail_errno("cannot write to standard output").error());
    return proto::exit_failure;
  }
  return *code;
}

}  // namespace nagaya::cli
