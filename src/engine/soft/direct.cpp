#include "engine/soft/direct.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/blocks.hpp"
#include "engine/soft/light/descriptor.hpp"
#include "engine/soft/system.hpp"
#include "engine/soft/xstate.hpp"
#include "host/tsc.hpp"

namespace nagaya::engine::soft {
namespace {

using direct::Stop;
using direct::StopInfo;
using direct::user_end;

// Selectors of 64-bit programs, the same in all Linux kernels. Others are left to translated code.
constexpr u16 program_cs = 0x33, program_ss = 0x2b, program_cs32 = 0x23;
constexpr u64 cr4_osfxsr = 1u << 9, cr4_la57 = 1u << 12, cr4_pke = 1u << 22, cr4_cet = 1u << 23;
/// Flags that a program changes by itself.
constexpr u64 program_flags = flag_cf | flag_pf | flag_af | flag_zf | flag_sf | flag_tf | flag_df | flag_of | flag_nt | flag_ac | flag_id;

constexpr u64 compute_us = 500;       ///< a program that computes as long as this without a pause will go on so
constexpr u64 short_us = 150;         ///< what ends sooner by itself was not worth it
constexpr u64 resume_us = 8;          ///< what a switch to the process and back costs beside what is measured
constexpr i64 credit_us = 40'000;     ///< how far what was gained counts later
constexpr i64 most_advance_us = 24'000, others_advance_us = 10'000, least_advance_us = 4000;  ///< what may be spent before anything is gained; half as much after each failure
constexpr u64 least_closed_ms = 40, most_closed_ms = 3200;  ///< for the program that did not gain
constexpr u64 others_part = 8;        ///< other programs wait for this part of it
constexpr u64 renew_ms = 10'000;      ///< accessed bits that the guest has cleared are set again after that time at the latest

/// Processor time of this thread.
u64 thread_us() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<u64>(t.tv_sec) * 1'000'000 + static_cast<u64>(t.tv_nsec) / 1000;
}

/// What the guest's system gives each program one of.
u64 address_space(const SoftCpu& cpu) { return cpu.s.cr3 & 0x000ffffffffff000; }

bool data_selector(u16 selector) { return selector == 0 || selector == program_ss; }

}  // namespace

Result<std::unique_ptr<Direct>> Direct::create(const CodeShared& shared, DirectExecution how, u64 tsc_khz) {
  std::vector<int> files;
  for (u32 i = 0; i < shared.slot_count; ++i)
    if (shared.slots[i].fd >= 0 && std::ranges::find(files, shared.slots[i].fd) == files.end()) files.push_back(shared.slots[i].fd);
  if (files.empty()) return fail("no guest memory that another process could map");
  TRY_ASSIGN(auto process, direct::Process::create(files));
  std::unique_ptr<Direct> out(new Direct(std::move(process)));
  out->how_ = how;
  out->advance_us_ = most_advance_us;
  out->tsc_khz_ = std::max<u64>(tsc_khz, 1000);
  out->fresh_image_.resize(out->process_->vector_size());
  if (!out->process_->get_vectors(out->fresh_image_)) return fail("cannot read the vector state of a process for direct execution");
  out->image_ = out->fresh_image_;
  return out;
}

