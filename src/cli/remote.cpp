#include "cli/remote.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cli/help.hpp"
#include "cli/launch.hpp"
#include "cli/parse.hpp"
#include "host/dirs.hpp"
#include "host/fd.hpp"
#include "proto/exit_codes.hpp"

namespace nagaya::cli {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Result<RemoteOptions> take_remote_options(std::span<const std::string>& words) {
  RemoteOptions out{.host = variable("NAGAYA_HOST"), .token_file = variable("NAGAYA_TOKEN_FILE"), .ca_file = variable("NAGAYA_CA_FILE")};
  const std::pair<std::string, std::string*> known[] = {{"--host", &out.host},
                                                        {"--token-file", &out.token_file},
                                                        {"--ca-file", &out.ca_file},
                                                        {"--client-cert", &out.certificate},
                                                        {"--client-key", &out.key}};
  for (bool taken = true; taken && !words.empty();) {
    taken = false;
    for (const auto& [name, value] : known) {
      if (words[0] == name) {
        if (words.size() < 2) return fail(name, "its value is missing");
        *value = words[1];
        words = words.subspan(2);
        taken = true;
      } else if (words[0].starts_with(name + "=")) {
        *value = words[0].substr(name.size() + 1);
        words = words.subspan(1);
        taken = true;
      }
      if (taken) break;
    }
  }
  return out;
}

Result<api::Client> remote_client(const RemoteOptions& options) {
  const std::string host = options.host.empty() ? "unix://" + host::runtime_dir() + "/api.sock" : options.host;
  TRY_ASSIGN(api::Remote remote, api::parse_remote(host));
  if (!options.token_file.empty()) {
    TRY_ASSIGN(const auto bytes, host::read_file(options.token_file, 4096));
    remote.token.assign(bytes.begin(), bytes.end());
    while (!remote.token.empty() && (remote.token.back() == '\n' || remote.token.back() == ' ')) remote.token.pop_back();
    if (remote.token.find_first_of("\r\n ") != std::string::npos) return fail(fmt::format("'{}'", options.token_file), "it holds more than a token");
  }
  remote.ca_file = options.ca_file;
  remote.certificate = options.certificate;
  remote.key = options.key;
  return api::Client(std::move(remote));
}

CommandSpec done_there(const char* name, const api::Client& client, Result<int> (*act)(const api::Client&, const Parsed&)) {
  CommandSpec out = *find_command(name);
  out.run = [client, act](const Parsed& options) { return act(client, options); };
  return out;
}

int each_there(const std::vector<std::string>& names, const std::function<Result<>(const std::string&)>& act) {
  int code = 0;
  for (const std::string& name : names) {
    if (const auto done = act(name)) {
      fmt::print("{}\n", name);
    } else {
      complain(done.error());
      code = proto::exit_failure;
    }
  }
  return code;
}

Result<int> run_remote(const RemoteOptions& options, std::span<const std::string> words) {
  TRY_ASSIGN(const api::Client client, remote_client(options));
  const std::string name = words.empty() ? "" : words[0];
  std::vector<CommandSpec> commands = remote_commands(client);
  for (CommandSpec& command : remote_making_commands(client)) commands.push_back(std::move(command));
  for (CommandSpec& command : remote_definition_commands(client)) commands.push_back(std::move(command));
  for (CommandSpec& command : remote_object_commands(client)) commands.push_back(std::move(command));
  commands.push_back(token_command_of(client));
  for (const CommandSpec& command : commands) {
    if (command.name != name) continue;
    TRY_ASSIGN(const Parsed parsed, parse_arguments(command, words.subspan(1)));
    if (parsed.has("help")) {
      const std::string text = help_of(command);
      std::fwrite(text.data(), 1, text.size(), stdout);
      return 0;
    }
    return command.run(parsed);
  }
  if (find_command(name) == nullptr) return std::unexpected(unknown_command(name));
  return fail(fmt::format("nagaya --host … {}", name), "this verb is for this host only", "leave --host and NAGAYA_HOST out");
}

}  // namespace nagaya::cli
