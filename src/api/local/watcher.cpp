#include "api/local/watcher.hpp"

#include <chrono>
#include <condition_variable>

#include "base/log.hpp"

namespace nagaya::api {

std::vector<std::string> events_between(const std::string& before, const std::string& after, bool started_again) {
  const auto lives = [](const std::string& state) { return state == "running" || state == "paused" || state == "stopping"; };
  std::vector<std::string> out;
  if (after.empty()) {
    if (lives(before)) out.emplace_back("stopped");
    out.emplace_back("removed");
    return out;
  }
  if (before.empty()) out.emplace_back("created");
  if (lives(before) && (!lives(after) || started_again)) out.emplace_back(after == "failed" ? "failed" : "stopped");
  if (lives(after) && (!lives(before) || started_again)) out.emplace_back("started");
  if (before == "paused" && after == "running" && !started_again) out.emplace_back("resumed");
  if (after == "paused" && before != "paused") out.emplace_back("paused");
  if (!lives(before) && after == "failed" && before != "failed") out.emplace_back("failed");
  return out;
}

void Watcher::start(EventSink sink) {
  {
    const std::lock_guard lock(mutex_);
    sink_ = std::move(sink);
  }
  thread_ = std::jthread([this](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    while (!stop.stop_requested()) {
      look();
      std::unique_lock lock(mutex);
      wake.wait_for(lock, stop, std::chrono::milliseconds(500), [] { return false; });
    }
  });
}

void Watcher::stop() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  const std::lock_guard lock(mutex_);
  sink_ = {};
}

void Watcher::tell(const std::string& kind, const std::string& domain, const std::string& project) {
  const std::lock_guard lock(mutex_);
  if (sink_) sink_({{"kind", kind}, {"domain", domain}, {"project", project}});
}

void Watcher::look() {
  const auto listed = list_();
  if (!listed) {
    log::warning("{}", listed.error().message());
    return;
  }
  std::map<std::string, Seen> now;
  for (const Json& one : *listed) {
    now[one.value("name", "")] = {one.value("state", ""), one.value("started", ""), one.value("project", ""), one.value("health", "")};
  }
  const std::lock_guard lock(mutex_);
  const auto compare = [&](const std::string& name, const Seen& before, const Seen& after) {
    const std::string& project = after.state.empty() ? before.project : after.project;
    const bool again = before.started != after.started && !before.started.empty() && !after.started.empty();
    for (const std::string& kind : events_between(before.state, after.state, again)) {
      if (sink_) sink_({{"kind", kind}, {"domain", name}, {"project", project}});
    }
    if (sink_ && !after.health.empty() && after.health != before.health) {
      sink_({{"kind", "health"}, {"domain", name}, {"project", project}, {"detail", {{"health", after.health}}}});
    }
  };
  if (!first_) {
    for (const auto& [name, before] : seen_) {
      if (!now.contains(name)) compare(name, before, {});
    }
    for (const auto& [name, after] : now) {
      const auto before = seen_.find(name);
      if (before == seen_.end() || before->second != after) compare(name, before == seen_.end() ? Seen{} : before->second, after);
    }
  }
  first_ = false;
  seen_ = std::move(now);
}

}  // namespace nagaya::api