bool Direct::possible(const SoftCpu& cpu) const {
  const x86::CpuState& s = cpu.s;
  constexpr u64 cr0_wanted = cr0_pe | cr0_pg, cr0_refused = cr0_em | cr0_ts;
  constexpr u64 cr4_wanted = cr4_pae | cr4_osfxsr | cr4_osxsave | cr4_fsgsbase, cr4_refused = cr4_la57 | cr4_pke | cr4_cet;
  if ((s.cr0 & (cr0_wanted | cr0_refused)) != cr0_wanted || (s.cr4 & (cr4_wanted | cr4_refused)) != cr4_wanted) return false;
  if (!long_mode(cpu) || !(s.msr.efer & efer_sce) || s.msr.debugctl != 0 || (s.dr7 & 0xff) != 0) return false;
  if (s.seg[x86::CS].selector != program_cs || !s.seg[x86::CS].l() || s.seg[x86::SS].selector != program_ss || cpl(cpu) != 3) return false;
  if (!data_selector(s.seg[x86::DS].selector) || !data_selector(s.seg[x86::ES].selector)) return false;
  if (s.seg[x86::FS].selector != 0 || s.seg[x86::GS].selector != 0 || s.seg[x86::FS].base >= user_end || s.seg[x86::GS].base >= user_end) return false;
  if ((s.rflags & (flag_tf | flag_vm | flag_rf | flag_id | flag_vif | flag_vip | flag_iopl)) != 0 || s.rip >= user_end) return false;
  // XGETBV is not trapped, nor would an instruction be that the guest's system has not enabled.
  if (s.xcr0 != cpu.host_xcr0) return false;
  const auto& e = s.events;
  return !cpu.fault.pending && !e.exception_pending && !e.interrupt_shadow && !e.mov_ss_shadow && !cpu.stepping && s.run_state == x86::RunState::running;
}

bool Direct::is_program(const SoftCpu& cpu) { return cpl(cpu) == 3 && code64(cpu); }

void Direct::notice(SoftCpu& cpu) {
  if (useless_ || cpu.direct_wanted) return;
  if (how_ == DirectExecution::always) {
    cpu.direct_wanted = 1;
    return;
  }
  const u64 now = host::rdtsc();
  if (!is_program(cpu)) {
    seen_at_ = now;
    seen_returns_ = cpu.program_returns;
    return;
  }
  // As often as it came back from the kernel, it computed so long each time, on the average.
  const u64 each = compute_us * tsc_khz_ / 1000, times = cpu.program_returns - seen_returns_;
  const bool another = address_space(cpu) != closed_space_;
  const u64 until = another ? others_until_ : closed_until_;
  if (another) advance_us_ = std::max(advance_us_, others_advance_us);  // what one did not gain by, the next one may
  if (static_cast<i64>(now - until) >= 0 && now - seen_at_ >= std::max<u64>(times, 1) * each) cpu.direct_wanted = 1;
}

bool Direct::put(SoftCpu& cpu) {
  const x86::CpuState& s = cpu.s;
  user_regs_struct r{};
  if (!process_->get(r)) return false;
  r.rax = s.gpr[x86::RAX], r.rcx = s.gpr[x86::RCX], r.rdx = s.gpr[x86::RDX], r.rbx = s.gpr[x86::RBX];
  r.rsp = s.gpr[x86::RSP], r.rbp = s.gpr[x86::RBP], r.rsi = s.gpr[x86::RSI], r.rdi = s.gpr[x86::RDI];
  r.r8 = s.gpr[x86::R8], r.r9 = s.gpr[x86::R9], r.r10 = s.gpr[x86::R10], r.r11 = s.gpr[x86::R11];
  r.r12 = s.gpr[x86::R12], r.r13 = s.gpr[x86::R13], r.r14 = s.gpr[x86::R14], r.r15 = s.gpr[x86::R15];
  r.rip = s.rip;
  r.orig_rax = ~0ull;  // not within a system call
  r.eflags = (r.eflags & ~program_flags) | (s.rflags & program_flags);
  r.cs = program_cs, r.ss = program_ss, r.ds = s.seg[x86::DS].selector, r.es = s.seg[x86::ES].selector, r.fs = 0, r.gs = 0;
  r.fs_base = s.seg[x86::FS].base, r.gs_base = s.seg[x86::GS].base;
  if (!process_->set(r)) return false;
  image_ = fresh_image_;
  u64 in_use = 0, others = 0;
  std::memcpy(&in_use, &s.xsave[xheader], 8);
  std::memcpy(&others, &fresh_image_[xheader], 8);
  in_use &= cpu.host_xcr0;
  const u64 header = in_use | (others & ~cpu.host_xcr0) | 3;
  XState state(cpu);  // makes the bytes of what is in its initial state those of that state
  std::memcpy(image_.data(), state.bytes(), 416);
  for (unsigned i = x_avx; i < 8; ++i)
    if (in_use >> i & 1) std::memcpy(&image_[xlayout().offset[i]], state.bytes() + xlayout().offset[i], xlayout().size[i]);
  std::memcpy(&image_[xheader], &header, 8);
  return process_->set_vectors(image_);
}

