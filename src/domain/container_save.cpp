#include "domain/container_save.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/scope.hpp"
#include "container/checkpoint/checkpoint.hpp"
#include "domain/container_join.hpp"
#include "domain/container_move.hpp"
#include "domain/container_storage.hpp"
#include "domain/container_users.hpp"
#include "host/own_process.hpp"
#include "migrate/migrate.hpp"
#include "net/inside.hpp"

namespace nagaya::domain {
namespace {

namespace fs = std::filesystem;

constexpr char saved_mark = 's', sent_mark = 'm';

/// The container's root is mounted in its monitor's mount namespace only. The calling process has one thread.
Result<> enter_mounts(const ContainerStatus& status) {
  const host::Fd process = status.monitor_process();
  if (!process || ::setns(process.get(), CLONE_NEWNS) != 0) return fail_errno("cannot join the mounts of the container's monitor");
  return {};
}

Result<> can_be_saved(const ContainerStore& store, const Container& container) {
  const ContainerDefinition& d = container.definition;
  const std::string what = fmt::format("cannot save container '{}'", d.name);
  if (store.status(container).phase != ContainerStatus::Phase::running) return fail(what, "it does not run");
  if (::geteuid() != 0) return fail(what, "CRIU needs root's rights (CAP_CHECKPOINT_RESTORE and CAP_SYS_PTRACE over all)");
  if (has_own_users(d)) return fail(what, "its files and users have numbers of this host (--userns auto)");
  if (joins_others(d)) return fail(what, "it lives in namespaces of another container, which are not saved with it");
  return {};
}

/// Runs `work` in a process inside the monitor's mounts, while the monitor knows that the container's end may be ours.
Result<> as_saver(const ContainerStore& store, const Container& container, char mark, bool leave_running, const std::function<Result<>()>& work) {
  TRY(can_be_saved(store, container));
  const ContainerStatus status = store.status(container);
  const host::Fd monitor = status.monitor_process();
  TRY_ASSIGN(const host::Fd file, host::Fd::open(container.places.saving(), O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(fmt::format("cannot save container '{}'", container.definition.name), "another command is saving it");
  }
  if (::ftruncate(file.get(), 0) != 0) return fail_errno("cannot write to the container's folder");
  auto done = host::in_own_process([&]() -> Result<> {
    TRY(enter_mounts(status));
    return work();
  });
  // Only now: had we been killed before, the container would have gone on. Also when it was handed over and the other side fell silent:
  // what may run there must not be started anew here.
  const auto left = container::state(container.places.oci, container.definition.name);
  const bool gone = !left || left->status == container::Status::stopped;
  if (done ? !leave_running : gone) TRY(host::write_all(file.get(), std::string(1, mark)));
  if (!done || leave_running) return done;
  // Its monitor reads that, clears up and ends.
  (void)::flock(file.get(), LOCK_UN);
  constexpr int patience_ms = 10'000;
  pollfd wait{monitor.get(), POLLIN, 0};
  if (monitor) (void)::poll(&wait, 1, patience_ms);
  return {};
}

}  // namespace

Result<> save_container(const ContainerStore& store, const Container& container, const SaveOptions& options) {
  const std::string begun = container.places.saved() + ".new";
  std::error_code error;
  fs::remove_all(begun, error);
  const ScopeExit clear([&] { fs::remove_all(begun, error); });
  return as_saver(store, container, saved_mark, options.leave_running, [&]() -> Result<> {
    container::CheckpointOptions dump;
    dump.state_root = container.places.oci;
    dump.id = container.definition.name;
    dump.image_path = begun;
    dump.leave_running = options.leave_running;
    dump.tcp_established = options.tcp_established;
    dump.file_locks = options.file_locks;
    // In their place before the processes end: whatever is killed then, they are there, or the container is.
    dump.at_step = [&](std::string_view step) -> Result<> {
      if (step != "post-dump") return {};
      forget_saved(container);
      return ::rename(begun.c_str(), container.places.saved().c_str()) == 0 ? Result<>{} : fail_errno("cannot keep the images");
    };
    auto done = container::checkpoint(dump);
    if (!done) forget_saved(container);
    return done;
  });
}

Result<> send_container(const ContainerStore& store, const Container& container, migrate::Stream& stream, const SaveOptions& options) {
  if (storage_driver(container) == "vfs") {
    return fail(fmt::format("cannot send container '{}'", container.definition.name), "its root is a whole copy of its image (storage driver vfs)", "containers over overlayfs or fuse-overlayfs move");
  }
  return as_saver(store, container, sent_mark, options.leave_running, [&]() -> Result<> {
    const ContainerStatus status = store.status(container);
    TRY(stream.send(migrate::Kind::domain, write_arrival({.definition = container.definition, .address = status.address,
                                                          .connections = options.tcp_established, .layers = options.layers})));
    migrate::SourceOptions move;
    move.state_root = container.places.oci;
    move.id = container.definition.name;
    move.trees = moved_folders(container);
    for (const std::string& folder : move.trees) {
      std::error_code error;
      fs::create_directories(folder, error);
    }
    move.work = container.places.runtime + "/moving";
    move.rounds = stream.answered() ? options.rounds : 1;
    move.leave_running = options.leave_running;
    move.tcp_established = options.tcp_established;
    move.file_locks = options.file_locks;
    move.lazy = options.lazy;
    move.progress = options.progress;
    // Its address answers at one place only.
    if (stream.answered() && !status.address.empty()) {
      move.leaving = [&status](bool gone) -> Result<> {
        TRY_ASSIGN(const host::Fd network, host::Fd::open(fmt::format("/proc/{}/ns/net", status.pid), O_RDONLY));
        return net::hide_inside(network.get(), gone);
      };
    }
    std::error_code error;
    fs::remove_all(move.work, error);  // of a command that was killed
    TRY_ASSIGN(const migrate::Report report, migrate::send_container(stream, move));
    if (options.progress) {
      options.progress(fmt::format("{} MiB in {:.2f} s; it stood still for {:.2f} s", report.bytes >> 20, report.total_s, report.standstill_s));
    }
    return {};
  });
}

bool is_saved(const Container& container) { return ::access((container.places.saved() + "/inventory.img").c_str(), F_OK) == 0; }

void forget_saved(const Container& container) {
  std::error_code error;
  fs::remove_all(container.places.saved(), error);
}

std::optional<Taken> taken(const Container& container) {
  const host::Fd file(::open(container.places.saving().c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return Taken::no;
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return std::nullopt;
  char mark = 0;
  (void)!::read(file.get(), &mark, 1);
  ::unlink(container.places.saving().c_str());
  return mark == saved_mark ? Taken::saved : mark == sent_mark ? Taken::sent : Taken::no;
}

}  // namespace nagaya::domain
