// Raw images: the file's bytes are the disk's.
#pragma once
#include <atomic>

#include "block/file.hpp"
#include "block/image.hpp"

namespace nagaya::block {

class RawImage final : public Image {
 public:
  static Result<std::unique_ptr<RawImage>> open(File file, bool discard = true);

  [[nodiscard]] u64 size() const override;
  [[nodiscard]] Capabilities capabilities() const override;
  [[nodiscard]] u64 host_space() const override { return file_.host_space(); }
  [[nodiscard]] int read(u64 offset, Iov iov) override { return file_.read(offset, iov); }
  [[nodiscard]] int read_now(u64 offset, Iov iov) override { return file_.read_now(offset, iov); }
  [[nodiscard]] int write(u64 offset, Iov iov) override { return file_.write(offset, iov); }
  [[nodiscard]] int write_zeroes(u64 offset, u64 length, bool may_unmap) override;
  [[nodiscard]] int discard(u64 offset, u64 length) override;
  [[nodiscard]] int flush() override { return file_.read_only() ? 0 : file_.sync(); }
  Result<> resize(u64 size) override;
  Result<Extent> map(u64 offset, u64 length) override;
  Result<> close() override;
  [[nodiscard]] const File& file() const { return file_; }

 private:
  RawImage(File file, u64 size, bool discard) : file_(std::move(file)), size_(size), discard_(discard) {}

  File file_;
  std::atomic<u64> size_;  // rounded up to whole sectors; what lies past the file's end reads as zeroes
  bool discard_;
};

}  // namespace nagaya::block
