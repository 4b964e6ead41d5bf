// What every virtio device is held to, over both transports: reset and save/restore in every state of a driver's life,
// nonsense in registers and rings. Also a driver that drives a device through its PCI function as a guest does.
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "bus/device_contract_test_util.hpp"
#include "bus/pci_test_util.hpp"
#include "virtio/driver_test_util.hpp"
#include "virtio/virtio_mmio.hpp"
#include "virtio/virtio_pci.hpp"

namespace nagaya::virtio::testing {

inline constexpr u64 guest_ram = 64 * MiB, ring_base = 8 * MiB, ring_span = MiB, data_base = 40 * MiB;

/// Waits for what another thread brings about; true when it came.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 20000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  return condition();
}

/// A PCI segment with one virtio function, and the registers of a driver's side.
class PciGuest {
 public:
  static constexpr u64 bar = 0xc000'0000;

  PciGuest(memory::GuestMemory& memory, std::unique_ptr<VirtioDevice> device, bus::EventPaths* events = nullptr)
      : memory(memory), segment(events), pci(std::make_unique<VirtioPci>(std::move(device))) {
    auto added = segment.pci.add(*pci, segment.at);
    EXPECT_TRUE(added) << added.error().message();
    segment.write(0x10, static_cast<u32>(bar));
    segment.write(0x04, 6, 2);
  }
  ~PciGuest() {
    pci->pause();  // so that it no longer looks for the bus that it leaves
    segment.pci.remove(segment.at);
  }

