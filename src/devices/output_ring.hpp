// A bounded buffer of output between the guest's threads, which fill it, and the one that writes it out. Not locked.
#pragma once
#include <algorithm>
#include <span>
#include <vector>

#include "base/types.hpp"

namespace nagaya::devices {

class OutputRing {
 public:
  explicit OutputRing(std::size_t capacity) : data_(capacity) {}

  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] std::size_t room() const { return data_.size() - count_; }
  /// Takes what fits.
  std::size_t put(std::span<const u8> bytes) {
    const std::size_t n = std::min(bytes.size(), room());
    for (std::size_t i = 0; i < n; ++i) data_[(head_ + count_ + i) % data_.size()] = bytes[i];
    count_ += n;
    return n;
  }
  /// Copies the oldest bytes without taking them out.
  std::size_t peek(std::span<u8> out) const {
    const std::size_t n = std::min(out.size(), count_);
    for (std::size_t i = 0; i < n; ++i) out[i] = data_[(head_ + i) % data_.size()];
    return n;
  }
  void drop(std::size_t n) {
    n = std::min(n, count_);
    head_ = (head_ + n) % data_.size();
    count_ -= n;
  }

 private:
  std::vector<u8> data_;
  std::size_t head_ = 0, count_ = 0;
};

}  // namespace nagaya::devices
