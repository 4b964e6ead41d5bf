// Guest linear memory: the way from an address to host bytes, and copies in and out.
#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/paging.hpp"
#include "engine/soft/light/tlb.hpp"
#include "engine/soft/light/watch.hpp"

namespace nagaya::engine::soft {
namespace {

// The local APIC's page hides RAM beneath it.
bool apic_page(const SoftCpu& cpu, u64 gpa_page) {
  return (cpu.s.apic_base & 0xc00) == 0x800 && gpa_page == (cpu.s.apic_base & 0x000ffffffffff000);
}

Place locate_slow(SoftCpu& cpu, u64 linear, Access access, TlbKind kind) {
  u64 gpa = 0, rights = 0;
  if (!translate(cpu, linear, access, kind, gpa, rights)) return {};
  const u64 gpa_page = gpa & ~0xfffull, offset = gpa & 0xfff;
  if (apic_page(cpu, gpa_page)) return {PlaceKind::mmio, nullptr, gpa};
  u8* const host = ram_page(cpu, gpa_page, access == Access::write);
  if (!host) return {PlaceKind::mmio, nullptr, gpa};
  if (access == Access::fetch) return {PlaceKind::ram, host + offset, gpa};
  bool writable = access == Access::write;
  if (!writable) {
    writable = (rights & right_dirty) && permitted(cpu, rights, Access::write, kind) && ram_page(cpu, gpa_page, true);
  }
  const bool special = writable && page_is_special(cpu, gpa_page);
  if (!long_mode(cpu)) linear &= 0xffffffff;
  const bool plain =
      tlb_set(cpu, kind, linear & ~0xfffull, gpa_page, host, writable && !special, rights & right_global);
  const bool store_is_special = access == Access::write && (special || !plain);
  return {store_is_special ? PlaceKind::special : PlaceKind::ram, host + offset, gpa};
}

// An access as one or two runs, each within a page.
struct Runs {
  Place place[2];
  unsigned size[2] = {0, 0};
};

bool resolve(SoftCpu& cpu, u64 linear, unsigned size, Access access, TlbKind kind, Runs& runs) {
  const unsigned room = 4096 - (linear & 0xfff);
  runs.size[0] = size < room ? size : room;
  runs.size[1] = size - runs.size[0];
  runs.place[0] = locate(cpu, linear, access, kind);
  if (runs.place[0].kind == PlaceKind::fault) return false;
  if (runs.size[1]) {
    runs.place[1] = locate(cpu, linear_add(cpu, linear, room), access, kind);
    if (runs.place[1].kind == PlaceKind::fault) return false;
  }
  const bool mmio = runs.place[0].kind == PlaceKind::mmio || (runs.size[1] && runs.place[1].kind == PlaceKind::mmio);
  if (mmio && !cpu.heavy) {
    cpu.need_heavy = true;
    return false;
  }
  return true;
}

[[gnu::noinline]] bool read_slow(SoftCpu& cpu, u64 linear, void* out, unsigned size, TlbKind kind) {
  Runs runs;
  if (!resolve(cpu, linear, size, Access::read, kind, runs)) return false;
  note_access(cpu, linear, size, false);
  u8* to = static_cast<u8*>(out);
  for (unsigned i = 0; i < 2 && runs.size[i]; to += runs.size[i], i++) {
    if (runs.place[i].host)
      copy_bytes(to, runs.place[i].host, runs.size[i]);
    else
      mmio_access(cpu, runs.place[i].gpa, to, runs.size[i], false);
  }
  return true;
}

[[gnu::noinline]] bool write_slow(SoftCpu& cpu, u64 linear, const void* data, unsigned size, TlbKind kind) {
  Runs runs;
  if (!resolve(cpu, linear, size, Access::write, kind, runs)) return false;
  note_access(cpu, linear, size, true);
  const u8* from = static_cast<const u8*>(data);
  for (unsigned i = 0; i < 2 && runs.size[i]; from += runs.size[i], i++) {
    const Place& place = runs.place[i];
    if (place.host)
      copy_bytes(place.host, from, runs.size[i]);
    else
      mmio_access(cpu, place.gpa, const_cast<u8*>(from), runs.size[i], true);
    if (place.kind == PlaceKind::special) store_special(cpu, place.gpa, runs.size[i]);
  }
  return true;
}

}  // namespace

void copy_bytes(void* to, const void* from, unsigned size) {
  switch (size) {
    case 1:
      __builtin_memcpy(to, from, 1);
      return;
    case 2:
      __builtin_memcpy(to, from, 2);
      return;
    case 4:
      __builtin_memcpy(to, from, 4);
      return;
    case 8:
      __builtin_memcpy(to, from, 8);
      return;
    case 16:
      __builtin_memcpy(to, from, 8);
      __builtin_memcpy(static_cast<u8*>(to) + 8, static_cast<const u8*>(from) + 8, 8);
      return;
    default: {
      if (size <= 64 && size % 8 == 0) {  // the set-up of REP MOVS costs more
        for (unsigned i = 0; i < size; i += 8) {
          u64 word;
          __builtin_memcpy(&word, static_cast<const u8*>(from) + i, 8);
          asm volatile("" : "+r"(word));  // or the loop would become a call
          __builtin_memcpy(static_cast<u8*>(to) + i, &word, 8);
        }
        return;
      }
      u64 count = size;
      asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    }
  }
}

u64 linear_add(const SoftCpu& cpu, u64 linear, u64 n) {
  const u64 sum = linear + n;
  if (code64(cpu)) return sum;
  // Compatibility mode addresses descriptor tables anywhere; only what starts below 4 GiB wraps there.
  return !long_mode(cpu) || linear >> 32 == 0 ? sum & 0xffffffff : sum;
}

TlbKind current_kind(const SoftCpu& cpu) {
  if (cpl(cpu) == 3) return tlb_user;
  return (cpu.s.cr4 & cr4_smap) && (cpu.s.rflags & flag_ac) ? tlb_supervisor_ac : tlb_supervisor;
}

Place locate(SoftCpu& cpu, u64 linear, Access access, TlbKind kind) {
  // Heavy code may run while another thread makes pages special, whose flush of this TLB is yet to come: it looks at the
  // marks after each store.
  const bool watch = cpu.heavy && access == Access::write;
  if (access != Access::fetch && !watch) {
    if (u8* host = known_host(cpu, linear, 1, access == Access::write, kind)) {
      return {PlaceKind::ram, host, ~0ull};
    }
  }
  Place place = locate_slow(cpu, linear, access, kind);
  if (watch && place.kind == PlaceKind::ram) place.kind = PlaceKind::special;
  return place;
}

u8* tlb_fill(SoftCpu& cpu, u64 linear, Access access, TlbKind kind, u64* gpa, bool* special) {
  const Place place = locate_slow(cpu, linear, access, kind);
  if (gpa) *gpa = place.gpa;
  if (special) *special = place.kind == PlaceKind::special;
  return place.kind == PlaceKind::ram ? place.host : nullptr;
}

bool mem_read(SoftCpu& cpu, u64 linear, void* out, unsigned size, TlbKind kind) {
  if (u8* host = known_host(cpu, linear, size, false, kind)) {
    copy_bytes(out, host, size);
    return true;
  }
  return read_slow(cpu, linear, out, size, kind);
}

bool mem_write(SoftCpu& cpu, u64 linear, const void* data, unsigned size, TlbKind kind) {
  if (u8* host = cpu.heavy ? nullptr : known_host(cpu, linear, size, true, kind)) {
    copy_bytes(host, data, size);
    return true;
  }
  return write_slow(cpu, linear, data, size, kind);
}

bool mem_probe_write(SoftCpu& cpu, u64 linear, unsigned size, TlbKind kind) {
  if (known_host(cpu, linear, size, true, kind)) return true;
  Runs runs;
  return resolve(cpu, linear, size, Access::write, kind, runs);
}

bool mem_change_byte(SoftCpu& cpu, u64 linear, u8 set, u8 keep, TlbKind kind) {
  const Place place = locate(cpu, linear, Access::write, kind);
  if (place.kind == PlaceKind::fault) return false;
  note_access(cpu, linear, 1, true);
  if (place.host) {
    u8 old = __atomic_load_n(place.host, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(place.host, &old, static_cast<u8>((old | set) & keep), false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED)) {
    }
    if (place.kind == PlaceKind::special) store_special(cpu, place.gpa, 1);
    return true;
  }
  u8 value = 0;
  if (!mem_read(cpu, linear, &value, 1, kind)) return false;
  value = static_cast<u8>((value | set) & keep);
  return mem_write(cpu, linear, &value, 1, kind);
}

}  // namespace nagaya::engine::soft
