// exec and ps.
#include <poll.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "container/environment.hpp"
#include "container/spec/parse.hpp"
#include "host/fd.hpp"
#include "host/process.hpp"
#include "oci/commands.hpp"
#include "oci/log.hpp"
#include "oci/options.hpp"

namespace nagaya::oci {
namespace {

constexpr Option exec_options[] = {{"process", 'p', true},
                                   {"console-socket", 0, true},
                                   {"pid-file", 0, true},
                                   {"tty", 't'},
                                   {"detach", 'd'},
                                   {"user", 'u', true},
                                   {"env", 'e', true},
                                   {"cwd", 0, true},
                                   {"cap", 'c', true},
                                   {"no-new-privs"},
                                   {"preserve-fds", 0, true},
                                   {"ignore-paused"},
                                   {"cgroup", 0, true},
                                   {"apparmor", 0, true},
                                   {"process-label", 0, true},
                                   {"additional-gids", 'g', true}};

Result<u32> number(std::string_view text) {
  u32 value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size())
    return fail("'" + std::string(text) + "' is no user or group number");
  return value;
}

/// The container's own process, with what the command line changes.
Result<container::Process> from_options(const container::Process& base, const Parsed& parsed) {
  container::Process process = base;
  process.args.assign(parsed.arguments.begin() + 1, parsed.arguments.end());
  if (process.args.empty()) return fail("exec needs a command after the container's id");
  process.terminal = parsed.has("tty");
  process.console_size.reset();
  process.oom_score_adj.reset();
  for (const std::string& item : parsed.all("env")) process.env.push_back(item);
  if (parsed.has("cwd")) process.cwd = parsed.get("cwd");
  if (parsed.has("user")) {
    const std::string text = parsed.get("user");
    const std::size_t colon = text.find(':');
    TRY_ASSIGN(process.user.uid, number(std::string_view(text).substr(0, colon)));
    if (colon != text.npos) {
      TRY_ASSIGN(process.user.gid, number(std::string_view(text).substr(colon + 1)));
    }
  }
  for (const std::string& gid : parsed.all("additional-gids")) {
    TRY_ASSIGN(const u32 value, number(gid));
    process.user.additional_gids.push_back(value);
  }
  if (parsed.has("no-new-privs")) process.no_new_privileges = true;
  if (parsed.has("apparmor")) process.apparmor_profile = parsed.get("apparmor");
  if (parsed.has("process-label")) process.selinux_label = parsed.get("process-label");
  if (!process.capabilities) process.capabilities.emplace();
  for (const std::string& name : parsed.all("cap")) {
    auto& sets = *process.capabilities;
    for (auto* set : {&sets.bounding, &sets.effective, &sets.permitted}) set->push_back(name);
  }
  return process;
}

Result<container::Process> wanted_process(const Global& global, const Parsed& parsed) {
  if (parsed.has("process")) {
    TRY_ASSIGN(const std::vector<u8> bytes, host::read_file(parsed.get("process"), container::bundle_limit));
    TRY_ASSIGN(container::Process process,
               container::parse_process({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
    if (parsed.has("tty")) process.terminal = true;
    return process;
  }
  TRY_ASSIGN(const std::string text, container::configuration(global.root, parsed.arguments[0]));
  TRY_ASSIGN(const container::Spec spec, container::parse_spec(text));
  return from_options(spec.process.value_or(container::Process{}), parsed);
}

Result<int> try_exec(const Global& global, Words words) {
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, exec_options, true));
  if (parsed.arguments.empty()) return fail("exec needs a container's id");
  container::ExecOptions options;
  TRY_ASSIGN(options.preserve_fds, parsed.number("preserve-fds", 0));
  TRY(check_preserved(options.preserve_fds));
  options.state_root = global.root;
  options.id = parsed.arguments[0];
  TRY_ASSIGN(options.process, wanted_process(global, parsed));
  options.console_socket = parsed.get("console-socket");
  options.pid_file = parsed.get("pid-file");
  options.detach = parsed.has("detach");
  options.sub_cgroup = parsed.get("cgroup");
  options.ignore_paused = parsed.has("ignore-paused");
  return container::exec(options);
}

/// Lines of `ps` whose PID column names one of `pids`.
Result<std::string> lines_of_ps(const std::vector<std::string>& ps_options, const std::vector<pid_t>& pids) {
  TRY_ASSIGN(auto ends, host::Fd::pipe());
  host::SpawnOptions options;
  options.program = "ps";
  options.args = ps_options.empty() ? std::vector<std::string>{"-ef"} : ps_options;
  options.fds = {{ends.second.get(), 1}};
  TRY_ASSIGN(host::Process child, host::Process::spawn(options));
  ends.second.reset();
  TRY_ASSIGN(const std::vector<u8> bytes, host::read_all(ends.first.get(), 64u << 20, "ps"));
  TRY_ASSIGN(const host::ExitStatus status, child.wait());
  if (status.shell_status() != 0) return fail("ps failed", "exit status " + std::to_string(status.shell_status()));
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto words = [](std::string_view line) {
    std::vector<std::string_view> out;
    while (!line.empty()) {
      const std::size_t begin = line.find_first_not_of(' ');
      if (begin == line.npos) break;
      line.remove_prefix(begin);
      out.push_back(line.substr(0, line.find(' ')));
      line.remove_prefix(out.back().size());
    }
    return out;
  };
  std::string out;
  std::size_t pid_column = ~std::size_t{0};
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const auto fields = words(line);
    if (pid_column == ~std::size_t{0}) {
      for (std::size_t i = 0; i < fields.size(); ++i) {
        if (fields[i] == "PID") pid_column = i;
      }
      if (pid_column == ~std::size_t{0}) return fail("ps prints no PID column with these options");
      out += std::string(line) + "\n";
      continue;
    }
    for (const pid_t pid : pids) {
      if (pid_column < fields.size() && fields[pid_column] == std::to_string(pid)) out += std::string(line) + "\n";
    }
  }
  return out;
}

}  // namespace

Result<int> exec_command(const Global& global, Words words) {
  auto status = try_exec(global, words);
  if (status) return status;
  // As shells tell it: 125 our own trouble, 126 not to be run, 127 not found.
  log_error(status.error().message());
  return container::start_status(status.error());
}

Result<int> ps_command(const Global& global, Words words) {
  constexpr Option options[] = {{"format", 'f', true}};
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, options, true));
  if (parsed.arguments.empty()) return fail("ps needs a container's id");
  const std::string format = parsed.get("format", "table");
  TRY_ASSIGN(const std::vector<pid_t> pids, container::processes(global.root, parsed.arguments[0]));
  if (format == "json") {
    std::string out = "[";
    for (const pid_t pid : pids) out += (out.size() > 1 ? "," : "") + std::to_string(pid);
    TRY(print(out + "]\n"));
    return 0;
  }
  if (format != "table") return fail("--format is table or json, not '" + format + "'");
  TRY_ASSIGN(const std::string lines, lines_of_ps({parsed.arguments.begin() + 1, parsed.arguments.end()}, pids));
  TRY(print(lines));
  return 0;
}

}  // namespace nagaya::oci
