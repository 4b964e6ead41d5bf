#include "migrate/greeting.hpp"

#include <fmt/format.h>

#include <charconv>

namespace nagaya::migrate {

Result<> greet(Stream& stream, const container::criu::Program& own, bool reads_images) {
  std::vector<u8> hello;
  put_u32(hello, stream_version);
  put_u32(hello, own.major);
  put_u32(hello, own.minor);
  TRY(stream.send(Kind::hello, hello));
  if (!reads_images && !stream.answered()) return {};
  TRY_ASSIGN(const Frame theirs, stream.expect(Kind::hello));
  Fields fields(theirs.payload);
  TRY_ASSIGN(const u32 version, fields.u32_value());
  if (version != stream_version) return fail("the two sides of the move do not understand each other", fmt::format("version {} meets {}", stream_version, version));
  TRY_ASSIGN(const u32 major, fields.u32_value());
  TRY_ASSIGN(const u32 minor, fields.u32_value());
  const std::pair mine{own.major, own.minor}, other{major, minor};
  if (reads_images ? mine < other : other < mine) {
    return fail("the target's CRIU is older than the source's", fmt::format("{}.{} and {}.{}", mine.first, mine.second, other.first, other.second),
                "images are read by the same or a newer CRIU: scripts/fetch-criu fetches one");
  }
  return {};
}

}  // namespace nagaya::migrate