bool Direct::take(SoftCpu& cpu, const StopInfo& stop) {
  x86::CpuState& s = cpu.s;
  user_regs_struct r{};
  if (!process_->get(r) || !process_->get_vectors(image_)) return false;
  const u64 gpr[16] = {r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15};
  std::ranges::copy(gpr, s.gpr.begin());
  s.rip = r.rip;
  s.rflags = (s.rflags & ~program_flags) | (r.eflags & program_flags) | 2;
  u64 header = 0;
  std::memcpy(&header, &image_[xheader], 8);
  header &= cpu.host_xcr0;
  std::memcpy(s.xsave.data(), image_.data(), 416);
  for (unsigned i = x_avx; i < 8; ++i)
    if (header >> i & 1) std::memcpy(&s.xsave[xlayout().offset[i]], &image_[xlayout().offset[i]], xlayout().size[i]);
  std::memcpy(&s.xsave[xheader], &header, 8);

  switch (stop.stop) {
    case Stop::syscall:  // the translated instruction does it; that RCX and R11 were changed already makes no difference to it
      s.gpr[x86::RAX] = r.orig_rax;
      s.rip -= 2;
      break;
    case Stop::breakpoint: s.rip -= 1; break;
    case Stop::vsyscall:
      s.rip = stop.address;
      s.gpr[x86::RSP] -= 8;
      break;
    case Stop::trap:
      cpu.fault = {};
      cpu.fault.pending = true;
      cpu.fault.vector = 1;
      cpu.fault.dr6_bits = 1u << 14;
      break;
    default: break;
  }
  // A program may load a segment register that the host's tables have as the guest's have.
  bool changed = false;
  const std::pair<x86::Seg, u64> loaded[] = {{x86::DS, r.ds}, {x86::ES, r.es}, {x86::FS, r.fs}, {x86::GS, r.gs}};
  cpu.heavy = true;
  for (const auto& [seg, selector] : loaded) {
    if (selector == s.seg[seg].selector) continue;
    if (!load_segment(cpu, seg, static_cast<u16>(selector))) {
      cpu.fault = {};
      set_null(s.seg[seg], 0);
    }
    changed = true;
  }
  cpu.heavy = false;
  if (r.cs == program_cs32) {
    x86::Segment& cs = s.seg[x86::CS];
    cs.selector = program_cs32;
    cs.limit = 0xffffffff;
    cs.attr = 0xc0fb;  // 32-bit code of CPL 3
    changed = true;
  }
  s.seg[x86::FS].base = r.fs_base;
  s.seg[x86::GS].base = r.gs_base;
  if (changed) mode_changed(cpu);
  cpu.lin_seg_base[x86::FS] = r.fs_base;
  cpu.lin_seg_base[x86::GS] = r.gs_base;
  cpu.link_site = nullptr;
  cpu.insn = nullptr;
  return true;
}

