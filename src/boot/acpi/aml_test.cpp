#include "boot/acpi/aml.hpp"

#include <gtest/gtest.h>

namespace nagaya::boot::aml {
namespace {

TEST(Aml, IntegersTakeTheShortestForm) {
  EXPECT_EQ(integer(0), Term({0}));
  EXPECT_EQ(integer(1), Term({1}));
  EXPECT_EQ(integer(0xff), Term({0x0a, 0xff}));
  EXPECT_EQ(integer(0x100), Term({0x0b, 0, 1}));
  EXPECT_EQ(integer(0x10000), Term({0x0c, 0, 0, 1, 0}));
  EXPECT_EQ(integer(u64{1} << 32), Term({0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(Aml, PathsArePaddedAndPrefixed) {
  EXPECT_EQ(path("S5"), Term({'S', '5', '_', '_'}));
  EXPECT_EQ(path("\\_S5"), Term({'\\', '_', 'S', '5', '_'}));
  EXPECT_EQ(path("_SB.PCI0"), Term({0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0'}));
  EXPECT_EQ(path("\\A.B.C"), Term({'\\', 0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_', '_'}));
}

TEST(Aml, EisaIdsAreCompressed) {
  EXPECT_EQ(eisa_id("PNP0A03"), Term({0x0c, 0x41, 0xd0, 0x0a, 0x03}));
  EXPECT_EQ(eisa_id("PNP0000"), Term({0x0b, 0x41, 0xd0}));
  EXPECT_EQ(eisa_id("PNP0501"), Term({0x0c, 0x41, 0xd0, 0x05, 0x01}));
}

TEST(Aml, UuidsHaveMixedByteOrder) {
  const Term term = uuid("33db4d5b-1ff7-401c-9657-7441c03dd766");
  const Bytes expected = {0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
                          0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66};
  EXPECT_EQ(Bytes(term.end() - 16, term.end()), expected);
}

// The length counts itself; where one more byte is needed, it counts that too.
TEST(Aml, PackageLengthsAtTheirLimits) {
  const auto length = [](std::size_t content, std::ptrdiff_t bytes) {
    const Term term = scope("ABCD", Term(content - 4));
    return Bytes(term.begin() + 1, term.begin() + 1 + bytes);
  };
  EXPECT_EQ(length(62, 1), Bytes({63}));
  EXPECT_EQ(length(63, 2), Bytes({0x41, 0x04}));          // 65
  EXPECT_EQ(length(4093, 2), Bytes({0x4f, 0xff}));        // 4095
  EXPECT_EQ(length(4094, 3), Bytes({0x81, 0x00, 0x01}));  // 4097
}

TEST(Aml, ResourcesEndWithATag) {
  const Term term = resources({io(0x3f8, 8), irq(4)});
  const Bytes expected = {0x11, 0x10, 0x0a, 0x0d, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x22, 0x10, 0, 0x79, 0};
  EXPECT_EQ(term, expected);
}

}  // namespace
}  // namespace nagaya::boot::aml
