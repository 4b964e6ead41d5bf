// A unique owner of a memory mapping.
#pragma once
#include <cstddef>
#include <utility>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::host {

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  /// Shared mapping of a file. `protection` as mmap(2) (PROT_…); no swap is reserved.
  static Result<Mapping> shared(int fd, u64 offset, u64 size, int protection);
  /// The same from the beginning of a file, with zeros from its page's end to `size`.
  static Result<Mapping> padded(int fd, u64 file_size, u64 size, int protection);
  /// Private anonymous memory, zeroed, no swap reserved.
  static Result<Mapping> anonymous(u64 size, int protection);

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] u64 size() const { return size_; }
  /// madvise(2) over the whole mapping; advice the kernel does not know is not an error.
  void advise(int advice) const;
  /// mprotect(2) of [offset, offset+size).
  Result<> protect(u64 offset, u64 size, int protection) const;
  void reset();

 private:
  Mapping(std::byte* data, u64 size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  u64 size_ = 0;
};

}  // namespace nagaya::host
