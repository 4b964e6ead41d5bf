#include "engine/soft/soft_engine.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/scope.hpp"
#include "engine/soft/engine_impl.hpp"
#include "engine/soft/light/kvm_clock.hpp"
#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/paging.hpp"
#include "host/tsc.hpp"

namespace nagaya::engine::soft {
namespace {

void* map_zero(u64 size) {
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

/// Code where there is no memory reads as all ones, as on a bus that nobody drives.
const u8* open_bus_page() {
  static const std::vector<u8> page(4096, 0xff);
  return page.data();
}

void record_write(CodeShared& shared, u64 gpa, u64 size) {
  if (size == 0) return;
  const u64 last = (gpa + size - 1) >> 12;
  for (u64 page = gpa >> 12; page <= last && page < shared.page_limit; ++page) {
    if (!(__atomic_load_n(&shared.page_flags[page], __ATOMIC_SEQ_CST) & page_dirty_log)) continue;
    // In this order: between the two nobody can take the bit and leave the page unwatched.
    __atomic_and_fetch(&shared.page_flags[page], static_cast<u8>(~page_dirty_log), __ATOMIC_SEQ_CST);
    __atomic_or_fetch(&shared.dirty_bits[page / 64], 1ull << (page % 64), __ATOMIC_SEQ_CST);
  }
}

}  // namespace

Result<std::unique_ptr<Engine>> create_soft_engine(const SoftOptions& options) { return SoftEngine::create(options); }

Result<std::unique_ptr<Engine>> SoftEngine::create(const SoftOptions& options) {
  if (const std::string missing = missing_host_features(); !missing.empty())
    return fail("the software engine cannot run on this CPU", "it lacks " + missing, "a CPU of the x86-64-v3 level (2013 and later) is needed");
  std::unique_ptr<SoftEngine> engine(new SoftEngine);
  engine->options_ = options;
  engine->capabilities_.name = "soft";
  engine->capabilities_.max_vcpus = max_cpus;
  engine->host_xcr0_ = carried_xcr0();
  engine->tsc_khz_ = host::tsc_hz() / 1000;
  auto cache = CodeCache::create(options.code_cache_bytes < MiB ? MiB : options.code_cache_bytes);
  if (!cache) return std::unexpected(cache.error());
  engine->cache_ = std::move(*cache);
  TRY_ASSIGN(engine->observer_, Observer::create(options, *engine->cache_));
  engine->shared_.rw_minus_rx = engine->cache_->rw_minus_rx();
  engine->shared_.records = engine->cache_->records();
  engine->shared_.lookup = engine->cache_->trampoline(thunk_lookup);
  engine->shared_.index = static_cast<std::atomic<u64>*>(map_zero(sizeof(std::atomic<u64>) * index_lines * index_ways));
  engine->shared_.chains = static_cast<std::atomic<Block*>*>(map_zero(sizeof(std::atomic<Block*>) * block_chains));
  if (!engine->shared_.index || !engine->shared_.chains) return fail_errno("cannot allocate the block table");
  TranslateOptions translate;
  translate.precise_flags = options.precise_flags;
  translate.count_blocks = options.count_blocks;
  translate.max_insns = std::clamp(options.max_block_insns, 1u, 64u);
  engine->translator_ = std::make_unique<Translator>(*engine->cache_, translate);
  return engine;
}

SoftEngine::~SoftEngine() {
  if (observer_) observer_->end(statistics() + departed_);
  unmap_tables();
  if (shared_.index) munmap(static_cast<void*>(shared_.index), sizeof(std::atomic<u64>) * index_lines * index_ways);
  if (shared_.chains) munmap(static_cast<void*>(shared_.chains), sizeof(std::atomic<Block*>) * block_chains);
}

void SoftEngine::unmap_tables() {
  if (shared_.page_flags) munmap(shared_.page_flags, mapped_pages_);
  if (shared_.page_blocks) munmap(shared_.page_blocks, mapped_pages_ * sizeof(Block*));
  if (shared_.dirty_bits) munmap(shared_.dirty_bits, mapped_pages_ / 8);
  shared_.page_flags = nullptr;
  shared_.page_blocks = nullptr;
  shared_.dirty_bits = nullptr;
  shared_.page_limit = 0;
}

Result<> SoftEngine::set_memory(std::span<const MemoryRegion> regions) {
  if (regions.size() > max_slots) return fail("cannot map guest memory", "more than 16 regions");
  u64 end = 0;
  for (const auto& r : regions) {
    if (r.size == 0 || (r.gpa.value | r.size | reinterpret_cast<u64>(r.hva)) % page_size || r.gpa.value + r.size < r.gpa.value ||
        r.gpa.value + r.size > 1ull << 46)
      return fail("cannot map guest memory", "a region is empty, misaligned or too high");
    end = std::max(end, r.gpa.value + r.size);
    for (const auto& other : regions.first(static_cast<std::size_t>(&r - regions.data()))) {
      if (r.gpa.value < other.gpa.value + other.size && other.gpa.value < r.gpa.value + r.size)
        return fail("cannot map guest memory", "regions overlap");
    }
  }
  Result<> outcome{};
  exclusive([&] {
    std::lock_guard lock(translate_mutex_);
    flush_code();
    unmap_tables();
    const u64 pages = ((end >> 12) + 4095) & ~4095ull;
    if (pages) {
      shared_.page_flags = static_cast<u8*>(map_zero(pages));
      shared_.page_blocks = static_cast<Block**>(map_zero(pages * sizeof(Block*)));
      shared_.dirty_bits = static_cast<u64*>(map_zero(pages / 8));
      mapped_pages_ = pages;
      if (!shared_.page_flags || !shared_.page_blocks || !shared_.dirty_bits) {
        outcome = fail_errno("cannot allocate the engine's page tables");
        unmap_tables();
        return;
      }
    }
    shared_.page_limit = pages;
    shared_.slot_count = 0;
    for (const auto& r : regions)
      shared_.slots[shared_.slot_count++] = {r.gpa.value, r.size, reinterpret_cast<u8*>(r.hva), r.readonly, r.fd, r.fd_offset};
  });
  return outcome;
}

Result<std::unique_ptr<Vcpu>> SoftEngine::create_vcpu(unsigned id, IoHandler& io, LocalApic* apic, std::span<const CpuidEntry> cpuid) {
  if (id >= max_cpus) return fail("cannot create a vCPU", "the software engine has at most 64");
  return SoftVcpu::create(*this, shared_, id, io, apic, cpuid);
}

Result<std::vector<CpuidEntry>> SoftEngine::supported_cpuid() { return host_cpuid(); }

void SoftEngine::attach(SoftVcpu& vcpu) {
  std::lock_guard lock(vcpus_mutex_);
  vcpus_.push_back(&vcpu);
  shared_.cpus[shared_.cpu_count.load()] = &vcpu.cpu();
  shared_.cpu_count.fetch_add(1);
}

void SoftEngine::detach(SoftVcpu& vcpu) {
  exclusive([&] {
    std::lock_guard lock(vcpus_mutex_);
    std::erase(vcpus_, &vcpu);
    if (observer_) departed_ += statistics_of(vcpu);
    u32 n = 0;
    for (SoftVcpu* v : vcpus_) shared_.cpus[n++] = &v->cpu();
    shared_.cpu_count.store(n);
  });
}

void SoftEngine::begin_guest() {
  std::unique_lock lock(world_mutex_);
  world_changed_.wait(lock, [&] { return holders_ == 0; });
  ++inside_;
}

void SoftEngine::end_guest() {
  std::lock_guard lock(world_mutex_);
  --inside_;
  if (holders_) world_changed_.notify_all();
}

void SoftEngine::exclusive(const std::function<void()>& work) {
  std::unique_lock lock(world_mutex_);
  ++holders_;
  {
    std::lock_guard vcpus(vcpus_mutex_);
    for (SoftVcpu* v : vcpus_) v->poke();
  }
  world_changed_.wait(lock, [&] { return inside_ == 0 && !held_; });
  held_ = true;
  lock.unlock();
  work();
  lock.lock();
  held_ = false;
  --holders_;
  world_changed_.notify_all();
}

void SoftEngine::evict(unsigned segment) {
  if (observer_) observer_->forget(cache_->blocks(segment));
  for (Block* b : cache_->blocks(segment)) {
    cache_->evicting(*b);
    retire_block(shared_, *b);
  }
  cache_->clear(segment);
  flush_tlbs();
  ++evictions_;
}

void SoftEngine::rest(u64 awake_tsc) {
  constexpr u64 window_ms = 2000, at_rest = 10;  // awake for less than a tenth of the time
  awake_tsc_.fetch_add(awake_tsc, std::memory_order_relaxed);
  const u64 now = host::rdtsc();
  u64 began = rest_began_.load(std::memory_order_relaxed);
  if (now - began < window_ms * tsc_khz_ || !rest_began_.compare_exchange_strong(began, now)) return;
  if (awake_tsc_.exchange(0, std::memory_order_relaxed) > (now - began) / at_rest) return;
  {
    const std::lock_guard lock(world_mutex_);
    if (inside_ != 0) return;  // another one works and has not been asleep at all
  }
  {
    const std::lock_guard lock(translate_mutex_);
    if (!cache_->may_shrink()) return;
  }
  exclusive([&] {
    const std::lock_guard lock(translate_mutex_);
    if (!cache_->may_shrink()) return;
    const unsigned segment = cache_->oldest();
    evict(segment);
    cache_->give_back(segment);
  });
}

void SoftEngine::flush_code() {
  for (unsigned i = 0; i < cache_->segment_count(); ++i) {
    if (!cache_->blocks(i).empty()) evict(i);
  }
  shared_.mode_count.store(0);
  flush_tlbs();
  ++flushes_;
}

void SoftEngine::flush_tlbs() {
  for (u32 i = 0; i < shared_.cpu_count.load(); ++i)
    std::atomic_ref<u32>(shared_.cpus[i]->flush_wanted).store(1, std::memory_order_seq_cst);
}

void SoftEngine::release_direct() {
  flush_tlbs();
  for (u64 page = 0; page < shared_.page_limit; ++page) {
    if (shared_.page_flags[page] & page_direct) __atomic_and_fetch(&shared_.page_flags[page], static_cast<u8>(~page_direct), __ATOMIC_SEQ_CST);
  }
}

u32 SoftEngine::register_mode(u32 key) {
  const u32 count = shared_.mode_count.load();
  for (u32 i = 0; i < count; ++i)
    if (shared_.mode_keys[i] == key) return i;
  if (count == max_modes) return ~0u;
  shared_.mode_keys[count] = key;
  shared_.mode_count.store(count + 1, std::memory_order_release);
  return count;
}

void SoftEngine::translate_for(SoftCpu& cpu) {
  const Mode mode{cpu.want_key};
  const u64 rip = cpu.s.rip;
  const u64 linear = mode.is64() ? rip : static_cast<u32>(cpu.s.seg[x86::CS].base + rip);
  CodeSource source;
  source.mode = mode;
  cpu.heavy = true;
  const bool fetched = translate_fetch(cpu, linear, source.gpa);
  cpu.heavy = false;
  if (!fetched) return;
  bool modes_full = false;  // else it is the cache that is full
  bool written = false;     // or the page may be written by a program that runs directly
  Block* made = nullptr;
  const auto translate = [&](u64 gpa) {
    const u64 page = gpa >> 12;
    written = page < shared_.page_limit && (__atomic_load_n(&shared_.page_flags[page], __ATOMIC_SEQ_CST) & page_direct) != 0;
    return written ? TranslateStatus::cache_full : translator_->translate(source, made);
  };
  {
    std::lock_guard lock(translate_mutex_);
    source.mode_index = register_mode(mode.key & ~mode_bits::careful);
    modes_full = source.mode_index == ~0u;
    if (!modes_full) {
      const u32 block_mode = mode.has(mode_bits::careful) ? source.mode_index | careful_mode : source.mode_index;
      Block* block = find_block(shared_, source.gpa, block_mode, ~0ull);
      if (block && block->gpa2 == ~0ull) return;  // another vCPU made it meanwhile
      begin_translation(shared_, 0, source.gpa & ~0xfffull);
      const u64 began = host::rdtsc();
      const ScopeExit ended([&] {
        end_translation(shared_);
        translation_tsc_ += host::rdtsc() - began;
      });
      const u8* page = slot_address(shared_, source.gpa & ~0xfffull, false);
      source.page = page ? page : open_bus_page();
      TranslateStatus status = translate(source.gpa);
      if (status == TranslateStatus::need_page2) {
        u64 gpa2;
        const u64 next = mode.is64() ? (linear | 0xfff) + 1 : static_cast<u32>((linear | 0xfff) + 1);
        cpu.heavy = true;
        const bool second = translate_fetch(cpu, next, gpa2);
        cpu.heavy = false;
        if (!second) return;
        source.gpa2 = gpa2 & ~0xfffull;
        begin_translation(shared_, 1, source.gpa2);
        const u8* page2 = slot_address(shared_, source.gpa2, false);
        source.page2 = page2 ? page2 : open_bus_page();
        status = translate(source.gpa2);
      }
      if (status == TranslateStatus::ok) {
        if (insert_block(shared_, *made)) {  // else its bytes have changed: asked for again
          ++translated_;
          if (observer_) observer_->made(*made, source, rip);
        }
        return;
      }
    }
  }
  exclusive([&] {
    std::lock_guard lock(translate_mutex_);
    if (written) {
      release_direct();
    } else if (modes_full) {
      flush_code();
    } else if (!cache_->reserve()) {  // another vCPU may have made room
      evict(cache_->next_segment());
    }
  });
}

void SoftEngine::kick_apic_id(u64 apic_id) {
  std::lock_guard lock(vcpus_mutex_);
  for (SoftVcpu* v : vcpus_)
    if (v->cpu().id == apic_id) v->pv_kick();
}

void SoftEngine::memory_written(Gpa at, u64 size) {
  record_write(shared_, at.value, size);
  drop_blocks(shared_, at.value, size);
}

Result<> SoftEngine::set_dirty_log(bool on) {
  exclusive([&] {
    for (u32 i = 0; i < shared_.slot_count; ++i) {
      const MemorySlot& m = shared_.slots[i];
      if (m.readonly) continue;
      for (u64 page = m.gpa >> 12; page < (m.gpa + m.size) >> 12; ++page) {
        on ? __atomic_or_fetch(&shared_.page_flags[page], page_dirty_log, __ATOMIC_SEQ_CST)
           : __atomic_and_fetch(&shared_.page_flags[page], static_cast<u8>(~page_dirty_log), __ATOMIC_SEQ_CST);
      }
      std::memset(&shared_.dirty_bits[m.gpa >> 18], 0, ((m.size >> 12) + 63) / 64 * 8);
    }
    flush_tlbs();
  });
  return {};
}

Result<std::vector<Gpa>> SoftEngine::take_dirty() {
  std::vector<Gpa> out;
  exclusive([&] {
    for (u64 word = 0; word < shared_.page_limit / 64; ++word) {
      u64 bits = __atomic_exchange_n(&shared_.dirty_bits[word], 0, __ATOMIC_SEQ_CST);
      while (bits) {
        const u64 page = word * 64 + static_cast<u64>(__builtin_ctzll(bits));
        bits &= bits - 1;
        __atomic_or_fetch(&shared_.page_flags[page], page_dirty_log, __ATOMIC_SEQ_CST);
        out.push_back(Gpa(page << 12));
      }
    }
    if (!out.empty()) flush_tlbs();
  });
  return out;
}

Result<> SoftEngine::add_io_event(const IoEvent&) {
  return fail("cannot add an ioeventfd", "with the software engine I/O events are the bus's", "query Capabilities::eventfds");
}
Result<> SoftEngine::remove_io_event(const IoEvent&) { return fail("cannot remove an ioeventfd", "there is none"); }
Result<> SoftEngine::add_irqfd(int, unsigned) {
  return fail("cannot add an irqfd", "with the software engine interrupts are the machine's", "query Capabilities::eventfds");
}
Result<> SoftEngine::remove_irqfd(int, unsigned) { return fail("cannot remove an irqfd", "there is none"); }

Result<u64> SoftEngine::clock_ns() {
  if (shared_.cpu_count.load() == 0) return 0;
  return kvm_clock_ns(*shared_.cpus[0]);
}

Result<> SoftEngine::set_clock_ns(u64 value) {
  for (u32 i = 0; i < shared_.cpu_count.load(); ++i) {
    SoftCpu& cpu = *shared_.cpus[i];
    cpu.kvm_clock_offset += value - kvm_clock_ns(cpu);
    kvm_clock_update(cpu);
  }
  return {};
}

}  // namespace nagaya::engine::soft
