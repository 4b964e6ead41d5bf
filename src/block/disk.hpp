// An asynchronous disk as a device model sees it: requests with scatter-gather buffers in, completions out. What is
// behind it (file, qcow2 chain, throttle) does not show.
#pragma once
#include <sys/uio.h>

#include <functional>
#include <span>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::block {

inline constexpr u64 sector_size = 512;  ///< sizes and offsets of requests are multiples of this

enum class Op : u8 { read, write, flush, discard, write_zeroes };

/// How a request ended: 0 or a positive errno value. ENOSPC means that nothing is lost and the same request may be
/// submitted again once the host has space (a machine pauses until then). EINVAL: outside the disk, misaligned, or
/// buffers that do not add up to `length`. EROFS: a change to a read-only disk. ENOTSUP: not among the capabilities.
using Completion = std::function<void(int error)>;

struct Request {
  Op op = Op::read;
  u64 offset = 0;  ///< bytes, a multiple of sector_size; not for flush
  u64 length = 0;  ///< bytes, a multiple of sector_size; not for flush
  /// Read and write: memory that adds up to `length`. Array and memory stay the caller's and valid until completion.
  /// A guest may change the memory meanwhile: it is read or written by the kernel only, or copied once.
  std::span<const iovec> buffers{};
  bool fua = false;        ///< write, write_zeroes: on stable storage before completion
  bool may_unmap = false;  ///< write_zeroes: space may be given back to the host
  Completion done{};
};

struct Capabilities {
  bool read_only = false;
  bool flush = true;          ///< false: nothing is cached, every write is stable (or the user waived it)
  bool discard = false;       ///< a discarded range reads as zeroes or as before
  bool write_zeroes = false;
  u64 discard_granularity = sector_size;  ///< smaller discards may do nothing; bytes
  u64 optimal_io = 4096;                  ///< preferred size and alignment of requests, bytes
};

/// All methods may be called from any thread.
class Disk {
 public:
  Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  /// Waits for requests in flight and writes back what is cached.
  virtual ~Disk() = default;

  /// Bytes; a multiple of sector_size. Changes by resize() only.
  [[nodiscard]] virtual u64 size() const = 0;
  [[nodiscard]] virtual Capabilities capabilities() const = 0;
  /// Bytes that the host can still give to this disk before requests end with ENOSPC; ~0 when it cannot tell.
  [[nodiscard]] virtual u64 host_space() const { return ~u64{0}; }
  /// Starts a request. `done` is called exactly once, on a thread of the disk's own or, when the answer is known at
  /// once, within submit(); call it with no lock held that `done` takes. `done` may submit again but not drain, close
  /// or resize. Requests in flight are not ordered among each other; a flush covers writes completed before it.
  virtual void submit(Request request) = 0;
  /// Sets the size in bytes; requests in flight end first. Shrinking cuts data off.
  virtual Result<> resize(u64 size) = 0;
  /// Returns when no request is in flight; those submitted meanwhile are waited for, too.
  virtual void drain() = 0;
  /// Drains and makes everything durable. Later requests end with ESHUTDOWN. The destructor does it, unheard.
  virtual Result<> close() = 0;
};

}  // namespace nagaya::block
