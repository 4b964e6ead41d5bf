#include "domain/container_monitor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "base/log.hpp"
#include "base/scope.hpp"
#include "cgroup/layout.hpp"
#include "container/channel.hpp"
#include "container/checkpoint/checkpoint.hpp"
#include "container/container.hpp"
#include "container/id_map.hpp"
#include "container/root/kernel_mounts.hpp"
#include "domain/console_hub.hpp"
#include "domain/container_health.hpp"
#include "domain/container_join.hpp"
#include "domain/container_move.hpp"
#include "domain/container_networks.hpp"
#include "domain/container_root.hpp"
#include "domain/container_save.hpp"
#include "domain/container_spec.hpp"
#include "domain/container_storage.hpp"
#include "domain/container_users.hpp"
#include "domain/container_views.hpp"
#include "domain/folder_lock.hpp"
#include "host/event_loop.hpp"
#include "host/signal.hpp"
#include "migrate/migrate.hpp"
#include "net/inside.hpp"

namespace nagaya::domain {
namespace {

using Phase = ContainerStatus::Phase;
using When = RestartPolicy::When;

constexpr int first_pause_ms = 100, longest_pause_ms = 60'000, client_patience_ms = 30'000;
/// A program that ran as long as this has started well: its next end counts as the first.
constexpr u64 settled_ns = 10'000'000'000;

u64 monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

std::string told(const std::string& address) { return address.empty() ? "none" : address; }

Result<> write_plain(const std::string& path, const std::string& text) {
  // In place: a running container has the file bound, by its inode.
  TRY_ASSIGN(const host::Fd file, host::Fd::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644));
  return host::write_all(file.get(), text);
}

class Monitor {
 public:
  Monitor(const ContainerStore& store, Container container, ContainerStart start, host::Fd lock, host::Fd report)
      : store_(store), container_(std::move(container)), start_(std::move(start)), lock_(std::move(lock)), report_(std::move(report)) {}

  /// To the container's end. Errors of the first start go to whoever asked for it.
  void run() {
    status_ = store_.status(container_);
    status_.restarts = 0;
    status_.stopped = false;
    status_.reason.clear();
    int exit_code = 125;
    if (auto ready = prepare(); !ready) {
      fail_with(ready.error());
    } else {
      exit_code = live();
      if (!failure_) {
        status_.phase = taken_ == Taken::saved ? Phase::saved : Phase::exited;
        status_.exit_code = exit_code = taken_ == Taken::no ? exit_code : 0;
      }
    }
    if (hub_ && !failure_) hub_->finish(ConsoleWord::exit, std::to_string(exit_code));
    hub_.reset();
    store_.clear_leftovers(container_);
    networks_ = {};
    views_.end();
    finish();
  }

 private:
  const ContainerDefinition& definition() const { return container_.definition; }

  /// What holds for all starts of the container.
  Result<> prepare() {
    host::ignore_sigpipe();
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    ::prctl(PR_SET_NAME, fmt::format("ct:{}", definition().name).substr(0, 15).c_str());
    store_.clear_leftovers(container_);
    TRY_ASSIGN(signals_, host::SignalFd::create({SIGTERM, SIGINT, SIGHUP, SIGCHLD}));
    if (::geteuid() != 0 && joins_others(definition())) {
      TRY(enter_joined_user_namespace(store_, definition()));
    } else {
      TRY(separate_monitor());
    }
    views_.begin(container_, start_.view_program);
    if (start_.fresh) forget_saved(container_);
    ::unlink(container_.places.saving().c_str());  // of a command that was killed
    if (start_.arrival == nullptr) TRY(prepare_files());
    places_.rootfs = container_.places.root();
    places_.cgroup = fmt::format("/nagaya/{}-{}", definition().name, definition().id.substr(0, 12));
    if (definition().system) TRY(make_systemd_group());
    places_.reaper = definition().reaper && !definition().system ? start_.reaper_program : "";
    for (const auto& [place, name] : {std::pair{&places_.hosts, "hosts"}, {&places_.resolv_conf, "resolv.conf"}, {&places_.hostname, "hostname"}}) {
      *place = container_.places.runtime + "/" + name;
      TRY(write_plain(*place, ""));
    }
    TRY_ASSIGN(wanted_, container_networks(network_store_, definition()));
    TRY_ASSIGN(loop_, host::EventLoop::create());
    TRY(loop_->add(signals_.fd(), EPOLLIN, [this](u32) { on_signals(); }));
    TRY_ASSIGN(LogWriter log, LogWriter::open(container_.places.log()));
    hub_ = std::make_unique<ConsoleHub>(*loop_, std::move(log), ConsoleHub::Hooks{[this] { go_ = true; }, [this](int number) { send_signal(number); },
                                                                                 [this] { stopping_ = status_.stopped = true; }});
    return hub_->listen(container_.places.control());
  }

