#include "engine/soft/light/kvm_clock.hpp"

#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft {
namespace {

__extension__ using u128 = unsigned __int128;

struct ClockPage {
  u32 version, pad0;
  u64 tsc_timestamp, system_time;
  u32 mul;
  i8 shift;
  u8 flags;
  u8 pad[2];
};
static_assert(sizeof(ClockPage) == 32);
constexpr u8 tsc_stable = 1;

struct StealPage {
  u64 steal;
  u32 version, flags;
  u8 preempted;
  u8 pad[3];
};

struct Scale {
  u32 mul;
  i8 shift;
};

/// ns = (ticks << shift) * mul >> 32.
Scale scale_of(u64 tsc_khz) {
  Scale scale{0, 0};
  if (tsc_khz == 0) return scale;
  while (tsc_khz <= 1'000'000) {
    tsc_khz <<= 1;
    ++scale.shift;
  }
  scale.mul = static_cast<u32>((u64{1'000'000} << 32) / tsc_khz);
  return scale;
}

void store_version(SoftCpu& cpu, u64 gpa, u32 version) {
  physical_write(cpu, gpa, &version, sizeof version);
  asm volatile("" ::: "memory");
}

/// The 32-bit word of the PV EOI flag, or null.
u32* eoi_word(SoftCpu& cpu) {
  const u64 msr = cpu.s.msr.kvm_pv_eoi;
  if (!(msr & 1)) return nullptr;
  u8* page = ram_page(cpu, msr & ~u64{4095}, true);
  return page ? reinterpret_cast<u32*>(page + (msr & 4092)) : nullptr;
}

void eoi_written(SoftCpu& cpu) {
  const u64 gpa = cpu.s.msr.kvm_pv_eoi & ~u64{3};
  if (page_is_special(cpu, gpa & ~u64{4095})) store_special(cpu, gpa, 4);
}

}  // namespace

void physical_write(SoftCpu& cpu, u64 gpa, const void* data, unsigned size) {
  const auto* from = static_cast<const u8*>(data);
  while (size > 0) {
    const u64 offset = gpa & 4095;
    const unsigned piece = offset + size > 4096 ? static_cast<unsigned>(4096 - offset) : size;
    if (u8* page = ram_page(cpu, gpa - offset, true)) {
      copy_bytes(page + offset, from, piece);
      if (page_is_special(cpu, gpa - offset)) store_special(cpu, gpa, piece);
    }
    gpa += piece;
    from += piece;
    size -= piece;
  }
}

void physical_read(SoftCpu& cpu, u64 gpa, void* data, unsigned size) {
  auto* to = static_cast<u8*>(data);
  while (size > 0) {
    const u64 offset = gpa & 4095;
    const unsigned piece = offset + size > 4096 ? static_cast<unsigned>(4096 - offset) : size;
    if (const u8* page = ram_page(cpu, gpa - offset, false)) {
      copy_bytes(to, page + offset, piece);
    } else {
      for (unsigned i = 0; i < piece; ++i) to[i] = 0;
    }
    gpa += piece;
    to += piece;
    size -= piece;
  }
}

u64 kvm_clock_ns(const SoftCpu& cpu) {
  const Scale scale = scale_of(cpu.tsc_khz);
  const u64 ticks = (exec::guest_tsc(cpu) - cpu.s.msr.tsc_adjust) << scale.shift;
  return static_cast<u64>(static_cast<u128>(ticks) * scale.mul >> 32) + cpu.kvm_clock_offset;
}

void kvm_clock_update(SoftCpu& cpu) {
  const u64 msr = cpu.s.msr.kvm_system_time;
  if (!(msr & 1)) return;
  const u64 gpa = msr & ~u64{1};
  const Scale scale = scale_of(cpu.tsc_khz);
  ClockPage page{};
  physical_read(cpu, gpa, &page.version, sizeof page.version);
  // A reader that sees an odd version, or two different ones, reads again.
  store_version(cpu, gpa, page.version | 1);
  page.version = (page.version | 1) + 1;
  page.tsc_timestamp = cpu.s.msr.tsc_adjust;
  page.system_time = cpu.kvm_clock_offset;
  page.mul = scale.mul;
  page.shift = scale.shift;
  page.flags = tsc_stable;
  physical_write(cpu, gpa + 4, reinterpret_cast<const u8*>(&page) + 4, sizeof page - 4);
  asm volatile("" ::: "memory");
  store_version(cpu, gpa, page.version);
}

void kvm_steal_add(SoftCpu& cpu, u64 ns, bool preempted) {
  const u64 msr = cpu.s.msr.kvm_steal_time;
  if (!(msr & 1)) return;
  const u64 gpa = msr & ~u64{63};
  StealPage page{};
  physical_read(cpu, gpa, &page, sizeof page);
  store_version(cpu, gpa + 8, page.version | 1);
  page.version = (page.version | 1) + 1;
  page.steal += ns;
  page.preempted = preempted;
  physical_write(cpu, gpa, &page.steal, 8);
  physical_write(cpu, gpa + 16, &page.preempted, 1);
  asm volatile("" ::: "memory");
  store_version(cpu, gpa + 8, page.version);
}

bool pv_eoi_offer(SoftCpu& cpu) {
  u32* word = eoi_word(cpu);
  if (!word) return false;
  __atomic_fetch_or(word, 1u, __ATOMIC_SEQ_CST);
  eoi_written(cpu);
  return true;
}

bool pv_eoi_taken(SoftCpu& cpu) {
  u32* word = eoi_word(cpu);
  if (!word) return false;
  const bool still_set = __atomic_fetch_and(word, ~1u, __ATOMIC_SEQ_CST) & 1;
  eoi_written(cpu);
  return !still_set;
}

}  // namespace nagaya::engine::soft
