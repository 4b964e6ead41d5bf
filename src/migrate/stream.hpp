// The one stream over which a container moves: frames of a kind and at most one MiB of payload, in an order that both ends know. The reader
// trusts nothing: lengths, kinds, names and offsets are checked before they are used, and what a peer may make us keep has limits.
//
//   frame: u32 kind, u32 length (little-endian), payload        docs/design/container-checkpoint.md has the order
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::migrate {

inline constexpr u32 stream_version = 3;
inline constexpr u32 frame_limit = 1u << 20;

enum class Kind : u32 {
  hello = 0x4e47594d,  ///< first of each side: u32 version, text: the program's and CRIU's versions
  definition = 1,      ///< the container: id, configuration, how it was saved
  ready = 2,           ///< target: go on
  failed = 3,          ///< either side gives up, and why
  tree_begin = 4,      ///< u32 which of its folders; a tar stream follows in `bytes`
  bytes = 5,           ///< the next part of a tree or a file
  tree_removed = 6,    ///< names that have gone since, each ended by a zero byte
  tree_end = 7,
  images_begin = 8,    ///< a folder of images: u32 round
  file_begin = 9,      ///< u64 size, name
  same = 10,           ///< bytes that the round before has: u64 offset, u64 count, name of its file
  file_end = 11,
  images_end = 12,
  restore = 13,        ///< source: all is sent; make it again, but let it wait
  restored = 14,       ///< target: it waits
  commit = 15,         ///< source: it is yours, let it run
  running = 16,        ///< target: it runs
  pages = 18,          ///< memory that follows, and what is asked for it (CRIU's own words)
  lazy_end = 19,       ///< target: all memory is there
  lazy_ack = 20,       ///< source: then it is yours alone
  domain = 17,         ///< before all others: the named container it is (domain/container_move.hpp)
};

struct Frame {
  Kind kind{};
  std::vector<u8> payload;
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(payload.data()), payload.size()}; }
};

/// Frames over a pair of descriptors (one twice: a socket). Counts what passes. With one of them -1 nobody answers: a file keeps what the source
/// says, its reader is the target; what the missing side would have said is taken as said, what it would have heard goes nowhere.
class Stream {
 public:
  Stream(int in, int out) : in_(in), out_(out) {}
  Result<> send(Kind kind, std::span<const u8> payload = {});
  Result<> send(Kind kind, std::string_view text) { return send(kind, std::span(reinterpret_cast<const u8*>(text.data()), text.size())); }
  /// The next frame; a `failed` one becomes the peer's error (code ECANCELED). Unknown kinds and lengths over the limit end the conversation.
  Result<Frame> receive();
  /// The next frame, which must be `kind`.
  Result<Frame> expect(Kind kind);
  [[nodiscard]] int in() const { return in_; }
  [[nodiscard]] int out() const { return out_; }
  [[nodiscard]] bool answered() const { return in_ >= 0 && out_ >= 0; }
  [[nodiscard]] u64 sent() const { return sent_; }
  [[nodiscard]] u64 received() const { return received_; }

 private:
  int in_, out_;
  u64 sent_ = 0, received_ = 0;
};

/// Fixed-size numbers at the front of a payload.
class Fields {
 public:
  explicit Fields(std::span<const u8> bytes) : bytes_(bytes) {}
  Result<u32> u32_value();
  Result<u64> u64_value();
  /// What is left, as text.
  [[nodiscard]] std::string_view rest() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }

 private:
  std::span<const u8> bytes_;
};
void put_u32(std::vector<u8>& out, u32 value);
void put_u64(std::vector<u8>& out, u64 value);
void put_text(std::vector<u8>& out, std::string_view text);

}  // namespace nagaya::migrate
