#include "state/archive.hpp"

#include <gtest/gtest.h>

#include <random>

#include "state/crc32.hpp"

namespace nagaya::state {
namespace {

std::vector<u8> sample() {
  Writer first, second;
  first.put(u32{0x12345678});
  first.put_string("hello");
  first.put(true);
  second.put(u64{7});
  ArchiveWriter archive;
  archive.add("first", 2, first);
  archive.add("second", 1, second);
  return archive.finish();
}

TEST(Crc32, KnownValues) {
  const std::string_view text = "123456789";
  const std::span bytes(reinterpret_cast<const u8*>(text.data()), text.size());
  EXPECT_EQ(crc32(bytes), 0xcbf43926u);
  EXPECT_EQ(crc32(bytes.subspan(4), crc32(bytes.first(4))), 0xcbf43926u);
  EXPECT_EQ(crc32({}), 0u);
}

TEST(Archive, ReadsBackWhatWasWritten) {
  auto archive = ArchiveReader::parse(sample());
  ASSERT_TRUE(archive) << archive.error().message();
  auto reader = archive->open("first", 3);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->version(), 2u);
  EXPECT_EQ(reader->get<u32>(), 0x12345678u);
  EXPECT_EQ(reader->get_string(), "hello");
  EXPECT_TRUE(reader->get<bool>());
  EXPECT_TRUE(reader->finish());
}

TEST(Archive, TellsMissingAndNewerSections) {
  auto archive = ArchiveReader::parse(sample()).value();
  EXPECT_FALSE(archive.open("third", 1));
  EXPECT_FALSE(archive.open("first", 1));
  EXPECT_TRUE(archive.has("second"));
}

TEST(Archive, ShortLongAndRejectedSectionsAreErrors) {
  auto archive = ArchiveReader::parse(sample()).value();
  auto half = archive.open("second", 1).value();
  EXPECT_EQ(half.get<u32>(), 7u);
  EXPECT_FALSE(half.finish());
  auto more = archive.open("second", 1).value();
  EXPECT_EQ(more.get<u64>(), 7u);
  EXPECT_EQ(more.get<u32>(), 0u);
  EXPECT_FALSE(more.finish());
  auto odd = archive.open("second", 1).value();
  (void)odd.get<u64>();
  odd.reject("seven is odd");
  auto verdict = odd.finish();
  ASSERT_FALSE(verdict);
  EXPECT_NE(verdict.error().message().find("seven is odd"), std::string::npos);
}

TEST(Archive, EveryTruncationIsRefused) {
  const auto whole = sample();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(ArchiveReader::parse({whole.begin(), whole.begin() + static_cast<long>(size)})) << size;
  }
  auto longer = whole;
  longer.push_back(0);
  EXPECT_FALSE(ArchiveReader::parse(longer));
}

TEST(Archive, EveryFlippedBitIsRefused) {
  const auto whole = sample();
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    auto bad = whole;
    bad[bit / 8] ^= static_cast<u8>(1 << (bit % 8));
    EXPECT_FALSE(ArchiveReader::parse(bad)) << bit;
  }
}

TEST(Archive, RandomBytesNeverPass) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    auto bytes = sample();
    for (int i = 0; i < 8; ++i) bytes[12 + random() % (bytes.size() - 12)] = static_cast<u8>(random());
    (void)ArchiveReader::parse(bytes);
  }
}

TEST(Reader, HostileStringLength) {
  Writer out;
  out.put(u32{0xffffffff});
  Reader in("x", 1, out.bytes());
  EXPECT_EQ(in.get_string(), "");
  EXPECT_FALSE(in.finish());
}

}  // namespace
}  // namespace nagaya::state