  u64 load(u64 offset, unsigned size) { return bus::testing::Segment::load(segment.mmio, bar + offset, size); }
  void store(u64 offset, u64 value, unsigned size) {
    bus::testing::Segment::store(segment.mmio, bar + offset, value, size);
  }
  u8 status() { return static_cast<u8>(load(0x14, 1)); }
  void set_status(u8 value) { store(0x14, value, 1); }
  u64 offered() {
    store(0, 0, 4);
    const u64 low = load(4, 4);
    store(0, 1, 4);
    return low | load(4, 4) << 32;
  }
  void accept(u64 features) {
    store(8, 0, 4);
    store(0xc, features & 0xffff'ffff, 4);
    store(8, 1, 4);
    store(0xc, features >> 32, 4);
  }
  /// Through the whole of 3.1.1, with all queues enabled, each with a MSI-X vector. Features not offered are left out.
  void bring_up(u64 features = ~u64{0}, u16 queue_size = 16) {
    set_status(0);
    set_status(1);
    set_status(3);
    features &= offered();
    accept(features);
    set_status(11);
    ASSERT_EQ(status(), 11);
    enable_msix();
    rings = {(features & f_packed) != 0, (features & f_event_index) != 0, (features & f_indirect) != 0};
    queues.clear();
    for (unsigned i = 0; i < load(0x12, 2); ++i) set_up_queue(i, queue_size);
    store(0x10, queues.size(), 2);
    set_status(15);
  }
  void set_up_queue(unsigned i, u16 queue_size) {
    store(0x16, i, 2);
    const u16 size = std::min<u16>(queue_size, static_cast<u16>(load(0x18, 2)));
    auto driver = std::make_unique<ModelDriver>(memory, ring_base + i * ring_span, size, rings);
    store(0x18, size, 2);
    store(0x1a, i, 2);
    store(0x20, driver->descriptors, 8);
    store(0x28, driver->driver & 0xffff'ffff, 4);
    store(0x2c, driver->driver >> 32, 4);
    store(0x30, driver->device, 8);
    store(0x1c, 1, 2);
    if (i < queues.size()) {
      queues[i] = std::move(driver);
    } else {
      queues.push_back(std::move(driver));
    }
  }
  void enable_msix() {
    const u16 cap = segment.capability(bus::pci::cap_msix);
    for (unsigned v = 0; v <= load(0x12, 2); ++v) {
      store(0x3000 + 16 * v, 0xfee0'0000, 4);
      store(0x3004 + 16 * v, 0, 4);
      store(0x3008 + 16 * v, 0x40 + v, 4);
      store(0x300c + 16 * v, 0, 4);
    }
    segment.write(static_cast<u16>(cap + 2), 0x8000, 2);
  }
  void kick(unsigned queue) { store(0x4000 + 4 * queue, queue, 2); }
  /// Offers a request, kicks, and waits for its end; the used length, or nothing.
  std::optional<u32> request(unsigned queue, const std::vector<GuestBuffer>& buffers, bool indirect = false) {
    auto id = queues[queue]->add(buffers, indirect);
    if (!id) return {};
    kick(queue);
    return finished(queue);
  }
  std::optional<u32> finished(unsigned queue) {
    std::optional<Used> used;
    if (!eventually([&] { return (used = queues[queue]->take()).has_value(); })) return {};
    return used->length;
  }

  memory::GuestMemory& memory;
  bus::testing::Segment segment;
  std::unique_ptr<VirtioPci> pci;
  RingFeatures rings;
  std::vector<std::unique_ptr<ModelDriver>> queues;
};

using MakeDevice = std::function<std::unique_ptr<VirtioDevice>(memory::GuestMemory&)>;

/// Fills the rings of all queues with requests that no device expects, and with plain noise.
inline void offer_noise(memory::GuestMemory& memory, const VirtioDevice& device, std::mt19937_64& random) {
  for (unsigned q = 0; q < device.queue_count(); ++q) {
    const u64 base = ring_base + q * ring_span;
    for (u64 at = 0; at < 16 * 16; at += 16) {
      const u64 address = random() % 8 ? data_base + random() % 4096 : random();
      const u32 length = static_cast<u32>(random() % 8 ? random() % 600 : random());
      (void)memory.write_value<u64>(Gpa(base + at), address);
      (void)memory.write_value<u32>(Gpa(base + at + 8), length);
      (void)memory.write_value<u16>(Gpa(base + at + 12), static_cast<u16>(random() % 4));
      (void)memory.write_value<u16>(Gpa(base + at + 14), static_cast<u16>(random() % 20 | (random() % 2 ? 0x80 : 0)));
    }
    for (u64 at = 4; at < 40; at += 2) (void)memory.write_value<u16>(Gpa(base + 0x10000 + at), random() % 17);
    (void)memory.write_value<u16>(Gpa(base + 0x10002), random() % 17);
    for (u64 at = 0; at < 4096; at += 4) (void)memory.write_value<u32>(Gpa(data_base + at), static_cast<u32>(random() % 9));
  }
}

/// Brings a device up by its own registers as far as `stage` says: 0 nothing .. 6 requests of noise offered.
inline void drive_to(memory::GuestMemory& memory, VirtioDevice& device, unsigned stage, bool packed, u64 seed) {
  if (stage > 0) device.write_status(1);
  if (stage > 1) device.write_status(3);
  if (stage > 2) {
    u64 features = device.offered_features();
    if (!packed) features &= ~f_packed;
    device.write_driver_features(0, static_cast<u32>(features));
    device.write_driver_features(1, static_cast<u32>(features >> 32));
    device.write_status(11);
    EXPECT_EQ(device.status(), 11);
  }
  if (stage > 3) {
    (void)memory.fill(Gpa(ring_base), ring_span * device.queue_count(), 0);
    for (unsigned q = 0; q < device.queue_count(); ++q) {
      const u64 base = ring_base + q * ring_span;
      device.write_queue_size(q, 16);
      device.write_queue_address(q, RingPart::descriptors, 0, static_cast<u32>(base));
      device.write_queue_address(q, RingPart::driver, 0, static_cast<u32>(base + 0x10000));
      device.write_queue_address(q, RingPart::device, 0, static_cast<u32>(base + 0x20000));
      device.enable_queue(q);
      EXPECT_TRUE(device.queue_enabled(q));
    }
  }
  if (stage > 4) device.write_status(15);
  if (stage > 5) {
    std::mt19937_64 random(seed);
    for (unsigned round = 0; round < 4; ++round) {
      offer_noise(memory, device, random);
      for (unsigned q = 0; q <= device.queue_count(); ++q) device.notify(q);
    }
  }
}

/// A device that stays paused once it was: one that goes on finds work in its rings, and two that share guest memory
/// would no longer be in one state.
template <class D>
class Held final : public bus::Device, public bus::IoTarget {
 public:
  explicit Held(std::unique_ptr<D> device) : inner(std::move(device)) {}
  [[nodiscard]] std::string_view name() const override { return inner->name(); }
  [[nodiscard]] u32 state_version() const override { return inner->state_version(); }
  void reset() override { inner->reset(); }
  void pause() override { inner->pause(); }
  void resume() override {}
  void save(state::Writer& out) const override { inner->save(out); }
  [[nodiscard]] Result<> restore(state::Reader& in) override { return inner->restore(in); }
  void io_read(u64 offset, std::span<u8> data) override { inner->io_read(offset, data); }
  void io_write(u64 offset, std::span<const u8> data) override { inner->io_write(offset, data); }
  const std::unique_ptr<D> inner;
};

/// Saved without being resumed.
inline std::vector<u8> saved_for_good(bus::Device& device) {
  device.pause();
  state::Writer out;
  device.save(out);
  return out.bytes();
}

/// `make` builds the device in power-on state.
inline void check_virtio_contract(const MakeDevice& make) {
  auto created = memory::GuestMemory::create(guest_ram);
  ASSERT_TRUE(created);
  memory::GuestMemory& memory = **created;
  auto drive = [&](VirtioDevice& device, unsigned i) { drive_to(memory, device, i % 7, i / 7 % 2, i); };
  bus::testing::check_device_contract<Held<VirtioMmio>>(
      [&] { return std::make_unique<Held<VirtioMmio>>(std::make_unique<VirtioMmio>(make(memory), bus::IrqLine())); }, 0,
      0x180, 8, [&](Held<VirtioMmio>& mmio, unsigned i) { drive(mmio.inner->device(), i); });

  // The PCI function: its BAR and its configuration space, with a bus around it.
  for (unsigned i = 0; i < 14; ++i) {
    PciGuest guest(memory, make(memory)), other(memory, make(memory)), fresh(memory, make(memory));
    drive(guest.pci->device(), i);
    struct Bar final : bus::IoTarget {
      explicit Bar(PciGuest& g) : guest(g) {}
      void io_read(u64 offset, std::span<u8> data) override { guest.segment.mmio.read(PciGuest::bar + offset, data); }
      void io_write(u64 offset, std::span<const u8> data) override {
        guest.segment.mmio.write(PciGuest::bar + offset, data);
      }
      PciGuest& guest;
    } bar(guest);
    if (i % 2) {
      bus::testing::poke_nonsense(bar, 0, 0x40, 8, i, 6);
      bus::testing::poke_nonsense(bar, 0x2000, 0x100, 8, i, 1);
      bus::testing::poke_nonsense(bar, 0x4000, 4 * 66, 8, i, 1);
      std::mt19937 random(i);
      for (u16 at = 0x40; at < 0x100; ++at) guest.segment.write(at, static_cast<u32>(random()), 1 + random() % 4);
    }
    const auto state = saved_for_good(*guest.pci);
    other.pci->pause();
    state::Reader in(std::string(other.pci->name()), other.pci->state_version(), state);
    auto restored = other.pci->restore(in);
    ASSERT_TRUE(restored) << restored.error().message();
    EXPECT_EQ(saved_for_good(*other.pci), state);
    guest.pci->reset();
    other.pci->reset();
    fresh.pci->reset();
    EXPECT_EQ(bus::testing::saved(*guest.pci), bus::testing::saved(*fresh.pci));
    EXPECT_EQ(bus::testing::saved(*other.pci), bus::testing::saved(*fresh.pci));
  }

  // Resets in the middle of work, again and again, with the ring changing under the device.
  VirtioMmio mmio(make(memory), bus::IrqLine());
  for (unsigned i = 0; i < 60; ++i) {
    drive_to(memory, mmio.device(), 6, i % 2, i);
    if (i % 3 == 0) mmio.device().reset_queue(i % (mmio.device().queue_count() + 1));
    mmio.device().write_status(0);
    EXPECT_EQ(mmio.device().status(), 0);
    for (unsigned q = 0; q < mmio.device().queue_count(); ++q) EXPECT_FALSE(mmio.device().queue_enabled(q));
  }
}

}  // namespace nagaya::virtio::testing
