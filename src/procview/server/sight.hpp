// One container as the server sees it: its facts, read from its group when somebody asks, and its load, sampled over
// time.
#pragma once
#include <chrono>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "cgroup/cgroup.hpp"
#include "procview/procview.hpp"
#include "procview/server/texts.hpp"

namespace nagaya::procview {

using Clock = std::chrono::steady_clock;

/// Threads of a group that want a CPU, and all of them; looks at no more than some thousand.
struct ThreadCount {
  u64 running = 0, all = 0, last_pid = 0;
};
ThreadCount count_threads(const cgroup::Group& group);

/// Exponential averages as the kernel's (kernel/sched/loadavg.c), sampled at whatever distance.
class Load {
 public:
  void sample(u64 running, Clock::time_point now);
  [[nodiscard]] double average(int i) const { return averages_[i]; }

 private:
  double averages_[3] = {};
  std::optional<Clock::time_point> last_;
};

class Sight {
 public:
  static Result<Sight> of(const cgroup::Layout& layout, const Container& container);
  /// Everything the files show, now; of a group that is gone, that it uses nothing.
  Result<Facts> facts();
  /// To be called every few seconds once somebody has looked at the load.
  void sample_load();

 private:
  Container container_;
  cgroup::Group group_;
  Result<Facts> look();
  Load load_;
  ThreadCount threads_;
  std::optional<Facts> facts_;
  Clock::time_point facts_at_{};
};

}  // namespace nagaya::procview