  /// The root, and what is known only when it is there.
  Result<> prepare_files() {
    TRY(mount_root(container_, start_.layers));
    TRY_ASSIGN(places_.volumes, prepare_volumes(store_, container_, start_.image));
    TRY_ASSIGN(user_, resolve_user(container_.places.root(), definition().user.empty() ? start_.image.user : definition().user));
    return {};
  }

  /// systemd keeps its services in a hierarchy that limits nothing. The runtime joins it when it is there.
  Result<> make_systemd_group() const {
    TRY_ASSIGN(const auto layout, cgroup::read_layout());
    // Its init writes into its own groups. Without that option its root, who is the host's, could write its own limits, too.
    if (layout.v2_only() && !container::rootless() && !definition().privileged) {
      TRY_ASSIGN(const auto mounts, host::read_file("/proc/self/mountinfo", 4 * MiB));
      if (!cgroup::v2_limits_are_kept({reinterpret_cast<const char*>(mounts.data()), mounts.size()})) {
        return fail("a whole system could raise its own limits here", "cgroup2 is mounted without nsdelegate",
                    fmt::format("mount -o remount,nsdelegate {}", layout.hierarchies[0].mount_point));
      }
    }
    const auto* hierarchy = layout.find("name=systemd");
    if (hierarchy == nullptr || !hierarchy->writable) return {};
    return make_folders(hierarchy->mount_point + places_.cgroup);
  }

  int live() {
    int pause_ms = first_pause_ms, exit_code = 125;
    for (bool first = true;; first = false) {
      const u64 began = monotonic_ns();
      if (auto started = start_once(first); !started) {
        clear_run();
        fail_with(started.error());
        return exit_code;
      }
      exit_code = wait_end();
      clear_run();
      if (memory_lost_) {
        fail_with({"the container's memory did not arrive wholly", "the move ended in the middle", "it goes on at its source, if that one lives; a start here begins anew"});
        return exit_code;
      }
      if (!again(exit_code)) return exit_code;
      pause_ms = monotonic_ns() - began > settled_ns ? first_pause_ms : std::min(pause_ms * 2, longest_pause_ms);
      status_.restarts += 1;
      wait_for([this] { return stopping_; }, pause_ms);
      if (stopping_) return exit_code;
    }
  }

  [[nodiscard]] bool again(int exit_code) const {
    if (stopping_ || taken_ != Taken::no) return false;
    switch (definition().restart.when) {
      case When::always:
      case When::unless_stopped: return true;
      case When::on_failure: return exit_code != 0 && (definition().restart.retries == 0 || status_.restarts < definition().restart.retries);
      case When::no: break;
    }
    return false;
  }

  /// Runs the loop until `over`, or for so long (-1: without end).
  void wait_for(const std::function<bool()>& over, int patience_ms) {
    const u64 end = monotonic_ns() + static_cast<u64>(std::max(patience_ms, 0)) * 1'000'000;
    while (!over()) {
      int left = -1;
      if (patience_ms >= 0) {
        const u64 now = monotonic_ns();
        if (now >= end) return;
        left = static_cast<int>((end - now) / 1'000'000) + 1;
      }
      loop_->run_once(left);
    }
  }

  [[nodiscard]] bool on_host_network() const { return std::ranges::find(definition().networks, "host") != definition().networks.end(); }

