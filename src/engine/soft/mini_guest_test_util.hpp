// A guest of a few bytes for tests: 64-bit code on an identity map of 8 MiB, a port that ends it.
#pragma once
#include <sys/mman.h>

#include <cstring>
#include <initializer_list>
#include <span>
#include <vector>

#include "engine/soft/soft_engine.hpp"

namespace nagaya::engine::soft::testing {

class MiniGuest : public IoHandler {
 public:
  static constexpr u64 ram_size = 8 * MiB, code_at = 0x10000, stack_top = 0x80000, data_at = 0x100000;

  explicit MiniGuest(const SoftOptions& options = {}, LocalApic* apic = nullptr) {
    ram_ = static_cast<u8*>(mmap(nullptr, ram_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    auto engine = create_soft_engine(options);
    if (!engine) return;
    engine_ = std::move(*engine);
    const MemoryRegion region{Gpa(0), ram_size, reinterpret_cast<Hva>(ram_), false};
    if (!engine_->set_memory({&region, 1})) return;
    cpuid_ = *engine_->supported_cpuid();
    auto vcpu = engine_->create_vcpu(0, *this, apic, cpuid_);
    if (vcpu) vcpu_ = std::move(*vcpu);
    page_tables();
  }
  ~MiniGuest() override {
    vcpu_.reset();
    engine_.reset();
    munmap(ram_, ram_size);
  }

  [[nodiscard]] bool ok() const { return vcpu_ != nullptr; }
  u8* ram() { return ram_; }
  Vcpu& vcpu() { return *vcpu_; }
  Engine& engine() { return *engine_; }
  std::span<const CpuidEntry> cpuid() const { return cpuid_; }
  void code(std::initializer_list<u8> bytes) { code(std::vector<u8>(bytes)); }
  void code(const std::vector<u8>& bytes) { std::memcpy(ram_ + code_at, bytes.data(), bytes.size()), engine_->memory_written(Gpa(code_at), bytes.size()); }

  /// CPL 0, long mode, everything on.
  static x86::CpuState long_mode() {
    x86::CpuState s = x86::reset_state(true);
    s.cr0 = 0x80050033 & ~0x8u;
    s.cr3 = 0x1000;
    s.cr4 = 0x20 | 0x200 | 0x400 | 0x40000;  // PAE OSFXSR OSXMMEXCPT OSXSAVE
    s.msr.efer = 0xd01;
    s.xcr0 = 0xe7;
    for (auto& seg : s.seg) seg = {0, 0xffffffff, 0x10, 0xc093, false};
    s.seg[x86::CS] = {0, 0xffffffff, 0x08, 0xa09b, false};
    s.rip = code_at;
    s.rflags = 2;
    s.gpr[x86::RSP] = stack_top;
    return s;
  }
  /// Runs from `state` until `out 0xf4, al` or another exit; the exit code is `last_exit`.
  x86::CpuState run(const x86::CpuState& state) {
    (void)vcpu_->set_state(state);
    last_exit = vcpu_->run();
    return *vcpu_->state();
  }

  void port_read(u16, std::span<u8> data) override { std::memset(data.data(), 0xff, data.size()); }
  void port_write(u16 port, std::span<const u8> data) override {
    if (port == 0xf4) vcpu_->kick();
    if (port == 0xe9) console.push_back(static_cast<char>(data[0]));
  }
  void mmio_read(Gpa at, std::span<u8> data) override {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(at.value + i);
    ++mmio_reads;
  }
  void mmio_write(Gpa at, std::span<const u8> data) override {
    mmio_address = at.value;
    mmio_data.assign(data.begin(), data.end());
  }

  Exit last_exit;
  std::string console;
  u64 mmio_address = 0;
  unsigned mmio_reads = 0;
  std::vector<u8> mmio_data;

 private:
  /// 4 KiB pages for the first 8 MiB, at 1000h; 2 MiB pages for the rest of 1 GiB (no RAM there: MMIO).
  void page_tables() {
    auto* pml4 = reinterpret_cast<u64*>(ram_ + 0x1000);
    auto* pdpt = reinterpret_cast<u64*>(ram_ + 0x2000);
    auto* pd = reinterpret_cast<u64*>(ram_ + 0x3000);
    pml4[0] = 0x2007;
    pdpt[0] = 0x3007;
    for (u64 i = 0; i < 512; ++i) pd[i] = i << 21 | 0x87;
    for (u64 t = 0; t < 4; ++t) {
      auto* pt = reinterpret_cast<u64*>(ram_ + 0x4000 + t * 0x1000);
      pd[t] = (0x4000 + t * 0x1000) | 7;
      for (u64 i = 0; i < 512; ++i) pt[i] = ((t << 9 | i) << 12) | 7;
    }
  }

  u8* ram_ = nullptr;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Vcpu> vcpu_;
  std::vector<CpuidEntry> cpuid_;
};

}  // namespace nagaya::engine::soft::testing
