#include "bus/bus.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "bus/bytes.hpp"
#include "bus/io_window.hpp"

namespace nagaya::bus {
namespace {

/// Bytes read back as written; remembers the sizes of accesses.
struct Ram : IoTarget {
  explicit Ram(std::size_t size) : bytes(size) {}
  void io_read(u64 offset, std::span<u8> data) override {
    sizes.push_back(data.size());
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = bytes.at(offset + i);
  }
  void io_write(u64 offset, std::span<const u8> data) override {
    sizes.push_back(data.size());
    for (std::size_t i = 0; i < data.size(); ++i) bytes.at(offset + i) = data[i];
  }
  std::vector<u8> bytes;
  std::vector<std::size_t> sizes;
};

u64 read(const AddressMap& map, u64 address, std::size_t size) {
  std::array<u8, 16> data{};
  map.read(address, std::span(data).first(size));
  return load_le(std::span(data).first(size));
}

void write(const AddressMap& map, u64 address, std::size_t size, u64 value) {
  std::array<u8, 16> data{};
  store_le(std::span(data).first(size), value);
  map.write(address, std::span(data).first(size));
}

TEST(AddressMap, UnclaimedReadsOnesAndDropsWrites) {
  AddressMap map;
  EXPECT_EQ(read(map, 0x80, 4), 0xffffffffu);
  write(map, ~u64{0}, 8, 1);
  EXPECT_EQ(read(map, ~u64{0} - 2, 8), ~u64{0});
  EXPECT_FALSE(map.claims(0));
}

TEST(AddressMap, GrowsWithoutLimit) {
  AddressMap map;
  std::vector<std::unique_ptr<Ram>> rams;
  for (u64 i = 0; i < 300; ++i) {
    rams.push_back(std::make_unique<Ram>(8));
    ASSERT_TRUE(map.add(0x10000 - 16 * i, 8, *rams.back(), "many"));
  }
  for (u64 i = 0; i < 300; ++i) {
    write(map, 0x10000 - 16 * i, 4, i + 1);
    EXPECT_EQ(load_le(std::span(rams[i]->bytes).first(4)), i + 1);
    EXPECT_FALSE(map.claims(0x10008 - 16 * i));
  }
}

TEST(AddressMap, RefusesOverlapsAndEmptyRanges) {
  AddressMap map;
  Ram ram(16);
  ASSERT_TRUE(map.add(0x100, 16, ram, "a"));
  EXPECT_FALSE(map.add(0x100, 16, ram, "same"));
  EXPECT_FALSE(map.add(0xf8, 9, ram, "tail"));
  EXPECT_FALSE(map.add(0x10f, 1, ram, "inside"));
  EXPECT_FALSE(map.add(0x80, 0x1000, ram, "around"));
  EXPECT_FALSE(map.add(0x200, 0, ram, "empty"));
  EXPECT_FALSE(map.add(~u64{0}, 2, ram, "wraps"));
  EXPECT_TRUE(map.add(0xf8, 8, ram, "before"));
  EXPECT_TRUE(map.add(0x110, 16, ram, "after"));
  EXPECT_TRUE(map.add(~u64{0}, 1, ram, "last byte"));
  auto clash = map.add(0x101, 1, ram, "late");
  ASSERT_FALSE(clash);
  EXPECT_NE(clash.error().message().find("'a'"), std::string::npos);
  map.remove(0x100);
  EXPECT_TRUE(map.add(0x100, 16, ram, "again"));
}

TEST(AddressMap, SplitsAccessesThatStraddle) {
  AddressMap map;
  Ram first(4), second(4);
  ASSERT_TRUE(map.add(0x10, 4, first, "first"));
  ASSERT_TRUE(map.add(0x14, 4, second, "second"));
  write(map, 0x10, 8, 0x8877665544332211);
  EXPECT_EQ(first.bytes, (std::vector<u8>{0x11, 0x22, 0x33, 0x44}));
  EXPECT_EQ(second.bytes, (std::vector<u8>{0x55, 0x66, 0x77, 0x88}));
  EXPECT_EQ(read(map, 0x11, 4), 0x55443322u);
  EXPECT_EQ(read(map, 0x16, 4), 0xffff8877u);  // the last two are nobody's
  EXPECT_EQ(read(map, 0x0e, 4), 0x2211ffffu);
  first.sizes.clear();
  EXPECT_EQ(read(map, 0x11, 3), 0x443322u);  // fits: passed on as it is
  EXPECT_EQ(first.sizes, (std::vector<std::size_t>{3}));
  first.sizes.clear();
  EXPECT_EQ(read(map, 0x11, 5), 0x6655443322u);  // straddles: powers of two
  EXPECT_EQ(first.sizes, (std::vector<std::size_t>{2, 1}));
}

TEST(AddressMap, AccessWiderThanAnyBusIsCut) {
  AddressMap map;
  Ram ram(16);
  ASSERT_TRUE(map.add(0, 16, ram, "ram"));
  std::array<u8, 16> data{};
  data.fill(7);
  map.write(0, data);
  EXPECT_EQ(ram.sizes, (std::vector<std::size_t>{8, 8}));
  EXPECT_EQ(ram.bytes, std::vector<u8>(16, 7));
}

/// Moves itself when written, as a BAR does.
struct Mover : IoTarget {
  explicit Mover(AddressMap& m) : map(m) {}
  void io_read(u64, std::span<u8> data) override { store_le(data, 1); }
  void io_write(u64, std::span<const u8> data) override {
    map.remove(at);
    at = load_le(data);
    ASSERT_TRUE(map.add(at, 1, *this, "mover"));
  }
  AddressMap& map;
  u64 at = 0;
};

TEST(AddressMap, TargetMayChangeTheMapItIsCalledFrom) {
  AddressMap map;
  Mover mover(map);
  ASSERT_TRUE(map.add(0, 1, mover, "mover"));
  write(map, 0, 1, 9);
  EXPECT_FALSE(map.claims(0));
  EXPECT_TRUE(map.claims(9));
}

TEST(AddressMap, LookupsRaceWithChanges) {
  AddressMap map;
  Ram still(8);
  struct Quiet : IoTarget {
    void io_read(u64, std::span<u8> data) override { store_le(data, 0x42); }
    void io_write(u64, std::span<const u8>) override {}
  } quiet;
  ASSERT_TRUE(map.add(0x1000, 8, quiet, "still"));
  std::atomic<bool> stop = false;
  std::thread changer([&] {
    while (!stop) {
      (void)map.add(0x10, 8, still, "moving");
      map.remove(0x10);
    }
  });
  for (int i = 0; i < 20000; ++i) ASSERT_EQ(read(map, 0x1000, 1), 0x42u);
  stop = true;
  changer.join();
}

TEST(IoWindow, AddsItsBase) {
  AddressMap map;
  Ram ram(0x100);
  IoWindow low(ram, 0x20), high(ram, 0xa0);
  ASSERT_TRUE(map.add(0x20, 2, low, "low"));
  ASSERT_TRUE(map.add(0xa0, 2, high, "high"));
  write(map, 0xa1, 1, 5);
  EXPECT_EQ(ram.bytes[0xa1], 5);
}

}  // namespace
}  // namespace nagaya::bus
