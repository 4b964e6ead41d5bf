// Remembers decoded instructions. Most code repeats few forms that differ only in displacements and immediates; what precedes those
// decides everything else, so the rest of the answer is copied and those two are read from the new bytes.
#pragma once
#include <memory>

#include "engine/soft/decode.hpp"

namespace nagaya::engine::soft {

class DecodeMemo {
 public:
  DecodeMemo();
  /// As decode(); keeps out.offset.
  DecodeStatus operator()(CodeSize size, bool stack32, std::span<const u8> bytes, Decoded& out);
  [[nodiscard]] u64 hits() const { return hits_; }

 private:
  static constexpr unsigned bits = 11, modes = 6;
  struct Entry {
    u64 head = 0;        ///< bytes before displacement and immediate
    u8 head_size = 0;    ///< 0: empty
    u8 mode = 0;
    Decoded decoded;
  };
  struct Tables {
    u8 head_size[modes][65536] = {};  ///< by the first two bytes: shortest head seen, 0 when none
    Entry entries[1u << bits];
  };
  static unsigned slot(u64 head, unsigned mode);
  void remember(unsigned mode, u64 first, const Decoded& d);

  std::unique_ptr<Tables> tables_;
  u64 hits_ = 0;
};

}  // namespace nagaya::engine::soft
