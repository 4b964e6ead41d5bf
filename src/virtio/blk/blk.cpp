#include "virtio/blk/blk.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <future>

#include "bus/bytes.hpp"
#include "virtio/blk/layout.hpp"

namespace nagaya::virtio {

using namespace blk;
using block::sector_size;

Blk::Blk(std::string name, memory::GuestMemory& memory, std::unique_ptr<block::Disk> disk, BlkConfig config)
    : VirtioDevice(std::move(name), type::blk, memory, std::vector<u16>(config.queues, config.queue_size)),
      config_(std::move(config)),
      disk_(std::move(disk)),
      can_(disk_->capabilities()),
      queue_mutexes_(config_.queues),
      worker_("virtio-blk", [this](unsigned queue) { serve(queue); }, config_.queues) {}

Blk::~Blk() { stop(); }

Result<> Blk::resize(u64 size) {
  if (size < disk_->size()) {
    return fail(fmt::format("cannot resize {} to {} bytes", name(), size), fmt::format("it has {}, and a disk in use only grows", disk_->size()));
  }
  TRY(disk_->resize(size));
  config_changed();
  return {};
}

Result<> Blk::sync() {
  std::promise<int> ended;
  disk_->submit({.op = block::Op::flush, .done = [&ended](int error) { ended.set_value(error); }});
  if (const int error = ended.get_future().get(); error != 0) return fail_errno(fmt::format("cannot write back {}", name()), error);
  return {};
}

// ---- Configuration ----

u64 Blk::device_features() const {
  u64 features = f_seg_max | f_block_size | f_topology;
  if (can_.read_only) features |= f_read_only;
  if (can_.flush) features |= f_flush | f_write_cache;
  if (config_.queues > 1) features |= f_multi_queue;
  if (can_.discard && !can_.read_only) features |= f_discard;
  if (can_.write_zeroes && !can_.read_only) features |= f_write_zeroes;
  return features;
}

void Blk::read_config(u64 offset, std::span<u8> data) {
  std::array<u8, config_size> image{};
  auto put = [&](u64 at, unsigned size, u64 value) { bus::store_le(std::span(image).subspan(at, size), value); };
  const u64 granularity = std::max<u64>(can_.discard_granularity, config_.block_size);
  const u64 optimal = std::max<u64>(can_.optimal_io, config_.block_size);
  put(at_capacity, 8, disk_->size() / sector_size);
  put(at_seg_max, 4, config_.queue_size - 2u);
  put(at_block_size, 4, config_.block_size);
  put(at_physical_exponent, 1, static_cast<u64>(std::countr_zero(std::bit_floor(optimal / config_.block_size))));
  put(at_min_io, 2, optimal / config_.block_size);
  put(at_optimal_io, 4, optimal / config_.block_size);
  put(at_write_back, 1, write_back_);
  put(at_queues, 2, config_.queues);
  if (can_.discard) {
    put(at_max_discard, 4, most_range_sectors);
    put(at_max_discard_segments, 4, 1);
    put(at_discard_alignment, 4, granularity / sector_size);
  }
  if (can_.write_zeroes) {
    put(at_max_zeroes, 4, most_range_sectors);
    put(at_max_zeroes_segments, 4, 1);
    put(at_zeroes_unmap, 1, can_.discard);
  }
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = offset + i < config_size && offset < config_size ? image[offset + i] : u8{0};
}

void Blk::write_config(u64 offset, std::span<const u8> data) {
  if (offset == at_write_back && data.size() == 1 && negotiated(f_write_cache)) write_back_ = data[0] & 1;
}

/// Without flushes, or with the cache turned off, a write is on stable storage when it ends (5.2.6.2).
bool Blk::write_through() const { return !negotiated(f_flush) || (negotiated(f_write_cache) && !write_back_); }

// ---- Life ----

void Blk::start() {
  std::vector<Slot*> again;
  {
    std::lock_guard lock(mutex_);
    for (Slot* slot : std::exchange(held_, {})) {
      if (queue(slot->queue).holds(slot->chain.id)) {
        again.push_back(slot);
        ++active_;
      } else {
        free_.push_back(slot);  // its queue was reset
      }
    }
  }
  worker_.go();
  for (Slot* slot : again) begin(slot);
}

void Blk::stop() {
  worker_.halt();
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return active_ == 0; });
}

void Blk::reset_state() {
  std::lock_guard lock(mutex_);
  free_.insert(free_.end(), held_.begin(), held_.end());
  held_.clear();
  write_back_ = true;
}

void Blk::save_state(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  out.put(write_back_.load());
  out.put(static_cast<u32>(held_.size()));
  for (const Slot* slot : held_) {
    out.put(static_cast<u8>(slot->queue));
    const_cast<Blk*>(this)->queue(slot->queue).save_chain(out, slot->chain);
  }
}

void Blk::restore_state(state::Reader& in) {
  write_back_ = in.get<bool>();
  const u32 count = in.get<u32>();
  for (u32 i = 0; i < count; ++i) {
    const unsigned index = in.get<u8>();
    if (index >= queue_count()) {
      in.reject("a request of no queue");
      return;
    }
    Slot* slot = new_slot();
    slot->queue = index;
    const bool good = queue(index).restore_chain(in, slot->chain);
    std::lock_guard lock(mutex_);
    --active_;
    (good ? held_ : free_).push_back(slot);
    if (!good) return;
  }
}

// ---- Requests ----

