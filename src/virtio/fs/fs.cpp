#include "virtio/fs/fs.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "bus/bytes.hpp"
#include "host/thread.hpp"

namespace nagaya::virtio {
namespace {

// Configuration (5.11.4).
constexpr u64 tag_size = 36, at_queues = 36, config_size = 40;
// Queue 0 is for what must not wait (forgotten nodes), the others are for requests (5.11.2). A request of 256 pages
// and its headers fits into one ring's indirect table.
constexpr u16 urgent_size = 128, request_size = 1024;

std::vector<u16> queue_sizes(unsigned request_queues) {
  std::vector<u16> out(1 + request_queues, request_size);
  out[0] = urgent_size;
  return out;
}

void buffers_of(std::span<const Segment> segments, std::vector<iovec>& out) {
  out.clear();
  for (const Segment& segment : segments) out.push_back({segment.host, segment.length});
}

}  // namespace

Fs::Fs(std::string name, memory::GuestMemory& memory, std::unique_ptr<fuse::Server> server, FsConfig config)
    : VirtioDevice(std::move(name), type::fs, memory, queue_sizes(config.request_queues)),
      config_(std::move(config)),
      server_(std::move(server)) {
  for (unsigned i = 0; i < config_.threads; ++i) threads_.push_back(host::start_thread("virtio-fs", [this] { run(); }));
}

Fs::~Fs() {
  stop();
  {
    std::lock_guard lock(mutex_);
    end_ = true;
  }
  work_.notify_all();
  threads_.clear();
}

void Fs::read_config(u64 offset, std::span<u8> data) {
  std::array<u8, config_size> image{};
  std::copy_n(config_.tag.begin(), std::min<std::size_t>(config_.tag.size(), tag_size), image.begin());
  bus::store_le(std::span(image).subspan(at_queues, 4), config_.request_queues);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = offset < config_size && offset + i < config_size ? image[offset + i] : u8{0};
}

void Fs::start() {
  std::lock_guard lock(mutex_);
  going_ = true;
}

void Fs::stop() {
  std::unique_lock lock(mutex_);
  going_ = false;
  kicked_ = 0;
  idle_.wait(lock, [this] { return busy_ == 0; });
}

void Fs::kicked(unsigned queue) {
  {
    std::lock_guard lock(mutex_);
    if (!going_) return;
    kicked_ |= u64{1} << queue;
  }
  work_.notify_one();
}

void Fs::restore_state(state::Reader& in) {
  server_->restore(in);
  if (const u64 lost = server_->lost(); lost != 0) {
    log::warning("{}: {} files that the guest knew are no longer there; it gets errors for them", name(), lost);
  }
}

bool Fs::take(Chain& chain, unsigned& index) {
  while (kicked_ != 0) {
    index = static_cast<unsigned>(std::countr_zero(kicked_));
    queue(index).disable_notifications();
    if (pop(index, chain)) return true;
    // Empty: from here on the driver has to tell, unless it was quicker.
    if (sound() && queue(index).enable_notifications() && pop(index, chain)) return true;
    kicked_ &= kicked_ - 1;
  }
  return false;
}

void Fs::run() {
  Chain chain;
  unsigned index = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return end_ || (going_ && kicked_ != 0); });
    if (end_) return;
    if (!take(chain, index)) continue;
    ++busy_;
    // The queue stays marked, so that another thread looks there meanwhile.
    if (queue(index).has_work()) work_.notify_one();
    lock.unlock();
    const u64 written = serve(chain);
    lock.lock();
    queue(index).push(chain, written);
    interrupt(index);
    if (--busy_ == 0 && !going_) idle_.notify_all();
  }
}

u64 Fs::serve(const Chain& chain) {
  thread_local std::vector<iovec> in, out;
  buffers_of(chain.readable, in);
  buffers_of(chain.writable, out);
  const auto length = server_->serve(in, out);
  if (!length) broken("a request that is no FUSE request, or without room for its reply");
  return length.value_or(0);
}

}  // namespace nagaya::virtio
