#include "virtio/virtio_pci.hpp"

#include <algorithm>
#include <utility>

#include "bus/bytes.hpp"
#include "bus/event_paths.hpp"

namespace nagaya::virtio {
namespace {

// Kinds of structures (4.1.4).
constexpr u8 kind_common = 1, kind_notify = 2, kind_isr = 3, kind_device = 4, kind_window = 5;
// Offsets in a capability.
constexpr u16 cap_kind = 3, cap_bar = 4, cap_offset = 8, cap_length = 12, cap_extra = 16;
constexpr u16 cap_size = 16;
// Offsets in the common structure (4.1.4.3).
enum Common : u64 {
  device_feature_select = 0x00,
  device_feature = 0x04,
  driver_feature_select = 0x08,
  driver_feature = 0x0c,
  config_vector = 0x10,
  queue_total = 0x12,
  device_status = 0x14,
  generation = 0x15,
  queue_select = 0x16,
  queue_size = 0x18,
  queue_vector = 0x1a,
  queue_enable = 0x1c,
  queue_notify = 0x1e,
  queue_descriptors = 0x20,
  queue_driver = 0x28,
  queue_device = 0x30,
  queue_notify_data = 0x38,
  queue_reset = 0x3a,
  common_size = 0x3c,
};
constexpr u8 isr_queue = 1, isr_config = 2;
constexpr u64 config_size = 0x1000;

u32 class_code(u16 type) {
  switch (type) {
    case type::net:
      return 0x020000;
    case type::blk:
      return 0x010000;
    case type::console:
      return 0x078000;
    case type::fs:
      return 0x018000;
    case type::pmem:
      return 0x058000;
    case type::vsock:
      return 0x028000;
    default:
      return 0x00ff00;
  }
}

}  // namespace

VirtioPci::VirtioPci(std::unique_ptr<VirtioDevice> device)
    : PciDevice(device->name(), {.vendor = 0x1af4,
                                 .device = static_cast<u16>(0x1040 + device->type()),
                                 .class_code = class_code(device->type()),
                                 .revision = 1,
                                 .subsystem_vendor = 0x1af4,
                                 .subsystem = static_cast<u16>(0x1040 + device->type())}),
      device_(std::move(device)),
      queue_vectors_(device_->queue_count()),
      direct_(device_->queue_count() + 1) {
  add_bar(0, bus::BarKind::memory32, bar_size);
  add_msix(device_->queue_count() + 1, 0, msix_offset, pending_offset);
  add_structure(kind_common, common_offset, common_size);
  add_structure(kind_isr, isr_offset, 1);
  add_structure(kind_device, config_offset, config_size);
  add_structure(kind_notify, notify_offset, notify_multiplier * device_->queue_count());
  add_structure(kind_window, 0, 0);
  use_interrupt_pin(1);
  reset_registers();
  device_->connect(*this);
}

VirtioPci::~VirtioPci() {
  device_->reset();
  drop_event_paths();
}

void VirtioPci::add_structure(u8 kind, u64 offset, u32 length) {
  const bool longer = kind == kind_notify || kind == kind_window;
  const u16 size = longer ? cap_size + 4 : cap_size;
  const u16 at = add_capability(bus::pci::cap_vendor, size);
  config().set8(at + 2, static_cast<u8>(size));
  config().set8(at + cap_kind, kind);
  config().set32(at + cap_offset, static_cast<u32>(offset));
  config().set32(at + cap_length, length);
  if (kind == kind_notify) config().set32(at + cap_extra, notify_multiplier);
  if (kind != kind_window) return;
  window_at_ = at;
  config().writable8(at + cap_bar, 0xff);
  config().writable32(at + cap_offset, ~u32{0});
  config().writable32(at + cap_length, ~u32{0});
  config().writable32(at + cap_extra, ~u32{0});
}

// ---- Accesses ----

void VirtioPci::bar_read(unsigned bar, u64 offset, std::span<u8> data) {
  std::ranges::fill(data, u8{0});
  if (bar != 0) return;
  if (offset < isr_offset) {
    common_read(offset, data);
  } else if (offset == isr_offset) {
    data[0] = take_isr();
  } else if (offset >= config_offset && offset < config_offset + config_size) {
    device_->config_read(offset - config_offset, data);
  }
}

void VirtioPci::bar_write(unsigned bar, u64 offset, std::span<const u8> data) {
  if (bar != 0) return;
  if (offset >= notify_offset) {
    if (offset % notify_multiplier == 0) device_->notify(static_cast<unsigned>((offset - notify_offset) / notify_multiplier));
  } else if (offset < isr_offset) {
    common_write(offset, static_cast<unsigned>(data.size()), bus::load_le(data));
  } else if (offset >= config_offset && offset < config_offset + config_size) {
    device_->config_write(offset - config_offset, data);
  }
}

void VirtioPci::common_read(u64 offset, std::span<u8> data) {
  if (offset >= common_size) return;
  std::array<u8, common_size + 8> image{};
  auto put = [&](u64 at, unsigned size, u64 value) { bus::store_le(std::span(image).subspan(at, size), value); };
  {
    std::lock_guard lock(mutex_);
    const VirtioDevice& d = *device_;
    auto word = [](u64 features, u32 select) { return select > 1 ? 0 : features >> 32 * select & 0xffff'ffff; };
    const unsigned q = queue_select_;
    put(device_feature_select, 4, device_feature_select_);
    put(device_feature, 4, word(d.offered_features(), device_feature_select_));
    put(driver_feature_select, 4, driver_feature_select_);
    put(driver_feature, 4, word(d.driver_features(), driver_feature_select_));
    put(config_vector, 2, config_vector_.load());
    put(queue_total, 2, d.queue_count());
    put(device_status, 1, d.status());
    put(generation, 1, d.config_generation());
    put(queue_select, 2, q);
    if (q < d.queue_count()) {
      put(queue_size, 2, d.queue_size(q));
      put(queue_vector, 2, queue_vectors_[q].load());
      put(queue_enable, 2, d.queue_enabled(q));
      put(queue_notify, 2, q);
      put(queue_descriptors, 8, d.queue_address(q, RingPart::descriptors));
      put(queue_driver, 8, d.queue_address(q, RingPart::driver));
      put(queue_device, 8, d.queue_address(q, RingPart::device));
      put(queue_notify_data, 2, q);
    }
  }
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = offset + i < common_size ? image[offset + i] : u8{0};
}

/// Fields are written whole, addresses also in halves; anything else is ignored (4.1.3.1).
void VirtioPci::common_write(u64 offset, unsigned size, u64 value) {
  std::lock_guard lock(mutex_);
  const unsigned q = queue_select_;
  const u32 low = static_cast<u32>(value);
  switch (offset) {
    case device_feature_select:
      if (size == 4) device_feature_select_ = low;
      return;
    case driver_feature_select:
      if (size == 4) driver_feature_select_ = low;
      return;
    case driver_feature:
      if (size == 4) device_->write_driver_features(driver_feature_select_, low);
      return;
    case config_vector:
      if (size == 2) config_vector_ = good_vector(value);
      return;
    case device_status:
      if (size == 1) write_status(static_cast<u8>(value));
      return;
    case queue_select:
      if (size == 2) queue_select_ = static_cast<u16>(value);
      return;
    case queue_size:
      if (size == 2) device_->write_queue_size(q, static_cast<u16>(value));
      return;
    case queue_vector:
      if (size == 2 && q < queue_vectors_.size()) queue_vectors_[q] = good_vector(value);
      return;
    case queue_enable:
      if (size == 2 && value == 1) device_->enable_queue(q);
      return;
    case queue_reset:
      if (size == 2 && value == 1 && device_->driver_features() & f_queue_reset) device_->reset_queue(q);
      return;
    default:
      break;
  }
  if (offset < queue_descriptors || offset >= queue_notify_data || offset % 4 || (size != 4 && size != 8)) return;
  const auto part = static_cast<RingPart>((offset - queue_descriptors) / 8);
  if (size == 8 && offset % 8) return;
  device_->write_queue_address(q, part, offset % 8 ? 32 : 0, low);
  if (size == 8) device_->write_queue_address(q, part, 32, static_cast<u32>(value >> 32));
}

void VirtioPci::write_status(u8 value) {
  device_->write_status(value);
  if (value != 0) return;
  // The device's reset takes its interrupts along; what selects what stays.
  for (auto& vector : queue_vectors_) vector = no_vector;
  config_vector_ = no_vector;
  (void)take_isr();
}

// ---- The window in configuration space (4.1.4.9) ----

/// What it points at; false unless that is a sensible access of BAR 0.
bool VirtioPci::window(u64& offset, unsigned& length) {
  offset = config().get32(window_at_ + cap_offset);
  length = config().get32(window_at_ + cap_length);
  return config().get8(window_at_ + cap_bar) == 0 && (length == 1 || length == 2 || length == 4) &&
         offset % length == 0 && offset < bar_size;
}

void VirtioPci::config_reading(u16 at, std::size_t size) {
  if (at >= window_at_ + cap_extra + 4 || at + size <= u64{window_at_} + cap_extra) return;
  u64 offset;
  unsigned length;
  if (!window(offset, length)) return;
  std::array<u8, 4> data{};
  bar_read(0, offset, std::span(data).first(length));
  config().set32(window_at_ + cap_extra, static_cast<u32>(bus::load_le(data)));
}

void VirtioPci::config_written(u16 at, std::size_t size) {
  if (at >= window_at_ + cap_extra + 4 || at + size <= u64{window_at_} + cap_extra) return;
  u64 offset;
  unsigned length;
  if (!window(offset, length)) return;
  std::array<u8, 4> data{};
  bus::store_le(data, config().get32(window_at_ + cap_extra));
  bar_write(0, offset, std::span(data).first(length));
}

// ---- Interrupts ----

void VirtioPci::raise(u16 vector, u8 isr_bit) {
  if (msix_enabled()) {
    if (vector == no_vector) return;
    if (direct_[vector].active.load(std::memory_order_acquire)) {
      host::signal_eventfd(direct_[vector].event.get());
    } else {
      notify_msix(vector);
    }
    return;
  }
  std::lock_guard lock(isr_mutex_);
  isr_ |= isr_bit;
  set_intx(true);
}

u8 VirtioPci::take_isr() {
  std::lock_guard lock(isr_mutex_);
  if (isr_ != 0) set_intx(false);
  return std::exchange(isr_, u8{0});
}

void VirtioPci::queue_interrupt(unsigned queue) { raise(queue_vectors_[queue], isr_queue); }
void VirtioPci::config_interrupt() { raise(config_vector_, isr_config); }

// ---- Ways past the vCPU's thread, where the engine has them (bus/event_paths.hpp) ----

/// Notifications: the engine signals the device's eventfd while the BAR is where it was told.
void VirtioPci::bar_moved(unsigned bar, std::optional<u64> address) {
  if (bar != 0 || (events() == nullptr && paths_ == nullptr)) return;
  const std::lock_guard lock(paths_mutex_);
  if (paths_ == nullptr) paths_ = events();
  const auto for_all = [&](u64 base, auto act) {
    for (unsigned queue = 0; queue < device_->queue_count(); ++queue) {
      if (const int event = device_->notify_event(queue); event >= 0) act(base + notify_offset + notify_multiplier * queue, event);
    }
  };
  if (notified_at_) for_all(*notified_at_, [&](u64 at, int event) { paths_->remove_notification(at, event); });
  notified_at_ = address;
  // One that is refused goes on through bar_write().
  if (address) for_all(*address, [&](u64 at, int event) { (void)paths_->add_notification(at, event); });
}

/// Interrupts: the engine sends what the table says while neither the vector nor the function is masked. What is raised
/// while one of them is masked becomes pending as usual.
void VirtioPci::messages_changed() {
  if (events() == nullptr) return;
  const std::lock_guard lock(paths_mutex_);
  paths_ = events();
  for (unsigned i = 0; i < direct_.size(); ++i) {
    DirectVector& direct = direct_[i];
    const bus::PciMsix::Vector wanted = msix().vector(i);
    if (direct.active && (wanted.masked || !(wanted == direct.message))) {
      direct.active.store(false, std::memory_order_release);
      if (wanted.masked) paths_->remove_message(direct.event.get());
    }
    if (wanted.masked || direct.active) continue;
    if (!direct.event) {
      if (auto event = host::Fd::eventfd()) direct.event = std::move(*event);
    }
    direct.message = wanted;
    if (direct.event && paths_->set_message(direct.event.get(), wanted.address, wanted.data)) {
      direct.active.store(true, std::memory_order_release);
    }
  }
}

void VirtioPci::drop_event_paths() {
  const std::lock_guard lock(paths_mutex_);
  for (DirectVector& direct : direct_) {
    direct.active = false;
    if (paths_ != nullptr && direct.event) paths_->remove_message(direct.event.get());
  }
  for (unsigned queue = 0; notified_at_ && queue < device_->queue_count(); ++queue) {
    if (const int event = device_->notify_event(queue); event >= 0) {
      paths_->remove_notification(*notified_at_ + notify_offset + notify_multiplier * queue, event);
    }
  }
  notified_at_.reset();
}

// ---- State ----

void VirtioPci::reset_registers() {
  std::lock_guard lock(mutex_);
  device_feature_select_ = driver_feature_select_ = 0;
  queue_select_ = 0;
  for (auto& vector : queue_vectors_) vector = no_vector;
  config_vector_ = no_vector;
  std::lock_guard isr_lock(isr_mutex_);
  isr_ = 0;
}

void VirtioPci::reset_device() {
  device_->reset();
  reset_registers();
}

void VirtioPci::save_device(state::Writer& out) const {
  out.put(device_feature_select_);
  out.put(driver_feature_select_);
  out.put(queue_select_);
  out.put(config_vector_.load());
  for (const auto& vector : queue_vectors_) out.put(vector.load());
  out.put(isr_);
  device_->save(out);
}

void VirtioPci::restore_device(state::Reader& in) {
  in.get(device_feature_select_);
  in.get(driver_feature_select_);
  in.get(queue_select_);
  config_vector_ = good_vector(in.get<u16>());
  for (auto& vector : queue_vectors_) vector = good_vector(in.get<u16>());
  in.get(isr_);
  device_->restore(in);
}

}  // namespace nagaya::virtio
