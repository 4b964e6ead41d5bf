#include "container/checkpoint/criu.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "container/checkpoint/log.hpp"
#include "host/passing.hpp"
#include "host/process.hpp"

namespace nagaya::container::criu {
namespace {

constexpr int service_fd = 3;
constexpr std::size_t answer_limit = 65536;

// Fields of criu_req and criu_resp.
constexpr u32 req_type = 1, req_opts = 2, req_notify_success = 3, req_features = 5;
constexpr u32 resp_type = 1, resp_success = 2, resp_restore = 4, resp_notify = 5, resp_errno = 7, resp_features = 8, resp_message = 9;
constexpr u64 notify_type = 6, feature_type = 9;

struct Answer {
  u64 type = 0;
  bool success = false;
  pid_t pid = 0;
  std::string step, message;
  int code = 0;
  Features features;
  host::Fd fd;
};

Result<Answer> decode(std::string_view bytes) {
  Answer out;
  WireReader reader(bytes);
  while (const auto field = reader.next()) {
    switch (field->number) {
      case resp_type: out.type = field->value; break;
      case resp_success: out.success = field->value != 0; break;
      case resp_errno: out.code = static_cast<int>(field->value); break;
      case resp_message: out.message = field->text; break;
      case resp_restore:
      case resp_notify:
      case resp_features: {
        WireReader inner(field->text);
        while (const auto part = inner.next()) {
          if (field->number == resp_restore && part->number == 1) out.pid = static_cast<pid_t>(part->value);
          if (field->number == resp_notify && part->number == 1) out.step = part->text;
          if (field->number == resp_notify && part->number == 2) out.pid = static_cast<pid_t>(part->value);
          if (field->number == resp_features && part->number == 1) out.features.memory_tracking = part->value != 0;
          if (field->number == resp_features && part->number == 2) out.features.lazy_pages = part->value != 0;
        }
        if (inner.broken()) return fail("CRIU's answer is malformed");
        break;
      }
      default: break;
    }
  }
  if (reader.broken()) return fail("CRIU's answer is malformed");
  return out;
}

/// One packet of CRIU's, perhaps with a descriptor. An empty one: it has gone.
Result<Answer> receive(int socket) {
  std::string bytes(answer_limit, '\0');
  TRY_ASSIGN(host::Passed passed, host::receive_passing(socket, bytes));
  if (passed.bytes == 0) return fail("CRIU ended without an answer");
  TRY_ASSIGN(Answer answer, decode(std::string_view(bytes).substr(0, passed.bytes)));
  answer.fd = std::move(passed.fd);
  return answer;
}

Result<> transmit(int socket, const WireWriter& request) {
  const std::string& bytes = request.bytes();
  ssize_t count = 0;
  do {
    count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return fail_errno("cannot ask CRIU");
  return {};
}

/// A service process and our end of its socket. It is not killed with us: halfway through, only CRIU can put the container right again, and
/// it does so when it sees our end closed.
struct Service {
  pid_t pid = -1;
  host::Fd socket;
  Service() = default;
  Service(Service&& other) noexcept : pid(std::exchange(other.pid, -1)), socket(std::move(other.socket)) {}
  Service& operator=(Service&&) = delete;
  ~Service() { (void)finish(); }
  int finish() {
    socket.reset();
    int status = 0;
    if (pid > 0) {
      while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
    }
    pid = -1;
    return status;
  }
};

Result<Service> serve(const Program& program, const std::vector<std::pair<int, int>>& inherit, const std::function<bool()>& prepare) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("cannot make a socket pair");
  Service out;
  out.socket = host::Fd(ends[0]);
  const host::Fd other(ends[1]);
  TRY_ASSIGN(const host::Fd null, host::Fd::open("/dev/null", O_RDWR));
  const char* argv[] = {"criu", "swrk", "3", nullptr};
  int highest = service_fd;
  for (const auto& [ours, theirs] : inherit) highest = std::max(highest, theirs);
  out.pid = ::fork();
  if (out.pid < 0) return fail_errno("cannot start CRIU");
  if (out.pid == 0) {
    // A session of its own: a terminal's Ctrl-C must not end it in the middle of its work.
    ::setsid();
    if (prepare && !prepare()) ::_exit(126);
    const int socket = ::fcntl(other.get(), F_DUPFD_CLOEXEC, highest + 1);
    std::vector<int> moved;
    for (const auto& [ours, theirs] : inherit) moved.push_back(::fcntl(ours, F_DUPFD_CLOEXEC, highest + 1));
    for (int i = 0; i < 3; ++i) ::dup2(null.get(), i);
    ::dup2(socket, service_fd);
    for (std::size_t i = 0; i < inherit.size(); ++i) ::dup2(moved[i], inherit[i].second);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::execv(program.path.c_str(), const_cast<char**>(argv));
    ::_exit(127);
  }
  return out;
}

bool executable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

/// Output (both streams) of a short command.
Result<std::string> output_of(const std::string& program, const std::vector<std::string>& args) {
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  TRY_ASSIGN(const host::Fd null, host::Fd::open("/dev/null", O_RDONLY));
  host::SpawnOptions options;
  options.program = program;
  options.args = args;
  options.fds = {{null.get(), 0}, {pipe.second.get(), 1}, {pipe.second.get(), 2}};
  TRY_ASSIGN(host::Process process, host::Process::spawn(options));
  pipe.second.reset();
  TRY_ASSIGN(const std::vector<u8> said, host::read_all(pipe.first.get(), 1u << 20, "what CRIU prints"));
  TRY(process.wait());
  return std::string(said.begin(), said.end());
}

}  // namespace

std::string Program::version() const {
  return std::to_string(major) + "." + std::to_string(minor) + (sublevel != 0 ? "." + std::to_string(sublevel) : "");
}

std::vector<std::string> candidates() {
  if (const char* named = ::getenv("NAGAYA_CRIU"); named != nullptr && *named != '\0') return {named};
  std::vector<std::string> out;
  const auto add = [&out](const std::string& path) {
    if (!executable(path)) return;
    for (const std::string& known : out) {
      if (known == path) return;
    }
    out.push_back(path);
  };
  const std::string own = host::own_program_path();
  const std::string folder = own.substr(0, own.rfind('/') + 1);
  for (const char* place : {"criu/bin/criu", "../criu/bin/criu", "../libexec/nagaya/criu/bin/criu"}) add(folder + place);
  const char* variable = ::getenv("PATH");
  std::string_view path = variable != nullptr ? variable : "";
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    if (end > 0) add(std::string(path.substr(0, end)) + "/criu");
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  for (const char* place : {"/usr/local/sbin/criu", "/usr/sbin/criu", "/sbin/criu"}) add(place);
  return out;
}

Result<Program> ask_version(const std::string& path) {
  TRY_ASSIGN(const std::string said, output_of(path, {"--version"}));
  Program out{path};
  const std::size_t at = said.find("Version: ");
  if (at == said.npos || std::sscanf(said.c_str() + at, "Version: %u.%u.%u", &out.major, &out.minor, &out.sublevel) < 2) {
    return fail("'" + path + "' does not tell its version");
  }
  return out;
}

Result<Program> find_program() {
  const std::string hint = "scripts/fetch-criu fetches one into the build, NAGAYA_CRIU names another";
  std::string old;
  for (const std::string& path : candidates()) {
    auto program = ask_version(path);
    if (!program) {
      old += (old.empty() ? "" : ", ") + program.error().message();
      continue;
    }
    if (program->new_enough()) return program;
    old += (old.empty() ? "" : ", ") + path + " is " + program->version();
  }
  return fail("CRIU 4.1 or newer is needed", old.empty() ? "none is installed" : old, hint);
}

Result<Features> ask_features(const Program& program) {
  TRY_ASSIGN(const Service service, serve(program, {}, nullptr));
  WireWriter wanted, request;
  wanted.number(1, 1);
  wanted.number(2, 1);
  request.number(req_type, feature_type);
  request.message(req_features, wanted);
  TRY(transmit(service.socket.get(), request));
  TRY_ASSIGN(const Answer answer, receive(service.socket.get()));
  if (!answer.success) return fail("CRIU cannot start on this kernel", program.path + " is " + program.version());
  return answer.features;
}

Result<std::vector<std::string>> check(const Program& program) {
  TRY_ASSIGN(const std::string said, output_of(program.path, {"check", "--all"}));
  std::vector<std::string> out;
  for (std::size_t at = 0; at < said.size();) {
    const std::size_t end = std::min(said.find('\n', at), said.size());
    std::string_view line = std::string_view(said).substr(at, end - at);
    at = end + 1;
    const bool complaint = line.starts_with("Error (") || line.starts_with("Warn ");
    if (!complaint || line.find("kdat cache") != line.npos) continue;
    if (const std::size_t colon = line.find("): "); colon != line.npos) line.remove_prefix(colon + 3);
    out.emplace_back(line);
  }
  if (said.find("Looks good") == said.npos) {
    std::string why;
    for (const std::string& line : out) why += (why.empty() ? "" : "; ") + line;
    return fail("CRIU cannot work on this kernel", why);
  }
  return out;
}

Result<pid_t> run(const Program& program, const Call& call) {
  TRY_ASSIGN(Service service, serve(program, call.inherit, call.prepare));
  if (call.started) TRY(call.started(service.pid));
  WireWriter request;
  request.number(req_type, static_cast<u64>(call.act));
  request.message(req_opts, call.options);
  TRY(transmit(service.socket.get(), request));
  const char* what = call.act == Act::restore ? "CRIU could not restore the container" : "CRIU could not save the container";
  Error ours;
  for (;;) {
    auto answer = receive(service.socket.get());
    if (!answer) {
      const int status = service.finish();
      std::string why = complaints(call.log);
      if (WIFEXITED(status) && (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127)) why = "'" + program.path + "' could not be run";
      if (WIFSIGNALED(status)) why = "it was killed by signal " + std::to_string(WTERMSIG(status)) + (why.empty() ? "" : "; " + why);
      return fail(what, why.empty() ? answer.error().message() : why, advice(why));
    }
    if (answer->type == notify_type) {
      Result<> done;
      if (call.notify) done = call.notify(answer->step, answer->pid, std::move(answer->fd));
      if (!done && ours.what.empty()) ours = done.error();
      WireWriter reply;
      reply.number(req_type, notify_type);
      reply.number(req_notify_success, done ? 1 : 0);
      TRY(transmit(service.socket.get(), reply));
      continue;
    }
    (void)service.finish();
    if (answer->success) return answer->pid;
    // What stopped it was our own doing: that is the cause to tell.
    if (!ours.what.empty()) return std::unexpected(std::move(ours).within(what));
    std::string why = complaints(call.log);
    if (why.empty()) why = answer->message.empty() ? std::strerror(answer->code) : answer->message;
    return std::unexpected(Error{what, why + " (log: " + call.log + ")", advice(why), answer->code});
  }
}

}  // namespace nagaya::container::criu
