// The translator: one block of guest code to host code.
#pragma once
#include <vector>

#include "engine/soft/code_cache.hpp"
#include "engine/soft/decode_memo.hpp"
#include "engine/soft/emit.hpp"
#include "engine/soft/light/mode.hpp"

namespace nagaya::engine::soft {

struct TranslateOptions {
  /// Keep the arithmetic flags exact in the frames of faults too, not only where the program can read them later.
  bool precise_flags = false;
  /// Longest block in guest instructions.
  unsigned max_insns = 48;
  /// Each block counts how often it is entered, in Block::executed.
  bool count_blocks = false;
};

/// Where the code to translate is. `page2` is the page that follows virtually: null when not (yet) known.
struct CodeSource {
  u64 gpa = 0;
  u64 gpa2 = ~0ull;  ///< page address
  const u8* page = nullptr;
  const u8* page2 = nullptr;
  u32 mode_index = 0;
  Mode mode{0};
};

enum class TranslateStatus : u8 { ok, need_page2, cache_full };

/// What emits an instruction with its host address: a reference to a callable, alive during the call only.
class Body {
 public:
  template <class F>
  Body(const F& f) : object_(&f), call_([](const void* object, HostMem m) { (*static_cast<const F*>(object))(m); }) {}
  void operator()(HostMem m) const { call_(object_, m); }

 private:
  const void* object_;
  void (*call_)(const void*, HostMem);
};

/// Code behind the block that something in it jumps to.
struct Stub {
  enum class What : u8 { link, far, miss } what;
  u32 rel = 0;               ///< the rel32 that leads here
  LinkSite* site = nullptr;  ///< link
  i64 target = 0;            ///< far: offset from the page
  bool truncate16 = false;
  MissSite* miss = nullptr;
  i32 negtag = -1;  ///< miss: R11 holds the address plus gs:[negtag + RCX * 1], unless -1
};

class Translator {
 public:
  Translator(CodeCache& cache, const TranslateOptions& options) : cache_(cache), options_(options) { insns_.reserve(65); }
  /// Translates and commits one block (not yet inserted). `need_page2`: the first instruction continues on the next page.
  TranslateStatus translate(const CodeSource& source, Block*& out);

