#include "virtio/pmem/pmem.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "virtio/contract_test_util.hpp"

namespace nagaya::virtio {
namespace {

using testing::data_base;
using testing::PciGuest;

constexpr Gpa place(64 * GiB);

struct PmemTest : ::testing::Test {
  PmemTest() {
    std::string name = (std::filesystem::temp_directory_path() / "nagaya-pmem-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    dir = name;
    path = dir / "file";
    std::ofstream(path) << "content";
    std::filesystem::resize_file(path, 4 * MiB);
  }
  ~PmemTest() override { std::filesystem::remove_all(dir); }

  std::unique_ptr<Pmem> make(memory::GuestMemory& into, bool read_only = false, bool map = true) {
    auto file = PmemFile::open(path, read_only);
    EXPECT_TRUE(file) << file.error().message();
    if (map) {
      const auto mapped = into.add_file(place, file->fd.get(), file->file_size, file->size, !read_only);
      EXPECT_TRUE(mapped) << mapped.error().message();
    }
    return std::make_unique<Pmem>("pmem0", into, std::move(*file), place);
  }
  u32 flush(PciGuest& guest, u32 kind = 0) {
    (void)memory->write_value<u32>(Gpa(data_base), kind);
    EXPECT_EQ(guest.request(0, {{data_base, 4}, {data_base + 64, 4, true}}), 4u);
    return *memory->read_value<u32>(Gpa(data_base + 64));
  }

  std::filesystem::path dir, path;
  std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(testing::guest_ram);
};

TEST_F(PmemTest, TheFileIsMemoryAndFlushesReachIt) {
  PciGuest guest(*memory, make(*memory));
  guest.bring_up();
  EXPECT_EQ(guest.load(0x2000, 4), 0u);
  EXPECT_EQ(guest.load(0x2004, 4), 16u);
  EXPECT_EQ(guest.load(0x2008, 4), 4 * MiB);
  EXPECT_EQ(*memory->read_value<u32>(place), 0x746e6f63u);  // "cont"
  ASSERT_TRUE(memory->write_value<u8>(place, 'C'));
  EXPECT_EQ(flush(guest), 0u);
  std::ifstream in(path);
  std::string text(7, ' ');
  in.read(text.data(), 7);
  EXPECT_EQ(text, "Content");
  EXPECT_NE(flush(guest, 1), 0u);
  // All blocks are there.
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_GE(static_cast<u64>(info.st_blocks) * 512, 4 * MiB);
}

TEST_F(PmemTest, ReadOnlyMemoryTakesNoWritesAndNoFlush) {
  std::filesystem::resize_file(path, 3 * MiB + 5);
  PciGuest guest(*memory, make(*memory, true));
  guest.bring_up();
  EXPECT_EQ(guest.load(0x2008, 4), 4 * MiB);
  EXPECT_EQ(*memory->read_value<u32>(place), 0x746e6f63u);
  EXPECT_EQ(*memory->read_value<u32>(place + (4 * MiB - 4)), 0u);  // behind the file
  EXPECT_FALSE(memory->write_value<u8>(place, 'C'));
  EXPECT_EQ(memory->host(place, 1, true), nullptr);
  EXPECT_NE(flush(guest), 0u);
}

TEST_F(PmemTest, RamResetsLeaveItAlone) {
  PciGuest guest(*memory, make(*memory));
  memory->zero_ram();
  EXPECT_EQ(*memory->read_value<u32>(place), 0x746e6f63u);
}

TEST_F(PmemTest, BadFilesAreRefused) {
  EXPECT_FALSE(PmemFile::open(dir, true));
  EXPECT_FALSE(PmemFile::open(dir / "none", true));
  const auto first = PmemFile::open(path, false);
  ASSERT_TRUE(first);
  EXPECT_FALSE(PmemFile::open(path, false));
  EXPECT_FALSE(PmemFile::open(path, true));
  std::ofstream(dir / "odd") << "x";
  EXPECT_FALSE(PmemFile::open(dir / "odd", false));
  EXPECT_TRUE(PmemFile::open(dir / "odd", true));
  EXPECT_TRUE(PmemFile::open(dir / "odd", true));
  std::ofstream(dir / "empty");
  EXPECT_FALSE(PmemFile::open(dir / "empty", true));
}

TEST_F(PmemTest, NonsenseAsksForAReset) {
  PciGuest guest(*memory, make(*memory));
  guest.bring_up();
  EXPECT_TRUE(guest.request(0, {{data_base, 4}, {data_base + 64, 3, true}}));
  EXPECT_TRUE(testing::eventually([&] { return (guest.status() & status::needs_reset) != 0; }));
  guest.bring_up();
  EXPECT_EQ(flush(guest), 0u);
}

TEST_F(PmemTest, AnotherFileIsNotRestored) {
  std::vector<u8> state;
  {
    PciGuest guest(*memory, make(*memory));
    state = bus::testing::saved(*guest.pci);
  }
  std::filesystem::resize_file(path, 6 * MiB);
  memory = *memory::GuestMemory::create(testing::guest_ram);  // the old one's mapping holds the lock
  PciGuest other(*memory, make(*memory));
  EXPECT_FALSE(bus::testing::restored(*other.pci, state));
}

TEST_F(PmemTest, Contract) {
  // Several devices of one file at a time, as only readers may be.
  testing::check_virtio_contract([&](memory::GuestMemory& into) { return make(into, true, into.host(place, 1) == nullptr); });
}

}  // namespace
}  // namespace nagaya::virtio
