// A bounded queue of bytes with room that is asked for first: what a PS/2 device has to say.
#pragma once
#include <array>
#include <span>

#include "base/types.hpp"
#include "state/archive.hpp"

namespace nagaya::chipset {

template <std::size_t N>
class ByteQueue {
 public:
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] std::size_t room() const { return N - count_; }
  void clear() { head_ = count_ = 0; }
  /// All or nothing.
  bool push(std::span<const u8> bytes) {
    if (bytes.size() > room()) return false;
    for (u8 b : bytes) data_[(head_ + count_++) % N] = b;
    return true;
  }
  /// 0 when empty.
  u8 pop() {
    if (empty()) return 0;
    const u8 b = data_[head_];
    head_ = (head_ + 1) % N;
    --count_;
    return b;
  }
  void save(state::Writer& out) const {
    out.put(static_cast<u8>(count_));
    for (std::size_t i = 0; i < count_; ++i) out.put(data_[(head_ + i) % N]);
  }
  void restore(state::Reader& in) {
    clear();
    const std::size_t n = in.get<u8>();
    if (n > N) return in.reject("a PS/2 queue is longer than it can be");
    for (std::size_t i = 0; i < n; ++i) data_[i] = in.get<u8>();
    count_ = n;
  }

 private:
  static_assert(N < 256);
  std::array<u8, N> data_{};
  std::size_t head_ = 0, count_ = 0;
};

}  // namespace nagaya::chipset
