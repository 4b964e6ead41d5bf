// What every virtio device has, whatever carries it: features, status, queues, configuration space. Source: VIRTIO 1.2,
// chapters 2 and 3. A device of one kind derives from VirtioDevice; a Transport (PCI, MMIO) owns it.
//
// Threads: registers are written on vCPU threads; the data path runs on the device's own. Registers have a lock that
// stop() is called under, so a device's own threads never touch registers.
#pragma once
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "memory/guest_memory.hpp"
#include "state/archive.hpp"
#include "virtio/features.hpp"
#include "virtio/queue.hpp"

namespace nagaya::virtio {

/// How a device reaches its driver. Thread-safe; takes no lock under which a device is called.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void queue_interrupt(unsigned queue) = 0;
  virtual void config_interrupt() = 0;
};

enum class RingPart : u8 { descriptors, driver, device };

class VirtioDevice {
 public:
  /// `queue_sizes`: the largest size of each queue, powers of two; at most 64 queues. `memory` outlives the device.
  VirtioDevice(std::string name, u16 type, memory::GuestMemory& memory, const std::vector<u16>& queue_sizes);
  /// A derived class stops itself in its own destructor.
  virtual ~VirtioDevice() = default;
  VirtioDevice(const VirtioDevice&) = delete;
  VirtioDevice& operator=(const VirtioDevice&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] u16 type() const { return type_; }
  /// Features that the driver is not to be offered. Before connect().
  void withhold(u64 features) { withheld_ = features; }
  /// Once, before anything else; outlives the work.
  void connect(Transport& transport) { transport_ = &transport; }

  // ---- Registers, as transports show them. Queues past the last read as 0 and ignore writes. ----
  [[nodiscard]] u8 status() const { return status_.load(std::memory_order_acquire); }
  /// 0 resets; else bits are added as far as their order allows.
  void write_status(u8 value);
  [[nodiscard]] u64 offered_features() const;
  [[nodiscard]] u64 driver_features() const;
  /// 32 bits of features, word 0 or 1.
  void write_driver_features(u32 word, u32 value);
  [[nodiscard]] u32 config_generation() const { return generation_.load(std::memory_order_acquire); }
  /// Bytes past the end read as zeros.
  void config_read(u64 offset, std::span<u8> data) { read_config(offset, data); }
  void config_write(u64 offset, std::span<const u8> data) { write_config(offset, data); }
  [[nodiscard]] unsigned queue_count() const { return static_cast<unsigned>(queues_.size()); }
  [[nodiscard]] u16 queue_max_size(unsigned queue) const;
  [[nodiscard]] u16 queue_size(unsigned queue) const;
  [[nodiscard]] bool queue_enabled(unsigned queue) const;
  [[nodiscard]] u64 queue_address(unsigned queue, RingPart part) const;
  void write_queue_size(unsigned queue, u16 size);
  /// Bits [shift, shift+32) of an address.
  void write_queue_address(unsigned queue, RingPart part, unsigned shift, u32 value);
  void enable_queue(unsigned queue);
  void reset_queue(unsigned queue);
  /// The driver tells of new requests. Any thread; cheap.
  void notify(unsigned queue) {
    if (queue < queues_.size() && running_.load(std::memory_order_acquire)) kicked(queue);
  }

  /// An eventfd that engines may signal instead of a call of notify(), or -1.
  [[nodiscard]] int notify_event(unsigned queue) const { return kick_event(queue); }

  // ---- Life cycle, called by the transport (see bus::Device). ----
  void reset();
  void pause();
  void resume();
  void save(state::Writer& out) const;
  /// Nonsense is told through in.reject(); the transport then resets.
  void restore(state::Reader& in);

 protected:
  // ---- What a device answers. ----
  /// Its own feature bits; those of rings are added. Constant while a driver is bound.
  [[nodiscard]] virtual u64 device_features() const = 0;
  /// Any offset and size; on vCPU threads. `data` is zeroed before.
  virtual void read_config(u64 offset, std::span<u8> data) = 0;
  virtual void write_config(u64 /*offset*/, std::span<const u8> /*data*/) {}
  /// The driver is ready: from now on kicked() comes. Requests may wait already (kicks follow).
  virtual void start() = 0;
  /// Returns when the device no longer touches queues or guest memory, and no request is in flight.
  virtual void stop() = 0;
  /// Requests may wait. On a vCPU thread: hand over and return.
  virtual void kicked(unsigned queue) = 0;
  /// An eventfd that does what kicked() does, -1: none. The same for the life of the device; a signal while it does not run
  /// is ignored.
  [[nodiscard]] virtual int kick_event(unsigned /*queue*/) const { return -1; }
  /// The device's own state, rings apart.
  virtual void reset_state() {}
  virtual void save_state(state::Writer& /*out*/) const {}
  virtual void restore_state(state::Reader& /*in*/) {}

  // ---- For the data path. ----
  [[nodiscard]] Queue& queue(unsigned index) { return queues_[index]; }
  [[nodiscard]] memory::GuestMemory& memory() const { return memory_; }
  [[nodiscard]] bool negotiated(u64 bits) const {
    return (negotiated_.load(std::memory_order_relaxed) & bits) == bits;
  }
  /// False from the moment that something made no sense until the driver resets.
  [[nodiscard]] bool sound() const { return !(status() & status::needs_reset); }
  /// Queue::pop; nonsense breaks the device and gives false.
  bool pop(unsigned queue, Chain& chain);
  /// After publishing: interrupts the driver when it wants that.
  void interrupt(unsigned queue);
  /// The driver broke a rule: it is asked to reset, and nothing goes on until then.
  void broken(const std::string& why);
  /// The configuration space changed by our side.
  void config_changed();
  /// Serves all requests of a queue, with notifications off meanwhile. `serve(chain)` gives the bytes it wrote, or
  /// nothing when the request has to wait: it goes back to the ring and the serving ends.
  template <class Serve>
  void serve_all(unsigned index, Chain& chain, Serve serve) {
    Queue& q = queue(index);
    do {
      q.disable_notifications();
      while (running_.load(std::memory_order_relaxed) && pop(index, chain)) {
        const std::optional<u64> written = serve(chain);
        if (!written) {
          q.unpop(chain);
          return;
        }
        q.push(chain, *written);
        interrupt(index);
      }
      if (!running_.load(std::memory_order_relaxed)) break;
    } while (sound() && q.enable_notifications());
  }

 private:
  [[nodiscard]] RingFeatures ring_features() const;
  void reset_locked();
  void start_locked();
  void stop_locked();
  [[nodiscard]] const Queue* find(unsigned queue) const { return queue < queues_.size() ? &queues_[queue] : nullptr; }

  const std::string name_;
  const u16 type_;
  memory::GuestMemory& memory_;
  Transport* transport_ = nullptr;
  u64 withheld_ = 0;
  mutable std::mutex mutex_;  // registers
  std::vector<Queue> queues_;
  u64 driver_features_ = 0;
  bool paused_ = false, started_ = false;
  std::atomic<u64> negotiated_ = 0;
  std::atomic<u8> status_ = 0;
  std::atomic<u32> generation_ = 0;
  std::atomic<bool> running_ = false;  // kicks are wanted
  log::RateLimit complaints_{10};
};

}  // namespace nagaya::virtio
