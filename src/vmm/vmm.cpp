#include "vmm/vmm.hpp"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <optional>

#include "agent/client.hpp"
#include "base/log.hpp"
#include "host/event_loop.hpp"
#include "host/fd.hpp"
#include "host/new_file.hpp"
#include "host/numa.hpp"
#include "host/signal.hpp"
#include "host/terminal.hpp"
#include "host/thread.hpp"
#include "host/timer_queue.hpp"
#include "machine/char_ends.hpp"
#include "machine/engine_select.hpp"
#include "machine/machine.hpp"
#include "machine/net_links.hpp"
#include "machine/saved_machine.hpp"
#include "vmm/control_server.hpp"
#include "vmm/space_watch.hpp"

namespace nagaya::vmm {
namespace {

using proto::Outcome;
using proto::VmAnswer;
using proto::VmCommand;
using proto::VmOutcome;

/// How long a guest may take to react to the power button when its process is told to end.
constexpr u64 shutdown_patience_ns = 3'000'000'000;
/// How often a machine that waits for space on the host looks for it.
constexpr u64 space_check_ns = 500'000'000;

/// What is there before the jail begins: the configuration that counts, and what only the host's network has.
struct Beginning {
  proto::VmConfig config;
  std::optional<machine::SavedMachine> saved;
  machine::NetLinks links;

  static Result<Beginning> of(const proto::VmConfig& asked) {
    Beginning out{.config = asked, .saved = {}, .links = {}};
    if (!asked.restore.empty()) {
      TRY_ASSIGN(out.saved, machine::open_saved_machine(asked.restore));
      out.config = machine::config_for_restore(out.saved->config, asked);
    }
    TRY_ASSIGN(out.links, machine::open_net_links(out.config));
    return out;
  }
};

class Vmm {
 public:
  Vmm(VmmOptions options, Beginning beginning, Jail jail)
      : options_(std::move(options)), beginning_(std::move(beginning)), jail_(std::move(jail)) {}

  VmOutcome run() {
    if (auto ready = set_up(); !ready) return {Outcome::failed, 0, ready.error().message()};
    enter_jail();
    fit_console();
    machine_->resume();
    if (!machine_->config().restore.empty() && machine_->config().vsock) tell_time();
    while (!outcome_) loop_->run_once(-1);
    machine_->pause();
    ends_->drain();
    return std::move(*outcome_);
  }

 private:
  Result<> set_up() {
    host::ignore_sigpipe();
    // Before any thread exists, so that all of them block these signals.
    TRY_ASSIGN(signals_, host::SignalFd::create({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGWINCH}));
    TRY_ASSIGN(loop_, host::EventLoop::create());
    TRY(loop_->add(signals_.fd(), EPOLLIN, [this](u32) { on_signals(); }));
    TRY(build());
    (void)::prctl(PR_SET_NAME, fmt::format("vm:{}", machine_->config().name).substr(0, 15).c_str());
    control_ = std::make_unique<ControlServer>(*loop_, [this](const VmCommand& command, host::Fd file) { return obey(command, std::move(file)); });
    if (!machine_->config().control.empty()) TRY(control_->listen(machine_->config().control));
    if (options_.control) TRY(control_->serve(std::move(options_.control)));
    return {};
  }

  /// From here on guest code runs.
  void enter_jail() {
    JailNeeds needs = JailNeeds::of(machine_->config());
    needs.kvm = machine_->capabilities().name == "kvm";
    jail_.close(needs);
    if (needs.vsock) machine_->connect_vsock_below(jail_.vsock_path());
  }

  Result<> build() {
    const proto::VmConfig& config = beginning_.config;
    auto& saved = beginning_.saved;
    // A saved machine shows its own CPUID, which is compared with all that the engine has.
    TRY_ASSIGN(auto engine, machine::select_engine(config.engine, saved ? "host" : config.cpu, config.soft));
    tell(engine.line);
    TRY_ASSIGN(ends_, machine::OpenEnds::open(*loop_, config, [this] { end({Outcome::killed}); }));
    for (const std::string& place : ends_->places()) tell(place);
    machine::MachineHooks hooks{.notify = [this] { loop_->post([this] { on_events(); }); },
                                .ends = ends_->ends(),
                                .links = std::move(beginning_.links)};
    TRY_ASSIGN(machine_, machine::Machine::create(config, std::move(engine), std::move(hooks),
                                                  saved ? &saved->archive : nullptr));
    if (!saved) return machine_->power_on();
    auto restored = machine_->restore(saved->archive, saved->fd.get());
    saved.reset();
    return restored;
  }