 private:
  // translate.cpp: the frame of a block
  TranslateStatus scan();
  void liveness();
  u32 peek_flags(u32 offset);
  void emit_insn(const Decoded& d);
  [[nodiscard]] int unit_fault(const Decoded& d) const;
  bool unit_allowed(const Decoded& d);
  void begin(const Decoded& d);
  // translate_count.cpp
  void emit_count();
  // translate_flow.cpp: exits
  void emit_rip(u32 offset);
  void exit_direct(i64 target, u32 from, bool truncate16);
  void exit_indirect();
  void exit_thunk(Thunk thunk);
  /// mov ecx, value; jmp thunk
  void exit_with(u32 value, Thunk thunk);
  void emit_stub(const struct Stub& stub);
  KeptInsn& keep(const Decoded& d);
  void exit_execute(const Decoded& d);
  void execute_inline(const Decoded& d);
  void call_execute(const Decoded& d);
  void exit_raise(const Decoded& d, u32 vector);
  void flow(const Decoded& d);
  bool linkable(i64 target, bool truncate16) const;
  LinkSite& new_site(i64 target, u32 from);
  i64 branch_target(const Decoded& d) const;
  void conditional(const Decoded& d);
  void jcxz_or_loop(const Decoded& d);
  void call(const Decoded& d);
  void ret(const Decoded& d);
  // translate_memory.cpp: addresses, the inline TLB, stack operations
  void effective_address(const Insn& n, u32 next_offset, i64 extra_disp);
  void segment_base(u8 seg, unsigned size, bool write, u32 offset);
  void access(const Decoded& d, unsigned size, bool read, bool write, bool need_rcx, const Body& body);
  void miss(const Decoded& d, u32 slow, u32 desc, unsigned base, i32 disp, i32 negtag, bool group);
  void slow_path(const Decoded& d, u32 slow, u32 desc, const Body& body);
  void operand(const Decoded& d, bool need_rcx, const Body& body);
  // translate_group.cpp: addresses of the form [base + displacement], one check for several of them
  [[nodiscard]] bool based(const Insn& n) const;
  u32 check_based(unsigned base, i32 disp, unsigned span, bool write, bool live);
  void access_based(const Decoded& d, unsigned base, i32 disp, unsigned size, bool read, bool write, const Body& body);
  [[nodiscard]] bool groupable(const Decoded& d, int& base, i32& disp, unsigned& size, bool& write) const;
  std::size_t group_end(std::size_t first, int& base, i32& lo, i32& hi, bool& write) const;
  std::size_t emit_group(std::size_t first);
  void emit_grouped(const Decoded& d);
  void stack_address(int displacement, const Decoded& d, unsigned size, bool write);
  void push_value(const Decoded& d, const Body& value_to_rcx);
  void stack(const Decoded& d);
  void stack_load(const Decoded& d, const Body& body);
  void adjust_rsp(int by);
  // translate_system.cpp: system instructions emitted in place
  [[nodiscard]] bool supervisor() const;
  /// The form system_inline() emits neither reads nor changes arithmetic flags.
  [[nodiscard]] bool keeps_flags(const Decoded& d) const;
  bool system_inline(const Decoded& d);
  void change_flag(const Decoded& d, u64 flag, bool on);
  void enable_interrupts(const Decoded& d);
  void push_flags(const Decoded& d);
  void read_tsc(bool with_aux);
  bool read_base(const Decoded& d, u8 seg);
  bool write_base(const Decoded& d, u8 seg);
  bool move_from_system(const Decoded& d);
  // translate_native.cpp: re-encoding
  void native(const Decoded& d);
  void native_body(const Decoded& d, const HostMem* mem);
  void encode(const Decoded& d, const HostMem* mem, const int* host_of_operand, int forced_reg);
  void lea(const Decoded& d);
  [[nodiscard]] bool simple_lea(const Insn& n) const;
  void bit_string(const Decoded& d);
  void save_flags();
  void restore_flags();

  [[nodiscard]] static bool spilled(unsigned guest) { return guest == 10 || guest == 11; }
  [[nodiscard]] static HostReg host(unsigned guest) { return guest == 1 ? h_r10 : static_cast<HostReg>(guest); }
  [[nodiscard]] static HostMem gpr(unsigned guest) {
    return Emitter::gs(offsetof(SoftCpu, s) + offsetof(x86::CpuState, gpr) + 8 * guest);
  }
  void load_guest(HostReg to, unsigned guest) {
    if (spilled(guest)) {
      e_.load(to, gpr(guest));
    } else if (host(guest) != to) {
      e_.mov(to, host(guest));
    }
  }
  void store_guest(unsigned guest, HostReg from) {
    if (spilled(guest)) {
      e_.store(gpr(guest), from);
    } else if (host(guest) != from) {
      e_.mov(host(guest), from);
    }
  }
  /// Step and careful blocks: the whole slow path of each operand in place.
  [[nodiscard]] bool careful() const { return source_.mode.has(mode_bits::careful | mode_bits::step); }
  [[nodiscard]] unsigned stack_width() const { return source_.mode.is64() ? 8 : 4; }

  CodeCache& cache_;
  TranslateOptions options_;
  DecodeMemo decode_;
  Emitter e_;
  CodeSource source_;
  std::vector<Decoded> insns_;
  std::vector<u8> side_;
  std::vector<Stub> stubs_;
  u32 side_host_ = 0, side_guest_ = 0;  // last entry of side_
  u32 retry_ = 0;  // host offset where the address of the operand being emitted begins to be formed
  Block* block_ = nullptr;
  u8 access_seg_ = 0;        // of the address formed last
  u32 end_offset_ = 0;       // page offset after the last instruction
  bool ended_ = false;       // the last instruction leaves the block
  bool next_crosses_ = false;  // the instruction at end_offset_ crosses the page: never linked to
  u16 dep_lo_ = 0, dep_hi_ = 0, dep2_hi_ = 0;
  u32 checked_entry_ = 0, entry_ = 0, indirect_entry_ = 0;
};

}  // namespace nagaya::engine::soft
