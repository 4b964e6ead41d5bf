#include "migrate/stream.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "host/fd.hpp"

namespace nagaya::migrate {
namespace {

constexpr std::size_t header_size = 8;

bool known(u32 kind) { return kind == static_cast<u32>(Kind::hello) || (kind >= 1 && kind <= static_cast<u32>(Kind::lazy_ack)); }

u64 little(std::span<const u8> bytes) {
  u64 value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) value |= static_cast<u64>(bytes[i]) << (8 * i);
  return value;
}

void put(std::vector<u8>& out, u64 value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) out.push_back(static_cast<u8>(value >> (8 * i)));
}

}  // namespace

void put_u32(std::vector<u8>& out, u32 value) { put(out, value, 4); }
void put_u64(std::vector<u8>& out, u64 value) { put(out, value, 8); }
void put_text(std::vector<u8>& out, std::string_view text) { out.insert(out.end(), text.begin(), text.end()); }

Result<u32> Fields::u32_value() {
  if (bytes_.size() < 4) return fail("the stream is malformed", "a number is cut off");
  const u32 value = static_cast<u32>(little(bytes_.first(4)));
  bytes_ = bytes_.subspan(4);
  return value;
}

Result<u64> Fields::u64_value() {
  if (bytes_.size() < 8) return fail("the stream is malformed", "a number is cut off");
  const u64 value = little(bytes_.first(8));
  bytes_ = bytes_.subspan(8);
  return value;
}

Result<> Stream::send(Kind kind, std::span<const u8> payload) {
  if (payload.size() > frame_limit) return fail("a frame of the stream would be too long");
  if (out_ < 0) return {};
  std::vector<u8> frame;
  frame.reserve(header_size + payload.size());
  put_u32(frame, static_cast<u32>(kind));
  put_u32(frame, static_cast<u32>(payload.size()));
  frame.insert(frame.end(), payload.begin(), payload.end());
  if (auto done = host::write_all(out_, std::span<const u8>(frame)); !done) {
    // It may have said why before it left.
    constexpr int patience_ms = 1000;
    for (pollfd wait{in_, POLLIN, 0}; in_ >= 0 && ::poll(&wait, 1, patience_ms) > 0;) {
      const auto said = receive();
      if (!said && said.error().code == ECANCELED) return std::unexpected(said.error());
      if (!said) break;
    }
    return std::unexpected(std::move(done.error()).within("the other side of the move does not listen any more"));
  }
  sent_ += frame.size();
  return {};
}

Result<Frame> Stream::receive() {
  u8 header[header_size];
  TRY_ASSIGN(const std::size_t got, host::read_up_to(in_, header));
  if (got == 0) return fail("the other side of the move has closed the stream");
  if (got < header_size) return fail("the stream of the move is cut off");
  const u32 kind = static_cast<u32>(little(std::span(header).first(4)));
  const u32 length = static_cast<u32>(little(std::span(header).last(4)));
  if (!known(kind)) return fail("the stream of the move is malformed", fmt::format("a frame of unknown kind {}", kind));
  if (length > frame_limit) return fail("the stream of the move is malformed", fmt::format("a frame of {} bytes", length));
  Frame frame;
  frame.kind = static_cast<Kind>(kind);
  frame.payload.resize(length);
  TRY_ASSIGN(const std::size_t count, host::read_up_to(in_, frame.payload));
  if (count < length) return fail("the stream of the move is cut off");
  received_ += header_size + length;
  if (frame.kind == Kind::failed) {
    std::string why;
    for (const char c : frame.text().substr(0, 4096)) why += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    return std::unexpected(Error{"the other side of the move gave up", why, "", ECANCELED});
  }
  return frame;
}

Result<Frame> Stream::expect(Kind kind) {
  if (in_ < 0) return Frame{kind, {}};
  TRY_ASSIGN(Frame frame, receive());
  if (frame.kind != kind) {
    return fail("the stream of the move is malformed",
                fmt::format("frame {} came where {} belongs", static_cast<u32>(frame.kind), static_cast<u32>(kind)));
  }
  return frame;
}

}  // namespace nagaya::migrate
