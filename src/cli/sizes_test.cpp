#include "cli/sizes.hpp"

#include <gtest/gtest.h>

namespace nagaya::cli {
namespace {

TEST(Sizes, ReadsWhatPeopleType) {
  EXPECT_EQ(parse_size("512M"), 512 * MiB);
  EXPECT_EQ(parse_size("512m"), 512 * MiB);
  EXPECT_EQ(parse_size("2G"), 2 * GiB);
  EXPECT_EQ(parse_size("1.5G"), 3 * GiB / 2);
  EXPECT_EQ(parse_size("64KiB"), 64 * KiB);
  EXPECT_EQ(parse_size("2GB"), 2'000'000'000u);
  EXPECT_EQ(parse_size("4096"), 4096u);
  EXPECT_EQ(parse_size("0"), 0u);
  EXPECT_EQ(parse_size("1T"), 1024 * GiB);
  EXPECT_EQ(parse_size("18446744073709551615"), ~u64{0});
}

TEST(Sizes, RefusesTheRestAndSaysWhy) {
  for (const char* text : {"", "M", "-1M", "1X", "1 M", "1.G", "1..5G", ".5G", "0x10", "1.5", "1.0000001G", "16777216T",
                           "18446744073709551616", "99999999999999999999G", "512MM", "NaN", "1e9"}) {
    auto size = parse_size(text);
    ASSERT_FALSE(size) << text;
    EXPECT_FALSE(size.error().why.empty()) << text;
  }
  EXPECT_NE(parse_size("12Q").error().message().find("'Q' is no unit"), std::string::npos);
}

TEST(Sizes, FormatIsExactAndReadsBack) {
  EXPECT_EQ(format_size(512 * MiB), "512M");
  EXPECT_EQ(format_size(1000), "1000");
  for (u64 bytes : {u64{0}, u64{1}, 1536 * MiB, 3 * KiB, ~u64{0}}) EXPECT_EQ(parse_size(format_size(bytes)), bytes);
}

TEST(Sizes, ReadsTimes) {
  EXPECT_EQ(parse_duration_ms("30s"), 30'000u);
  EXPECT_EQ(parse_duration_ms("1m30s"), 90'000u);
  EXPECT_EQ(parse_duration_ms("500ms"), 500u);
  EXPECT_EQ(parse_duration_ms("1h0m1s1ms"), 3'601'001u);
  for (const char* text : {"", "30", "s", "-1s", "1s1m", "1s2s", "1.5s", "1d", "9999999999s", "1 s"}) EXPECT_FALSE(parse_duration_ms(text)) << text;
}

TEST(Sizes, TimesInUtc) {
  EXPECT_EQ(format_time(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_time(1'767'225'599), "2025-12-31T23:59:59Z");
  EXPECT_EQ(format_time(~u64{0} >> 1), "?");
}

}  // namespace
}  // namespace nagaya::cli
