// Reading and writing a vCPU's whole state. The order of requests matters: control registers first (they reset what
// hangs on them), registers before events (setting registers drops a pending exception), run state last.
#include <fmt/format.h>
#include <sys/ioctl.h>

#include <cstring>

#include "engine/kvm/abi.hpp"
#include "engine/kvm/convert.hpp"
#include "engine/kvm/convert_irqchip.hpp"
#include "engine/kvm/ioctl.hpp"
#include "engine/kvm/irqchip.hpp"
#include "engine/kvm/msr_list.hpp"
#include "engine/kvm/msr_table.hpp"
#include "engine/kvm/system.hpp"
#include "engine/kvm/vcpu.hpp"

namespace nagaya::engine::kvm {
namespace {

constexpr std::size_t isr_at = 0x100, irr_at = 0x200;  // 256 bits each, 32 per 16-byte step

bool clear_vector(u8* regs, std::size_t bank, u8 vector) {
  u8& byte = regs[bank + vector / 32 * 16 + vector % 32 / 8];
  const u8 mask = static_cast<u8>(1 << vector % 8);
  const bool was = byte & mask;
  byte &= static_cast<u8>(~mask);
  return was;
}

void set_vector(u8* regs, std::size_t bank, u8 vector) {
  regs[bank + vector / 32 * 16 + vector % 32 / 8] |= static_cast<u8>(1 << vector % 8);
}

}  // namespace

Result<> KvmVcpu::read_msrs(x86::Msrs& msrs) {
  const auto table = msr_table();
  std::vector<std::size_t> wanted;
  std::vector<kvm_msr_entry> entries;
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (msr_unreadable_[i]) continue;
    wanted.push_back(i);
    entries.push_back({.index = table[i].index, .reserved = 0, .data = 0});
  }
  for (std::size_t done = 0; done < wanted.size();) {
    const auto rest = std::span(entries).subspan(done);
    TRY_ASSIGN(const std::size_t got, get_msrs(fd(), rest));
    for (std::size_t i = 0; i < got; ++i) set_msr_value(msrs, table[wanted[done + i]], rest[i].data);
    done += got;
    if (got < rest.size()) msr_unreadable_[wanted[done++]] = true;  // keeps its default from now on
  }
  return {};
}

Result<> KvmVcpu::write_msrs(const x86::Msrs& msrs) {
  const auto table = msr_table();
  const x86::Msrs fresh;
  std::vector<kvm_msr_entry> entries;
  for (const MsrEntry& entry : table)
    entries.push_back({.index = entry.index, .reserved = 0, .data = msr_value(msrs, entry)});
  for (std::size_t done = 0; done < table.size();) {
    const auto rest = std::span(entries).subspan(done);
    TRY_ASSIGN(const std::size_t put, set_msrs(fd(), rest));
    done += put;
    if (put == rest.size()) break;
    // A host without the register loses nothing when the value is the one after reset.
    if (entries[done].data != msr_value(fresh, table[done])) counters_->refused_msrs.fetch_or(u64{1} << done);
    ++done;
  }
  return {};
}

// An interrupt that its controller has handed over but whose delivery has not begun goes back to the controller, where
// the saved state holds it: the guest has seen nothing of it.
Result<> KvmVcpu::withdraw_interrupt(kvm_vcpu_events& events) {
  const u8 vector = events.interrupt.nr;
  const bool software = events.interrupt.soft;
  if (!software) {
    kvm_lapic_state apic{};
    TRY_KVM(fd(), KVM_GET_LAPIC, &apic);
    auto* regs = reinterpret_cast<u8*>(apic.regs);
    if (clear_vector(regs, isr_at, vector)) {
      set_vector(regs, irr_at, vector);
      TRY_KVM(fd(), KVM_SET_LAPIC, &apic);
    } else {
      TRY_ASSIGN(auto pics, context_.irqchip.pic_state());
      for (x86::PicState& pic : pics) {
        if ((vector & 0xf8) != pic.irq_base) continue;
        const u8 mask = static_cast<u8>(1 << (vector & 7));
        pic.isr &= static_cast<u8>(~mask);
        pic.irr |= mask;
        if (&pic == &pics[1]) {
          pics[0].isr &= static_cast<u8>(~4);
          pics[0].irr |= 4;
        }
        break;
      }
      TRY(context_.irqchip.set_pic_state(pics));
    }
  }  // else RIP still is at the INT instruction, which runs again
  events.interrupt.injected = 0;
  events.interrupt.nr = 0;
  events.interrupt.soft = 0;
  events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  TRY_KVM(fd(), KVM_SET_VCPU_EVENTS, &events);
  return {};
}

