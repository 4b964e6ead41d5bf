// The command line over a server: "nagaya --host unix:///path|https://name:port [--token-file FILE] VERB".
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/client/client.hpp"
#include "cli/command.hpp"

namespace nagaya::cli {

/// Options before the verb, or their variables: NAGAYA_HOST, NAGAYA_TOKEN_FILE, NAGAYA_CA_FILE.
struct RemoteOptions {
  std::string host, token_file, ca_file, certificate, key;
};

/// Takes the options before the verb off `words`.
[[nodiscard]] Result<RemoteOptions> take_remote_options(std::span<const std::string>& words);
/// The client they speak of; without a host the one of this user's own server.
[[nodiscard]] Result<api::Client> remote_client(const RemoteOptions& options);

/// Runs a verb on a server.
[[nodiscard]] Result<int> run_remote(const RemoteOptions& options, std::span<const std::string> words);

/// "serve" and "token", which are found without --host, too.
[[nodiscard]] CommandSpec serve_command();
[[nodiscard]] CommandSpec token_command();
/// The command of this host's words, done on a server.
[[nodiscard]] CommandSpec done_there(const char* name, const api::Client& client, Result<int> (*act)(const api::Client&, const Parsed&));
/// Does the same to each and prints its name; all are tried, and a failure gives 125.
[[nodiscard]] int each_there(const std::vector<std::string>& names, const std::function<Result<>(const std::string&)>& act);
/// Progress of an operation, for a person who looks.
void tell_progress(const std::string& text);
/// Where the API has a domain.
[[nodiscard]] std::string domain_path(const std::string& name);
/// The verbs of a server.
[[nodiscard]] std::vector<CommandSpec> remote_commands(const api::Client& client);
/// run, update, rename, top, port.
[[nodiscard]] std::vector<CommandSpec> remote_making_commands(const api::Client& client);
/// network, rmi.
[[nodiscard]] std::vector<CommandSpec> remote_object_commands(const api::Client& client);
/// A console or program with this process's streams; a terminal is raw meanwhile, and its size goes along.
[[nodiscard]] Result<int> attach_remote(const api::Client& client, const std::string& path, bool terminal, bool input, bool detach_key);
/// apply, delete, export.
[[nodiscard]] std::vector<CommandSpec> remote_definition_commands(const api::Client& client);
[[nodiscard]] CommandSpec token_command_of(const api::Client& client);

}  // namespace nagaya::cli
