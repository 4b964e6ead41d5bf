#include "container/seccomp_agent.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

#include "container/channel.hpp"

namespace nagaya::container {
namespace {

/// What the two sides share: plain memory, because a system call could wait for the very agent that has not got its
/// listener yet.
struct Shared {
  std::atomic<int> listener{-1};  // its number, -2: there is none
  std::atomic<int> sent{0};       // 1: sent; else a negated errno value
};

/// A child with our descriptor table and its own memory, without our filter: it sends what it finds.
[[noreturn]] void send_when_there(Shared& shared, pid_t parent, int agent, const std::string& state) {
  int number = -1;
  while ((number = shared.listener.load(std::memory_order_acquire)) == -1) {
    if (::getppid() != parent) ::_exit(0);
    ::sched_yield();
  }
  if (number >= 0) {
    const auto done = send_fd(agent, number, state);
    shared.sent.store(done ? 1 : -done.error().code, std::memory_order_release);
  }
  ::_exit(0);
}

}  // namespace

std::string process_state_json(const Record& record, Status status, pid_t pid, const std::string& metadata) {
  const std::string state = state_json(record, status, pid);
  std::string quoted;
  for (const char c : metadata) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      const char* digits = "0123456789abcdef";
      quoted += std::string("\\u00") + digits[c >> 4] + digits[c & 15];
    } else {
      quoted += c;
    }
  }
  return R"({"ociVersion":"1.1.0","fds":["seccompFd"],"pid":)" + std::to_string(pid) + R"(,"metadata":")" + quoted +
         R"(","state":)" + state + "}";
}

Result<> load_seccomp(const SeccompProgram& program, int agent, const std::string& state) {
  if (!program.wants_listener()) {
    TRY(program.load());
    return {};
  }
  if (agent < 0)
    return fail("the seccomp profile has SCMP_ACT_NOTIFY rules", "", "its listenerPath must name an agent's socket");
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail_errno("cannot share memory");
  auto& shared = *new (memory) Shared;
  const pid_t self = ::getpid();
  const long helper = ::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (helper < 0) return fail_errno("cannot make the helper that sends the seccomp listener");
  if (helper == 0) send_when_there(shared, self, agent, state);
  auto listener = program.load();
  // From here to the answer: no system call.
  shared.listener.store(listener && *listener ? listener->get() : -2, std::memory_order_release);
  if (!listener) {
    ::waitpid(static_cast<pid_t>(helper), nullptr, 0);
    return std::unexpected(std::move(listener.error()));
  }
  int sent = 0;
  while (*listener && (sent = shared.sent.load(std::memory_order_acquire)) == 0) __builtin_ia32_pause();
  ::waitpid(static_cast<pid_t>(helper), nullptr, 0);
  if (sent < 0) return fail_errno("cannot send the seccomp listener", -sent);
  return {};
}

}  // namespace nagaya::container
