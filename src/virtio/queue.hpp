// The device's end of a virtqueue, split or packed. Source: Virtual I/O Device (VIRTIO) 1.2, 2.7 and 2.8. The driver's
// memory is trusted with nothing: each index and descriptor is copied once, the copy is checked, and nonsense is an
// error upon which the device asks for a reset.
#pragma once
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "memory/guest_memory.hpp"
#include "state/archive.hpp"
#include "virtio/chain.hpp"

namespace nagaya::virtio {

namespace ring {
struct Descriptor;
}

/// What was negotiated that changes how rings look.
struct RingFeatures {
  bool packed = false, event_index = false, indirect = false;
};

/// Not locked: whoever works on it orders its calls.
class Queue {
 public:
  static constexpr u16 largest = 32768;
  static constexpr unsigned most_segments = 1024;  ///< per chain; what one readv can take

  /// `max_size`: a power of two.
  explicit Queue(u16 max_size) : max_size_(max_size), size_(max_size) {}

  // ---- Set-up, through the transport's registers. ----
  [[nodiscard]] u16 max_size() const { return max_size_; }
  [[nodiscard]] u16 size() const { return size_; }
  [[nodiscard]] bool enabled() const { return enabled_; }
  [[nodiscard]] Gpa descriptors() const { return descriptors_; }
  [[nodiscard]] Gpa driver_area() const { return driver_; }
  [[nodiscard]] Gpa device_area() const { return device_; }
  /// These three do nothing while the queue is enabled.
  void set_size(u16 size);
  void set_descriptors(Gpa gpa);
  void set_driver_area(Gpa gpa);
  void set_device_area(Gpa gpa);
  /// Checks size and addresses and begins with empty rings. `memory` outlives the queue.
  Result<> enable(memory::GuestMemory& memory, RingFeatures features);
  /// To the state after power-on.
  void reset();

  // ---- Work. ----
  /// The next request: false when there is none. An error leaves the queue stopped until reset.
  Result<bool> pop(Chain& chain);
  /// Takes back the last pop that was not taken back yet. Requests popped before it may have been given back meanwhile.
  void unpop(const Chain& chain);
  /// Gives a request back with `written` bytes written to its writable part from the start; the driver sees it after
  /// publish(). Requests may come back in any order.
  void stage(const Chain& chain, u64 written);
  void publish();
  void push(const Chain& chain, u64 written) {
    stage(chain, written);
    publish();
  }
  /// After publish: whether the driver wants an interrupt for what was published since the last call.
  [[nodiscard]] bool wants_interrupt();
  /// Whether the driver shall tell of new requests. Enabling returns true when some are there already.
  void disable_notifications();
  [[nodiscard]] bool enable_notifications();
  /// Requests popped and not yet given back.
  [[nodiscard]] unsigned in_flight() const { return in_flight_; }
  /// Whether a request waits (a guess that costs no fence).
  [[nodiscard]] bool has_work() const;

  /// Whether this request is in flight.
  [[nodiscard]] bool holds(u16 id) const { return id < taken_.size() && taken_[id]; }

  /// Requests in flight are not saved; a device that holds some at a pause saves each with save_chain, and takes it back
  /// after restore with restore_chain.
  void save_chain(state::Writer& out, const Chain& chain) const;
  [[nodiscard]] bool restore_chain(state::Reader& in, Chain& chain);
  void save(state::Writer& out) const;
  /// Errors are told through in.reject(); the queue is then reset.
  void restore(state::Reader& in, memory::GuestMemory& memory, RingFeatures features);

 private:
  Result<> place(memory::GuestMemory& memory, RingFeatures features);
  Result<bool> pop_split(Chain& chain);
  Result<bool> pop_packed(Chain& chain);
  Result<> add_segment(Chain& chain, const ring::Descriptor& descriptor) const;
  Result<> add_indirect(Chain& chain, const ring::Descriptor& descriptor) const;
  [[nodiscard]] bool packed_available() const;
  [[nodiscard]] u16 available_index() const;
  void unpop_packed(u16 slots);
  void stage_split(u16 id, u32 length);
  void stage_packed(u16 id, u32 length, bool writable, u16 slots);
  void publish_split();
  void publish_packed();
  [[nodiscard]] bool wants_interrupt_split() const;
  [[nodiscard]] bool wants_interrupt_packed() const;
  void notifications_split(bool on);
  void notifications_packed(bool on);
  std::unexpected<Error> broken(std::string why);

  u16 max_size_;
  u16 size_;
  bool enabled_ = false, broken_ = false;
  Gpa descriptors_, driver_, device_;
  RingFeatures features_;
  memory::GuestMemory* memory_ = nullptr;
  u8 *ring_ = nullptr, *driver_host_ = nullptr, *device_host_ = nullptr;

  u16 next_avail_ = 0;                         // split: free-running; packed: slot
  u16 next_used_ = 0;                          // what publish() makes visible next
  u16 staged_ = 0;                             // requests (split) or slots (packed) staged
  u16 since_interrupt_ = 0;                    // the same unit, published since wants_interrupt
  bool avail_wrap_ = true, used_wrap_ = true;  // packed
  u16 first_flags_ = 0;                        // packed: of the first staged slot, shown last
  unsigned in_flight_ = 0, slots_in_flight_ = 0;
  std::vector<bool> taken_;                    // ids in flight
};

}  // namespace nagaya::virtio