  void tell(const std::string& line) const {
    if (!options_.quiet) (void)host::write_all(2, "nagaya: " + line + "\n");
  }

  /// What must be heard also when nothing else is wanted on standard error.
  static void tell_always(const std::string& line) { (void)host::write_all(2, "nagaya: " + line + "\n"); }

  void end(VmOutcome outcome) {
    if (!outcome_) outcome_ = std::move(outcome);
  }

  void on_events() {
    if (auto outcome = machine_->handle_events()) end(std::move(*outcome));
    const auto full = machine_->take_full_disks();
    // While it is paused the requests just wait: they are tried again, and complain again, when it goes on.
    if (!full.empty() && !outcome_ && !machine_->paused()) on_full_disks(full);
  }

  void on_full_disks(const std::vector<machine::Machine::DiskRef>& full) {
    machine_->pause();
    bool news = false;
    full_disks_.clear();
    for (const auto& disk : full) {
      full_disks_.push_back(disk.name);
      news |= space_[disk.name].ran_full(host::monotonic_ns(), machine_->disk_space(disk.name));
    }
    reason_ = fmt::format("{}: no space left for '{}'", full[0].name, full[0].path);
    if (news) tell_always(reason_ + ": the machine is paused; make space, then resume");
    if (!space_timer_) {
      space_timer_.emplace(timers_, [this] { loop_->post([this] { look_for_space(); }); });
    }
    space_timer_->arm(host::monotonic_ns() + space_check_ns);
  }

  void look_for_space() {
    if (full_disks_.empty() || outcome_) return;
    const u64 now = host::monotonic_ns();
    for (const std::string& name : full_disks_) {
      if (!space_[name].try_again(now, machine_->disk_space(name))) return space_timer_->arm(now + space_check_ns);
    }
    resume();
  }

  void resume() {
    forget_full_disks();
    machine_->resume();
  }

  /// The machine goes on, or someone wants it to stay paused.
  void forget_full_disks() {
    full_disks_.clear();
    reason_.clear();
  }

  void on_signals() {
    while (const int signal = signals_.next()) {
      if (signal == SIGWINCH) {
        fit_console();
        continue;
      }
      if (!machine_) return end({Outcome::killed});
      if (signal == SIGUSR1) {
        on_save_signal();
      } else {
        on_end_signal();
      }
    }
  }

  /// A restored guest's clock stands where it was saved; its agent, when there is one, sets it right.
  void tell_time() const {
    host::start_thread("vmm-time", [socket = jail_.vsock_path()] {
      constexpr int patience_ms = 30'000;
      if (auto done = agent::set_time(socket, patience_ms); !done) log::debug("{}", done.error().message());
    }).detach();  // nothing waits for a guest that does not answer
  }

  /// The console at our terminal has the terminal's size.
  void fit_console() {
    if (!machine_ || !ends_->ends().terminal_port) return;
    const host::TerminalSize size = host::terminal_size(STDIN_FILENO);
    machine_->resize_console(*ends_->ends().terminal_port, static_cast<u16>(size.columns), static_cast<u16>(size.rows));
  }

  void on_end_signal() {
    if (ending_ || machine_->paused() || !machine_->power_button_heard()) return end({Outcome::killed});
    machine_->press_power_button();
    ending_.emplace(timers_, [this] { loop_->post([this] { end({Outcome::killed}); }); });
    ending_->arm(host::monotonic_ns() + shutdown_patience_ns);
  }

  void on_save_signal() {
    const std::string& path = machine_->config().save_file;
    if (path.empty()) return tell("SIGUSR1: no file to save to was given (save_file)");
    if (auto done = save_by_signal(path); !done) return tell(done.error().message());
    tell(fmt::format("saved the machine to '{}'", path));
    if (machine_->config().save_then_exit) end({Outcome::saved, 0, path});
  }

  Result<> save_by_signal(const std::string& path) {
    const auto& folder = jail_.save_folder();
    const auto context = [&](Error error) { return std::unexpected(std::move(error).within(fmt::format("cannot save to '{}'", path))); };
    if (!folder) return context(folder.error());
    auto file = host::NewFile::create(folder->get(), path.substr(path.rfind('/') + 1));
    if (!file) return context(file.error());
    if (machine_->config().save_then_exit) machine_->pause();
    TRY(machine_->save(file->fd(), path));
    if (auto done = file->commit(); !done) return context(done.error());
    return {};
  }

