#include "host/event_loop.hpp"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <thread>

namespace nagaya::host {

struct EventLoop::Entry {
  Callback callback;
  u32 events = 0;
  bool removed = false;  // guarded by mutex_
  std::mutex running;    // held while the callback runs
  std::thread::id runner;  // guarded by mutex_
};

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  auto loop = std::unique_ptr<EventLoop>(new EventLoop);
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return fail_errno("cannot create an event loop");
  loop->epoll_ = Fd(fd);
  TRY_ASSIGN(loop->wake_, Fd::eventfd());
  epoll_event event{EPOLLIN, {.fd = loop->wake_.get()}};
  if (::epoll_ctl(fd, EPOLL_CTL_ADD, loop->wake_.get(), &event) != 0) return fail_errno("cannot create an event loop");
  return loop;
}

Result<> EventLoop::add(int fd, u32 events, Callback callback) {
  const std::lock_guard lock(mutex_);
  if (entries_.contains(fd)) return fail(fmt::format("cannot watch descriptor {}", fd), "it is watched already");
  auto entry = std::make_shared<Entry>();
  entry->callback = std::move(callback);
  entry->events = events;
  epoll_event event{events, {.fd = fd}};
  if (events != 0 && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return fail_errno(fmt::format("cannot watch descriptor {}", fd));
  }
  entries_.emplace(fd, std::move(entry));
  return {};
}

Result<> EventLoop::modify(int fd, u32 events) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(fd);
  if (it == entries_.end()) return fail(fmt::format("descriptor {} is not watched", fd));
  Entry& entry = *it->second;
  if (entry.events == events) return {};
  // Hang-ups are always reported by epoll, so a silent descriptor is taken out altogether.
  const int operation = events == 0 ? EPOLL_CTL_DEL : entry.events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  epoll_event event{events, {.fd = fd}};
  if (::epoll_ctl(epoll_.get(), operation, fd, &event) != 0) {
    return fail_errno(fmt::format("cannot watch descriptor {}", fd));
  }
  entry.events = events;
  return {};
}

void EventLoop::remove(int fd) {
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(fd);
    if (it == entries_.end()) return;
    entry = it->second;
    entries_.erase(it);
    entry->removed = true;
    if (entry->events != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    if (entry->runner == std::this_thread::get_id()) return;  // from inside its own callback
  }
  const std::lock_guard wait(entry->running);
}

void EventLoop::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(task));
  }
  signal_eventfd(wake_.get());
}

void EventLoop::dispatch(int timeout_ms) {
  std::array<epoll_event, 32> ready;
  const int count = ::epoll_wait(epoll_.get(), ready.data(), ready.size(), timeout_ms);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = ready[static_cast<std::size_t>(i)];
    if (event.data.fd == wake_.get()) {
      drain_eventfd(wake_.get());
      continue;
    }
    std::shared_ptr<Entry> entry;
    {
      const std::lock_guard lock(mutex_);
      if (const auto it = entries_.find(event.data.fd); it != entries_.end()) entry = it->second;
    }
    if (!entry) continue;
    const std::lock_guard running(entry->running);
    {
      const std::lock_guard lock(mutex_);
      if (entry->removed || entry->events == 0) continue;
      entry->runner = std::this_thread::get_id();
    }
    entry->callback(event.events);
    const std::lock_guard lock(mutex_);
    entry->runner = {};
  }
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) task();
}

void EventLoop::run() {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(stop_, false)) return;
    }
    dispatch(-1);
  }
}

void EventLoop::run_once(int timeout_ms) { dispatch(timeout_ms); }

void EventLoop::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  signal_eventfd(wake_.get());
}

}  // namespace nagaya::host
