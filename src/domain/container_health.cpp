#include "domain/container_health.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "base/log.hpp"
#include "domain/container_control.hpp"
#include "host/process_stat.hpp"

namespace nagaya::domain {
namespace {

constexpr u64 usual_interval_ms = 30'000, usual_timeout_ms = 30'000, usual_retries = 3;
constexpr u64 longest_ms = u64{7} * 24 * 3600 * 1000;
constexpr std::size_t longest_said = 4096;

u64 now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u64>(now.tv_sec) * 1000 + static_cast<u64>(now.tv_nsec) / 1'000'000;
}

/// One line of plain characters: it is shown on terminals and in tables.
std::string plain(std::string text) {
  std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) > '~'; }, ' ');
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

}  // namespace

std::optional<image::HealthCheck> health_check_of(const ContainerDefinition& definition, const image::OciConfig& image) {
  const image::HealthCheck& said = definition.health;
  image::HealthCheck out = image.health;
  if (!said.test.empty()) out.test = said.test;
  const auto take = [](u64& to, u64 from, u64 usual) { to = from != 0 ? from : to != 0 ? to : usual; };
  take(out.interval_ms, said.interval_ms, usual_interval_ms);
  take(out.timeout_ms, said.timeout_ms, usual_timeout_ms);
  take(out.start_period_ms, said.start_period_ms, 0);
  take(out.retries, said.retries, usual_retries);
  if (out.off() || !validate_health(out)) return std::nullopt;
  return out;
}

std::vector<std::string> health_command(const image::HealthCheck& check) {
  if (check.test[0] == "CMD-SHELL") return {"/bin/sh", "-c", check.test[1]};
  return {check.test.begin() + 1, check.test.end()};
}

Result<> validate_health(const image::HealthCheck& check) {
  for (const u64 time : {check.interval_ms, check.timeout_ms, check.start_period_ms}) {
    if (time > longest_ms) return fail("health check", "its times are at most a week");
  }
  if (check.retries > 1'000'000) return fail("health check", "that many retries are too many");
  if (check.test.empty()) return {};
  const std::string& kind = check.test[0];
  const std::size_t words = check.test.size();
  if ((kind == "NONE" && words == 1) || (kind == "CMD" && words > 1) || (kind == "CMD-SHELL" && words == 2)) return {};
  return fail("health check", "its test is CMD and words, CMD-SHELL and one text, or NONE alone");
}

void HealthCount::answer(bool well, u64 age_ms) {
  if (well) {
    failures_ = 0;
    state_ = State::healthy;
    return;
  }
  // A program that is still starting is not expected to be well; once it was, it is.
  if (state_ == State::starting && age_ms < check_.start_period_ms) return;
  if (++failures_ >= check_.retries) state_ = State::unhealthy;
}

std::string_view health_name(HealthCount::State state) {
  return state == HealthCount::State::starting ? "starting" : state == HealthCount::State::healthy ? "healthy" : "unhealthy";
}

ContainerHealth::ContainerHealth(host::EventLoop& loop, const ContainerStore& store, const Container& container, const image::OciConfig& image,
                                 image::HealthCheck check, std::function<void()> changed)
    : loop_(loop), store_(store), container_(container), image_(image), check_(std::move(check)), changed_(std::move(changed)), count_(check_) {}

ContainerHealth::~ContainerHealth() {
  end_program();
  if (output_) loop_.remove(output_.get());
  if (timer_) loop_.remove(timer_.get());
}

Result<> ContainerHealth::begin() {
  TRY_ASSIGN(timer_, host::Fd::timerfd());
  TRY(loop_.add(timer_.get(), EPOLLIN, [this](u32) { on_timer(); }));
  began_ms_ = now_ms();
  arm(check_.interval_ms);
  return {};
}

void ContainerHealth::arm(u64 milliseconds) {
  const itimerspec when{{}, {static_cast<time_t>(milliseconds / 1000), static_cast<long>(milliseconds % 1000 * 1'000'000)}};
  ::timerfd_settime(timer_.get(), 0, &when, nullptr);
}

void ContainerHealth::on_timer() {
  u64 times = 0;
  if (::read(timer_.get(), &times, sizeof times) != static_cast<ssize_t>(sizeof times)) return;
  if (asking_ > 0) {
    late_ = true;
    end_program();
    return;
  }
  // Nothing in it can answer now, and that is no fault of its own.
  if (container_paused(container_)) return arm(check_.interval_ms);
  if (auto asked = ask(); !asked) {
    said_ = asked.error().message();
    finish(false);
  }
}

Result<> ContainerHealth::ask() {
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  TRY_ASSIGN(const host::Fd null, host::Fd::open("/dev/null", O_RDONLY));
  const std::string pid_file = container_.places.runtime + "/health.pid";
  ::unlink(pid_file.c_str());
  said_.clear();
  late_ = false;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot start a process");
  if (child == 0) {
    ::dup2(null.get(), 0);
    ::dup2(pipe.second.get(), 1);
    ::dup2(pipe.second.get(), 2);
    (void)host::close_all_but({}, 3);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const auto done = exec_in_container(store_, container_, image_, {.command = health_command(check_), .pid_file = pid_file});
    if (!done) (void)host::write_all(2, done.error().message());
    ::_exit(done ? *done : 125);
  }
  asking_ = child;
  output_ = std::move(pipe.first);
  ::fcntl(output_.get(), F_SETFL, O_NONBLOCK);
  arm(check_.timeout_ms);
  return loop_.add(output_.get(), EPOLLIN, [this](u32) { read_output(); });
}

void ContainerHealth::read_output() {
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::read(output_.get(), buffer, sizeof buffer);
    if (count < 0) return;
    if (count == 0) break;
    // It may say much more: that is read and forgotten.
    said_.append(buffer, std::min(static_cast<std::size_t>(count), longest_said - std::min(longest_said, said_.size())));
  }
  loop_.remove(output_.get());
  output_.reset();
}

bool ContainerHealth::reaped(pid_t child, int exit_code) {
  if (child != asking_ || child <= 0) return false;
  asking_ = 0;
  if (output_) read_output();
  if (output_) {
    // Something that it has left in the container holds the other end.
    loop_.remove(output_.get());
    output_.reset();
  }
  if (late_) said_ = fmt::format("it took longer than {} ms{}{}", check_.timeout_ms, said_.empty() ? "" : ": ", said_);
  finish(exit_code == 0 && !late_);
  return true;
}

void ContainerHealth::finish(bool well) {
  count_.answer(well, now_ms() - began_ms_);
  last_said_ = plain(said_);
  arm(check_.interval_ms);
  changed_();
}

void ContainerHealth::end_program() {
  if (asking_ <= 0) return;
  const auto text = host::read_file(container_.places.runtime + "/health.pid", 64);
  const pid_t inside = text ? std::atoi(std::string(text->begin(), text->end()).c_str()) : 0;
  const host::Fd process(inside > 1 ? static_cast<int>(::syscall(SYS_pidfd_open, inside, 0)) : -1);
  // Only a child of the one that waits for it: another may have got the number.
  const auto stat = process ? host::read_process_stat(inside) : std::nullopt;
  if (stat && stat->parent == asking_) {
    ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
  } else {
    ::kill(asking_, SIGKILL);
  }
}

void ContainerHealth::tell(ContainerStatus& status) const {
  status.health = health_name(count_.state());
  status.health_failures = count_.failures();
  status.health_output = last_said_;
}

}  // namespace nagaya::domain
