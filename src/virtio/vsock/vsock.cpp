#include "virtio/vsock/vsock.hpp"

#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "host/apart.hpp"
#include "host/thread.hpp"
#include "virtio/vsock/queues.hpp"

namespace nagaya::virtio {

using namespace vsock;

Vsock::Vsock(std::string name, memory::GuestMemory& memory, VsockOptions options)
    : VirtioDevice(std::move(name), type::vsock, memory, {256, 256, 16}), options_(std::move(options)), peers_(options_.path), next_port_(first_port) {}

Result<std::unique_ptr<Vsock>> Vsock::create(std::string name, memory::GuestMemory& memory, VsockOptions options) {
  auto out = std::unique_ptr<Vsock>(new Vsock(std::move(name), memory, std::move(options)));
  TRY(out->open());
  return out;
}

Result<> Vsock::open() {
  TRY_ASSIGN(loop_, host::EventLoop::create());
  TRY_ASSIGN(timer_, host::Fd::timerfd());
  TRY(loop_->add(timer_.get(), EPOLLIN, [this](u32) { on_tick(); }));
  // Engines may signal this instead of calling kicked().
  TRY_ASSIGN(kick_, host::Fd::eventfd());
  TRY(loop_->add(kick_.get(), EPOLLIN, [this](u32) {
    (void)host::drain_eventfd(kick_.get());
    kicked_.fetch_or(1 << receive_queue | 1 << transmit_queue | 1 << event_queue);
    on_kicks();
  }));
  if (!options_.path.empty()) {
    const mode_t before = ::umask(0177);
    auto made = host::Fd::listen_unix(options_.path);
    ::umask(before);
    if (!made) return std::unexpected(std::move(made.error()));
    listener_ = std::move(*made);
    TRY(host::set_nonblocking(listener_.get()));
    TRY(loop_->add(listener_.get(), EPOLLIN, [this](u32) { on_listener(); }));
  }
  thread_ = host::start_thread("virtio-vsock", [loop = loop_.get()] { loop->run(); });
  return {};
}

Vsock::~Vsock() {
  stop();
  if (loop_) loop_->stop();
  if (thread_.joinable()) thread_.join();
  if (listener_ && host::paths_lead_anywhere()) ::unlink(options_.path.c_str());
}

std::size_t Vsock::connections() const {
  std::lock_guard lock(mutex_);
  return connections_.size();
}

void Vsock::connect_below(const std::string& path) {
  std::lock_guard lock(mutex_);
  peers_ = path;
}

void Vsock::read_config(u64 offset, std::span<u8> data) {
  std::array<u8, 8> cid;
  bus::store_le(cid, options_.cid);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = offset < 8 && offset + i < 8 ? cid[offset + i] : u8{0};
}

// ---- Life ----

void Vsock::start() {
  std::lock_guard lock(mutex_);
  live_ = true;
  listener_watched_ = true;
  if (listener_) (void)loop_->modify(listener_.get(), EPOLLIN);
  for (auto& [id, connection] : connections_) {
    if (connection->wants_input()) connection->readable = true;
    want(*connection);
    watch(*connection);
  }
  arm_timer();
}

void Vsock::stop() {
  std::lock_guard lock(mutex_);
  live_ = false;
  for (auto& [id, connection] : connections_) watch(*connection);
}

void Vsock::kicked(unsigned queue) {
  if (kicked_.fetch_or(u64{1} << queue) == 0) loop_->post([this] { on_kicks(); });
}

void Vsock::reset_state() {
  std::unordered_map<u64, std::unique_ptr<Connection>> gone;
  {
    std::lock_guard lock(mutex_);
    gone.swap(connections_);
    by_key_.clear();
    line_.clear();
    replies_.clear();
    next_port_ = first_port;
    reset_untold_ = sending_stalled_ = false;
    if (listener_) (void)loop_->modify(listener_.get(), EPOLLIN);
  }
  // Not under the lock: this waits for a callback under way, which takes it.
  for (auto& [id, connection] : gone) loop_->remove(connection->socket.get());
}

void Vsock::restore_state(state::Reader&) {
  // The sockets of the saved machine were another process's. The driver resets its connections when told (5.10.6.7).
  std::lock_guard lock(mutex_);
  reset_untold_ = true;
}

void Vsock::on_kicks() {
  const u64 queues = kicked_.exchange(0);
  std::lock_guard lock(mutex_);
  if (!live_) return;
  if (queues >> event_queue & 1) tell_of_reset();
  if (queues >> transmit_queue & 1) {
    sending_stalled_ = false;
    serve_all(transmit_queue, chain_, [this](const Chain& chain) { return take_packet(chain); });
  }
  pump();
}

void Vsock::tell_of_reset() {
  Queue& ring = queue(event_queue);
  if (!reset_untold_ || !ring.enabled()) return;
  if (!pop(event_queue, chain_) && !(ring.enable_notifications() && pop(event_queue, chain_))) return;
  std::array<u8, 4> event;
  bus::store_le(event, event_transport_reset);
  ring.push(chain_, chain_.write(0, event));
  interrupt(event_queue);
  reset_untold_ = false;
}

}  // namespace nagaya::virtio