  /// Into a file that the caller opened, and will give its name.
  VmAnswer save(const host::Fd& file, const std::string& name, bool then_exit) {
    if (!file) return {.ok = false, .error = fmt::format("cannot save to '{}': no open file came with the command", name)};
    if (auto done = machine_->save(file.get(), name); !done) return {.ok = false, .error = done.error().message()};
    if (then_exit) {
      machine_->pause();
      end({Outcome::saved, 0, name});
    }
    return status();
  }

  VmAnswer status() const {
    return {.status = machine_->paused() ? "paused" : "running",
            .reason = reason_,
            .engine = machine_->capabilities().name,
            .vcpus = machine_->config().vcpus,
            .memory = machine_->config().memory};
  }

  VmAnswer obey(const VmCommand& command, host::Fd file) {
    on_events();  // what the guest asked for came first
    if (outcome_) return {.ok = false, .error = "the machine has ended"};
    switch (command.verb) {
      case VmCommand::Verb::pause:
        forget_full_disks();
        machine_->pause();
        break;
      case VmCommand::Verb::resume: resume(); break;
      case VmCommand::Verb::reset:
        if (auto done = machine_->reset(); !done) {
          end({Outcome::failed, 0, "cannot restart: " + done.error().message()});
          return {.ok = false, .error = done.error().message()};
        }
        break;
      case VmCommand::Verb::powerdown: machine_->press_power_button(); break;
      case VmCommand::Verb::nmi: machine_->send_nmi(); break;
      case VmCommand::Verb::quit: end({Outcome::killed}); break;
      case VmCommand::Verb::status: break;
      case VmCommand::Verb::stats: {
        VmAnswer answer = status();
        answer.text = machine_->statistics();
        return answer;
      }
      case VmCommand::Verb::balloon: {
        if (command.target) {
          if (auto done = machine_->set_balloon(*command.target); !done) return {.ok = false, .error = done.error().message()};
        }
        auto text = machine_->balloon();
        if (!text) return {.ok = false, .error = text.error().message()};
        VmAnswer answer = status();
        answer.text = std::move(*text);
        return answer;
      }
      case VmCommand::Verb::registers: {
        VmAnswer answer = status();
        answer.text = machine_->registers();
        return answer;
      }
      case VmCommand::Verb::save: return save(file, command.file, command.then_exit);
      case VmCommand::Verb::resize_disk:
        if (auto done = machine_->resize_disk(command.disk, command.size); !done) return {.ok = false, .error = done.error().message()};
        break;
      case VmCommand::Verb::link:
        if (auto done = machine_->set_link(command.card, command.up); !done) return {.ok = false, .error = done.error().message()};
        break;
    }
    return status();
  }

  VmmOptions options_;
  Beginning beginning_;
  Jail jail_;
  std::optional<VmOutcome> outcome_;
  host::SignalFd signals_;
  std::unique_ptr<host::EventLoop> loop_;
  std::unique_ptr<machine::OpenEnds> ends_;
  std::unique_ptr<machine::Machine> machine_;
  std::unique_ptr<ControlServer> control_;
  host::TimerQueue timers_{"vmm-timers"};
  std::optional<host::TimerQueue::Timer> ending_, space_timer_;
  std::vector<std::string> full_disks_;  // for which the machine is paused
  std::map<std::string, SpaceWatch> space_;
  std::string reason_;
};

}  // namespace

VmOutcome run_vmm(VmmOptions options) {
#ifdef NAGAYA_SANITIZED  // the leak checker traces its own process, and knows only what it can see
  options.jail = JailMode::off;
#endif
  auto beginning = Beginning::of(options.config);
  if (!beginning) return {Outcome::failed, 0, beginning.error().message()};
  if (const auto node = beginning->config.numa_node) {
    if (auto done = host::prefer_node(*node); !done) return {Outcome::failed, 0, done.error().message()};
  }
  Jail jail = Jail::begin(beginning->config, options.jail);
  Vmm vmm(std::move(options), std::move(*beginning), std::move(jail));
  return vmm.run();
}

}  // namespace nagaya::vmm
