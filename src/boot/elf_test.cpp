#include "boot/elf.hpp"

#include <gtest/gtest.h>

#include <cstddef>

#include "boot/boot_test_util.hpp"
#include "boot/image_test_util.hpp"

namespace nagaya::boot {
namespace {

using test::ElfSpec;
using test::make_elf;

TEST(Elf, ReadsSegmentsAndNotesOfBothWidths) {
  for (bool is_64 : {true, false}) {
    const Bytes file = make_elf({.is_64 = is_64, .vaddr = 0xc100'0000, .pvh_entry = 16 * MiB + 8, .linux_note = true});
    const auto image = parse_elf(file);
    ASSERT_TRUE(image) << image.error().message();
    EXPECT_EQ(image->is_64, is_64);
    EXPECT_EQ(image->entry, 16 * MiB);
    ASSERT_EQ(image->segments.size(), 1u);
    EXPECT_EQ(image->segments[0].file.size(), 64u);
    EXPECT_EQ(image->segments[0].memory_size, 64u + 4096);
    EXPECT_TRUE(is_linux(*image));
    const auto entry = pvh_entry(*image);
    ASSERT_TRUE(entry);
    EXPECT_EQ(*entry, 16 * MiB + 8);
  }
}

TEST(Elf, NotesMayBeAlignedToEight) {
  const Bytes file = make_elf({.pvh_entry = 16 * MiB + 8, .linux_note = true, .note_align = 8});
  const auto image = parse_elf(file);
  ASSERT_TRUE(image);
  EXPECT_EQ(*pvh_entry(*image), 16 * MiB + 8);
}

TEST(Elf, LinuxIsAlsoKnownByItsBanner) {
  ElfSpec spec;
  const Bytes plain = make_elf(spec);
  EXPECT_FALSE(is_linux(*parse_elf(plain)));
  append_text(spec.code, "Linux version 2.6.18 (", 22);
  const Bytes with_banner = make_elf(spec);
  EXPECT_TRUE(is_linux(*parse_elf(with_banner)));
}

TEST(Elf, PvhEntryMustBeLoaded) {
  const Bytes file = make_elf({.pvh_entry = 8 * MiB});
  EXPECT_FALSE(pvh_entry(*parse_elf(file)));
}

struct Break {
  const char* what;
  std::size_t offset;
  u64 value;
  int width;
  const char* message;
};

class BrokenElf : public testing::TestWithParam<Break> {};

TEST_P(BrokenElf, IsRefusedWithAReason) {
  Bytes file = make_elf({});
  const Break& b = GetParam();
  if (b.width == 1) poke<u8>(file, b.offset, static_cast<u8>(b.value));
  if (b.width == 2) poke<u16>(file, b.offset, static_cast<u16>(b.value));
  if (b.width == 8) poke<u64>(file, b.offset, b.value);
  const auto image = parse_elf(file);
  ASSERT_FALSE(image);
  EXPECT_NE(image.error().message().find(b.message), std::string::npos) << image.error().message();
}

constexpr std::size_t phdr = test::phdr64;
INSTANTIATE_TEST_SUITE_P(
    Headers, BrokenElf,
    testing::Values(Break{"class", EI_CLASS, 9, 1, "class"}, Break{"endian", EI_DATA, ELFDATA2MSB, 1, "little-endian"},
                    Break{"machine", 18, EM_AARCH64, 2, "not x86"}, Break{"type", 16, ET_REL, 2, "not an executable"},
                    Break{"count0", offsetof(Elf64_Ehdr, e_phnum), 0, 2, "no program headers"},
                    Break{"count", offsetof(Elf64_Ehdr, e_phnum), 0xffff, 2, "absurd"},
                    Break{"table", offsetof(Elf64_Ehdr, e_phoff), ~u64{0} - 5, 8, "outside the file"},
                    Break{"entsize", offsetof(Elf64_Ehdr, e_phentsize), 8, 2, "too small"},
                    Break{"offset", phdr + offsetof(Elf64_Phdr, p_offset), ~u64{0} - 10, 8, "outside the file"},
                    Break{"filesz", phdr + offsetof(Elf64_Phdr, p_filesz), 1 << 20, 8, "outside the file"},
                    Break{"memsz", phdr + offsetof(Elf64_Phdr, p_memsz), 3, 8, "only 0x3 in memory"},
                    Break{"wrap", phdr + offsetof(Elf64_Phdr, p_paddr), ~u64{0} - 10, 8, "wraps"},
                    Break{"nothing", phdr, PT_NULL, 1, "no segment"}),
    [](const auto& info) { return info.param.what; });

TEST(Elf, OverlappingSegmentsAreRefused) {
  Bytes file = make_elf({});
  // The note header becomes a second PT_LOAD at the same place.
  std::memcpy(file.data() + phdr + sizeof(Elf64_Phdr), file.data() + phdr, sizeof(Elf64_Phdr));
  const auto image = parse_elf(file);
  ASSERT_FALSE(image);
  EXPECT_NE(image.error().message().find("overlap"), std::string::npos);
}

TEST(Elf, EveryTruncationIsSafe) {
  const Bytes file = make_elf({.pvh_entry = 16 * MiB, .linux_note = true});
  for (std::size_t size = 0; size < file.size(); ++size) {
    const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(parse_elf(cut)) << size;
  }
}

TEST(Elf, LoadsContentAndZeroes) {
  const auto memory = test::ram(32 * MiB);
  ElfSpec spec;
  spec.code = Bytes(3 * page_size + 10, 0xcc);
  std::fill(spec.code.begin() + page_size, spec.code.begin() + 2 * page_size, 0);
  const Bytes file = make_elf(spec);
  for (bool zero : {true, false}) {
    ASSERT_TRUE(memory->fill(Gpa(15 * MiB), 2 * MiB, zero ? 0xff : 0));
    Placement placement(build_memory_map(*memory));
    ASSERT_TRUE(load_elf(*parse_elf(file), *memory, placement, zero));
    EXPECT_EQ(test::at<u8>(*memory, 16 * MiB), 0xcc);
    EXPECT_EQ(test::at<u8>(*memory, 16 * MiB + page_size), 0);
    EXPECT_EQ(test::at<u8>(*memory, 16 * MiB + 3 * page_size + 9), 0xcc);
    EXPECT_EQ(test::at<u8>(*memory, 16 * MiB + 3 * page_size + 10), 0);
    EXPECT_EQ(test::at<u8>(*memory, 16 * MiB + 4 * page_size + 9), 0);
    EXPECT_EQ(test::at<u8>(*memory, 16 * MiB + 4 * page_size + 10), zero ? 0xff : 0);
  }
}

}  // namespace
}  // namespace nagaya::boot
