// Random programs that end: functions with branches, bounded loops, calls and jumps from page to page, over memory that is missing,
// read-only, holds code, or ends in the middle of an operand.
#pragma once
#include <functional>
#include <random>
#include <vector>

#include "base/types.hpp"

namespace nagaya::engine::soft::testing {

/// What such a program may touch, as linear pages.
struct ProgramSpace {
  static constexpr u64 code = 0x200000, code_pages = 32;
  static constexpr u64 data = 0x400000;
  /// Of the eight data pages: what stands there at the beginning.
  enum class Page : u8 { writable, readonly, missing, with_code };
  static constexpr Page data_pages[] = {Page::writable, Page::writable,  Page::readonly, Page::missing,
                                        Page::writable, Page::with_code, Page::writable, Page::missing};
  static constexpr u64 stack = 0x480000, stack_pages = 3;  ///< the lowest is missing
};

class RandomProgram {
 public:
  /// `kernel`: with instructions for CPL 0, too.
  RandomProgram(u64 seed, bool kernel) : rng_(seed), kernel_(kernel), image_(ProgramSpace::code_pages * 4096, 0xcc) {
    for (unsigned f = 0; f < functions; ++f) entry_[f] = chunk();
    for (unsigned f = 0; f < functions; ++f) function(f);
  }
  [[nodiscard]] u64 start() const { return entry_[0]; }
  /// Of the code pages.
  [[nodiscard]] const std::vector<u8>& code() const { return image_; }
  /// Bases of memory operands are RBX, RSI, RDI, R10 and R12, an index is R14: what they begin with.
  u64 address();
  u64 index() { return rng_() % 24; }
  u64 value();
  u64 stack_pointer() { return ProgramSpace::stack + 0x1000 + 8 * (rng_() % 0x1ff) + (rng_() % 4 ? 0x800 : rng_() % 8); }

 private:
  static constexpr unsigned functions = 4;
  static constexpr u64 chunk_pages = 2;

  u64 chunk();
  void function(unsigned f);
  void items(unsigned count, unsigned depth);
  void item(unsigned depth);
  void plain();
  void system();
  void memory_or_register(unsigned prefix, bool wide, std::initializer_list<u8> opcode, unsigned reg, unsigned size, bool memory, unsigned immediate,
                          u8 lock = 0, bool byte_register = false);
  void skip(const std::function<void()>& over);
  void branch(u8 opcode, u64 target);
  void set(unsigned reg, u64 value);

  unsigned destination() {
    static constexpr u8 list[] = {0, 1, 2, 5, 8, 9, 11, 13, 15};
    return list[rng_() % std::size(list)];
  }
  unsigned base() {
    static constexpr u8 list[] = {3, 6, 7, 10, 12};
    return list[rng_() % std::size(list)];
  }
  void byte(unsigned v) { image_[at_++ - ProgramSpace::code] = static_cast<u8>(v); }
  void bytes(std::initializer_list<unsigned> list) {
    for (const unsigned v : list) byte(v);
  }
  void number(u64 v, unsigned size) {
    for (unsigned i = 0; i < size; ++i) byte(static_cast<u8>(v >> (8 * i)));
  }

  std::mt19937_64 rng_;
  const bool kernel_;
  std::vector<u8> image_;
  u64 entry_[functions] = {};
  u64 next_chunk_ = 0, at_ = 0;
  unsigned self_ = 0, budget_ = 0, calls_ = 0;
};

}  // namespace nagaya::engine::soft::testing
