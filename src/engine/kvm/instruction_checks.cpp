#include "engine/kvm/instruction_checks.hpp"

#include <array>
#include <vector>

#include "engine/kvm/scratch_guest.hpp"

namespace nagaya::engine::kvm {
namespace {

using namespace std::chrono_literals;
constexpr auto limit = 1500us;  // emulated one by one, the longest needs well under 100 µs

// Which CPUID bit offers an instruction; function 0: always there in 64-bit mode.
struct Offer {
  u32 function = 0;
  char reg = 'c';
  unsigned bit = 0;
};

struct Check {
  const char* name;
  Offer offer;
  u64 cr4;
  std::vector<u8> code;  // must leave RBX = 2 and halt (inc ebx twice, or the system-call handler)
};

#define INC2_HLT 0xff, 0xc3, 0xff, 0xc3, 0xf4
#define AT_DATA 0x25, 0x00, 0x90, 0x00, 0x00  // SIB and displacement: [9000h]

const std::vector<Check>& checks() {
  static const std::vector<Check> table = {
      {"INT3/IRET", {}, 0, {0xcc, INC2_HLT}},
      {"SYSCALL",
       {},
       0,
       {0x48, 0xc7, 0xc1, 0x11, 0x80, 0x00, 0x00,  // mov rcx, 8011h
        0x49, 0xc7, 0xc3, 0x02, 0x00, 0x00, 0x00,  // mov r11, 2
        0x48, 0x0f, 0x07,                          // sysretq
        0x0f, 0x05}},                              // syscall
      {"MOVUPS", {}, 0, {0x0f, 0x10, 0x04, AT_DATA, 0x0f, 0x11, 0x04, AT_DATA, INC2_HLT}},
      {"LDMXCSR", {}, 0, {0x0f, 0xae, 0x14, AT_DATA, INC2_HLT}},
      {"FLD", {}, 0, {0xdb, 0xe3, 0xdd, 0x04, AT_DATA, 0xdd, 0x1c, AT_DATA, INC2_HLT}},
      {"FWAIT", {}, 0, {0x9b, INC2_HLT}},
      {"FXSAVE", {}, 0, {0x0f, 0xae, 0x04, AT_DATA, 0x0f, 0xae, 0x0c, AT_DATA, INC2_HLT}},
      {"CMPXCHG16B", {1, 'c', 13}, 0, {0xbb, 0, 0, 0, 0, 0xf0, 0x48, 0x0f, 0xc7, 0x0c, AT_DATA, INC2_HLT}},
      {"POPCNT", {1, 'c', 23}, 0, {0xf3, 0x0f, 0xb8, 0xc3, INC2_HLT}},
      {"XSAVE", {1, 'c', 26}, 1u << 18, {0x31, 0xc9, 0x0f, 0x01,    0xd0,              // xgetbv
                                         0x31, 0xd2, 0xb8, 0x03,    0x00, 0x00, 0x00,  // edx:eax = 3
                                         0x0f, 0xae, 0x24, AT_DATA, 0x0f, 0xae, 0x2c, AT_DATA, INC2_HLT}},
      {"CLAC/STAC", {7, 'b', 20}, 1u << 21, {0x0f, 0x01, 0xcb, 0x0f, 0x01, 0xca, INC2_HLT}},
      {"INVPCID", {7, 'b', 10}, 0, {0xb8, 0x02, 0, 0, 0, 0x66, 0x0f, 0x38, 0x82, 0x04, AT_DATA, INC2_HLT}},
      {"RDTSCP", {0x80000001, 'd', 27}, 0, {0x0f, 0x01, 0xf9, INC2_HLT}},
      {"VERW", {}, 0, {0x66, 0xc7, 0x04, AT_DATA, 0x10, 0x00, 0x0f, 0x00, 0x2c, AT_DATA, INC2_HLT}},
      {"RDRAND", {1, 'c', 30}, 0, {0x0f, 0xc7, 0xf0, INC2_HLT}},
  };
  return table;
}

// KVM answers a hypercall it does not know with an error in RAX; either vendor's form is accepted from the guest.
const Check& vmcall() {
  static const Check check{"VMCALL", {}, 0, {0xb8, 0xff, 0xff, 0x00, 0x00, 0x0f, 0x01, 0xc1, INC2_HLT}};
  return check;
}

bool offered(const Offer& offer, std::span<const x86::CpuidEntry> cpuid) {
  if (offer.function == 0) return true;
  const x86::CpuidEntry* entry = x86::find_cpuid(cpuid, offer.function);
  if (!entry) return false;
  const u32 value = offer.reg == 'b' ? entry->ebx : offer.reg == 'c' ? entry->ecx : entry->edx;
  return value >> offer.bit & 1;
}

Result<bool> works(ScratchGuest& guest, const Check& check) {
  TRY_ASSIGN(const auto outcome, guest.run(check.code, limit, check.cr4));
  return outcome.end == ScratchGuest::End::halted && outcome.rbx == 2 && outcome.rax != ScratchGuest::exception_mark;
}

}  // namespace

Result<std::string> refused_instructions(ScratchGuest& guest, std::span<const x86::CpuidEntry> cpuid) {
  std::string names;
  for (const Check& check : checks()) {
    if (!offered(check.offer, cpuid)) continue;
    TRY_ASSIGN(const bool fine, works(guest, check));
    if (!fine) names += (names.empty() ? "" : " ") + std::string(check.name);
  }
  return names;
}

bool instruction_works(ScratchGuest& guest, std::string_view name) {
  if (name == vmcall().name) return works(guest, vmcall()).value_or(false);
  for (const Check& check : checks()) {
    if (check.name == name) return works(guest, check).value_or(false);
  }
  return false;
}

}  // namespace nagaya::engine::kvm
