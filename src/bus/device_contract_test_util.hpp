// The contract every device is held to, as checks that any device's test calls: reset gives the power-on state, save
// and restore lose nothing, a refused state leaves a usable device, nonsense accesses of each size do no harm.
#pragma once
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "bus/bus.hpp"
#include "bus/device.hpp"

namespace nagaya::bus::testing {

/// The section's bytes; pauses and resumes the device around it.
inline std::vector<u8> saved(Device& device) {
  device.pause();
  state::Writer out;
  device.save(out);
  device.resume();
  return out.bytes();
}

inline Result<> restored(Device& device, std::span<const u8> bytes) {
  device.pause();
  state::Reader in(std::string(device.name()), device.state_version(), bytes);
  auto result = device.restore(in);
  device.resume();
  return result;
}

/// `fresh` after restoring what `from` saved saves the same bytes.
inline void check_round_trip(Device& from, Device& fresh) {
  const auto bytes = saved(from);
  auto result = restored(fresh, bytes);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(saved(fresh), bytes) << from.name();
}

/// reset() in whatever state `device` is gives the state of a `fresh` one.
inline void check_reset(Device& device, Device& fresh) {
  device.reset();
  EXPECT_EQ(saved(device), saved(fresh)) << device.name();
}

/// Truncated, overlong and random states are refused or taken, never harmful, and leave a device that works: after a
/// refusal it is as after reset. `make` builds one in power-on state.
inline void check_bad_states(Device& from, const std::function<std::unique_ptr<Device>()>& make) {
  const auto good = saved(from);
  const auto pristine = saved(*make());
  auto refused = [&](std::span<const u8> bytes) {
    auto victim = make();
    EXPECT_FALSE(restored(*victim, bytes)) << victim->name() << ": " << bytes.size() << " bytes";
    EXPECT_EQ(saved(*victim), pristine) << victim->name() << " is not reset after a refused state";
  };
  const std::size_t step = good.size() < 256 ? 1 : good.size() / 128;
  for (std::size_t size = 0; size < good.size(); size += step) refused(std::span(good).first(size));
  auto longer = good;
  longer.push_back(0);
  refused(longer);
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    auto noise = good;
    for (int flips = 0; flips < 1 + round % 16 && !noise.empty(); ++flips)
      noise[random() % noise.size()] = static_cast<u8>(random());
    auto victim = make();
    if (restored(*victim, noise)) {
      (void)saved(*victim);
    } else {
      EXPECT_EQ(saved(*victim), pristine);
    }
    victim->reset();
    EXPECT_EQ(saved(*victim), pristine) << victim->name() << " cannot be reset after a strange state";
  }
}

/// Reads and writes of sizes 1..`widest` at every offset of [first, first+size) and a little beyond, with values that
/// like to break things. Returns having proven only that nothing crashed or hung: check the device afterwards.
inline void poke_nonsense(IoTarget& target, u64 first, u64 size, unsigned widest = 8, u32 seed = 1,
                          unsigned rounds = 4) {
  std::mt19937_64 random(seed);
  constexpr std::array<u64, 8> nasty{0, ~u64{0}, 1, 0x80, 0x8000, 0x8000'0000, 0x7fff'ffff, 0x5555'aaaa'5555'aaaa};
  std::array<u8, 8> data{};
  for (unsigned round = 0; round < rounds; ++round) {
    for (u64 offset = first; offset < first + size + 2; ++offset) {
      const unsigned length = 1 + static_cast<unsigned>(random() % widest);
      const u64 value = random() % 2 ? random() : nasty[random() % nasty.size()];
      for (unsigned i = 0; i < length; ++i) data[i] = static_cast<u8>(value >> (8 * i));
      if (random() % 3) {
        target.io_write(offset, std::span(data).first(length));
      } else {
        target.io_read(offset, std::span(data).first(length));
      }
    }
  }
}

/// All of the above for a device that answers accesses at [first, first+size). `make` builds the device in power-on
/// state; `drive` puts one into some state number `i` worth saving (may be empty: nonsense then makes the states).
template <class D>
void check_device_contract(const std::function<std::unique_ptr<D>()>& make, u64 first, u64 size, unsigned widest = 8,
                           const std::function<void(D&, unsigned)>& drive = {}) {
  const auto pristine = saved(*make());
  for (unsigned i = 0; i < 24; ++i) {
    auto device = make();
    if (drive) drive(*device, i);
    if (!drive || i % 2) poke_nonsense(*device, first, size, widest, i + 1, 1 + i % 4);
    auto fresh = make();
    check_round_trip(*device, *fresh);
    check_reset(*device, *make());
    check_reset(*fresh, *make());
  }
  auto device = make();
  if (drive) drive(*device, 0);
  poke_nonsense(*device, first, size, widest);
  check_bad_states(*device, [&]() -> std::unique_ptr<Device> { return make(); });
}

}  // namespace nagaya::bus::testing