  /// Of containers that are joined, at each start anew: they may have been started again themselves.
  Result<> join_others() {
    TRY_ASSIGN(joined_, join_spaces(store_, definition()));
    const auto path = [](const host::Fd& fd) { return fd ? fmt::format("/proc/self/fd/{}", fd.get()) : std::string(); };
    places_.pid_namespace = path(joined_.pid);
    places_.time_namespace = path(joined_.time);
    places_.ipc_namespace = path(joined_.ipc);
    places_.uts_namespace = path(joined_.uts);
    if (joined_.network) places_.network_namespace = path(joined_.network);
    // Only process 1 of its namespace gets the orphans.
    if (joined_.pid) places_.reaper.clear();
    if (!joined_.shm) return {};
    places_.shm = container_.places.runtime + "/shm";
    TRY(make_folders(places_.shm));
    (void)::umount2(places_.shm.c_str(), MNT_DETACH);
    TRY_ASSIGN(const host::Fd place, host::Fd::open(places_.shm, O_PATH | O_DIRECTORY));
    return container::attach(joined_.shm.get(), place.get());
  }

  Result<> start_once(bool first) {
    TRY(join_others());
    // Made before the container and joined: a user's own monitor cannot reach that of a waiting one, and what is restored needs its cards
    // before its connections.
    // With users of its own it is made by the runtime, in their user namespace: else its root could not even bind a low port.
    if (has_own_users(definition())) {
      TRY_ASSIGN(const ContainerUsers users, container_users(container_));
      places_.uid_maps = users.uid_maps();
      places_.gid_maps = users.gid_maps();
    } else if (!on_host_network() && !joined_.network) {
      TRY_ASSIGN(network_namespace_, net::make_network_namespace());
      places_.network_namespace = fmt::format("/proc/self/fd/{}", network_namespace_.get());
    }
    if (first && (start_.arrival != nullptr || is_saved(container_))) {
      TRY(go_on());
    } else {
      TRY(begin(first));
    }
    status_.phase = Phase::running;
    status_.monitor = ::getpid();
    status_.pid = pid_;
    status_.started = now_utc();
    status_.address = networks_.address;
    begin_health();
    TRY(store_.write_status(container_, status_));
    if (first) report("");
    return {};
  }

  /// From now on it is asked whether it is well. That it cannot be is no reason not to run it.
  void begin_health() {
    const auto check = health_check_of(definition(), start_.image);
    if (!check) return;
    health_ = std::make_unique<ContainerHealth>(*loop_, store_, container_, start_.image, *check, [this] {
      health_->tell(status_);
      if (auto done = store_.write_status(container_, status_); !done) log::warning("{}", done.error().message());
    });
    if (auto begun = health_->begin(); !begun) log::warning("health check: {}", begun.error().message());
    health_->tell(status_);
  }

  [[nodiscard]] container::CreateOptions create_options() const {
    container::CreateOptions options;
    options.state_root = container_.places.oci;
    options.id = definition().name;
    options.bundle = container_.places.runtime;
    return options;
  }

  Result<container::Spec> spec_of_start() {
    places_.views = views_.of_start(places_.cgroup);
    TRY_ASSIGN(container::Spec spec, container_spec(definition(), start_.image, user_, places_));
    begin_uptime(spec);
    return spec;
  }

  /// Runs it from its beginning.
  Result<> begin(bool first) {
    container::CreateOptions options = create_options();
    TRY_ASSIGN(options.spec, spec_of_start());
    if (definition().terminal && start_.terminal_size) options.spec->process->console_size = {{start_.terminal_size->second, start_.terminal_size->first}};
    // The lock says that we live, not that the container does; and whoever waits for our report waits for its end.
    options.private_fds = {lock_.get()};
    if (report_) options.private_fds.push_back(report_.get());
    TRY(create(std::move(options), [](const container::CreateOptions& ready) { return container::create(ready); }));
    if (has_own_users(definition()) && !on_host_network()) {
      TRY_ASSIGN(network_namespace_, host::Fd::open(fmt::format("/proc/{}/ns/net", pid_), O_RDONLY));
    }
    TRY(set_up_network());
    if (first && start_.wait_for_client) {
      report("");
      wait_for([this] { return go_ || stopping_ || (!hub_->attached() && seen_client()); }, client_patience_ms);
      if (!go_) return fail(fmt::format("container '{}' was not started", definition().name), "who asked for it has gone");
    }
    return container::start(container_.places.oci, definition().name);
  }

