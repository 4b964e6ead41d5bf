// Whether a container is well: its monitor runs a program in it from time to time and counts the failures in a row.
#pragma once
#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "domain/container_definition.hpp"
#include "domain/container_store.hpp"
#include "host/event_loop.hpp"
#include "image/image.hpp"

namespace nagaya::domain {

/// What the definition says, else what the image says, with the usual values for the rest; nothing: it is not asked.
[[nodiscard]] std::optional<image::HealthCheck> health_check_of(const ContainerDefinition& definition, const image::OciConfig& image);
/// The words to run: a text goes to the shell.
[[nodiscard]] std::vector<std::string> health_command(const image::HealthCheck& check);
/// A test of the kinds that there are, and times from a millisecond to a week.
[[nodiscard]] Result<> validate_health(const image::HealthCheck& check);

/// The counting alone.
class HealthCount {
 public:
  enum class State : u8 { starting, healthy, unhealthy };
  explicit HealthCount(const image::HealthCheck& check) : check_(check) {}
  /// One answer, so long after the start.
  void answer(bool well, u64 age_ms);
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] u64 failures() const { return failures_; }

 private:
  const image::HealthCheck check_;
  State state_ = State::starting;
  u64 failures_ = 0;
};
[[nodiscard]] std::string_view health_name(HealthCount::State state);

/// The asking: one program at a time, ended when it takes too long.
class ContainerHealth {
 public:
  ContainerHealth(host::EventLoop& loop, const ContainerStore& store, const Container& container, const image::OciConfig& image, image::HealthCheck check,
                  std::function<void()> changed);
  ~ContainerHealth();
  ContainerHealth(const ContainerHealth&) = delete;
  ContainerHealth& operator=(const ContainerHealth&) = delete;
  [[nodiscard]] Result<> begin();
  /// A child that was waited for; false: none of ours.
  bool reaped(pid_t child, int exit_code);
  /// The words of ContainerStatus.
  void tell(ContainerStatus& status) const;

 private:
  void arm(u64 milliseconds);
  void on_timer();
  Result<> ask();
  void read_output();
  void finish(bool well);
  /// What runs in the container, by the number that the runtime wrote down, then what waits for it.
  void end_program();

  host::EventLoop& loop_;
  const ContainerStore& store_;
  const Container& container_;
  const image::OciConfig& image_;
  const image::HealthCheck check_;
  const std::function<void()> changed_;
  HealthCount count_;
  host::Fd timer_, output_;
  pid_t asking_ = 0;
  bool late_ = false;
  u64 began_ms_ = 0;
  std::string said_, last_said_;
};

}  // namespace nagaya::domain
