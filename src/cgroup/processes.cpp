// What is in a group: listed, stopped, signalled.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "cgroup/cgroup.hpp"
#include "cgroup/file.hpp"
#include "cgroup/making.hpp"

namespace nagaya::cgroup {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto freeze_time =
    10s;  ///< a process in an uninterruptible sleep (a dead network file system) cannot be frozen
constexpr auto kill_time = 10s;

/// Adds the processes of `folder` and below; ENOENT when it is not there.
int collect(const std::string& folder, std::vector<pid_t>& out) {
  auto text = get(folder, "cgroup.procs");
  // A threaded group's processes are listed by the group above that is its domain.
  if (!text && text.error().code != EOPNOTSUPP) return text.error().code;
  if (text) {
    for_lines(*text, [&](std::string_view line) {
      const u64 pid = number(line);
      if (pid != 0 && pid != ~u64{0}) out.push_back(static_cast<pid_t>(pid));  // 0: of a PID namespace we do not see
    });
  }
  for (const auto& name : folders_in(folder)) collect(folder + "/" + name, out);
  return 0;
}

enum class Freezing { thawed, freezing, frozen };

Freezing state_v1(const std::string& folder) {
  auto state = get(folder, "freezer.state");
  if (!state) return Freezing::thawed;
  return state->starts_with("FROZEN")     ? Freezing::frozen
         : state->starts_with("FREEZING") ? Freezing::freezing
                                          : Freezing::thawed;
}

std::unexpected<Error> cannot_freeze(const std::string& folder, int code) {
  return fail_errno(fmt::format("cannot freeze cgroup '{}'", folder), code);
}

/// The v1 freezer can stay at FREEZING for ever: a process that is being forked or traced while the others are frozen
/// is missed, and is only looked for again by another write, or after a thaw (freezer-subsystem.rst).
Result<> freeze_v1(const std::string& folder) {
  const auto deadline = Clock::now() + freeze_time;
  for (unsigned round = 1;; ++round) {
    if (const int code = put(folder, "freezer.state", "FROZEN"); code != 0) return cannot_freeze(folder, code);
    for (auto pause = 10us; pause < 2ms; pause *= 3) {
      if (state_v1(folder) == Freezing::frozen) return {};
      std::this_thread::sleep_for(pause);
    }
    if (Clock::now() > deadline) {
      put(folder, "freezer.state", "THAWED");
      return cannot_freeze(folder, ETIMEDOUT);
    }
    if (round % 20 == 0) {
      put(folder, "freezer.state", "THAWED");
      std::this_thread::sleep_for(1ms);
    }
  }
}

bool events_say_frozen(const std::string& folder) {
  auto events = get(folder, "cgroup.events");
  return events && events->find("frozen 1") != std::string::npos;
}

Result<> freeze_v2(const std::string& folder) {
  auto events = host::Fd::open(folder + "/cgroup.events", O_RDONLY);
  if (const int code = put(folder, "cgroup.freeze", "1"); code != 0) return cannot_freeze(folder, code);
  const auto deadline = Clock::now() + freeze_time;
  while (!events_say_frozen(folder)) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0 || !events) {
      put(folder, "cgroup.freeze", "0");
      return cannot_freeze(folder, ETIMEDOUT);
    }
    // Changes are told from the last read on; an empty group's are not told at all, so look again soon.
    pollfd watch{events->get(), POLLPRI, 0};
    ::poll(&watch, 1, static_cast<int>(std::min<i64>(left.count(), 20)));
  }
  return {};
}

}  // namespace

Result<std::vector<pid_t>> Group::processes() const {
  std::vector<pid_t> out;
  for (const auto& part : parts_) {
    const int code = collect(part.folder, out);
    if (code == ENOENT || code == ENODEV) continue;  // not joined, or gone
    if (code != 0) return fail_errno(fmt::format("cannot list the processes of cgroup '{}'", part.folder), code);
    break;  // one hierarchy knows all
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<> Group::freeze() const {
  if (const Part* freezer = part("freezer")) return freeze_v1(freezer->folder);
  if (const Part* v2 = v2_part()) return freeze_v2(v2->folder);
  return fail("cannot freeze the group", "neither the v1 freezer nor cgroup v2 is mounted");
}

Result<> Group::thaw() const {
  const Part* freezer = part("freezer");
  const Part* v2 = v2_part();
  if (freezer == nullptr && v2 == nullptr)
    return fail("cannot thaw the group", "neither the v1 freezer nor cgroup v2 is mounted");
  const int code =
      freezer != nullptr ? put(freezer->folder, "freezer.state", "THAWED") : put(v2->folder, "cgroup.freeze", "0");
  if (code != 0)
    return fail_errno(fmt::format("cannot thaw cgroup '{}'", freezer != nullptr ? freezer->folder : v2->folder), code);
  return {};
}

bool Group::frozen() const {
  if (const Part* freezer = part("freezer")) return state_v1(freezer->folder) != Freezing::thawed;
  const Part* v2 = v2_part();
  if (v2 == nullptr) return false;
  auto asked = get(v2->folder, "cgroup.freeze");
  return asked && asked->starts_with('1');
}

Result<> Group::kill_all(int signal) const {
  if (signal != SIGKILL) {
    TRY_ASSIGN(const auto all, processes());
    for (const pid_t pid : all) {
      if (::kill(pid, signal) != 0 && errno != ESRCH)
        return fail_errno(fmt::format("cannot send signal {} to process {}", signal, pid));
    }
    return {};
  }
  const Part* v2 = v2_part();
  const bool at_once = v2 != nullptr && parts_.size() == 1 && put(v2->folder, "cgroup.kill", "1") == 0;
  const bool can_freeze = !at_once && (part("freezer") != nullptr || v2 != nullptr);
  const auto deadline = Clock::now() + kill_time;
  auto pause = 200us;
  for (unsigned round = 0;; ++round) {
    TRY_ASSIGN(auto all, processes());
    if (all.empty()) return {};
    if (Clock::now() > deadline) {
      return fail(fmt::format("cannot end the {} processes of cgroup '{}'", all.size(), parts_.front().folder),
                  fmt::format("process {} is still there", all.front()),
                  "it may wait for a device or a network file system");
    }
    if (!at_once) {
      // The first round is for the usual case, a few processes that do not fork. From the second on they are stopped
      // first, so that none can fork between the list and the signal.
      const bool stopped = round > 0 && can_freeze && freeze().has_value();
      if (stopped) {
        TRY_ASSIGN(all, processes());
      }
      for (const pid_t pid : all) ::kill(pid, SIGKILL);
      if (stopped || (round == 0 && frozen())) TRY(thaw());
    }
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::microseconds>(pause * 2, 20ms);
  }
}

}  // namespace nagaya::cgroup