  /// From where it was saved, or from another host. Images that could not be restored are kept.
  Result<> go_on() {
    const std::string address = start_.arrival != nullptr ? start_.address : status_.address;
    TRY(set_up_network({.address = address, .held = true}));
    if (start_.arrival != nullptr && start_.connections && networks_.address != address) {
      return fail("its connections need the address that it had", fmt::format("that is {}, and here it gets {}", told(address), told(networks_.address)),
                  "a network with the same subnet, and the address free in it; or move without --tcp-established");
    }
    if (start_.arrival != nullptr) {
      TRY(create(create_options(), [this](const container::CreateOptions& options) { return arrive(options); }));
      for (const int fd : {start_.arrival->in(), start_.arrival->out()}) ::close(fd);
      return {};
    }
    auto done = create(create_options(), [this](const container::CreateOptions& options) -> Result<container::State> {
      container::RestoreOptions restore;
      restore.image_path = container_.places.saved();
      restore.work_path = container_.places.runtime;
      restore.tcp_established = restore.file_locks = true;
      restore.at_step = [this](std::string_view step) { return step == "post-restore" ? open_networks(networks_) : Result<>{}; };
      restore.create = options;
      TRY_ASSIGN(restore.create.spec, spec_of_start());
      return container::restore(restore);
    });
    if (done) {
      forget_saved(container_);
    } else {
      kept_ = true;
    }
    return done;
  }

  Result<container::State> arrive(const container::CreateOptions& options) {
    migrate::TargetOptions target;
    target.state_root = options.state_root;
    target.id = options.id;
    target.bundle = options.bundle;
    target.trees = moved_folders(container_);
    target.work = container_.places.runtime + "/moving";
    target.console_connection = options.console_connection;
    target.prepare = [this](container::Spec& spec) -> Result<> {
      TRY(prepare_files());
      if (storage_driver(container_) == "vfs") return fail("this host cannot lay what the container has written over its image", "overlayfs and fuse-overlayfs are refused here");
      TRY_ASSIGN(spec, spec_of_start());
      return {};
    };
    target.fetcher = &fetcher_;
    target.committed = [this] { return open_networks(networks_); };
    std::error_code error;
    std::filesystem::remove_all(target.work, error);
    return migrate::receive_container(*start_.arrival, target);
  }

  bool seen_client() {
    was_attached_ = was_attached_ || hub_->attached();
    return was_attached_;
  }

  /// The runtime's process takes our standard streams as its own: they are its pipes for that while.
  Result<> create(container::CreateOptions options, const std::function<Result<container::State>(const container::CreateOptions&)>& make) {
    if (definition().terminal) {
      TRY_ASSIGN(auto ends, container::channel());
      options.console_connection = ends.second.get();
      TRY_ASSIGN(const container::State made, make(options));
      pid_ = made.pid;
      TRY_ASSIGN(host::Fd master, container::receive_fd(ends.first.get()));
      TRY_ASSIGN(host::Fd input, host::Fd::duplicate(master.get()));
      return hub_->connect(std::move(input), std::move(master), {}, true);
    }
    TRY_ASSIGN(auto out, host::Fd::pipe());
    TRY_ASSIGN(auto err, host::Fd::pipe());
    std::pair<host::Fd, host::Fd> in;
    if (definition().interactive) {
      TRY_ASSIGN(in, host::Fd::pipe());
    } else {
      TRY_ASSIGN(in.first, host::Fd::open("/dev/null", O_RDONLY));
    }
    const int theirs[3] = {in.first.get(), out.second.get(), err.second.get()};
    int saved[3];
    for (int number = 0; number < 3; ++number) {
      saved[number] = ::fcntl(number, F_DUPFD_CLOEXEC, 10);
      ::dup2(theirs[number], number);
    }
    auto made = make(options);
    for (int number = 0; number < 3; ++number) {
      ::dup2(saved[number], number);
      ::close(saved[number]);
    }
    if (!made) return std::unexpected(std::move(made.error()));
    pid_ = made->pid;
    return hub_->connect(std::move(in.second), std::move(out.first), std::move(err.first), false);
  }

