// What goes on inside a domain.
#include "api/core.hpp"

namespace nagaya::api {
namespace {

template <class T>
Answer<Reply> streamed(Result<T> stream, const char* type) {
  if (!stream) return std::unexpected(problem_of(stream.error()));
  return Reply{.type = type, .body = std::move(*stream)};
}

Answer<Reply> get_logs(Core& core, Call& call) {
  LogOptions options{.follow = call.flag("follow"), .timestamps = call.flag("timestamps")};
  if (call.parameters.contains("tail")) options.tail = call.parameters["tail"].get<u64>();
  return streamed(core.backend.inside().logs(call.text("domain"), options), "text/plain; charset=utf-8");
}

Answer<Reply> get_processes(Core& core, Call& call) {
  const auto processes = core.backend.inside().processes(call.text("domain"));
  if (!processes) return std::unexpected(problem_of(processes.error()));
  return json_reply(*processes);
}

Answer<Reply> open_console(Core& core, Call& call) { return streamed(core.backend.inside().console(call.text("domain")), ""); }

Answer<Reply> open_exec(Core& core, Call& call) {
  Json exec = {{"command", call.parameters.at("command")}, {"terminal", call.parameters.value("terminal", true)}};
  for (const char* name : {"user", "workdir", "env"}) {
    if (call.parameters.contains(name)) exec[name] = call.parameters[name];
  }
  return streamed(core.backend.inside().exec(call.text("domain"), exec), "");
}

Answer<Reply> run_exec(Core& core, Call& call) {
  const auto result = core.backend.inside().run(call.text("domain"), call.body, call.gone);
  if (!result) return std::unexpected(problem_of(result.error()));
  return json_reply(*result);
}

Answer<Reply> get_files(Core& core, Call& call) {
  return streamed(core.backend.inside().get_files(call.text("domain"), call.text("path")), "application/x-tar");
}

Answer<Reply> put_files(Core& core, Call& call) {
  const auto done = core.backend.inside().put_files(call.text("domain"), call.text("path"), call.upload_stream.get());
  if (!done) return std::unexpected(problem_of(done.error()));
  return Reply{.status = 204};
}

constexpr HandlerEntry handlers[] = {
    {"getLogs", get_logs},   {"getProcesses", get_processes}, {"openConsole", open_console}, {"openExec", open_exec},
    {"runExec", run_exec},   {"getFiles", get_files},         {"putFiles", put_files},
};

}  // namespace

std::span<const HandlerEntry> inside_handlers() { return handlers; }

}  // namespace nagaya::api
