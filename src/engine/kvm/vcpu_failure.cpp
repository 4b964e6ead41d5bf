// What went wrong inside KVM, told so that a person can act on it.
#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "engine/kvm/ioctl.hpp"
#include "engine/kvm/memory_slots.hpp"
#include "engine/kvm/vcpu.hpp"

namespace nagaya::engine::kvm {
namespace {

constexpr const char* hint = "; try --engine soft";
// KVM_EXIT_MEMORY_FAULT of Linux 6.8, which older headers lack: u64 flags, gpa, size.
constexpr u32 exit_memory_fault = 39;

std::string hex(std::span<const u8> bytes) {
  std::string text;
  for (const u8 byte : bytes) text += fmt::format("{}{:02x}", text.empty() ? "" : " ", byte);
  return text;
}

}  // namespace

// "at 0010:ffffffff81000000 (0f 0b …), 64-bit ring 0"
std::string KvmVcpu::describe_place(std::span<const u8> instruction) const {
  kvm_regs regs{};
  kvm_sregs sregs{};
  if (::ioctl(fd(), KVM_GET_REGS, &regs) != 0 || ::ioctl(fd(), KVM_GET_SREGS, &sregs) != 0)
    return "at an unknown place";
  std::string bytes = instruction.empty() ? "" : fmt::format(" ({})", hex(instruction));
  kvm_translation where{};
  where.linear_address = sregs.cs.l ? regs.rip : sregs.cs.base + regs.rip;
  if (bytes.empty() && ::ioctl(fd(), KVM_TRANSLATE, &where) == 0 && where.valid) {
    std::array<u8, 15> code;
    const u64 here = std::min<u64>(code.size(), page_size - where.physical_address % page_size);
    if (const Hva hva = context_.memory.host(Gpa(where.physical_address), here)) {
      std::memcpy(code.data(), hva, here);
      bytes = fmt::format(" ({})", hex(std::span(code).first(here)));
    }
  }
  const char* mode = !(sregs.cr0 & 1) ? "real mode"
                     : sregs.cs.l     ? "64-bit"
                     : sregs.cs.db    ? "32-bit"
                                      : "16-bit protected";
  return fmt::format("at {:04x}:{:x}{}, {} ring {}", sregs.cs.selector, regs.rip, bytes, mode, sregs.ss.dpl);
}

std::string KvmVcpu::describe_internal_error() const {
  const auto& internal = run_->internal;
  switch (internal.suberror) {
    case KVM_INTERNAL_ERROR_EMULATION: {
      std::span<const u8> bytes;
      const auto& failure = run_->emulation_failure;
      if (failure.ndata >= 3 && (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
        bytes =
            std::span(failure.insn_bytes).first(std::min<std::size_t>(failure.insn_size, sizeof failure.insn_bytes));
      return fmt::format("this host's KVM cannot execute the guest's instruction {}{}", describe_place(bytes), hint);
    }
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return fmt::format("KVM met exceptions it cannot combine {}{}", describe_place(), hint);
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return fmt::format("KVM could not deliver an event {}{}", describe_place(), hint);
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      return fmt::format("KVM met an exit it does not know (reason {:#x}) {}{}",
                         internal.ndata > 0 ? static_cast<u64>(internal.data[0]) : 0, describe_place(), hint);
    default:
      return fmt::format("KVM reports internal error {} {}{}", u32{internal.suberror}, describe_place(), hint);
  }
}

std::string KvmVcpu::describe_run_failure(int code) const {
  if (run_->exit_reason == exit_memory_fault && (code == EFAULT || code == EHWPOISON)) {
    std::array<u64, 3> fault;
    std::memcpy(fault.data(), run_->padding, sizeof fault);
    return fmt::format("the host lost guest memory at {:#x} ({}), {}", fault[1], std::strerror(code), describe_place());
  }
  return fmt::format("KVM_RUN failed: {}, {}{}", std::strerror(code), describe_place(), hint);
}

std::string KvmVcpu::describe_other_exit() const {
  switch (run_->exit_reason) {
    case KVM_EXIT_FAIL_ENTRY:
      return fmt::format("the host CPU refuses the guest's state (hardware reason {:#x}, host CPU {}) {}{}",
                         static_cast<u64>(run_->fail_entry.hardware_entry_failure_reason), u32{run_->fail_entry.cpu},
                         describe_place(), hint);
    case KVM_EXIT_UNKNOWN:
      return fmt::format("KVM gave up for an unknown hardware reason {:#x} {}{}",
                         static_cast<u64>(run_->hw.hardware_exit_reason), describe_place(), hint);
    case KVM_EXIT_HLT:
      return fmt::format("KVM left a HLT to us although its own APIC is in use {}{}", describe_place(), hint);
    default:
      return fmt::format("KVM came back for reason {} that this program does not use {}", u32{run_->exit_reason},
                         describe_place());
  }
}

}  // namespace nagaya::engine::kvm