  Result<> set_up_network(const ContainerReturn& back = {}) {
    const bool host_network = on_host_network();
    networks_ = {};
    if (joined_.network) {
      networks_.address = joined_.address;
      TRY(write_plain(places_.hostname, (definition().hostname.empty() ? definition().name : definition().hostname) + "\n"));
      TRY(write_plain(places_.hosts, joined_.hosts));
      return write_plain(places_.resolv_conf, joined_.resolv_conf);
    }
    if (!host_network) {
      const int inside = network_namespace_.get();
      if (wanted_.empty()) TRY(net::bring_up_loopback(inside));
      TRY_ASSIGN(networks_, join_container(network_store_, definition(), start_.image, wanted_, inside, start_.net_program, back));
    }
    const std::string hostname = definition().hostname.empty() ? definition().name : definition().hostname;
    TRY(write_plain(places_.hostname, hostname + "\n"));
    TRY(write_plain(places_.hosts, hosts_file(hostname, networks_.address, definition().add_hosts)));
    std::vector<std::string> servers = definition().dns.empty() ? networks_.dns : definition().dns;
    if (!servers.empty()) return write_plain(places_.resolv_conf, resolv_conf_file(servers));
    const auto hosts_own = host::read_file("/etc/resolv.conf", 64 * KiB);
    return write_plain(places_.resolv_conf, hosts_own && host_network ? std::string(hosts_own->begin(), hosts_own->end()) : "");
  }

  int wait_end() {
    wait_for([this] { return ended_.has_value(); }, -1);
    hub_->drain();
    const int code = *ended_;
    ended_.reset();
    health_.reset();
    status_.health.clear();
    // What it ended of, if its memory was still on its way.
    constexpr int fetcher_patience_ms = 10'000;
    wait_for([this] { return fetcher_ == 0; }, fetcher_patience_ms);
    // A command that saves it ends it, and says so when it is done.
    constexpr int step_ms = 10;
    while (code == 128 + SIGKILL) {
      if (const auto how = taken(container_)) {
        taken_ = *how;
        break;
      }
      wait_for([] { return false; }, step_ms);
    }
    return code;
  }

  void on_signals() {
    while (const int signal = signals_.next()) {
      if (signal == SIGCHLD) {
        reap();
      } else if (!stopping_) {
        // The host shuts down, or somebody ends the monitor: the container is asked first.
        stopping_ = true;
        send_signal(SIGTERM);
      } else {
        send_signal(SIGKILL);
      }
    }
  }

  void reap() {
    for (int status = 0; const pid_t child = ::waitpid(-1, &status, WNOHANG);) {
      if (child < 0) break;
      views_.reaped(child);
      if (child == fetcher_) {
        fetcher_ = 0;
        memory_lost_ = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        continue;
      }
      if (health_ && health_->reaped(child, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status))) continue;
      if (child == pid_) ended_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
  }

  void send_signal(int number) {
    if (pid_ <= 0 || number <= 0 || number > SIGRTMAX) return;
    if (auto sent = container::kill(container_.places.oci, definition().name, number, false); !sent) log::info("{}", sent.error().message());
  }

  void clear_run() {
    reap();
    if (auto state = container::state(container_.places.oci, definition().name)) {
      if (auto group = container::group_of(*state)) {
        if (auto stats = group->stats()) status_.oom_killed = stats->oom_kills > 0;
      }
    }
    store_.clear_leftovers(container_);
    reap();
    networks_ = {};
    pid_ = 0;
  }

  void fail_with(const Error& error) {
    failure_ = true;
    status_.phase = kept_ ? Phase::saved : Phase::failed;
    // Only of the program itself: other files that are missing are our own failure.
    const bool program = error.what.starts_with("executable file");
    status_.exit_code = !program ? 125 : error.code == ENOENT ? 127 : 126;
    status_.reason = error.message();
    if (hub_) hub_->finish(ConsoleWord::failure, fmt::format("{} {}", status_.exit_code, error.message()));
    report(fmt::format("{} {}", status_.exit_code, error.message()));
    std::fprintf(stderr, "nagaya: %s\n", error.message().c_str());
  }

