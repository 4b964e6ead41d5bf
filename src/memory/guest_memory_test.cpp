#include "memory/guest_memory.hpp"

#include <gtest/gtest.h>

#include "memory/dirty_bitmap.hpp"

namespace nagaya::memory {
namespace {

TEST(GuestMemory, SplitsAroundTheHole) {
  auto memory = GuestMemory::create(4 * GiB, 3 * GiB);
  ASSERT_TRUE(memory);
  const auto regions = (*memory)->regions();
  ASSERT_EQ(regions.size(), 2u);
  EXPECT_EQ(regions[0].size, 3 * GiB);
  EXPECT_EQ(regions[1].gpa, Gpa(4 * GiB));
  EXPECT_EQ(regions[1].size, 1 * GiB);
  EXPECT_EQ(regions[1].file_offset, 3 * GiB);
  EXPECT_EQ((*memory)->host(Gpa(3 * GiB), 1), nullptr);
  EXPECT_NE((*memory)->host(Gpa(3 * GiB - 1), 1), nullptr);
  EXPECT_EQ((*memory)->host(Gpa(3 * GiB - 1), 2), nullptr);
  EXPECT_EQ((*memory)->host(Gpa(~u64{0}), 2), nullptr);
  EXPECT_EQ((*memory)->host(Gpa(0), ~u64{0}), nullptr);
}

TEST(GuestMemory, RefusesSizesThatMakeNoSense) {
  EXPECT_FALSE(GuestMemory::create(0));
  EXPECT_FALSE(GuestMemory::create(4097));
  EXPECT_FALSE(GuestMemory::create(u64{1} << 60));
  EXPECT_FALSE(GuestMemory::create(4096, 5 * GiB));
}

TEST(GuestMemory, CopiesAreBoundedAndTold) {
  auto memory = GuestMemory::create(64 * KiB).value();
  Gpa told;
  u64 told_size = 0;
  memory->on_write([&](Gpa at, u64 size) { told = at, told_size = size; });
  ASSERT_TRUE(memory->write_value(Gpa(0x1234), u32{0xdeadbeef}));
  EXPECT_EQ(told, Gpa(0x1234));
  EXPECT_EQ(told_size, 4u);
  EXPECT_EQ(memory->read_value<u32>(Gpa(0x1234)).value(), 0xdeadbeefu);
  EXPECT_FALSE(memory->write_value(Gpa(64 * KiB - 2), u32{1}));
  EXPECT_FALSE(memory->read_value<u32>(Gpa(64 * KiB - 2)));
  EXPECT_FALSE(memory->read_value<u8>(Gpa(~u64{0})));
}

TEST(GuestMemory, RomIsReadOnlyAndMayNotOverlap) {
  auto memory = GuestMemory::create(64 * KiB).value();
  const std::vector<u8> rom(5000, 0x5a);
  ASSERT_TRUE(memory->add_rom(Gpa(0xfffe0000), rom));
  EXPECT_EQ(memory->read_value<u8>(Gpa(0xfffe0000 + 4999)).value(), 0x5a);
  EXPECT_EQ(memory->read_value<u8>(Gpa(0xfffe0000 + 5000)).value(), 0);
  EXPECT_FALSE(memory->write_value(Gpa(0xfffe0000), u8{1}));
  EXPECT_EQ(memory->host(Gpa(0xfffe0000), 1, true), nullptr);
  EXPECT_FALSE(memory->add_rom(Gpa(0xfffe1000), rom));
  EXPECT_FALSE(memory->add_rom(Gpa(0xf000), rom));
}

TEST(GuestMemory, AFileIsMemoryButNoRam) {
  auto memory = GuestMemory::create(64 * KiB).value();
  auto file = host::Fd::memfd("file", 2 * page_size).value();
  ASSERT_TRUE(host::write_all(file.get(), std::string_view("file")));
  ASSERT_TRUE(memory->add_file(Gpa(8 * GiB), file.get(), 2 * page_size, 2 * page_size, true));
  EXPECT_EQ(memory->regions().size(), 2u);
  EXPECT_FALSE(memory->regions()[1].is_ram());
  ASSERT_TRUE(memory->write_value(Gpa(8 * GiB), u8{'F'}));
  memory->zero_ram();
  EXPECT_EQ(memory->read_value<u32>(Gpa(8 * GiB)).value(), 0x656c6946u);
  EXPECT_FALSE(memory->add_file(Gpa(8 * GiB + page_size), file.get(), page_size, page_size, true));
  EXPECT_FALSE(memory->add_file(Gpa(9 * GiB), file.get(), page_size, 2 * page_size, true));
  // Read-only, with room behind the file.
  ASSERT_TRUE(memory->add_file(Gpa(9 * GiB), file.get(), page_size, 3 * page_size, false));
  EXPECT_EQ(memory->read_value<u8>(Gpa(9 * GiB)).value(), 'F');
  EXPECT_EQ(memory->read_value<u8>(Gpa(9 * GiB + 2 * page_size)).value(), 0);
  EXPECT_FALSE(memory->write_value(Gpa(9 * GiB), u8{0}));
  EXPECT_EQ(memory->host(Gpa(9 * GiB), 1, true), nullptr);
}

TEST(GuestMemory, ZeroRamForgetsAll) {
  auto memory = GuestMemory::create(64 * KiB).value();
  ASSERT_TRUE(memory->fill(Gpa(0), 64 * KiB, 0xff));
  memory->zero_ram();
  EXPECT_EQ(memory->read_value<u64>(Gpa(0x8000)).value(), 0u);
}

TEST(GuestMemory, GivesPagesBack) {
  auto memory = GuestMemory::create(1 * MiB, 512 * KiB).value();
  ASSERT_TRUE(memory->add_rom(Gpa(0xfffe0000), std::vector<u8>(8192, 0x5a)));
  ASSERT_TRUE(memory->fill(Gpa(0), 512 * KiB, 0xff));
  ASSERT_TRUE(memory->fill(Gpa(4 * GiB), 512 * KiB, 0xee));
  u64 told = 0;
  memory->on_write([&](Gpa, u64 size) { told += size; });
  ASSERT_TRUE(memory->give_back(Gpa(0x2000), 0x3000));
  ASSERT_TRUE(memory->give_back(Gpa(4 * GiB), page_size));
  EXPECT_EQ(told, 4 * page_size);
  EXPECT_EQ(memory->read_value<u64>(Gpa(0x2000)).value(), 0u);
  EXPECT_EQ(memory->read_value<u8>(Gpa(0x1fff)).value(), 0xff);
  EXPECT_EQ(memory->read_value<u8>(Gpa(0x5000)).value(), 0xff);
  EXPECT_EQ(memory->read_value<u8>(Gpa(4 * GiB)).value(), 0);
  EXPECT_EQ(memory->read_value<u8>(Gpa(4 * GiB + page_size)).value(), 0xee);
  EXPECT_FALSE(memory->give_back(Gpa(0xfffe0000), page_size)) << "ROM";
  EXPECT_FALSE(memory->give_back(Gpa(0x2001), page_size));
  EXPECT_FALSE(memory->give_back(Gpa(0x2000), 100));
  EXPECT_FALSE(memory->give_back(Gpa(512 * KiB - page_size), 2 * page_size)) << "over the end of a region";
  EXPECT_FALSE(memory->give_back(Gpa(2 * MiB), page_size));
}

TEST(DirtyBitmap, TakesEachPageOnce) {
  auto memory = GuestMemory::create(4 * MiB, 1 * MiB).value();
  DirtyBitmap dirty(memory->regions());
  dirty.mark(Gpa(0xfff), 2);
  dirty.mark(Gpa(4 * GiB + 5 * page_size), 1);
  dirty.mark(Gpa(2 * MiB), 4096);            // a hole
  dirty.mark(Gpa(~u64{0} - 10), ~u64{0});    // wraps
  EXPECT_TRUE(dirty.test(Gpa(0x1000)));
  EXPECT_EQ(dirty.take(), (std::vector<Gpa>{Gpa(0), Gpa(0x1000), Gpa(4 * GiB + 5 * page_size)}));
  EXPECT_TRUE(dirty.take().empty());
  dirty.mark_all();
  EXPECT_EQ(dirty.take().size(), 1024u);
}

}  // namespace
}  // namespace nagaya::memory
