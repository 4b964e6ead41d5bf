// "nagaya serve" and "nagaya token".
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "cli/launch.hpp"
#include "cli/remote.hpp"
#include "cli/table.hpp"

namespace nagaya::cli {
namespace {

using Json = nlohmann::json;

constexpr const char* single_options[] = {"socket", "group", "tls-cert", "tls-key", "tls-client-ca", "web", "state"};
constexpr const char* repeated_options[] = {"listen", "allow-host", "allow-origin"};
constexpr const char* switches[] = {"open-metrics", "verbose"};

// Where the web console is after a build, and where it is installed.
std::string usual_web_folder() {
  const std::string own = host::own_program_path(), folder = own.substr(0, own.rfind('/'));
  for (const std::string& place : {folder + "/../web", folder + "/../share/nagaya/web"}) {
    std::error_code ignored;
    if (std::filesystem::exists(place + "/index.html", ignored)) return place;
  }
  return {};
}

Result<int> serve(const Parsed& options) {
  TRY_ASSIGN(const std::string program, helper_path("nagaya-server"));
  std::vector<std::string> words = {program};
  for (const char* name : single_options) {
    if (options.has(name)) words.push_back(fmt::format("--{}={}", name, options.last(name)));
  }
  for (const char* name : repeated_options) {
    for (const std::string& value : options.all(name)) words.push_back(fmt::format("--{}={}", name, value));
  }
  for (const char* name : switches) {
    if (options.has(name)) words.push_back(fmt::format("--{}", name));
  }
  if (!options.has("web")) {
    if (const std::string web = usual_web_folder(); !web.empty()) words.push_back("--web=" + web);
  }
  // In our place: systemd's sockets and notifications are for this process.
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::fflush(nullptr);
  ::execv(program.c_str(), argv.data());
  return fail_errno(fmt::format("cannot start '{}'", program));
}

Result<int> token(const api::Client& client, const Parsed& options) {
  const std::string action = options.last("ACTION");
  const auto& names = options.all("NAME");
  if (action == "list") {
    TRY_ASSIGN(const Json tokens, client.call("GET", "/tokens"));
    Table table{{"name", "role", "projects", "created", "expires"}, {}};
    for (const Json& one : tokens) {
      std::string projects;
      for (const Json& project : one.value("projects", Json::array())) projects += (projects.empty() ? "" : ",") + project.get<std::string>();
      table.rows.push_back({one.value("name", ""), one.value("role", ""), projects.empty() ? "all" : projects, one.value("created", ""), one.value("expires", "never")});
    }
    const std::string out = render(table, options.last("output"));
    std::fwrite(out.data(), 1, out.size(), stdout);
    return 0;
  }
  if (names.size() != 1) return fail(fmt::format("nagaya token {}", action), "it takes one name", "see 'nagaya help token'");
  if (action == "rm") {
    TRY(client.call("DELETE", "/tokens/" + api::url_part(names[0])));
    fmt::print("{}\n", names[0]);
    return 0;
  }
  Json wanted = {{"name", names[0]}, {"role", options.has("role") ? options.last("role") : "viewer"}};
  if (options.has("project")) wanted["projects"] = options.all("project");
  if (options.has("expires")) wanted["expires"] = options.last("expires");
  TRY_ASSIGN(const Json made, client.call("POST", "/tokens", wanted));
  fmt::print("{}\n", made.value("secret", ""));
  return 0;
}

CommandSpec token_spec(std::function<Result<int>(const Parsed&)> run) {
  return {.name = "token",
          .summary = "say who may call the server from afar",
          .examples = {{"nagaya token create ci --role operator --project web >ci.token", "its secret is told this once"},
                       {"nagaya token list", "who there is"},
                       {"nagaya token rm ci", "and what it has open ends"}},
          .options = {{"--role", "ROLE", "viewer, operator or admin (default: viewer)", Completes::words, {"viewer", "operator", "admin"}},
                      {.flags = "--project", .value = "NAME", .help = "only domains of this project; repeats (default: all)", .repeats = true},
                      {"--expires", "TIME", "until when, as 2030-01-31T12:00:00Z (default: for ever)"},
                      {"-f,--output", "FORMAT", "table, json, yaml or csv (default: table)", Completes::words, table_formats()},
                      {"ACTION", "ACTION", "create, list or rm", Completes::words, {"create", "list", "rm"}},
                      {.flags = "NAME", .value = "NAME", .help = "the token's name", .repeats = true}},
          .sections = {{"Roles", "A viewer looks; an operator changes domains and runs programs in them; an admin of all projects may do everything, "
                                 "such as use folders of the host.", {}}},
          .run = std::move(run)};
}

}  // namespace

CommandSpec token_command() {
  return token_spec([](const Parsed& options) -> Result<int> {
    TRY_ASSIGN(const api::Client client, remote_client({}));
    return token(client, options);
  });
}

CommandSpec token_command_of(const api::Client& client) {
  return token_spec([client](const Parsed& options) { return token(client, options); });
}

CommandSpec serve_command() {
  return {
      .name = "serve",
      .summary = "serve the REST API and the web console",
      .examples = {{"nagaya serve", "on a Unix socket, for this user and root"},
                   {"nagaya serve --group nagaya", "and for members of a group"},
                   {"nagaya serve --listen 0.0.0.0:8443 --tls-cert server.pem --tls-key server.key", "for tokens from afar, over TLS"},
                   {"curl --unix-socket /run/nagaya/api.sock http://localhost/v1/domains", "what it says"}},
      .options = {{"--socket", "PATH", "Unix socket to listen on (default: api.sock in the runtime folder)", Completes::file},
                  {"--group", "NAME", "members of this group may use the socket, as operators"},
                  {.flags = "--listen", .value = "ADDRESS:PORT", .help = "speak TLS there; repeats", .repeats = true},
                  {"--tls-cert", "FILE", "the server's certificate chain, PEM (default: one of its own making)", Completes::file},
                  {"--tls-key", "FILE", "its key, PEM", Completes::file},
                  {"--tls-client-ca", "FILE", "take client certificates of these authorities; their common name is a token's", Completes::file},
                  {.flags = "--allow-host", .value = "NAME", .help = "a name it is reached by, beside those of its certificate; repeats", .repeats = true},
                  {.flags = "--allow-origin", .value = "ORIGIN", .help = "another site whose pages may call; repeats", .repeats = true},
                  {"--web", "DIR", "the built web console (default: where it is installed)", Completes::file},
                  {"--state", "DIR", "folder for tokens, operations and events (default: the state folder)", Completes::file},
                  {"--open-metrics", "", "/metrics for everyone who can connect"},
                  {"--verbose", "", "a line for each request"}},
      .sections = {{"From another host", {},
                    {{"nagaya token create NAME", "makes a token for a caller over TLS"},
                     {"nagaya --host https://NAME:PORT --token-file FILE VERB", "runs a verb on that server; --ca-file FILE for a certificate of its own making"},
                     {"nagaya --host unix:///PATH VERB", "the same over a socket"},
                     {"NAGAYA_HOST, NAGAYA_TOKEN_FILE, NAGAYA_CA_FILE", "stand for these options"},
                     {"--client-cert FILE, --client-key FILE", "a certificate instead of a token"}}}},
      .run = serve,
  };
}

}  // namespace nagaya::cli