Direct::Ended Direct::run(SoftCpu& cpu) {
  if (!possible(cpu)) {
    if (how_ != DirectExecution::always) cpu.direct_wanted = 0;
    return Ended::not_here;
  }
  const u64 began = thread_us(), process_began = process_->cpu_us();
  if (const u64 now = host::rdtsc(); now - renewed_ > renew_ms * tsc_khz_) {
    renewed_ = now;
    cpu.sys.direct_stamp = 0;
  }
  if (!pages_.sync(cpu)) {
    useless_ = true;
    cpu.direct_wanted = 0;
    return Ended::not_here;
  }
  if (!put(cpu)) {  // a value that no program of the host may have
    cpu.direct_wanted = 0;
    return Ended::not_here;
  }
  ++entered_;
  u64 inside = 0, resumes = 0;
  StopInfo stop;
  user_regs_struct registers{};
  for (bool again = true; again;) {
    again = false;
    // First to be heard, then to look: whoever closes the gate after this interrupts.
    inside_.store(true, std::memory_order_seq_cst);
    if (std::atomic_ref<u32>(cpu.run_ok).load(std::memory_order_seq_cst) == 0) {
      inside_.store(false, std::memory_order_seq_cst);
      stop = {Stop::interrupted, 0};
      break;
    }
    const u64 before = process_->cpu_us();
    stop = process_->resume();
    inside += process_->cpu_us() - before;
    ++resumes;
    inside_.store(false, std::memory_order_seq_cst);
    ++stops_[static_cast<unsigned>(stop.stop)];
    if (stop.stop == Stop::gone) return Ended::lost;
    if (stop.stop == Stop::interrupted) again = std::atomic_ref<u32>(cpu.run_ok).load(std::memory_order_seq_cst) != 0;
    if (stop.stop != Stop::fault) continue;
    if (!process_->get(registers)) return Ended::lost;
    const auto fixed = pages_.fix(cpu, stop.address, registers.rip);
    if (fixed == DirectPages::Fixed::failed) useless_ = true;
    if (fixed != DirectPages::Fixed::yes) break;
    ++fixes_;
    registers.orig_rax = ~0ull;
    if (!process_->set(registers)) return Ended::lost;
    again = true;
  }
  // change() uses the registers: after a change that failed they must be had from here.
  if (useless_ && !process_->set(registers)) return Ended::lost;
  if (!take(cpu, stop)) return Ended::lost;
  if (useless_) cpu.direct_wanted = 0;
  const bool served = stop.stop == Stop::interrupted || inside > short_us;
  if (!served && how_ != DirectExecution::always) cpu.direct_wanted = 0;
  settle(cpu, inside, thread_us() - began + process_->cpu_us() - process_began - inside + resumes * resume_us, served);
  return Ended::gone_on;
}

void Direct::settle(SoftCpu& cpu, u64 inside, u64 around, bool served) {
  inside_us_ += inside;
  around_us_ += around;
  // Translated code would have taken about twice the time that was spent inside.
  balance_us_ = std::min(balance_us_ + static_cast<i64>(inside) - static_cast<i64>(around), credit_us);
  if (balance_us_ > credit_us / 2 && served) closed_ms_ = 0, advance_us_ = most_advance_us;
  if ((balance_us_ >= -advance_us_ && !pages_.full()) || how_ == DirectExecution::always) return;
  ++pauses_;
  balance_us_ = 0;
  advance_us_ = std::max(advance_us_ / 2, least_advance_us);
  closed_ms_ = std::clamp(2 * closed_ms_, least_closed_ms, most_closed_ms);
  closed_space_ = address_space(cpu);
  const u64 now = host::rdtsc();
  closed_until_ = now + closed_ms_ * tsc_khz_;
  others_until_ = now + closed_ms_ * tsc_khz_ / others_part;
  cpu.direct_wanted = 0;
}

void Direct::interrupt() {
  if (inside_.load(std::memory_order_seq_cst)) process_->interrupt();
}

std::string Direct::statistics() const {
  const auto stops = [&](Stop s) { return stops_[static_cast<unsigned>(s)]; };
  return fmt::format(
      "  direct execution: entered {}, {} ms inside, {} ms around, system calls {}, page faults {} ({} mapped at once), interrupted {}, other {}, "
      "pages mapped {} in {} pieces, address spaces dropped {}, pauses {}\n",
      entered_, inside_us_ / 1000, around_us_ / 1000, stops(Stop::syscall), stops(Stop::fault), fixes_, stops(Stop::interrupted),
      stops(Stop::trap) + stops(Stop::breakpoint) + stops(Stop::vsyscall) + stops(Stop::other), pages_.mapped, pages_.pieces, pages_.drops, pauses_);
}

}  // namespace nagaya::engine::soft
