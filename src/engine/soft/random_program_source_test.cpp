// The source of random programs, for random_program_test.cpp.
#include <algorithm>

#include "engine/soft/random_program_test_util.hpp"

namespace nagaya::engine::soft {
namespace testing {

u64 RandomProgram::value() {
  const u64 r = rng_();
  switch (rng_() % 4) {
    case 0: return static_cast<u64>(static_cast<i64>(static_cast<i8>(r)));
    case 1: return r & 0xffffffff;
    case 2: return r & 0x1f;
    default: return r;
  }
}

u64 RandomProgram::address() {
  const u64 page = rng_() % std::size(ProgramSpace::data_pages);
  u64 offset = rng_() % 3 == 0 ? 0xfe8 + rng_() % 24 : rng_() % 0xe00;
  // The lower half of that page is code.
  if (ProgramSpace::data_pages[page] == ProgramSpace::Page::with_code && offset < 0xa00) offset = 0xa00 + offset % 0x400;
  if (rng_() % 2) offset &= ~15ull;
  return ProgramSpace::data + page * 0x1000 + offset;
}

/// A place for code of at most 800h bytes, often across the end of a page.
u64 RandomProgram::chunk() {
  const u64 start = ProgramSpace::code + next_chunk_++ * chunk_pages * 0x1000;
  return start + (rng_() % 2 ? 0xf80 + rng_() % 128 : rng_() % 0x700);
}

void RandomProgram::function(unsigned f) {
  at_ = entry_[f];
  self_ = f;
  budget_ = 60;
  calls_ = 2;
  items(8, 0);
  if (f == 0) {
    bytes({0xe6, 0xf4});
  } else {
    byte(0xc3);
  }
}

void RandomProgram::items(unsigned count, unsigned depth) {
  for (unsigned i = 0; i < count; ++i) item(depth);
}

void RandomProgram::branch(u8 opcode, u64 target) {
  byte(opcode);
  number(target - (at_ + 4), 4);
}

void RandomProgram::set(unsigned reg, u64 v) {
  if (reg >= 8) byte(0x41);
  byte(0xb8 | (reg & 7));
  number(v, 4);
}

/// A forward branch of some kind, taken or not, over what `over` emits.
void RandomProgram::skip(const std::function<void()>& over) {
  u64 end_of_jump = 0;
  unsigned size = 4;
  switch (rng_() % 5) {
    case 0: byte(0xe9); break;
    case 1: bytes({0xe3, 0, 0xeb, 0}), size = 0; break;  // JRCXZ to where it goes anyway: only a look at RCX
    default: bytes({0x0f, 0x80u | static_cast<unsigned>(rng_() % 16)}); break;
  }
  if (size) number(0, 4), end_of_jump = at_;
  over();
  if (size) {
    const u64 here = at_;
    at_ = end_of_jump - 4;
    number(here - end_of_jump, 4);
    at_ = here;
  }
}

void RandomProgram::item(unsigned depth) {
  const unsigned nested = depth < 3 ? static_cast<unsigned>(rng_() % 16) : 15;
  const unsigned inside = 1 + static_cast<unsigned>(rng_() % 4);
  switch (nested) {
    case 0: case 1: skip([&] { items(inside, depth + 1); }); return;
    case 2: {  // a loop whose counter is on the stack
      bytes({0x6a, 2 + static_cast<unsigned>(rng_() % 3)});
      const u64 top = at_;
      items(inside, depth + 2);
      bytes({0x48, 0x83, 0x2c, 0x24, 1});  // sub qword [rsp], 1
      bytes({0x0f, 0x85}), number(top - (at_ + 4), 4);
      bytes({0x48, 0x8d, 0x64, 0x24, 8});  // lea rsp, [rsp + 8]
      return;
    }
    case 3: case 4: {
      if (self_ + 1 >= functions || calls_ == 0) break;
      --calls_;
      const u64 target = entry_[self_ + 1 + rng_() % (functions - self_ - 1)];
      switch (rng_() % 3) {
        case 0: set(11, target), bytes({0x41, 0xff, 0xd3}); break;  // call r11
        default: branch(0xe8, target); break;
      }
      return;
    }
    case 5: {  // to another page and back
      if (next_chunk_ * chunk_pages >= ProgramSpace::code_pages) break;
      const u64 there = chunk();
      const bool by_pointer = rng_() % 3 == 0;
      if (by_pointer) {
        set(11, there), bytes({0x41, 0xff, 0xe3});  // jmp r11
      } else {
        branch(0xe9, there);
      }
      const u64 back = at_;
      at_ = there;
      items(inside, depth + 1);
      branch(0xe9, back);
      at_ = back;
      return;
    }
    case 6: {
      const unsigned in = static_cast<unsigned>(rng_() % 16), out = destination();
      if (in >= 8) byte(0x41);
      byte(0x50 | (in & 7));
      items(inside, depth + 2);
      if (out >= 8) byte(0x41);
      byte(0x58 | (out & 7));
      return;
    }
    default: break;
  }
  plain();
}

/// prefixes REX opcode ModRM immediate. `reg`: ModRM.reg.
void RandomProgram::memory_or_register(unsigned prefix, bool wide, std::initializer_list<u8> opcode, unsigned reg, unsigned size, bool memory,
                                       unsigned immediate, u8 lock, bool byte_register) {
  if (lock) byte(lock);
  if (memory && rng_() % 16 == 0) byte(rng_() % 2 ? 0x64 : 0x65);
  if (memory && rng_() % 24 == 0) byte(0x67);
  if (size == 2) byte(0x66);
  if (prefix) byte(prefix);
  unsigned rm = memory ? base() : destination(), x = 0;
  const bool indexed = memory && rng_() % 4 == 0, rip = memory && !indexed && rng_() % 8 == 0;
  if (rip) rm = 5;
  if (indexed) x = 14;
  const unsigned rex = 0x40 | (wide ? 8 : 0) | (reg >> 3 & 1) << 2 | (x >> 3) << 1 | (rip ? 0 : rm >> 3 & 1);
  if (rex != 0x40 || byte_register) byte(rex);
  for (const u8 b : opcode) byte(b);
  u64 rip_at = 0;
  if (!memory) {
    byte(0xc0 | (reg & 7) << 3 | (rm & 7));
  } else if (rip) {
    byte((reg & 7) << 3 | 5);
    rip_at = at_;
    number(0, 4);
  } else {
    const unsigned mod = 1 + static_cast<unsigned>(rng_() % 2);
    const bool sib = indexed || (rm & 7) == 4;
    byte(mod << 6 | (reg & 7) << 3 | (sib ? 4 : rm & 7));
    if (sib) byte((rng_() & 3) << 6 | (indexed ? x & 7 : 4) << 3 | (rm & 7));
    const u64 displacement = rng_() % 48 - 16;
    number(displacement, mod == 1 ? 1 : 4);
  }
  number(value(), immediate);
  if (rip_at) {
    const u64 end = at_;
    at_ = rip_at;
    number(address() - end, 4);
    at_ = end;
  }
}

/// What C++ executes: with IOPL 3, or as the kernel.
void RandomProgram::system() {
  const unsigned b = base();
  switch (rng_() % (kernel_ ? 12 : 6)) {
    case 0: byte(0xfa); break;                  // cli
    case 1: byte(0xfb); break;                  // sti
    case 2: bytes({0x9c, 0x9d}); break;         // pushfq, popfq
    case 3: bytes({0xe4, 0x60}); break;         // in al, 60h
    case 4: bytes({0x0f, 0xa2}); break;         // cpuid: RBX is no address any more
    case 5: bytes({0x0f, 0xae, 0xf0}); break;   // mfence
    case 6: bytes({0x0f, 0x01, 0xf8, 0x0f, 0x01, 0xf8}); break;                    // swapgs, twice
    case 7: bytes({0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8}); break;                    // CR3 as it is
    case 8: bytes({0x0f, 0x06}); break;         // clts
    case 9: bytes({0x0f, 0x20, 0xe1, 0x0f, 0xba, 0xf9, 7, 0x0f, 0x22, 0xe1}); break;  // CR4.PGE the other way
    default:                                    // invlpg
      if (b >= 8) byte(0x41);
      bytes({0x0f, 0x01, 0x40 | 7 << 3 | (b & 7)});
      if ((b & 7) == 4) byte(0x24);
      byte(0);
      break;
  }
  if (image_[at_ - 1 - ProgramSpace::code] == 0xa2) set(3, address());
}

void RandomProgram::plain() {
  if (budget_ == 0) return byte(0x90);
  --budget_;
  static constexpr u8 sizes[] = {1, 2, 4, 4, 8, 8};
  const unsigned size = sizes[rng_() % std::size(sizes)], reg = destination();
  const bool wide = size == 8, memory = rng_() % 2, narrow = size == 1;
  const u8 w = narrow ? 0 : 1;
  const u8 lock = memory && rng_() % 8 == 0 ? 0xf0 : 0;
  const unsigned imm = size == 8 ? 4 : size;
  const auto op = [&](std::initializer_list<u8> opcode, unsigned field, unsigned immediate = 0, u8 with_lock = 0) {
    memory_or_register(0, wide, opcode, field, size, memory, immediate, with_lock, narrow);
  };
  const u8 r = static_cast<u8>(rng_());
  switch (rng_() % 26) {
    case 0: case 1: op({static_cast<u8>((r & 0x38) | w)}, reg, 0, (r & 0x38) == 0x38 ? u8{0} : lock); break;
    case 2: op({static_cast<u8>((r & 0x38) | 2 | w)}, reg); break;
    case 3: op({static_cast<u8>(0x80 | w)}, r & 7, imm, (r & 7) == 7 ? u8{0} : lock); break;
    case 4: op({static_cast<u8>(0x88 | w)}, reg); break;
    case 5: case 6: op({static_cast<u8>(0x8a | w)}, reg); break;
    case 7: op({static_cast<u8>(0xc6 | w)}, 0, imm); break;
    case 8: memory_or_register(0, wide, {0x0f, static_cast<u8>(0xb6 | (r & 9))}, reg, narrow ? 4 : size, memory, 0, 0, true); break;
    case 9: memory_or_register(0, wide, {0x8d}, reg, narrow ? 4 : size, true, 0); break;
    case 10: op({static_cast<u8>(0xfe | w)}, r & 1, 0, lock); break;
    case 11: op({static_cast<u8>(0xf6 | w)}, 2 | (r & 1), 0, lock); break;
    case 12: op({static_cast<u8>((r & 0x40 ? 0xd2 : 0xd0) | w)}, r & 7); break;
    case 13: op({static_cast<u8>(0xc0 | w)}, r & 7, 1); break;
    case 14: memory_or_register(0, wide, {0x0f, 0xaf}, reg, narrow ? 4 : size, memory, 0); break;
    case 15: memory_or_register(0, false, {0x0f, static_cast<u8>(0x90 | (r & 15))}, 0, 1, memory, 0, 0, true); break;
    case 16: memory_or_register(0, wide, {0x0f, static_cast<u8>(0x40 | (r & 15))}, reg, narrow ? 4 : size, memory, 0); break;
    case 17: op({0x0f, static_cast<u8>((r & 1 ? 0xc0 : 0xb0) | w)}, reg, 0, lock); break;
    case 18:  // BT family by immediate, or by the small index
      if (r & 1) {
        memory_or_register(0, wide, {0x0f, 0xba}, 4 | (r >> 1 & 3), narrow ? 4 : size, memory, 1);
      } else {
        memory_or_register(0, wide, {0x0f, static_cast<u8>(0xa3 | (r >> 1 & 3) << 3)}, 14, narrow ? 4 : size, memory, 0);
      }
      break;
    case 19: {  // vectors; few that want alignment
      static constexpr u8 moves[] = {0x6f, 0x7f};
      if (r % 16 == 0) {
        memory_or_register(0x66, false, {0x0f, 0xfe}, r >> 4 & 7, 16, memory, 0);
      } else {
        memory_or_register(0xf3, false, {0x0f, moves[r & 1]}, r >> 4 & 7, 16, true, 0);
      }
      break;
    }
    case 20: {  // strings
      set(1, rng_() % 40);
      static constexpr u8 operations[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xae};
      byte(0xf3);
      if (r & 1) byte(0x48);
      byte(operations[(r >> 1) % std::size(operations)]);
      break;
    }
    case 21: {
      static constexpr u8 single[] = {0xf8, 0xf9, 0xf5, 0x9e, 0x9f, 0x99, 0x98, 0x90};
      byte(single[r % std::size(single)]);
      break;
    }
    case 22: {  // flags by the stack
      byte(0x9c);
      const unsigned to = destination();
      if (to >= 8) byte(0x41);
      byte(0x58 | (to & 7));
      break;
    }
    case 23: case 24: system(); break;
    default: {  // a base or the index becomes something else
      if (r % 4 == 0) {
        set(14, index());
      } else {
        set(base(), address());
      }
      break;
    }
  }
}

}  // namespace testing

}  // namespace nagaya::engine::soft
