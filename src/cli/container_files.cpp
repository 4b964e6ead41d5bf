#include "cli/container_files.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "agent/guest/files.hpp"
#include "cli/run_container.hpp"
#include "container/id_map.hpp"
#include "domain/container_root.hpp"
#include "domain/container_storage.hpp"
#include "domain/container_users.hpp"

namespace nagaya::cli {
namespace {

using domain::Container;
using domain::ContainerStore;

bool same_user_namespace(pid_t pid) {
  struct stat ours {}, theirs {};
  return ::stat("/proc/self/ns/user", &ours) == 0 && ::stat(fmt::format("/proc/{}/ns/user", pid).c_str(), &theirs) == 0 && ours.st_ino == theirs.st_ino;
}

Result<> enter(const host::Fd& root) {
  if (::fchdir(root.get()) != 0 || ::chroot(".") != 0 || ::chdir("/") != 0) return fail_errno("cannot enter the container's root");
  ::umask(0);
  return {};
}

Result<> enter_running(pid_t pid) {
  TRY_ASSIGN(const host::Fd process, [&]() -> Result<host::Fd> {
    host::Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!fd) return fail_errno("cannot find the container's first process");
    return fd;
  }());
  TRY_ASSIGN(const host::Fd root, host::Fd::open(fmt::format("/proc/{}/root", pid), O_PATH | O_DIRECTORY));
  // The number may have been given to another process since it was written down: the descriptor tells.
  if (::syscall(SYS_pidfd_send_signal, process.get(), 0, nullptr, 0) != 0) return fail_errno("the container has just ended");
  if (!same_user_namespace(pid)) {
    if (::syscall(SYS_setns, process.get(), CLONE_NEWUSER | CLONE_NEWNS) != 0) return fail_errno("cannot join the container's user namespace");
    TRY(container::become_namespace_root());
  }
  return enter(root);
}

Result<> enter_stopped(const Container& container, const domain::ContainerLayers& layers) {
  TRY(domain::separate_monitor());
  TRY(domain::mount_root(container, layers));
  TRY_ASSIGN(const host::Fd root, host::Fd::open(container.places.root(), O_PATH | O_DIRECTORY));
  if (domain::has_own_users(container.definition)) {
    // What is put there is its root's, not the host's.
    TRY(domain::become_own_root(container));
  }
  return enter(root);
}

/// One request, as nagaya-agent takes it.
void serve(agent::Channel& channel, const Result<>& entered) {
  const auto frame = channel.receive();
  if (!frame || !*frame) return;
  const auto fail_with = [&](const Error& error) { (void)channel.send(agent::Kind::failed, agent::encode(agent::Failure{error.code, error.message()})); };
  if (!entered) return fail_with(entered.error());
  const auto request = agent::decode_request((*frame)->payload);
  if (!request) return fail_with(request.error());
  if (request->operation == agent::Operation::get_files) {
    (void)agent::guest::send_files(channel, request->path);
  } else if (request->operation == agent::Operation::put_files) {
    (void)agent::guest::receive_files(channel, request->put);
  }
}

}  // namespace

Result<ContainerFiles> ContainerFiles::open(const ContainerStore& store, const Container& container) {
  ContainerFiles out;
  const domain::ContainerStatus status = store.status(container);
  domain::ContainerLayers layers;
  const bool running = store.running(container) && status.pid > 0;
  if (!running) {
    TRY_ASSIGN(out.lock_, store.lock(container));
    store.clear_leftovers(container);
    TRY_ASSIGN(layers, layers_of(container, true));
  }
  TRY_ASSIGN(auto ends, host::Fd::socketpair());
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot start a process");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ends.first.reset();
    // Nobody inside may look at us: we still hold what is the host's.
    ::prctl(PR_SET_DUMPABLE, 0);
    const auto entered = running ? enter_running(static_cast<pid_t>(status.pid)) : enter_stopped(container, layers);
    agent::Channel channel(std::move(ends.second));
    serve(channel, entered);
    ::_exit(0);
  }
  out.child_ = child;
  out.channel_.emplace(std::move(ends.first));
  return out;
}

ContainerFiles::ContainerFiles(ContainerFiles&& other) noexcept
    : channel_(std::move(other.channel_)), lock_(std::move(other.lock_)), child_(std::exchange(other.child_, -1)) {
  other.channel_.reset();
}

ContainerFiles::~ContainerFiles() {
  channel_.reset();  // it sees the end of the connection
  if (child_ <= 0) return;
  while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace nagaya::cli
