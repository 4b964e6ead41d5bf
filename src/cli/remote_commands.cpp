// The verbs of a server: as those of this host, as far as the API goes.
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>

#include "cli/launch.hpp"
#include "cli/remote.hpp"
#include "cli/sizes.hpp"
#include "cli/table.hpp"
#include "host/signal.hpp"
#include "host/terminal.hpp"

namespace nagaya::cli {
namespace {

using api::Client;
using api::url_part;
using Json = nlohmann::json;

const OptionSpec one_name{"NAME", "NAME", "the domain"};
const OptionSpec many_names{"NAME", "NAME", "the domains", Completes::nothing, {}, true, true};
const OptionSpec output_format{"-f,--output", "FORMAT", "table, json, yaml or csv (default: table)", Completes::words, table_formats()};

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

Result<std::string> name_of(const Parsed& options, const char* verb) {
  const auto& names = options.all("NAME");
  if (names.size() != 1) return fail(fmt::format("nagaya {}", verb), "it takes one domain", "'nagaya ps -a' lists them");
  return names[0];
}

Result<std::optional<u64>> number_of(const Parsed& options, const char* key) {
  if (!options.has(key)) return std::optional<u64>();
  const std::string text = options.last(key);
  u64 value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return fail(fmt::format("--{} {}", key, text), "it must be a whole number");
  return std::optional<u64>(value);
}

Result<int> for_each(const Parsed& options, const char* verb, const std::function<Result<>(const std::string&)>& act) {
  if (options.all("NAME").empty()) return fail(fmt::format("nagaya {}", verb), "no domain is named", "'nagaya ps -a' lists them");
  return each_there(options.all("NAME"), act);
}

CommandSpec life_verb(const Client& client, const char* verb, const char* summary) {
  return {.name = verb, .summary = summary, .examples = {{fmt::format("nagaya --host https://host:8443 {} web", verb), ""}}, .options = {many_names},
          .run = [client, verb](const Parsed& options) {
            return for_each(options, verb, [&](const std::string& name) { return client.operate("POST", domain_path(name) + "/" + verb, {}, tell_progress); });
          }};
}

CommandSpec start_verb(const Client& client) {
  CommandSpec out = life_verb(client, "start", "start domains in the background");
  out.options = {{"-d,--detach", "", "as it is anyhow: in the background"}, {"-q,--quiet", "", "no messages"}, many_names};
  return out;
}

CommandSpec stop_verb(const Client& client, const char* verb, const char* summary) {
  CommandSpec out = life_verb(client, verb, summary);
  out.options = {{"-t,--time", "SECONDS", "how long it may take before it is ended by force"}, many_names};
  out.run = [client, verb](const Parsed& options) -> Result<int> {
    TRY_ASSIGN(const auto seconds, number_of(options, "time"));
    const Json body = seconds ? Json{{"timeout", *seconds}} : Json();
    return for_each(options, verb, [&](const std::string& name) { return client.operate("POST", domain_path(name) + "/" + verb, body, tell_progress); });
  };
  return out;
}

CommandSpec ps_verb(const Client& client) {
  return {.name = "ps", .summary = "list domains", .examples = {{"nagaya --host https://host:8443 ps -a", ""}},
          .options = {{"-a,--all", "", "also those that do not run"}, {"-q,--quiet", "", "names only"}, output_format},
          .run = [client](const Parsed& options) -> Result<int> {
            TRY_ASSIGN(const Json domains, client.call("GET", "/domains"));
            Table table{{"name", "kind", "image", "state", "project", "created"}, {}};
            for (const Json& one : domains) {
              const std::string state = one.value("state", "");
              if (!options.has("all") && state != "running" && state != "paused" && state != "stopping") continue;
              table.rows.push_back({one.value("name", ""), one.value("kind", ""), one.value("image", ""), state, one.value("project", ""), one.value("created", "")});
            }
            if (options.has("quiet")) {
              for (const auto& row : table.rows) print(row[0] + "\n");
            } else {
              print(render(table, options.last("output")));
            }
            return 0;
          }};
}

CommandSpec kill_verb(const Client& client) {
  return {.name = "kill", .summary = "end domains at once", .examples = {{"nagaya --host https://host:8443 kill web", ""}},
          .options = {{"-s,--signal", "SIGNAL", "another signal than KILL"}, many_names},
          .run = [client](const Parsed& options) {
            const Json body = options.has("signal") ? Json{{"signal", options.last("signal")}} : Json();
            return for_each(options, "kill", [&](const std::string& name) { return client.operate("POST", domain_path(name) + "/kill", body, tell_progress); });
          }};
}

CommandSpec rm_verb(const Client& client) {
  return {.name = "rm", .summary = "remove domains and their disks", .examples = {{"nagaya --host https://host:8443 rm -f web", ""}},
          .options = {{"-f,--force", "", "end it first if it runs"}, many_names},
          .run = [client](const Parsed& options) {
            const char* query = options.has("force") ? "?force=true" : "";
            return for_each(options, "rm", [&](const std::string& name) { return client.operate("DELETE", domain_path(name) + query, {}, tell_progress); });
          }};
}

CommandSpec logs_verb(const Client& client) {
  return {.name = "logs", .summary = "print what a domain wrote", .examples = {{"nagaya --host https://host:8443 logs --follow web", ""}},
          .options = {{"-f,--follow", "", "go on until it ends"}, {"-n,--tail", "LINES", "only the last lines"}, {"-t,--timestamps", "", "with times"}, one_name},
          .run = [client](const Parsed& options) -> Result<int> {
            TRY_ASSIGN(const std::string name, name_of(options, "logs"));
            TRY_ASSIGN(const auto tail, number_of(options, "tail"));
            std::string query = fmt::format("?follow={}&timestamps={}", options.has("follow"), options.has("timestamps"));
            if (tail) query += fmt::format("&tail={}", *tail);
            TRY(client.read(domain_path(name) + "/logs" + query, [](std::string_view bytes) { return host::write_all(STDOUT_FILENO, bytes).has_value(); }));
            return 0;
          }};
}

CommandSpec inspect_verb(const Client& client) {
  return {.name = "inspect", .summary = "print a domain as JSON", .examples = {{"nagaya --host https://host:8443 inspect web", ""}}, .options = {one_name},
          .run = [client](const Parsed& options) -> Result<int> {
            TRY_ASSIGN(const std::string name, name_of(options, "inspect"));
            TRY_ASSIGN(const Json detail, client.call("GET", domain_path(name)));
            print(detail.dump(2) + "\n");
            return 0;
          }};
}

CommandSpec stats_verb(const Client& client) {
  return {.name = "stats", .summary = "print what running domains use", .examples = {{"nagaya --host https://host:8443 stats", ""}},
          .options = {output_format, {"NAME", "NAME", "these alone", Completes::nothing, {}, true, true}},
          .run = [client](const Parsed& options) -> Result<int> {
            Json all = Json::object();
            for (const std::string& name : options.all("NAME")) {
              TRY_ASSIGN(all[name], client.call("GET", domain_path(name) + "/stats"));
            }
            if (all.empty()) {
              TRY_ASSIGN(all, client.call("GET", "/stats"));
            }
            Table table{{"name", "cpu seconds", "memory", "limit", "read", "written", "received", "sent", "processes"}, {}};
            for (const auto& [name, one] : all.items()) {
              const auto bytes = [&](const char* key) { return one.contains(key) ? fmt::format("{:.1f}M", one[key].template get<double>() / 1048576) : std::string("-"); };
              table.rows.push_back({name, fmt::format("{:.2f}", one.value("cpuNs", 0.0) / 1e9), bytes("memory"), bytes("memoryLimit"), bytes("readBytes"), bytes("writeBytes"),
                                    bytes("rxBytes"), bytes("txBytes"), fmt::format("{}", one.value("pids", 0))});
            }
            print(render(table, options.last("output")));
            return 0;
          }};
}

CommandSpec events_verb(const Client& client) {
  return {.name = "events", .summary = "print what happens, a JSON object a line", .examples = {{"nagaya --host https://host:8443 events --since 0", "all that are kept, and what comes"}},
          .options = {{"--since", "ID", "begin behind this event"}},
          .run = [client](const Parsed& options) -> Result<int> {
            TRY_ASSIGN(const auto since, number_of(options, "since"));
            std::string line;
            TRY(client.read("/events" + (since ? fmt::format("?since={}", *since) : std::string()), [&](std::string_view bytes) {
              for (const char c : bytes) {
                if (c != '\n') {
                  line += c;
                  continue;
                }
                if (line.starts_with("data: ") && !host::write_all(STDOUT_FILENO, line.substr(6) + "\n")) return false;
                line.clear();
              }
              return true;
            }));
            return 0;
          }};
}

CommandSpec images_verb(const Client& client) {
  return {.name = "images", .summary = "list images", .examples = {{"nagaya --host https://host:8443 images", ""}}, .options = {output_format},
          .run = [client](const Parsed& options) -> Result<int> {
            TRY_ASSIGN(const Json images, client.call("GET", "/images"));
            Table table{{"name", "id", "kind", "size", "created"}, {}};
            for (const Json& one : images) {
              table.rows.push_back({one.value("name", ""), one.value("id", "").substr(0, 12), one.value("kind", ""), fmt::format("{:.0f}M", one.value("size", 0.0) / 1048576), one.value("created", "")});
            }
            print(render(table, options.last("output")));
            return 0;
          }};
}

CommandSpec pull_verb(const Client& client) {
  return {.name = "pull", .summary = "fetch an image", .examples = {{"nagaya --host https://host:8443 pull docker.io/library/alpine", ""}},
          .options = {{"IMAGE", "IMAGE", "the image"}},
          .run = [client](const Parsed& options) -> Result<int> {
            if (!options.has("IMAGE")) return fail("nagaya pull", "no image is named");
            TRY(client.operate("POST", "/images", {{"reference", options.last("IMAGE")}}, tell_progress));
            print(options.last("IMAGE") + "\n");
            return 0;
          }};
}

CommandSpec wait_verb(const Client& client) {
  return {.name = "wait", .summary = "wait until a domain has ended, and print its exit code", .examples = {{"nagaya --host https://host:8443 wait job", ""}}, .options = {one_name},
          .run = [client](const Parsed& options) -> Result<int> {
            TRY_ASSIGN(const std::string name, name_of(options, "wait"));
            for (;;) {
              TRY_ASSIGN(const Json answer, client.call("GET", domain_path(name) + "/wait?timeout=300"));
              if (!answer.value("ended", false)) continue;
              fmt::print("{}\n", answer.value("exitCode", 0));
              return 0;
            }
          }};
}

CommandSpec exec_verb(const Client& client) {
  return {.name = "exec", .summary = "run a command inside a running domain", .examples = {{"nagaya --host https://host:8443 exec -i -t web bash", ""}},
          .options = {{"-i,--interactive", "", "give it our standard input"},
                      {"-t,--tty", "", "give it a terminal"},
                      {"-e,--env", "K=V", "set a variable", Completes::nothing, {}, false, true},
                      {"-w,--workdir", "DIR", "folder to run in"},
                      {"-u,--user", "USER", "user, by name or number"},
                      {.flags = "COMMAND", .value = "NAME COMMAND", .help = "the domain, then the command with its arguments", .rest = true}},
          .run = [client](const Parsed& options) -> Result<int> {
            const auto& words = options.all("COMMAND");
            if (words.size() < 2) return fail("nagaya exec", "a domain and a command are needed", "write nagaya exec NAME COMMAND");
            const bool terminal = options.has("tty"), input = options.has("interactive");
            if (terminal && input && !host::is_terminal(STDIN_FILENO)) return fail("-t", "standard input is no terminal", "leave -t out");
            std::string query = fmt::format("?terminal={}", terminal);
            for (std::size_t i = 1; i < words.size(); i++) query += "&command=" + url_part(words[i]);
            for (const std::string& one : options.all("env")) query += "&env=" + url_part(one);
            for (const char* key : {"workdir", "user"}) {
              if (options.has(key)) query += fmt::format("&{}={}", key, url_part(options.last(key)));
            }
            return attach_remote(client, domain_path(words[0]) + "/exec" + query, terminal, input || terminal, false);
          }};
}

CommandSpec attach_verb(const Client& client) {
  return {.name = "attach", .summary = "a domain's console; Ctrl-] leaves it", .examples = {{"nagaya --host https://host:8443 attach web", ""}}, .options = {one_name},
          .run = [client](const Parsed& options) -> Result<int> {
            TRY_ASSIGN(const std::string name, name_of(options, "attach"));
            return attach_remote(client, domain_path(name) + "/console", true, true, true);
          }};
}

}  // namespace

void tell_progress(const std::string& text) {
  if (host::is_terminal(STDERR_FILENO)) fmt::print(stderr, "nagaya: {}\n", text);
}

std::string domain_path(const std::string& name) { return "/domains/" + url_part(name); }

Result<int> attach_remote(const Client& client, const std::string& path, bool terminal, bool input, bool detach_key) {
  api::RemoteStreams streams{.input = input ? STDIN_FILENO : -1, .terminal = terminal, .detach_key = detach_key};
  TRY_ASSIGN(const host::SignalFd signals, host::SignalFd::create({SIGWINCH}));
  std::optional<host::RawTerminal> raw;
  if (terminal) {
    streams.resized = signals.fd();
    streams.size = [] { return host::terminal_size(host::is_terminal(STDIN_FILENO) ? STDIN_FILENO : STDOUT_FILENO); };
    if (input && host::is_terminal(STDIN_FILENO)) {
      TRY_ASSIGN(auto entered, host::RawTerminal::enter(STDIN_FILENO));
      raw.emplace(std::move(entered));
    }
  }
  auto ended = client.attach(path, streams);
  raw.reset();
  if (!ended) return std::unexpected(std::move(ended.error()));
  return ended->value_or(0);
}

std::vector<CommandSpec> remote_commands(const Client& client) {
  return {ps_verb(client),
          start_verb(client),
          stop_verb(client, "stop", "shut domains down"),
          stop_verb(client, "restart", "shut domains down and start them again"),
          kill_verb(client),
          rm_verb(client),
          life_verb(client, "pause", "hold domains"),
          life_verb(client, "resume", "let paused domains go on"),
          logs_verb(client),
          exec_verb(client),
          attach_verb(client),
          inspect_verb(client),
          stats_verb(client),
          events_verb(client),
          images_verb(client),
          pull_verb(client),
          wait_verb(client)};
}

}  // namespace nagaya::cli
