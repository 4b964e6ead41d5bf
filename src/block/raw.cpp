#include "block/raw.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "block/bytes.hpp"

namespace nagaya::block {

Result<std::unique_ptr<RawImage>> RawImage::open(File file, bool discard) {
  TRY_ASSIGN(const u64 bytes, file.size());
  // A last partial sector is filled up with zeroes; on a device nothing lies behind it.
  const u64 size = file.is_device() ? bytes / sector_size * sector_size : round_up(bytes, sector_size);
  return std::unique_ptr<RawImage>(new RawImage(std::move(file), size, discard));
}

u64 RawImage::size() const { return size_.load(std::memory_order_relaxed); }

Capabilities RawImage::capabilities() const {
  const bool change = !file_.read_only();
  return {.read_only = !change, .discard = change && discard_, .write_zeroes = change, .discard_granularity = 4096};
}

int RawImage::write_zeroes(u64 offset, u64 length, bool may_unmap) {
  return file_.zero(offset, length, may_unmap && discard_);
}

int RawImage::discard(u64 offset, u64 length) {
  const int error = file_.punch(offset, length);
  return error == ENOTSUP ? 0 : error;  // the file system keeps its space: a discard is a hint
}

Result<> RawImage::resize(u64 size) {
  const std::string what = fmt::format("cannot resize '{}' to {} bytes", file_.name(), size);
  if (file_.read_only()) return fail(what, "it is read-only");
  if (size % sector_size != 0) return fail(what, "sizes are multiples of 512 bytes");
  if (file_.is_device()) {
    // The device has been resized by its owner; we only look again.
    TRY_ASSIGN(const u64 now, file_.size());
    if (now < size) return fail(what, fmt::format("the device has {} bytes", now));
  } else if (const int error = file_.truncate(size); error != 0) {
    return fail_errno(what, error);
  }
  size_ = size;
  return {};
}

Result<Extent> RawImage::map(u64 offset, u64 length) {
  const File::Run run = file_.run_at(offset, offset + length);
  return Extent{run.end - offset, run.hole ? Extent::Kind::zero : Extent::Kind::data};
}

Result<> RawImage::close() {
  if (const int error = flush(); error != 0) return fail_errno(fmt::format("cannot write back '{}'", file_.name()), error);
  return {};
}

}  // namespace nagaya::block
