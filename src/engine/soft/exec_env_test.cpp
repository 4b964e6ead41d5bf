#include "engine/soft/exec_env_test.hpp"

#include <cpuid.h>
#include <sys/mman.h>

namespace nagaya::engine::soft {
namespace {

void* pages(std::size_t size) {
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) std::abort();
  return at;
}

u64 host_xcr0() {
  u32 low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low & 0xe7;
}

}  // namespace

ExecEnv::ExecEnv() : cpu(*static_cast<SoftCpu*>(pages(sizeof(SoftCpu)))), ram_(static_cast<u8*>(pages(ram_size))) {
  cpu.s.rflags = 2;
  cpu.s.cr0 = 0x60000010;
  cpu.s.dr6 = 0xffff0ff0;
  cpu.s.dr7 = 0x400;
  cpu.s.xcr0 = 1;
  cpu.s.msr.pat = 0x0007040600070406;
  cpu.s.apic_base = 0xfee00900;
  for (auto& seg : cpu.s.seg) seg = {.limit = 0xffff, .attr = 0x93};
  cpu.s.tr = {.limit = 0x67, .attr = 0x8b};
  cpu.s.ldtr.unusable = true;
  cpu.maxphyaddr = 40;
  cpu.features = feat_nx | feat_pcid | feat_smep | feat_smap | feat_umip | feat_fsgsbase | feat_rdtscp | feat_invpcid | feat_xsave |
                 feat_rdpid | feat_syscall;
  cpu.host_xcr0 = host_xcr0();
  cpu.tsc_khz = 2'500'000;
  cpu.io = &io;
  shared.page_flags = flags_.data();
  shared.page_blocks = blocks_.data();
  shared.dirty_bits = dirty_.data();
  shared.page_limit = ram_size >> 12;
  shared.slots[0] = {0, ram_size, ram_, false};
  shared.slot_count = 1;
  shared.cpus[0] = &cpu;
  shared.cpu_count = 1;
  cpu.shared = &shared;
  tlb_init(cpu);
  mode_changed(cpu);
  cpuid_set(0, 0, 0xd, 0x68747541, 0x444d4163, 0x69746e65);
  cpuid_set(0x80000001, 0, 0, 0, 0, 1u << 29 | 1u << 20);
  for (u32 i = 0; i < 10; ++i) {
    u32 a, b, c, d;
    __cpuid_count(0xd, i, a, b, c, d);
    cpuid_set(0xd, i, a, b, c, d);
  }
}

ExecEnv::~ExecEnv() {
  munmap(ram_, ram_size);
  munmap(&cpu, sizeof(SoftCpu));
}

void ExecEnv::cpuid_set(u32 function, u32 index, u32 a, u32 b, u32 c, u32 d) {
  cpuid_.push_back({function, index, function == 0xd || function == 7, a, b, c, d});
  cpu.cpuid = cpuid_.data();
  cpu.cpuid_count = static_cast<u32>(cpuid_.size());
}

void ExecEnv::mode(unsigned bits, unsigned ring) {
  const auto dpl = static_cast<u16>(ring << 5);
  cpu.s.rip = rip0;
  if (bits == 16) return;
  cpu.s.cr0 |= cr0_pe | 0x20;
  cpu.s.cr4 |= exec::cr4_osfxsr | exec::cr4_osxmm | cr4_osxsave;
  cpu.s.xcr0 = cpu.host_xcr0;
  const auto code = static_cast<u16>((bits == 64 ? 0xa09b : 0xc09b) | dpl), data = static_cast<u16>(0xc093 | dpl);
  for (auto& seg : cpu.s.seg) seg = {.base = 0, .limit = 0xffffffff, .selector = static_cast<u16>(0x10 | ring), .attr = data};
  cpu.s.seg[x86::CS].attr = code;
  cpu.s.seg[x86::CS].selector = static_cast<u16>(8 | ring);
  if (bits == 64) {
    at(0x1000) = 0x2000 | 7;
    at(0x2000) = 0x3000 | 7;
    at(0x3000) = 0x200000 | 7;
    for (u64 i = 1; i < 4; i++) at(0x3000 + i * 8) = i << 21 | 0x87;
    for (u64 i = 0; i < 512; i++) at(0x200000 + i * 8) = i << 12 | 7;
    cpu.s.cr3 = 0x1000;
    cpu.s.cr4 |= cr4_pae;
    cpu.s.msr.efer = efer_lme | efer_lma | efer_nxe | efer_sce;
    cpu.s.cr0 |= cr0_pg | cr0_wp;
  }
  tlb_flush_all(cpu);
  mode_changed(cpu);
}

bool ExecEnv::run(std::initializer_list<int> list) {
  std::vector<u8> bytes;
  for (const int byte : list) bytes.push_back(static_cast<u8>(byte));
  std::memcpy(ram_ + cpu.s.seg[x86::CS].base + cpu.s.rip, bytes.data(), bytes.size());
  const CodeSize size = code64(cpu) ? CodeSize::bits64 : cpu.s.seg[x86::CS].db() ? CodeSize::bits32 : CodeSize::bits16;
  Decoded decoded;
  EXPECT_EQ(decode(size, cpu.s.seg[x86::SS].db(), bytes, decoded), DecodeStatus::ok);
  EXPECT_EQ(decoded.insn.length, bytes.size());
  cpu.fault = {};
  cpu.need_heavy = false;
  was_heavy = false;
  if (execute(cpu, decoded.insn)) return true;
  if (!cpu.need_heavy) {
    EXPECT_TRUE(cpu.fault.pending);
    return false;
  }
  EXPECT_FALSE(cpu.fault.pending);
  was_heavy = true;
  return execute_heavy(cpu, decoded.insn);
}

bool ExecEnv::run_all(std::initializer_list<int> bytes) {
  const u64 rip = cpu.s.rip;
  for (int i = 0; i < 10000; ++i) {
    if (!run(bytes)) return false;
    if (cpu.s.rip != rip) return true;
  }
  ADD_FAILURE() << "does not end";
  return false;
}

void ExecEnv::expect_fault(u8 vector, u32 code) {
  EXPECT_TRUE(cpu.fault.pending);
  EXPECT_EQ(cpu.fault.vector, vector);
  if (cpu.fault.has_code) {
    EXPECT_EQ(cpu.fault.code, code);
  }
  cpu.fault = {};
}

}  // namespace nagaya::engine::soft
