#include "virtio/virtio_mmio.hpp"

#include <algorithm>

#include "bus/bytes.hpp"

namespace nagaya::virtio {
namespace {

// Table 4.1 of VIRTIO 1.2.
enum Register : u64 {
  magic = 0x000,
  version = 0x004,
  device_id = 0x008,
  vendor_id = 0x00c,
  device_features = 0x010,
  device_features_select = 0x014,
  driver_features = 0x020,
  driver_features_select = 0x024,
  queue_select = 0x030,
  queue_size_max = 0x034,
  queue_size = 0x038,
  queue_ready = 0x044,
  queue_notify = 0x050,
  interrupt_status = 0x060,
  interrupt_ack = 0x064,
  device_status = 0x070,
  queue_descriptors = 0x080,
  queue_driver = 0x090,
  queue_device = 0x0a0,
  shm_length_low = 0x0b0,
  shm_base_high = 0x0bc,
  queue_reset = 0x0c0,
  config_generation = 0x0fc,
  config_space = 0x100,
};
constexpr u32 magic_value = 0x7472'6976, vendor = 0x5941'474e;
constexpr u32 bit_queue = 1, bit_config = 2;

}  // namespace

VirtioMmio::VirtioMmio(std::unique_ptr<VirtioDevice> device, bus::IrqLine irq) : device_(std::move(device)), irq_(irq) {
  device_->connect(*this);
}

VirtioMmio::~VirtioMmio() { device_->reset(); }

void VirtioMmio::io_read(u64 offset, std::span<u8> data) {
  std::ranges::fill(data, u8{0});
  if (offset >= config_space) {
    device_->config_read(offset - config_space, data);
  } else if (data.size() == 4 && offset % 4 == 0) {  // nothing else is defined (4.2.2.2)
    bus::store_le(data, read_register(offset));
  }
}

void VirtioMmio::io_write(u64 offset, std::span<const u8> data) {
  if (offset >= config_space) {
    device_->config_write(offset - config_space, data);
  } else if (data.size() == 4 && offset % 4 == 0) {
    write_register(offset, static_cast<u32>(bus::load_le(data)));
  }
}

u32 VirtioMmio::read_register(u64 offset) {
  std::lock_guard lock(mutex_);
  const VirtioDevice& d = *device_;
  switch (offset) {
    case magic:
      return magic_value;
    case version:
      return 2;
    case device_id:
      return d.type();
    case vendor_id:
      return vendor;
    case device_features:
      return device_feature_select_ > 1 ? 0 : static_cast<u32>(d.offered_features() >> 32 * device_feature_select_);
    case queue_size_max:
      return d.queue_max_size(queue_select_);
    case queue_ready:
      return d.queue_enabled(queue_select_);
    case interrupt_status: {
      std::lock_guard interrupt_lock(interrupt_mutex_);
      return interrupts_;
    }
    case device_status:
      return d.status();
    case config_generation:
      return d.config_generation();
    default:
      // There is no shared memory: its length and base are all ones.
      return offset >= shm_length_low && offset <= shm_base_high ? ~u32{0} : 0;
  }
}

void VirtioMmio::write_register(u64 offset, u32 value) {
  if (offset == queue_notify) {
    device_->notify(value);
    return;
  }
  std::lock_guard lock(mutex_);
  const u32 q = queue_select_;
  switch (offset) {
    case device_features_select:
      device_feature_select_ = value;
      break;
    case driver_features_select:
      driver_feature_select_ = value;
      break;
    case driver_features:
      device_->write_driver_features(driver_feature_select_, value);
      break;
    case queue_select:
      queue_select_ = value;
      break;
    case queue_size:
      device_->write_queue_size(q, value > Queue::largest ? u16{0} : static_cast<u16>(value));
      break;
    case queue_ready:
      if (value & 1) {
        device_->enable_queue(q);
      } else {
        device_->reset_queue(q);
      }
      break;
    case queue_reset:
      if (value & 1 && device_->driver_features() & f_queue_reset) device_->reset_queue(q);
      break;
    case interrupt_ack:
      acknowledge(value);
      break;
    case device_status:
      device_->write_status(static_cast<u8>(value));
      if (value == 0) acknowledge(~u32{0});
      break;
    case queue_descriptors:
    case queue_descriptors + 4:
    case queue_driver:
    case queue_driver + 4:
    case queue_device:
    case queue_device + 4:
      device_->write_queue_address(q, static_cast<RingPart>((offset - queue_descriptors) / 16), offset % 8 ? 32 : 0,
                                   value);
      break;
    default:
      break;
  }
}

void VirtioMmio::raise(u32 bit) {
  std::lock_guard lock(interrupt_mutex_);
  interrupts_ |= bit;
  irq_.set(true);
}

void VirtioMmio::acknowledge(u32 bits) {
  std::lock_guard lock(interrupt_mutex_);
  interrupts_ &= ~bits;
  if (interrupts_ == 0) irq_.set(false);
}

void VirtioMmio::queue_interrupt(unsigned) { raise(bit_queue); }
void VirtioMmio::config_interrupt() { raise(bit_config); }

void VirtioMmio::reset() {
  device_->reset();
  acknowledge(~u32{0});
  std::lock_guard lock(mutex_);
  device_feature_select_ = driver_feature_select_ = queue_select_ = 0;
}

void VirtioMmio::save(state::Writer& out) const {
  out.put(device_feature_select_);
  out.put(driver_feature_select_);
  out.put(queue_select_);
  {
    std::lock_guard lock(interrupt_mutex_);
    out.put(interrupts_);
  }
  device_->save(out);
}

Result<> VirtioMmio::restore(state::Reader& in) {
  in.get(device_feature_select_);
  in.get(driver_feature_select_);
  in.get(queue_select_);
  const u32 interrupts = in.get<u32>();
  device_->restore(in);
  if (auto result = in.finish(); !result) {
    reset();
    return result;
  }
  acknowledge(~u32{0});
  if (interrupts & (bit_queue | bit_config)) raise(interrupts & (bit_queue | bit_config));
  return {};
}

}  // namespace nagaya::virtio
