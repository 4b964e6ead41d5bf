// What a format is to the rest of the room: a synchronous, thread-safe disk. Worker threads make it asynchronous.
#pragma once
#include <cerrno>
#include <memory>

#include "base/result.hpp"
#include "block/disk.hpp"
#include "block/iov.hpp"

namespace nagaya::block {

/// A run of an image's content.
struct Extent {
  enum class Kind : u8 {
    data,   ///< bytes of this file
    zero,   ///< zeroes, stated by this file
    absent  ///< nothing here: a backing image decides, else zeroes
  };
  u64 length = 0;
  Kind kind = Kind::absent;
};

/// int results are 0 or a positive errno value. Ranges are checked by the caller to lie within size().
class Image {
 public:
  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  virtual ~Image() = default;

  [[nodiscard]] virtual u64 size() const = 0;
  [[nodiscard]] virtual Capabilities capabilities() const = 0;
  /// See Disk::host_space.
  [[nodiscard]] virtual u64 host_space() const { return ~u64{0}; }
  [[nodiscard]] virtual int read(u64 offset, Iov iov) = 0;
  /// The same if it can be done without waiting for a medium, else EAGAIN, and nothing is said about the buffers.
  [[nodiscard]] virtual int read_now(u64 /*offset*/, Iov /*iov*/) { return EAGAIN; }
  [[nodiscard]] virtual int write(u64 offset, Iov iov) = 0;
  [[nodiscard]] virtual int write_zeroes(u64 offset, u64 length, bool may_unmap) = 0;
  [[nodiscard]] virtual int discard(u64 offset, u64 length) = 0;
  [[nodiscard]] virtual int flush() = 0;
  virtual Result<> resize(u64 size) = 0;
  /// The run that begins at `offset`, at most `length` long.
  virtual Result<Extent> map(u64 offset, u64 length) = 0;
  /// The image below, or null.
  [[nodiscard]] virtual Image* backing() { return nullptr; }
  /// Writes everything back and makes it durable.
  virtual Result<> close() = 0;
};

/// Whether [offset, offset+length) lies within `size`.
[[nodiscard]] constexpr bool in_range(u64 offset, u64 length, u64 size) { return offset <= size && length <= size - offset; }

}  // namespace nagaya::block