  /// Once; empty: well.
  void report(const std::string& text) {
    if (!report_) return;
    (void)host::write_all(report_.get(), text.empty() ? std::string("+") : text);
    report_.reset();
  }

  void finish() {
    status_.pid = status_.monitor = 0;
    status_.finished = now_utc();
    if (definition().remove && status_.phase != Phase::saved) {
      // What is mounted in our namespace only must be gone before its folders can be: also files of a server that was killed.
      for (const char* place : {"/root", "/view", "/shm"}) {
        while (::umount2((container_.places.runtime + place).c_str(), MNT_DETACH) == 0) {
        }
      }
      if (auto gone = store_.remove(container_, std::move(lock_)); !gone) std::fprintf(stderr, "nagaya: %s\n", gone.error().message().c_str());
      return;
    }
    (void)store_.write_status(container_, status_);
  }

  const ContainerStore& store_;
  Container container_;
  ContainerStart start_;
  host::Fd lock_, report_;
  ContainerStatus status_;
  ContainerPlaces places_{};
  ContainerUser user_;
  net::NetworkStore network_store_;
  std::vector<net::Network> wanted_;
  host::SignalFd signals_;
  std::unique_ptr<host::EventLoop> loop_;
  std::unique_ptr<ConsoleHub> hub_;
  ContainerNetworks networks_;
  ContainerViews views_;
  std::unique_ptr<ContainerHealth> health_;
  host::Fd network_namespace_;
  JoinedSpaces joined_;
  pid_t pid_ = 0;
  std::optional<int> ended_;
  Taken taken_ = Taken::no;
  pid_t fetcher_ = 0;  ///< memory still comes
  bool memory_lost_ = false;
  bool go_ = false, stopping_ = false, failure_ = false, kept_ = false, was_attached_ = false;
};

/// The child: nothing of the caller's stays open but what it was given.
[[noreturn]] void monitor_process(const ContainerStore& store, const Container& container, const ContainerStart& start, int lock, int report) {
  ::setsid();
  const int log = ::open(container.places.monitor_log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::dup2(null, 0);
  ::dup2(null, 1);
  ::dup2(log < 0 ? null : log, 2);
  std::vector<int> kept = {lock, report};
  if (start.arrival != nullptr) kept.insert(kept.end(), {start.arrival->in(), start.arrival->out()});
  (void)host::close_all_but(std::move(kept), 3);
  (void)!::chdir("/");
  Monitor(store, container, start, host::Fd(lock), host::Fd(report)).run();
  ::_exit(0);
}

}  // namespace

Result<> start_container(const ContainerStore& store, const Container& container, const ContainerStart& start) {
  TRY_ASSIGN(host::Fd lock, store.lock(container));
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  // What was printed so far must not be printed by both.
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot start a process");
  if (child == 0) monitor_process(store, container, start, lock.get(), pipe.second.get());
  lock.reset();
  pipe.second.reset();
  // The first word decides: the container's first process has a copy of the pipe until it becomes its program.
  u8 first = 0;
  TRY_ASSIGN(const std::size_t got, host::read_up_to(pipe.first.get(), {&first, 1}));
  if (got == 1 && first == '+') return {};
  TRY_ASSIGN(const auto bytes, host::read_all(pipe.first.get(), 64 * KiB, "the container's monitor"));
  const std::string said = std::string(got, static_cast<char>(first)) + std::string(bytes.begin(), bytes.end());
  // It still clears up, and holds the lock until it has.
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (said.empty()) return fail(fmt::format("container '{}' did not start", container.definition.name), "its monitor ended", fmt::format("see {}", container.places.monitor_log()));
  // "CODE MESSAGE"
  const std::size_t space = said.find(' ');
  Error error{said.substr(space + 1)};
  const int code = std::atoi(said.c_str());
  error.code = code == 127 ? ENOENT : code == 126 ? EACCES : 0;
  return std::unexpected(std::move(error));
}

}  // namespace nagaya::domain