Blk::Slot* Blk::new_slot() {
  std::lock_guard lock(mutex_);
  if (free_.empty()) {
    slots_.push_back(std::make_unique<Slot>());
    free_.push_back(slots_.back().get());
  }
  Slot* slot = free_.back();
  free_.pop_back();
  ++active_;
  return slot;
}

void Blk::free_slot(Slot* slot) {
  std::lock_guard lock(mutex_);
  free_.push_back(slot);
  if (--active_ == 0) ended_.notify_all();
}

bool Blk::take(Slot& slot) {
  std::lock_guard lock(queue_mutexes_[slot.queue]);
  if (pop(slot.queue, slot.chain)) return true;
  // Empty: from here on the driver has to tell, unless it was quicker.
  return sound() && queue(slot.queue).enable_notifications() && pop(slot.queue, slot.chain);
}

void Blk::serve(unsigned index) {
  {
    std::lock_guard lock(queue_mutexes_[index]);
    queue(index).disable_notifications();
  }
  for (;;) {
    Slot* slot = new_slot();
    slot->queue = index;
    if (!take(*slot)) {
      free_slot(slot);
      return;
    }
    begin(slot);
  }
}

bool Blk::within(u64 sector, u64 bytes) const {
  const u64 size = disk_->size();
  return bytes <= size && sector <= (size - bytes) / sector_size;
}

/// Also for requests that were held: everything is read anew from the guest's memory.
void Blk::begin(Slot* slot) {
  const Chain& chain = slot->chain;
  Header header;
  if (!chain.read_value(0, header) || chain.writable_bytes == 0) {
    broken("a disk request without header or room for its status");
    std::lock_guard lock(queue_mutexes_[slot->queue]);
    queue(slot->queue).stage(chain, 0);
    free_slot(slot);
    return;
  }
  switch (header.type) {
    case type_in:
      return begin_transfer(slot, false, header.sector);
    case type_out:
      return begin_transfer(slot, true, header.sector);
    case type_flush:
      if (!can_.flush) return end(slot, status_ok);
      return submit(slot, {.op = block::Op::flush});
    case type_get_id: {
      std::array<u8, serial_size> serial{};
      std::copy_n(config_.serial.begin(), std::min(config_.serial.size(), serial.size()), serial.begin());
      const u64 room = std::min<u64>(chain.writable_bytes - 1, serial.size());
      (void)chain.write(0, std::span(serial).first(room));
      return end(slot, status_ok);
    }
    case type_discard:
      return negotiated(f_discard) ? begin_range(slot, false) : end(slot, status_unsupported);
    case type_write_zeroes:
      return negotiated(f_write_zeroes) ? begin_range(slot, true) : end(slot, status_unsupported);
    default:
      return end(slot, status_unsupported);
  }
}

void Blk::begin_transfer(Slot* slot, bool write, u64 sector) {
  const Chain& chain = slot->chain;
  const u64 length = write ? chain.readable_bytes - sizeof(Header) : chain.writable_bytes - 1;
  if (length % sector_size || !within(sector, length) || (write && can_.read_only)) return end(slot, status_error);
  if (length == 0) return end(slot, status_ok);
  slot->buffers.clear();
  if (write) {
    slice(chain.readable, sizeof(Header), length, slot->buffers);
  } else {
    slice(chain.writable, 0, length, slot->buffers);
  }
  submit(slot, {.op = write ? block::Op::write : block::Op::read,
                .offset = sector * sector_size,
                .length = length,
                .buffers = slot->buffers,
                .fua = write && write_through()});
}

void Blk::begin_range(Slot* slot, bool zeroes) {
  Range range;
  // One range for each request, as the configuration says.
  if (slot->chain.readable_bytes != sizeof(Header) + sizeof range || !slot->chain.read_value(sizeof(Header), range)) {
    return end(slot, status_error);
  }
  // A discard has no use for the flag (5.2.6.2).
  if (range.flags & ~(zeroes ? range_unmap : 0)) return end(slot, status_unsupported);
  const u64 length = u64{range.sectors} * sector_size;
  if (range.sectors > most_range_sectors || !within(range.sector, length)) return end(slot, status_error);
  if (length == 0) return end(slot, status_ok);
  submit(slot, {.op = zeroes ? block::Op::write_zeroes : block::Op::discard,
                .offset = range.sector * sector_size,
                .length = length,
                .fua = zeroes && write_through(),
                .may_unmap = zeroes && (range.flags & range_unmap)});
}

void Blk::submit(Slot* slot, block::Request request) {
  const bool changes = request.op != block::Op::read;
  request.done = [this, slot, changes](int error) { disk_done(slot, changes, error); };
  disk_->submit(std::move(request));
}

void Blk::disk_done(Slot* slot, bool changes, int error) {
  if (error == ENOSPC && changes && config_.out_of_space) {
    config_.out_of_space();
    std::lock_guard lock(mutex_);
    held_.push_back(slot);
    if (--active_ == 0) ended_.notify_all();
    return;
  }
  end(slot, error == 0 ? status_ok : error == ENOTSUP ? status_unsupported : status_error);
}

void Blk::end(Slot* slot, u8 status) {
  const Chain& chain = slot->chain;
  (void)chain.write(chain.writable_bytes - 1, std::span(&status, 1));
  {
    std::lock_guard lock(queue_mutexes_[slot->queue]);
    queue(slot->queue).push(chain, chain.writable_bytes);
    interrupt(slot->queue);
  }
  free_slot(slot);
}

}  // namespace nagaya::virtio