Result<x86::CpuState> KvmVcpu::state() {
  x86::CpuState state;
  // First, because reading it makes KVM act on INIT and SIPI that wait.
  kvm_mp_state mp{};
  TRY_KVM(fd(), KVM_GET_MP_STATE, &mp);
  state.run_state = shutdown_ ? x86::RunState::shutdown : from_kvm(mp);
  kvm_vcpu_events events{};
  TRY_KVM(fd(), KVM_GET_VCPU_EVENTS, &events);
  if (events.interrupt.injected) {
    TRY(withdraw_interrupt(events));
    // It was accepted, so the processor was not to stay halted.
    if (state.run_state == x86::RunState::halted) state.run_state = x86::RunState::running;
  }
  from_kvm(events, state);
  if (nmi_requested_.load()) state.events.nmi_pending = true;
  kvm_regs regs{};
  TRY_KVM(fd(), KVM_GET_REGS, &regs);
  from_kvm(regs, state);
  kvm_sregs sregs{};
  TRY_KVM(fd(), KVM_GET_SREGS, &sregs);
  from_kvm(sregs, state);
  kvm_debugregs debug{};
  TRY_KVM(fd(), KVM_GET_DEBUGREGS, &debug);
  from_kvm(debug, state);
  if (context_.system.extension(KVM_CAP_XCRS) > 0) {
    kvm_xcrs xcrs{};
    TRY_KVM(fd(), KVM_GET_XCRS, &xcrs);
    for (u32 i = 0; i < xcrs.nr_xcrs && i < KVM_MAX_XCRS; ++i) {
      if (xcrs.xcrs[i].xcr == 0) state.xcr0 = xcrs.xcrs[i].value;
    }
  }
  std::vector<u8> image(context_.xsave_bytes);
  const bool large = context_.xsave_bytes > sizeof(XsaveArea);
  TRY(request(fd(), large ? get_xsave2 : get_xsave, image.data(), "KVM_GET_XSAVE"));
  xsave_from_kvm(image, xcr0_supported_, state);
  TRY(read_msrs(state.msr));
  return state;
}

Result<> KvmVcpu::set_state(const x86::CpuState& state) {
  if (const u64 lost = xsave_in_use(state) & (state.xcr0 | 3) & ~xcr0_supported_; lost != 0)
    return fail(
        fmt::format("the saved processor holds vector state (XCR0 bits {:#x}) that this host's KVM does not offer",
                    lost),
        {}, "use --engine soft");
  // A processor that waits for its start-up message must not run while its registers change: nothing to do, its thread
  // is ours.
  kvm_sregs sregs{};
  to_kvm(state, sregs);
  TRY_KVM(fd(), KVM_SET_SREGS, &sregs);
  kvm_regs regs{};
  to_kvm(state, regs);
  TRY_KVM(fd(), KVM_SET_REGS, &regs);
  if (context_.system.extension(KVM_CAP_XCRS) > 0) {
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = (state.xcr0 & xcr0_supported_) | 1;
    TRY_KVM(fd(), KVM_SET_XCRS, &xcrs);
  }
  std::vector<u8> image(context_.xsave_bytes);
  xsave_to_kvm(state, xcr0_supported_, image);
  TRY(request(fd(), set_xsave, image.data(), "KVM_SET_XSAVE"));
  kvm_debugregs debug{};
  to_kvm(state, debug);
  TRY_KVM(fd(), KVM_SET_DEBUGREGS, &debug);
  TRY(write_msrs(state.msr));
  kvm_vcpu_events events{};
  TRY(to_kvm(state, events));
  nmi_requested_.store(false);
  TRY_KVM(fd(), KVM_SET_VCPU_EVENTS, &events);
  kvm_mp_state mp = to_kvm(state.run_state);
  TRY_KVM(fd(), KVM_SET_MP_STATE, &mp);
  shutdown_ = state.run_state == x86::RunState::shutdown;
  kicked_at_ns_ = 0;
  return {};
}

namespace {

// Linux Documentation/virt/kvm/devices/vcpu.rst, 4.1 (Linux 5.16).
kvm_device_attr tsc_attribute(u64& offset) {
  return {.flags = 0, .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = reinterpret_cast<u64>(&offset)};
}

}  // namespace

Result<u64> KvmVcpu::tsc_offset() {
  u64 offset = 0;
  kvm_device_attr attribute = tsc_attribute(offset);
  TRY_KVM(fd(), KVM_GET_DEVICE_ATTR, &attribute);
  return offset;
}

Result<> KvmVcpu::set_tsc_offset(u64 offset) {
  kvm_device_attr attribute = tsc_attribute(offset);
  TRY_KVM(fd(), KVM_SET_DEVICE_ATTR, &attribute);
  // Some hosts take it and change nothing: their guests see the host's own counter.
  TRY_ASSIGN(const u64 kept, tsc_offset());
  if (kept != offset) return fail("the TSC offset", "this host's KVM does not move a guest's TSC");
  return {};
}

Result<x86::LapicState> KvmVcpu::lapic_state() {
  kvm_lapic_state apic{};
  TRY_KVM(fd(), KVM_GET_LAPIC, &apic);
  x86::LapicState state = from_kvm(apic);
  kvm_msr_entry deadline{.index = msr_tsc_deadline, .reserved = 0, .data = 0};
  TRY_ASSIGN(const std::size_t got, get_msrs(fd(), std::span(&deadline, 1)));
  if (got == 1) state.tsc_deadline = deadline.data;
  return state;
}

Result<> KvmVcpu::set_lapic_state(const x86::LapicState& state) {
  kvm_lapic_state apic = to_kvm(state);
  TRY_KVM(fd(), KVM_SET_LAPIC, &apic);
  if (state.tsc_deadline == 0) return {};
  const kvm_msr_entry deadline{.index = msr_tsc_deadline, .reserved = 0, .data = state.tsc_deadline};
  TRY_ASSIGN(const std::size_t put, set_msrs(fd(), std::span(&deadline, 1)));
  if (put != 1) return fail("KVM refuses the saved TSC deadline");
  return {};
}

}  // namespace nagaya::engine::kvm
